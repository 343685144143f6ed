"use strict";
// Answers requests of the page, in a worker where the browser has them: { program, weights } first, then { pixels }, which are
// the network's own, or { rgba, h, w }, a picture of any size.

let network = null;

function answerTo({ program, weights, pixels, rgba, h, w }) {
  if (program) {
    network = loadNetwork(program, weights);
    pixels = pattern(network.size * network.size * network.channels);
  }
  const start = performance.now();
  pixels ??= pixelsFor(network, { h, w, data: withoutAlpha(rgba) });
  const logits = logitsOf(network, pixels), milliseconds = performance.now() - start;
  const difference = program ? Math.max(...logits.map((value, i) => Math.abs(value - program.check[i]))) : undefined;
  return { logits, pixels, milliseconds, difference };
}

// The picture whose logits the page knows: numbers without a pattern, the same everywhere.
function pattern(length) {
  return Uint8Array.from({ length }, (_, i) => Math.imul(i, 2654435761) >>> 24);
}

if (typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope) {
  onmessage = ({ data }) => {
    try {
      postMessage({ id: data.id, ...answerTo(data) });
    } catch (error) {
      postMessage({ id: data.id, error: String(error) });
    }
  };
}
