"use strict";
const byId = (id) => document.getElementById(id), program = JSON.parse(byId("program").textContent);
const SHOWN = 5, MOST_PIXELS = 64e6, THUMBNAIL = 320;

// ---- The network, in a worker of its own, so that the page can be used meanwhile -------------------------------------------
const waiting = new Map();
let asked = 0, worker = null;

function startWorker() {
  const text = ["network", "pixels", "answers"].map((id) => byId(id).textContent).join("\n");
  worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error) reject(new Error(data.error)); else resolve(data);
  };
}

async function ask(request, given = []) {
  if (!worker) return answerTo(request); // a browser without workers for files
  const id = ++asked, answer = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
  worker.postMessage({ id, ...request }, given);
  return answer;
}

async function start() {
  try { startWorker(); } catch { worker = null; }
  const { difference, milliseconds } = await ask({ program, weights: byId("weights").textContent });
  if (!(difference <= program.tolerance)) throw new Error(`this browser computes other logits (by ${difference.toExponential(1)})`);
  say(`Ready. Checked in this browser: logits as exported, to within ${difference.toExponential(0)}. A picture takes about ` +
    `${Math.round(milliseconds)} ms.`);
  for (const button of document.querySelectorAll("button")) button.disabled = false;
}

// ---- Pictures --------------------------------------------------------------------------------------------------------------
async function bitmapOf(file) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, options).catch(() => { throw new Error("is no picture that this browser reads"); });
  if (bitmap.width * bitmap.height > MOST_PIXELS) throw new Error(`has more than ${MOST_PIXELS / 1e6} million pixels`);
  return bitmap;
}

function drawn(bitmap, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff"; // transparent parts lie on white, as in training
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  return { canvas, context };
}

async function classify(file) {
  const bitmap = await bitmapOf(file), { width: w, height: h } = bitmap;
  const rgba = drawn(bitmap, w, h).context.getImageData(0, 0, w, h).data;
  const factor = Math.min(THUMBNAIL / Math.max(w, h), 1);
  const { canvas } = drawn(bitmap, Math.max(Math.round(w * factor), 1), Math.max(Math.round(h * factor), 1));
  bitmap.close();
  return { canvas, ...(await ask({ rgba, h, w }, [rgba.buffer])) };
}

// Probabilities of logits, divided by the temperature that val chose where there is one; {class, share}, the largest first.
function ranked(logits) {
  const values = Array.from(logits, (value) => value / program.temperature), largest = Math.max(...values);
  const shares = values.map((value) => Math.exp(value - largest)), sum = shares.reduce((a, b) => a + b, 0);
  return shares.map((share, i) => ({ name: program.class_names[i], share: share / sum })).sort((a, b) => b.share - a.share);
}

// ---- What is shown ---------------------------------------------------------------------------------------------------------
function element(kind, text = "", look = "") {
  return Object.assign(document.createElement(kind), { textContent: text, className: look });
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function bar({ name, share }) {
  const row = element("li"), track = element("span", "", "track"), filled = element("span", "", "filled");
  filled.style.width = percent(share).replace(" ", "");
  track.append(filled);
  row.append(element("span", name, "name"), track, element("span", percent(share), "share"));
  return row;
}

function show(file, { canvas, logits, milliseconds }) {
  const card = element("article", "", "card"), words = element("div"), list = element("ol"), found = ranked(logits);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", file.name);
  list.append(...found.slice(0, SHOWN).map(bar));
  words.append(element("h2", found[0].name), list, element("p", `${file.name}, ${Math.round(milliseconds)} ms`, "quiet"));
  card.append(canvas, words);
  byId("results").prepend(card);
  say(`${file.name}: ${found[0].name}, ${percent(found[0].share)}; ${Math.round(milliseconds)} ms.`);
}

function refuse(file, error) {
  const card = element("article", "", "card refused");
  card.append(element("p", `${file.name} ${error.message}`));
  byId("results").prepend(card);
  say(card.textContent);
}

function say(text) {
  byId("status").textContent = text;
}

let queue = Promise.resolve();

function take(files) {
  for (const file of files) queue = queue.then(() => ready).then(() => classify(file)).then((found) => show(file, found), (error) => refuse(file, error));
  return queue;
}

// ---- What a reader does ----------------------------------------------------------------------------------------------------
for (const name of ["choose", "photograph"]) {
  const input = byId(`${name}-input`);
  byId(name).addEventListener("click", () => input.click());
  input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
}
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) document.addEventListener(kind, (event) => {
  event.preventDefault();
  byId("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
  if (kind === "drop") take([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => take([...event.clipboardData.files]));

const ready = start().catch((error) => {
  say(`The network can't be used here: ${error.message}.`);
  throw error;
});
ready.catch(() => {});
window.classifier = { ask, ranked, ready, take };
