// The view Loops: each looper a ring, its first three latents as colours round it; every action a button and a key.

import { $, button, css, element, typing } from "./dom.js";

const ACTIONS = [
  ["record", "R"], ["play", "P"], ["overdub", "O"], ["replace", "E"], ["substitute", "S"], ["multiply", "M"],
  ["insert", "I"], ["stop", "X"], ["mute", "U"], ["undo", "Z"], ["redo", "Y"], ["clear", "C"], ["reverse", "V"],
  ["half", "H"], ["double", "D"], ["trigger", "T"], ["one-shot", "N"], ["freeze", "F"],
];
export const LOOP_KEYS = ACTIONS.map(([action, key]) => [key, `Loops: ${action}`]);
const WRITING = new Set(["recording", "overdubbing", "replacing", "substituting", "multiplying", "inserting"]);

export class LoopsView {
  #rings = new Map();
  #slot = 1;
  #loops = [];

  constructor({ connection }) {
    this.connection = connection;
    connection.on("state", ({ loops }) => this.#make(loops));
    connection.on("frame", (frame) => {
      this.beat = frame.beat;
      for (const loop of frame.loops ?? []) this.#take(loop);
    });
    $("actions").append(...ACTIONS.map(([action, key]) => {
      const made = button("", `${action} (${key})`, () => this.#do(action));
      made.append(action, " ", element("kbd", { textContent: key }));
      made.dataset.action = action;
      return made;
    }));
  }

  #do(action) { this.connection.send("loop", { slot: this.#slot, action }); }

  #choose(slot) {
    if (slot > this.#loops.length) return;
    this.#slot = slot;
    $("slot").textContent = this.#loops[slot - 1];
    this.#loops.forEach((name, n) => {
      const ring = this.#rings.get(name).element;
      ring.setAttribute("aria-checked", n + 1 === slot);
      ring.tabIndex = n + 1 === slot ? 0 : -1;
    });
  }

  key(event) {
    if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return false;
    if (/^[1-9]$/.test(event.key)) { this.#choose(Number(event.key)); return true; }
    const found = ACTIONS.find(([, key]) => key === event.key.toUpperCase());
    if (found) this.#do(found[0]);
    return Boolean(found);
  }

  #make(loops) {
    if (JSON.stringify(loops) === JSON.stringify(this.#loops)) return;
    this.#loops = loops;
    this.#rings.clear();
    $("rings").replaceChildren(...loops.map((name, n) => {
      const canvas = element("canvas", { width: 288, height: 288 });
      const state = element("span", { className: "state", textContent: "empty" });
      const more = element("span", { className: "undo", textContent: " " });
      const ring = element("button", { className: "ring", role: "radio", onclick: () => this.#choose(n + 1), onkeydown: (event) => this.#arrow(event, n + 1) },
        element("span", { textContent: `${n + 1}: ${name}` }), canvas, state, more);
      this.#rings.set(name, { element: ring, canvas, state, more, colours: [], loop: null });
      return ring;
    }));
    this.#choose(Math.min(this.#slot, loops.length));
  }

  #arrow(event, slot) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.#choose(Math.min(Math.max(slot + step, 1), this.#loops.length));
    this.#rings.get(this.#loops[this.#slot - 1]).element.focus();
  }

  #take(loop) {
    const ring = this.#rings.get(loop.name);
    if (!ring) return;
    if (loop.ring) ring.colours = loop.ring;
    ring.loop = loop;
    const { state } = loop;
    ring.state.textContent = loop.muted ? `${state}, muted` : state;
    ring.state.className = `state ${WRITING.has(state) ? "writing" : state.startsWith("waiting") ? "armed" : state === "playing" ? "playing" : ""}`;
    const text = loop.beats ? `${loop.beats} beats, undo ${loop.undo}, redo ${loop.redo}` : " ";
    if (ring.more.textContent !== text) ring.more.textContent = text;
  }

  draw() {
    const line = css("--line"), text = css("--text"), accent = css("--accent");
    for (const { canvas, colours, loop } of this.#rings.values()) {
      const g = canvas.getContext("2d"), middle = canvas.width / 2, turn = 2 * Math.PI;
      g.clearRect(0, 0, canvas.width, canvas.height);
      g.lineWidth = 26;
      const radius = middle - 30;
      if (!colours.length) { g.strokeStyle = line; g.beginPath(); g.arc(middle, middle, radius, 0, turn); g.lineWidth = 2; g.stroke(); }
      colours.forEach(([a, b = 50, c = 50], n) => {
        g.strokeStyle = `rgb(${60 + 1.9 * a} ${60 + 1.9 * b} ${60 + 1.9 * c})`;
        g.beginPath();
        g.arc(middle, middle, radius, (n / colours.length - 0.25) * turn, ((n + 1.1) / colours.length - 0.25) * turn);
        g.stroke();
      });
      if (!loop) continue;
      const angle = (loop.phase - 0.25) * turn;
      if (loop.beats) {
        g.strokeStyle = text;
        g.lineWidth = 5;
        g.beginPath();
        g.moveTo(middle + (radius - 20) * Math.cos(angle), middle + (radius - 20) * Math.sin(angle));
        g.lineTo(middle + (radius + 18) * Math.cos(angle), middle + (radius + 18) * Math.sin(angle));
        g.stroke();
      }
      // The beat, in the middle.
      const beat = (this.beat ?? 0) % 4;
      for (let n = 0; n < 4; n++) {
        g.beginPath();
        g.arc(middle - 36 + 24 * n, middle, Math.floor(beat) === n ? 9 : 5, 0, turn);
        g.fillStyle = Math.floor(beat) === n ? accent : line;
        g.fill();
      }
    }
  }
}
