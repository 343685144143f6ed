"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (name) => document.getElementById(name);
const slider = byId("epoch"), play = byId("play");
const BLUE = "#0072B2", ORANGE = "#D55E00", GREY = "#999";

// An element of an SVG with these attributes, put into `parent`.
function add(parent, kind, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

// A function from a value in [low, high] to a place in [from, to].
const scale = (low, high, from, to) => (value) => from + ((value - low) / (high - low || 1)) * (to - from);

const positive = data.frames.flatMap((frame) => frame.gradients).filter((value) => value > 0);
const low = Math.floor(Math.log10(Math.min(...positive))), high = Math.ceil(Math.log10(Math.max(...positive)));
const layerAt = scale(0, data.layers.length - 1, 30, 390), normAt = scale(low, high, 160, 10);

function drawGradients(frame) {
  const svg = byId("gradients");
  svg.replaceChildren();
  for (let power = low; power <= high; power++) {
    add(svg, "line", { x1: 30, x2: 390, y1: normAt(power), y2: normAt(power), stroke: "#ddd" });
    add(svg, "text", { x: 0, y: normAt(power) + 3, fill: "#555" }, "1e" + power);
  }
  frame.gradients.forEach((value, i) => {
    if (value > 0) add(svg, "circle", { cx: layerAt(i), cy: normAt(Math.log10(value)), r: 2.5, fill: BLUE });
  });
  add(svg, "text", { x: 210, y: 176, "text-anchor": "middle", fill: "#555" }, "kernel, from the images on");
}

function drawPath(index) {
  const svg = byId("path"), { along, off } = data.path, line = data.line;
  svg.replaceChildren();
  const first = Math.min(0, ...along), last = Math.max(1, ...along), top = line.length ? 120 : 20;
  const x = scale(first, last, 30, 390), y = scale(0, Math.max(...off, 0.01), 200, top);
  if (line.length) {
    const losses = line.map((point) => point[1]), up = scale(Math.min(...losses), Math.max(...losses), 90, 12);
    add(svg, "polyline", { points: line.map(([a, b]) => `${x(a)},${up(b)}`).join(" "), fill: "none", stroke: ORANGE, "stroke-width": 1.5 });
    add(svg, "text", { x: 390, y: 10, "text-anchor": "end", fill: ORANGE }, "loss on the straight line");
    add(svg, "line", { x1: x(along[index]), x2: x(along[index]), y1: 8, y2: y(off[index]), stroke: GREY, "stroke-dasharray": "3 3" });
  }
  add(svg, "line", { x1: 30, x2: 390, y1: 200, y2: 200, stroke: GREY });
  add(svg, "text", { x: 30, y: top - 8, fill: BLUE }, "distance from the straight line");
  add(svg, "polyline", { points: along.map((a, i) => `${x(a)},${y(off[i])}`).join(" "), fill: "none", stroke: BLUE });
  along.forEach((a, i) => add(svg, "circle", { cx: x(a), cy: y(off[i]), r: i === index ? 6 : 2.5, fill: BLUE }));
  add(svg, "text", { x: x(0), y: 214, "text-anchor": "middle", fill: "#555" }, "start");
  add(svg, "text", { x: x(1), y: 214, "text-anchor": "middle", fill: "#555" }, "best");
}

function show(index) {
  const frame = data.frames[index];
  const when = frame.epoch ? `epoch ${frame.epoch}` : "before training";
  const val = frame.val ? `, val ${(100 * frame.val.accuracy).toFixed(2)} %, loss ${frame.val.loss.toFixed(3)}` : "";
  byId("now").textContent = when + val;
  slider.setAttribute("aria-valuetext", when);
  const put = (image, source, words) => { image.src = source; image.alt = words; };
  put(byId("filters"), frame.filters, `filters, ${when}`);
  document.querySelectorAll("#features img").forEach((image, i) => put(image, frame.features[i], `feature maps, ${when}`));
  document.querySelectorAll("#maps figure").forEach((figure, i) => {
    put(figure.querySelector("img"), frame.maps[i], `map, ${when}`);
    figure.querySelector("output").textContent = frame.answers[i];
  });
  if (frame.confusion) {
    put(byId("confusion"), frame.confusion, `confusion, ${when}`);
    byId("right").textContent = `${frame.right} right`;
  } else byId("confusion").closest("section").hidden = true;
  drawGradients(frame);
  drawPath(index);
  byId("way").textContent =
    `${(100 * data.path.along[index]).toFixed(0)} % of the way from the start to the best weights, ` +
    `${data.path.off[index].toFixed(2)} of its length beside the straight line.`;
}

let timer = null;
function stop() {
  clearInterval(timer);
  timer = null;
  play.textContent = "play";
}
play.addEventListener("click", () => {
  if (timer) return stop();
  if (+slider.value === +slider.max) { slider.value = 0; show(0); }
  play.textContent = "stop";
  timer = setInterval(() => {
    if (+slider.value >= +slider.max) return stop();
    slider.value = +slider.value + 1;
    show(+slider.value);
  }, 400);
});
slider.addEventListener("input", () => { stop(); show(+slider.value); });
slider.value = slider.max;
show(+slider.value);
