"use strict";
// Stretches a picture to the network's size as Pillow does when it reads one for training (bilinear, averaging where it shrinks),
// to the last bit: `reduce` by whole numbers first, then weights of 22 bits, across and then down, each rounded to 8 bits.

const BITS = 22, FEWEST = 2; // pixels for each of the result's that `reduce` leaves, at least

// RGB of RGBA pixels.
function withoutAlpha(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let i = 0, j = 0; i < rgba.length; i += 4) for (let k = 0; k < 3; k++) rgb[j++] = rgba[i + k];
  return rgb;
}

// Means of blocks of across * down pixels; those at the far edges may be smaller.
function reduced({ h, w, data }, across, down) {
  const height = Math.ceil(h / down), width = Math.ceil(w / across), y = new Uint8Array(height * width * 3);
  for (let row = 0, o = 0; row < height; row++) for (let column = 0; column < width; column++) for (let k = 0; k < 3; k++, o++) {
    const bottom = Math.min((row + 1) * down, h), right = Math.min((column + 1) * across, w);
    const count = (bottom - row * down) * (right - column * across);
    let sum = Math.floor(count / 2);
    for (let i = row * down; i < bottom; i++) for (let j = column * across; j < right; j++) sum += data[(i * w + j) * 3 + k];
    y[o] = Math.floor((sum * Math.trunc(Math.fround(2 ** 24 / count))) / 2 ** 24); // a division, as Pillow rounds it
  }
  return { h: height, w: width, data: y };
}

// For each of `size` places along an axis: the first pixel that it reads, and the weights of that and the next ones.
function coefficients(length, extent, size) {
  const step = Math.fround(extent) / size, support = Math.max(step, 1), found = [];
  for (let i = 0; i < size; i++) {
    const centre = (i + 0.5) * step, first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const count = Math.min(Math.trunc(centre + support + 0.5), length) - first, weights = [];
    for (let j = 0; j < count; j++) weights.push(Math.max(1 - Math.abs((j + first - centre + 0.5) / support), 0));
    const sum = weights.reduce((a, b) => a + b, 0);
    found.push({ first, weights: weights.map((weight) => Math.trunc(0.5 + (sum ? weight / sum : weight) * 2 ** BITS)) });
  }
  return found;
}

// One pass along the axis whose neighbours lie `near` apart; along the other one there are `lines`, `far` apart.
function stretched(data, found, lines, near, far, y, yNear, yFar) {
  for (let line = 0; line < lines; line++) found.forEach(({ first, weights }, i) => {
    for (let k = 0; k < 3; k++) {
      let sum = 1 << (BITS - 1);
      for (let j = 0, at = line * far + first * near + k; j < weights.length; j++, at += near) sum += data[at] * weights[j];
      y[line * yFar + i * yNear + k] = Math.min(Math.max(Math.floor(sum / 2 ** BITS), 0), 255);
    }
  });
  return y;
}

// Pixels of a network `size` wide and high: of an RGB picture `h` * `w`, or of their luminance where it sees one channel.
function pixelsFor(network, picture) {
  const { size, channels } = network;
  const [across, down] = [picture.w, picture.h].map((length) => Math.trunc(length / size / FEWEST) || 1);
  const small = across * down > 1 ? reduced(picture, across, down) : picture;
  let { data } = small;
  if (small.w !== size || across > 1) {
    const found = coefficients(small.w, picture.w / across, size);
    data = stretched(data, found, small.h, 3, small.w * 3, new Uint8Array(small.h * size * 3), 3, size * 3);
  }
  if (small.h !== size || down > 1) {
    const found = coefficients(small.h, picture.h / down, size);
    data = stretched(data, found, size, size * 3, 3, new Uint8Array(size * size * 3), size * 3, 3);
  }
  if (channels === 3) return data;
  return Uint8Array.from({ length: size * size }, (_, i) =>
    (data[3 * i] * 19595 + data[3 * i + 1] * 38470 + data[3 * i + 2] * 7471 + 0x8000) >> 16);
}
