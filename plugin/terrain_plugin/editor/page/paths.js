// The view Trajectories: paths that play the terrain, and gestures that were recorded.

import { $, button, element, note, rows } from "./dom.js";
import { Surface } from "./surface.js";

const NEAR = 0.003;

export class PathsView {
  #drawing = null;
  #redraw = null;
  #frame = null;
  #state = { trajectories: [], gestures: [], playback: null };
  #formats = [];
  #count = 0;

  constructor({ connection, hand, picture }) {
    this.connection = connection;
    this.hand = hand;
    this.surface = new Surface($("path-pad"), picture, {
      draw: (g, surface, ratio) => this.#over(g, surface, ratio),
      pointer: (kind, point, event) => this.#pointer(kind, point, event),
    });
    $("path-pad").addEventListener("keydown", hand.key);
    connection.on("hello", ({ formats }) => { this.#formats = formats; });
    connection.on("state", (state) => this.#take(state));
    connection.on("frame", (frame) => { this.#frame = frame; });
    $("draw").onclick = () => $("draw").setAttribute("aria-pressed", $("draw").getAttribute("aria-pressed") !== "true");
    $("path-stop").onclick = () => connection.send("trajectory_stop");
    for (const id of ["path-mode", "path-seconds", "path-beats", "path-speed", "path-reverse"]) $(id).onchange = () => {
      if (this.#state.playback !== null) this.#play(this.#state.playback);
    };
  }

  #pointer(kind, point, event) {
    if ($("draw").getAttribute("aria-pressed") !== "true") { this.hand.pointer(kind, point, event); return; }
    if (kind === "down") this.#drawing = [[point.x, point.y]];
    if (!this.#drawing) return;
    const [x, y] = this.#drawing.at(-1);
    if (Math.hypot(point.x - x, point.y - y) > NEAR && this.#drawing.length < 4000) this.#drawing.push([point.x, point.y]);
    if (kind !== "up") return;
    const points = this.#drawing;
    this.#drawing = null;
    if (points.length < 2) { note("Draw a path with a longer stroke."); return; }
    if (this.#redraw !== null) {
      this.connection.send("trajectory_redraw", { id: this.#redraw, points });
      this.#redraw = null;
    } else this.connection.send("trajectory_add", { name: $("path-name").value.trim() || `Path ${++this.#count}`, points });
  }

  #play(id) {
    this.connection.send("trajectory_play", {
      id, mode: $("path-mode").value, seconds: Number($("path-seconds").value), beats: Number($("path-beats").value),
      speed: Number($("path-speed").value), reverse: $("path-reverse").checked,
    });
  }

  #take(state) {
    this.#state = state;
    this.#count = Math.max(this.#count, state.trajectories.length);
    rows($("paths"), state.trajectories, (path) => [path.id, path.name, path.id === state.playback], ({ id, name }) => {
      const field = element("input", { value: name, maxLength: 80, "aria-label": "Name", onchange: () => this.connection.send("trajectory_rename", { id, name: field.value || name }) });
      return element("li", {}, field,
        button(id === state.playback ? "Playing" : "Play", `Play ${name}`, () => this.#play(id)),
        button("Redraw", `Draw ${name} anew`, () => { this.#redraw = id; $("draw").setAttribute("aria-pressed", "true"); note(`Draw ${name} anew.`); }),
        button("×", `Delete ${name}`, () => this.connection.send("trajectory_delete", { id })));
    });
    rows($("gestures"), state.gestures, ({ id, name }) => [id, name], ({ id, name, seconds, lanes }) => {
      const field = element("input", { value: name, maxLength: 80, "aria-label": "Name", onchange: () => this.connection.send("gesture_rename", { id, name: field.value || name }) });
      const row = element("li", {}, field, element("span", { className: "number", textContent: `${seconds.toFixed(1)} s`, title: lanes.join(", ") }));
      for (const format of [...this.#formats, "wav"]) row.append(element("a", { href: `gesture/${id}/${format}`, download: "", textContent: format }));
      row.append(button("As trajectory", `${name} as a trajectory`, () => this.connection.send("gesture_trajectory", { id })),
        button("×", `Delete ${name}`, () => this.connection.send("gesture_delete", { id })));
      return row;
    });
  }

  draw() { this.surface.draw(); }

  #over(g, surface, ratio) {
    g.lineWidth = 2 * ratio;
    for (const { id, points } of this.#state.trajectories) {
      g.strokeStyle = id === this.#state.playback ? "#ff9d4d" : "rgba(255, 255, 255, .75)";
      surface.path(g, points);
      surface.ring(g, ...points[0], 5 * ratio, g.strokeStyle);
    }
    if (this.#drawing) { g.strokeStyle = "#5fd39a"; surface.path(g, this.#drawing); }
    if (this.#frame) surface.ring(g, this.#frame.x, this.#frame.y, 7 * ratio, "#ff7a1a", true);
  }
}
