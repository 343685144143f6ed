"use strict";
// Computes a network in plain JavaScript. A feature map is { h, w, c, data }: data are h * w * c float32 numbers, channels last.
// A program lists operations in their order; each reads results of earlier ones by number, 0 being the pixels.

function decodeBase64(text) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", value = new Uint8Array(128);
  for (let i = 0; i < 64; i++) value[alphabet.charCodeAt(i)] = i;
  const ends = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0, bytes = new Uint8Array((text.length / 4) * 3 - ends);
  for (let i = 0, b = 0; i < text.length; i += 4) {
    let four = 0;
    for (let j = 0; j < 4; j++) four = (four << 6) | value[text.charCodeAt(i + j)];
    bytes[b++] = four >> 16;
    if (b < bytes.length) bytes[b++] = four >> 8;
    if (b < bytes.length) bytes[b++] = four;
  }
  return bytes;
}

// Weights as float32. A coded tensor is 16-bit whole numbers, and then a step for each of its last axis.
function loadNetwork(program, weights) {
  const buffer = decodeBase64(weights).buffer, tensors = program.tensors.map(({ size, steps, at }) => {
    if (!steps) return new Float32Array(buffer, at, size);
    const coded = new Int16Array(buffer, at, size), step = new Float32Array(buffer, at + 4 * Math.ceil(size / 2), steps);
    return Float32Array.from(coded, (value, i) => value * step[i % steps]);
  });
  const operations = program.operations.map((each) => ({ ...each }));
  for (const each of operations) for (const name of each.weights ?? []) each[name] = tensors[each[name]];
  for (const each of operations) if (each.kind === "convolution") each.kernel = inBlocks(each);
  const last = new Map();
  operations.forEach((each, i) => each.reads.forEach((number) => last.set(number, i)));
  return { ...program, operations, last };
}

// Logits of uint8 pixels, size * size * channels.
function logitsOf(network, pixels) {
  const { size, channels, operations, last } = network;
  const results = [{ h: size, w: size, c: channels, data: Float32Array.from(pixels) }];
  operations.forEach((each, i) => {
    results.push(OPERATIONS[each.kind](each, ...each.reads.map((number) => results[number])));
    for (const number of each.reads) if (last.get(number) === i) results[number] = null; // its memory can serve others
  });
  return results[results.length - 1].data;
}

function emptyMap(h, w, c) {
  return { h, w, c, data: new Float32Array(h * w * c) };
}

function mapped({ h, w, c, data }, compute) {
  const y = emptyMap(h, w, c), to = y.data;
  for (let i = 0; i < data.length; i++) to[i] = compute(data[i]);
  return y;
}

// ---- Convolution -----------------------------------------------------------------------------------------------------------
const BLOCK = 4; // filters that are computed together

// The kernel (size, size, inner, filters) as (groups, blocks, size, size, inner, BLOCK), filled up with zeros.
function inBlocks({ kernel, size, groups, filters }) {
  const inner = kernel.length / (size * size * filters), outer = filters / groups, blocks = Math.ceil(outer / BLOCK);
  const length = size * size * inner, packed = new Float32Array(groups * blocks * length * BLOCK);
  for (let g = 0, k = 0; g < groups; g++)
    for (let b = 0; b < blocks; b++)
      for (let i = 0; i < length; i++)
        for (let o = b * BLOCK; o < (b + 1) * BLOCK; o++, k++)
          if (o < outer) packed[k] = kernel[i * filters + g * outer + o];
  return packed;
}

// Images with zeros around, in float64, which the sums have; `before` rows and columns, and so many in all.
function padded({ h, w, c, data }, top, left, height, width) {
  const y = new Float64Array(height * width * c), columns = Math.min(w, width - left);
  for (let row = 0; row < Math.min(h, height - top); row++)
    y.set(data.subarray(row * w * c, (row * w + columns) * c), ((row + top) * width + left) * c);
  return y;
}

function margins(length, size, stride, padding) {
  const count = Math.ceil(length / stride), whole = (count - 1) * stride + size;
  const before = padding === "symmetric" ? size >> 1 : Math.max(whole - length, 0) >> 1;
  return { count, before, whole };
}

function convolution({ kernel, bias, size, stride, groups, filters, padding }, x) {
  const rows = margins(x.h, size, stride, padding), columns = margins(x.w, size, stride, padding), { c } = x;
  const images = padded(x, rows.before, columns.before, rows.whole, columns.whole), y = emptyMap(rows.count, columns.count, filters);
  const inner = c / groups, outer = filters / groups, blocks = Math.ceil(outer / BLOCK), length = size * size * inner * BLOCK;
  const isWhole = groups === 1, runs = isWhole ? 1 : size, run = isWhole ? size * c : inner; // neighbours in memory
  for (let g = 0; g < groups; g++) for (let b = 0; b < blocks; b++) {
    const first = g * outer + b * BLOCK, count = Math.min(BLOCK, outer - b * BLOCK), weights = (g * blocks + b) * length;
    const z0 = bias ? bias[first] : 0, z1 = bias && count > 1 ? bias[first + 1] : 0;
    const z2 = bias && count > 2 ? bias[first + 2] : 0, z3 = bias && count > 3 ? bias[first + 3] : 0;
    for (let row = 0; row < y.h; row++) for (let column = 0; column < y.w; column += 2) {
      const step = column + 1 < y.w ? stride * c : 0; // two pixels together, or the last one twice
      let a0 = z0, a1 = z1, a2 = z2, a3 = z3, b0 = z0, b1 = z1, b2 = z2, b3 = z3, k = weights;
      for (let i = 0; i < size; i++) for (let r = 0; r < runs; r++) {
        const from = ((row * stride + i) * columns.whole + column * stride + r) * c + g * inner;
        for (let p = from, end = from + run; p < end; p++, k += 4) {
          const u = images[p], v = images[p + step], k0 = kernel[k], k1 = kernel[k + 1], k2 = kernel[k + 2], k3 = kernel[k + 3];
          a0 += u * k0; a1 += u * k1; a2 += u * k2; a3 += u * k3;
          b0 += v * k0; b1 += v * k1; b2 += v * k2; b3 += v * k3;
        }
      }
      const to = y.data, at = (row * y.w + column) * filters + first;
      put(to, at, count, a0, a1, a2, a3);
      if (step) put(to, at + filters, count, b0, b1, b2, b3);
    }
  }
  return y;
}

function put(to, at, count, a, b, c, d) {
  to[at] = a;
  if (count > 1) to[at + 1] = b;
  if (count > 2) to[at + 2] = c;
  if (count > 3) to[at + 3] = d;
}

function dense({ kernel, bias, filters }, x) {
  const y = emptyMap(1, 1, filters);
  for (let o = 0; o < filters; o++) {
    let sum = bias ? bias[o] : 0;
    for (let i = 0; i < x.c; i++) sum += x.data[i] * kernel[i * filters + o];
    y.data[o] = sum;
  }
  return y;
}

// ---- Norms -----------------------------------------------------------------------------------------------------------------
function scale({ gamma, beta }, { h, w, c, data }) {
  const y = emptyMap(h, w, c);
  for (let i = 0; i < data.length; i += c) for (let j = 0; j < c; j++) y.data[i + j] = data[i + j] * gamma[j] + beta[j];
  return y;
}

// Mean and 1 / sqrt(variance + epsilon) of each group of neighbouring channels.
function statistics({ h, w, c, data }, groups, epsilon) {
  const inner = c / groups, mean = new Float64Array(groups), inverse = new Float64Array(groups), count = h * w * inner;
  for (let i = 0; i < data.length; i += c) for (let j = 0; j < c; j++) mean[(j / inner) | 0] += data[i + j] / count;
  for (let i = 0; i < data.length; i += c)
    for (let j = 0; j < c; j++) inverse[(j / inner) | 0] += (data[i + j] - mean[(j / inner) | 0]) ** 2 / count;
  return { inner, mean, inverse: inverse.map((variance) => 1 / Math.sqrt(variance + epsilon)) };
}

function normalise({ groups, epsilon, gamma, beta }, x) {
  const { inner, mean, inverse } = statistics(x, groups, epsilon), factors = new Float64Array(x.c), shifts = new Float64Array(x.c);
  for (let j = 0; j < x.c; j++) {
    const g = (j / inner) | 0;
    factors[j] = gamma[j] * inverse[g];
    shifts[j] = beta[j] - mean[g] * factors[j];
  }
  return scale({ gamma: factors, beta: shifts }, x);
}

// EvoNorm-S0: gamma x sigmoid(v x) / deviation + beta; without v there is no gate.
function evonorm({ groups, epsilon, gamma, beta, v }, x) {
  const { inner, inverse } = statistics(x, groups, epsilon), y = emptyMap(x.h, x.w, x.c), { c, data } = x;
  for (let i = 0; i < data.length; i += c) for (let j = 0; j < c; j++) {
    const value = data[i + j], gated = v ? value * sigmoid(value * v[j]) : value;
    y.data[i + j] = gated * gamma[j] * inverse[(j / inner) | 0] + beta[j];
  }
  return y;
}

// ---- What has no weights ---------------------------------------------------------------------------------------------------
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// Abramowitz and Stegun 1964, 7.1.26: off by at most 1.5e-7.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const sum = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - sum * Math.exp(-x * x));
}

const ACTIVATIONS = {
  relu: (x) => (x > 0 ? x : 0),
  mish: (x) => x * Math.tanh(Math.log1p(Math.exp(Math.min(x, 30)))),
  silu: (x) => x * sigmoid(x),
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  sigmoid,
};

function add(_, x, other) {
  const y = emptyMap(x.h, x.w, x.c);
  for (let i = 0; i < y.data.length; i++) y.data[i] = x.data[i] + other.data[i];
  return y;
}

// A gate is one number for a channel, or one for a pixel.
function multiply(_, x, gate) {
  const y = emptyMap(x.h, x.w, x.c), { c } = x, isOfPixels = gate.c === 1 && gate.h === x.h && gate.w === x.w;
  for (let i = 0, pixel = 0; i < x.data.length; i += c, pixel++)
    for (let j = 0; j < c; j++) y.data[i + j] = x.data[i + j] * gate.data[isOfPixels ? pixel : j];
  return y;
}

function mean(_, { h, w, c, data }) {
  const sums = new Float64Array(c);
  for (let i = 0; i < data.length; i += c) for (let j = 0; j < c; j++) sums[j] += data[i + j];
  return { h: 1, w: 1, c, data: Float32Array.from(sums, (sum) => sum / (h * w)) };
}

function max(_, { c, data }) {
  const y = { h: 1, w: 1, c, data: new Float32Array(c).fill(-Infinity) };
  for (let i = 0; i < data.length; i += c) for (let j = 0; j < c; j++) y.data[j] = Math.max(y.data[j], data[i + j]);
  return y;
}

// Mean and maximum over the channels of each pixel: (h, w, 2).
function ofChannels(_, { h, w, c, data }) {
  const y = emptyMap(h, w, 2);
  for (let i = 0, pixel = 0; i < data.length; i += c, pixel++) {
    let sum = 0, largest = -Infinity;
    for (let j = i; j < i + c; j++) { sum += data[j]; largest = Math.max(largest, data[j]); }
    y.data[2 * pixel] = sum / c;
    y.data[2 * pixel + 1] = largest;
  }
  return y;
}

// Windows of `size` pixels from `first` on, every `stride`; what lies outside the image does not count.
function pooled({ h, w, c, data }, size, stride, first, join, start, finish) {
  const y = emptyMap(Math.ceil(h / stride), Math.ceil(w / stride), c);
  for (let row = 0, o = 0; row < y.h; row++) for (let column = 0; column < y.w; column++) for (let j = 0; j < c; j++, o++) {
    let value = start, count = 0;
    for (let i = Math.max(row * stride + first, 0); i < Math.min(row * stride + first + size, h); i++)
      for (let k = Math.max(column * stride + first, 0); k < Math.min(column * stride + first + size, w); k++, count++)
        value = join(value, data[(i * w + k) * c + j]);
    y.data[o] = finish(value, count);
  }
  return y;
}

function padChannels({ stride, filters }, { h, w, c, data }) {
  const y = emptyMap(Math.ceil(h / stride), Math.ceil(w / stride), filters);
  for (let row = 0, o = 0; row < y.h; row++) for (let column = 0; column < y.w; column++, o += filters) {
    const from = (row * stride * w + column * stride) * c;
    y.data.set(data.subarray(from, from + c), o);
  }
  return y;
}

function concatenate(_, x, other) {
  return { h: 1, w: 1, c: x.c + other.c, data: Float32Array.of(...x.data, ...other.data) };
}

const OPERATIONS = {
  convolution, dense, scale, normalise, evonorm, add, multiply, mean, max, ofChannels, padChannels, concatenate,
  activation: ({ name }, x) => mapped(x, ACTIVATIONS[name]),
  averagePool: ({ stride }, x) => pooled(x, 2, stride, 0, (a, b) => a + b, 0, (sum, count) => sum / count),
  maxPool: (_, x) => pooled(x, 3, 2, -1, Math.max, -Infinity, (largest) => largest),
};
