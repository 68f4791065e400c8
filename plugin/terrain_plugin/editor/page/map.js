// The view Sound map: the sounds that an instrument was made of, each frame at its place.

import { $ } from "./dom.js";
import { Surface } from "./surface.js";

const FROM_MAP = 1;  // of the parameter Source

export class MapView {
  #map = { positions: [], names: [] };
  #frame = null;
  #colours = [];
  #nearest = -1;

  constructor({ connection, hand, picture }) {
    this.surface = new Surface($("map-pad"), picture, { draw: (g, surface, ratio) => this.#over(g, surface, ratio), pointer: hand.pointer });
    $("map-pad").addEventListener("keydown", hand.key);
    connection.on("map", (map) => {
      this.#map = map;
      const names = [...new Set(map.names)];
      this.#colours = map.names.map((name) => `hsl(${Math.round(360 * names.indexOf(name) / names.length)} 85% 65%)`);
      $("map-text").textContent = map.positions.length
        ? `${map.positions.length} places of ${names.length} sounds. With Source at Map the pointer plays them: the nearest (Snap), or a blend of neighbours.`
        : "This instrument has no sound map; one that you build has.";
    });
    connection.on("frame", (frame) => {
      this.#frame = frame;
      if (frame.parameters?.source !== undefined) this.source = frame.parameters.source;
    });
    connection.on("state", ({ parameters }) => { this.source = parameters.source; });
  }

  draw() {
    this.surface.draw();
    $("nearest").textContent = this.#nearest < 0 ? "none" : this.#map.names[this.#nearest];
  }

  #over(g, surface, ratio) {
    if (this.source === FROM_MAP) { g.fillStyle = "rgba(10, 12, 16, .7)"; g.fillRect(0, 0, g.canvas.width, g.canvas.height); }
    let best = Infinity;
    this.#nearest = -1;
    this.#map.positions.forEach(([x, y], n) => {
      surface.ring(g, x, y, 3.5 * ratio, this.#colours[n], true);
      const away = this.#frame ? Math.hypot(x - this.#frame.x, y - this.#frame.y) : 1;
      if (away < best) { best = away; this.#nearest = n; }
    });
    if (!this.#frame) return;
    g.lineWidth = 2 * ratio;
    if (this.#nearest >= 0) surface.ring(g, ...this.#map.positions[this.#nearest], 9 * ratio, "#fff");
    surface.ring(g, this.#frame.x, this.#frame.y, 8 * ratio, "#ff7a1a");
  }
}
