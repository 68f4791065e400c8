// A pointer that plays: X and Y of the surface, pressure of a pen or a touch, and of the mouse what a slider says.

import { $ } from "./dom.js";

const SETTLED_MS = 500;

export class Hand {
  plugin = false;  // whether a DAW listens: then every hand is a gesture, and a hand without pressure leaves it alone
  seq = 0;
  pressed = false;
  place = { x: 0.5, y: 0.5 };
  pressure = 1;
  #played = -Infinity;
  latencies = [];
  #sent = new Map();

  constructor(connection) {
    this.connection = connection;
    connection.on("hello", () => { this.seq = Math.max(this.seq, Math.floor(Date.now() * 1000)); });  // two pages, one count
    connection.on("frame", (frame) => {
      for (const [seq, at] of this.#sent) {
        if (seq > frame.seq) break;
        this.#sent.delete(seq);
        if (seq === frame.seq) this.latencies.push(performance.now() - at);
      }
      if (this.latencies.length > 2000) this.latencies.splice(0, 1000);
    });
  }

  pointer = (kind, point, event) => {
    if (kind === "down") this.pressed = true;
    if (!this.pressed) return;
    if (kind === "up") this.pressed = false;
    const silent = kind === "up" && ($("release").checked || event.pointerType === "pen");
    this.play(point.x, point.y, silent ? 0 : this.#pressure(event, kind), event.timeStamp, kind !== "up");
  };

  #pressure(event, kind) {
    const { pointerType, pressure } = event;
    if (pointerType === "pen" && kind !== "up") return pressure;
    // A screen that feels no pressure says 0.5, or 1, for every touch.
    if (pointerType === "touch" && kind !== "up" && pressure > 0 && pressure !== 0.5 && pressure !== 1) return pressure;
    if (this.plugin) return $("release").checked ? 1 : null;
    return Number($("mouse-pressure").value);
  }

  // Where the sound is, for the next key to start from. A frame older than the last key, or one that still glides
  // towards it, would take the key back.
  follow({ x, y, p, seq }) {
    this.pressure = p;
    if (!this.pressed && seq >= this.seq && performance.now() - this.#played > SETTLED_MS) this.place = { x, y };
  }

  // `held`: the hand stays; else it is lifted after this.
  play(x, y, pressure, at = performance.now(), held = false) {
    this.place = { x, y };
    this.#played = performance.now();
    this.seq += 1;
    this.#sent.set(this.seq, at);
    if (this.#sent.size > 500) this.#sent.clear();
    this.connection.send("pointer", { x, y, pressure, seq: this.seq, held });
  }

  // Arrow keys move, Page Up and Page Down press.
  key = (event) => {
    const step = event.shiftKey ? 0.1 : 0.01;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const slider = $("mouse-pressure");
    if (this.plugin && ["PageUp", "PageDown"].includes(event.key)) {
      event.preventDefault();
      this.pressure = Math.min(Math.max(this.pressure + (event.key === "PageUp" ? step : -step), 0), 1);
      this.connection.send("set", { values: { pressure: this.pressure } });
      return;
    }
    if (event.key === "PageUp") slider.value = Number(slider.value) + step;
    else if (event.key === "PageDown") slider.value = Number(slider.value) - step;
    else if (!moves[event.key]) return;
    event.preventDefault();
    const [dx, dy] = moves[event.key] ?? [0, 0];
    const within = (value) => Math.min(Math.max(value, 0), 1);
    const pressure = this.plugin ? null : Number(slider.value);
    this.play(within(this.place.x + dx), within(this.place.y + dy), pressure, event.timeStamp);
  };
}
