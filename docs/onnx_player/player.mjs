// Plays an exported instrument: node player.mjs FOLDER FRAMES > audio.f32
// In a browser, import "onnxruntime-web" and fetch the files.
// A circle in x and y, full pressure; one frame a call. States begin as zeros; what comes out of one goes in again.
import { readFileSync, writeSync } from "node:fs";
import ort from "onnxruntime-node";

const [folder, frames] = process.argv.slice(2);
const facts = JSON.parse(readFileSync(`${folder}/instrument.json`));
const session = await ort.InferenceSession.create(`${folder}/instrument.onnx`);
const size = (shape) => shape.reduce((a, b) => a * b, 1);
const floats = (shape, value) =>
  new ort.Tensor("float32", Float32Array.from({ length: size(shape) }, (_, n) => value(n)), shape);
let x = 1;
const random = () => ((x = (Math.imul(x, 1664525) + 1013904223) >>> 0) >>> 8) / 16777216;
const feeds = {};
for (const { input, shape, type } of facts.states)
  feeds[input] = new ort.Tensor(type, new (type === "float64" ? Float64Array : Float32Array)(size(shape)), shape);
for (let frame = 0; frame < frames; ++frame) {
  feeds.coordinates = floats([1, facts.coordinates.length], (n) => 0.5 + 0.3 * Math.sin(0.05 * frame + 1.5707963 * n));
  feeds.pressure = floats([1], () => 1);
  if (facts.noise_per_frame.length) feeds.noise = floats([1, ...facts.noise_per_frame], random);
  const results = await session.run(feeds);
  writeSync(1, Buffer.from(results.audio.data.buffer, results.audio.data.byteOffset, results.audio.data.byteLength));
  for (const { input, output } of facts.states) feeds[input] = results[output];
}
