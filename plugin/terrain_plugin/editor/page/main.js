// The page: one connection, one picture, one hand, and the views that share them.

import { BuildView } from "./build.js";
import { Connection } from "./connection.js";
import { $, element, note, typing } from "./dom.js";
import { Hand } from "./hand.js";
import { LOOP_KEYS, LoopsView } from "./loops.js";
import { MapView } from "./map.js";
import { Parameters } from "./parameters.js";
import { PathsView } from "./paths.js";
import { Picture } from "./picture.js";
import { PlayView } from "./play.js";
import { Sound } from "./sound.js";

history.replaceState(null, "", "/");  // the token stays out of bookmarks and shared addresses

const connection = new Connection(), picture = new Picture(), sound = new Sound(), hand = new Hand(connection);
const parts = { connection, picture, sound, hand };
const parameters = new Parameters(connection);
parameters.place($("parameters"), { groups: ["Position", "Source", "Latents", "Output"] });
parameters.place($("loop-parameters"), { groups: ["Loop"] });
parameters.place($("map-parameters"), { keys: ["source", "snap", "neighbours", "blend", "blend_power", "blend_radius"] });
const views = { play: new PlayView(parts), loops: new LoopsView(parts), paths: new PathsView(parts), build: new BuildView(parts), map: new MapView(parts) };
let view = "play", state = null, pictures = [], frames = [];

// What a test, or somebody who looks for a fault, may read.
window.terrain = {
  sound: sound.stats, point: (x, y) => hand.play(x, y, 1), latencies: hand.latencies, connection,
  get state() { return state; },
  get pictures() { return pictures; },
  get drawn() { return frames; },
};

const tabs = [...document.querySelectorAll("[role=tab]")];
function show(name) {
  view = name;
  for (const tab of tabs) {
    const chosen = tab.dataset.view === name;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    $(`view-${tab.dataset.view}`).hidden = !chosen;
  }
}
tabs.forEach((tab, n) => {
  tab.onclick = () => show(tab.dataset.view);
  tab.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(n + step + tabs.length) % tabs.length];
    show(next.dataset.view);
    next.focus();
  };
});
show("play");

connection.on("open", () => { $("lost").hidden = true; });
connection.on("lost", () => { $("lost").hidden = false; });
connection.on("error", ({ text }) => note(text, true));
connection.on("note", ({ text }) => note(text));
connection.on("hello", (hello) => { $("sound").hidden = !hello.sound; });
connection.on("picture", (data) => { picture.take(data); pictures.push(performance.now()); if (pictures.length > 500) pictures.shift(); });
connection.on("state", (now) => {
  state = now;
  $("instrument").textContent = now.instrument;
  $("song").setAttribute("aria-pressed", now.transport.playing);
  if (document.activeElement !== $("bpm")) $("bpm").value = now.transport.bpm;
  $("record").setAttribute("aria-pressed", now.recording);
  if (!now.recording) $("recorded").textContent = "";
});
connection.on("frame", (frame) => {
  const beat = Math.floor(frame.beat + 1e-6), text = `${Math.floor(beat / 4) + 1}.${beat % 4 + 1}`;
  if ($("beat").textContent !== text) $("beat").textContent = text;
  $("beat").classList.toggle("on", frame.beat - beat < 0.25);
  if (frame.recorded !== undefined) $("recorded").textContent = `${frame.recorded.toFixed(1)} s`;
});

async function toggleSound() {
  const wanted = $("sound").getAttribute("aria-pressed") !== "true";
  $("sound").setAttribute("aria-pressed", wanted);
  try {
    if (wanted) await sound.start(state?.sample_rate ?? 44100);
    else await sound.stop();
  } catch (error) {
    $("sound").setAttribute("aria-pressed", false);
    note(`No sound: ${error.message}`, true);
  }
}
const toggleSong = () => connection.send("transport", { playing: !state?.transport.playing });
const toggleRecord = () => connection.send("record", { on: !state?.recording });
$("sound").onclick = toggleSound;
$("song").onclick = toggleSong;
$("record").onclick = toggleRecord;
$("locate").onclick = () => connection.send("transport", { locate: 0 });
$("bpm").onchange = () => connection.send("transport", { bpm: Number($("bpm").value) });
$("help").onclick = () => $("keys").showModal();

const KEYS = [
  ["A", "Sound in this page"], ["Space", "Start or stop the song"], ["Home", "To beat 0"], ["G", "Record a gesture"], ["?", "These keys"],
  ["Arrows", "On the pad: move; Shift: further"], ["Page Up, Page Down", "On the pad: press"],
  ["1 … 9", "Loops: choose"], ...LOOP_KEYS,
  ["V F L P", "Build: move, freehand, polyline, play"], ["Enter, Escape", "Build: end a polyline, leave it"], ["Delete", "Build: remove a path"], ["Ctrl+Z, Ctrl+Y", "Build: undo, redo"],
];
$("keys-list").append(...KEYS.flatMap(([key, text]) => [element("dt", { textContent: key }), element("dd", { textContent: text })]));

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || views[view].key?.(event)) { event.preventDefault(); return; }
  if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " " && event.target.closest("button, [role=tab], input, summary")) return;
  const found = { a: toggleSound, " ": toggleSong, g: toggleRecord, "?": () => $("keys").showModal(), Home: $("locate").onclick }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!found) return;
  event.preventDefault();
  found();
});

function draw(now) {
  frames.push(now);
  if (frames.length > 600) frames.shift();
  views[view].draw(now);
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);
connection.open();
