// The view Play: pad, trail, latents, level, spectrum.

import { $, css, element } from "./dom.js";
import { Surface } from "./surface.js";

const TRAIL = 160, LOWEST_DB = -60;
const SPREAD = 4;  // standard deviations that a latent's slider spans

export class PlayView {
  #trail = [];
  #frame = null;
  #shown = { x: 0.5, y: 0.5 };
  #latents = [];
  #drawn = 0;
  #spectrum = null;

  constructor({ connection, hand, picture, sound }) {
    this.connection = connection;
    this.hand = hand;
    this.sound = sound;
    this.surface = new Surface($("pad"), picture, { draw: (g, surface, ratio) => this.#over(g, surface, ratio), pointer: hand.pointer });
    $("pad").addEventListener("keydown", hand.key);
    connection.on("frame", (frame) => this.#take(frame));
    connection.on("state", (state) => this.#make(state));
    connection.on("instances", ({ chosen }) => { if (chosen !== this.chosen) { this.chosen = chosen; this.#trail = []; } });
    connection.on("hello", ({ plugin }) => { this.plugin = Boolean(plugin); });
    connection.on("hello", ({ shown_latents }) => {
      const show = $("show");
      while (show.options.length > 1) show.remove(1);
      for (let n = 0; n < shown_latents; n++) show.append(element("option", { value: n, textContent: `latent ${n + 1}` }));
    });
    $("show").onchange = $("contours").onchange = $("shading").onchange = () => {
      picture.options = { show: $("show").value, contours: $("contours").checked, shading: $("shading").checked };
      picture.draw();
    };
    $("cursor-glide").oninput = () => connection.send("cursor_glide", { ms: Number($("cursor-glide").value) });
    $("unlock").onclick = () => connection.send("unlock");
    $("preset").onchange = () => connection.send("preset", { name: $("preset").value });
  }

  #make(state) {
    if (document.activeElement !== $("cursor-glide")) $("cursor-glide").value = state.cursor_glide;
    $("preset-row").hidden = !state.presets.length;
    const presets = $("preset");
    if (presets.options.length !== state.presets.length) presets.replaceChildren(...state.presets.map((name) => element("option", { textContent: name })));
    this.state = state;
    if (this.#latents.length === state.latents && this.of === state.instrument) return;
    this.of = state.instrument;
    this.#latents = Array.from({ length: state.latents }, (_, n) => this.#latent(n, state));
    $("latents").replaceChildren(...this.#latents.map((row) => row.element));
  }

  #latent(n, { latent_mean, latent_std }) {
    const low = latent_mean[n] - SPREAD * latent_std[n], high = latent_mean[n] + SPREAD * latent_std[n];
    const send = (value) => this.connection.send("lock", { latent: n, value: Number(value) });
    const lock = element("input", {
      type: "checkbox", disabled: this.plugin, "aria-label": `Lock latent ${n + 1}`,
      onchange: () => lock.checked ? this.connection.send("lock", { latent: n }) : this.connection.send("unlock", { latent: n }),
    });
    const slider = element("input", { type: "range", min: low, max: high, step: (high - low) / 1000, disabled: this.plugin, "aria-label": `Latent ${n + 1}`, oninput: () => send(slider.value) });
    const exact = element("input", { type: "number", step: "any", disabled: this.plugin, "aria-label": `Latent ${n + 1}, exactly`, onchange: () => send(exact.value) });
    const row = element("div", { className: "latent" }, element("span", { textContent: n + 1 }), lock, slider, exact);
    return { element: row, lock, slider, exact };
  }

  #take(frame) {
    this.#frame = frame;
    this.#trail.push([frame.x, frame.y, frame.p]);
    if (this.#trail.length > TRAIL) this.#trail.shift();
    if (frame.spectrum) this.#spectrum = frame.spectrum;
    this.hand.follow(frame);
    if (frame.peak !== undefined) this.peak = { peak: frame.peak, rms: frame.rms, late: frame.late };
  }

  draw(now) {
    this.surface.draw();
    if (now - this.#drawn < 60 || !this.#frame) return;  // numbers faster than that nobody reads
    this.#drawn = now;
    const held = new Set(this.#frame.held);
    this.#latents.forEach((row, n) => {
      const value = this.#frame.z[n];
      if (value === undefined) return;  // one-shots have no frames
      row.lock.checked = held.has(n);
      row.element.classList.toggle("locked", held.has(n));
      if (document.activeElement !== row.slider) row.slider.value = value;
      if (document.activeElement !== row.exact) row.exact.value = value.toFixed(3);
    });
    this.#level();
    this.#bands();
  }

  #level() {
    if (!this.peak) return;
    const g = $("level").getContext("2d"), { width, height } = g.canvas;
    const part = (value) => Math.min(Math.max(1 - 20 * Math.log10(Math.max(value, 1e-6)) / LOWEST_DB, 0), 1);
    g.fillStyle = css("--back");
    g.fillRect(0, 0, width, height);
    g.fillStyle = this.peak.peak >= 1 ? css("--bad") : css("--good");
    g.fillRect(0, 0, width * part(this.peak.rms), height);
    g.fillRect(width * part(this.peak.peak) - 2, 0, 2, height);
    $("peak").textContent = this.peak.peak > 1e-5 ? `${(20 * Math.log10(this.peak.peak)).toFixed(1)} dB` : "-inf dB";
    const { stats, latency } = this.sound;
    const delay = latency + (this.state?.latency_ms ?? 0);
    $("measures").textContent = stats.playing
      ? `${delay.toFixed(0)} ms to the ear, ${stats.gaps} gaps, ${stats.dropped} blocks dropped`
      : `The engine's delay: ${(this.state?.latency_ms ?? 0).toFixed(1)} ms`;
    if (this.peak.late) $("measures").textContent += `, ${this.peak.late} times late`;
  }

  #bands() {
    if (!this.#spectrum) return;
    const g = $("spectrum").getContext("2d"), { width, height } = g.canvas;
    g.fillStyle = css("--back");
    g.fillRect(0, 0, width, height);
    g.fillStyle = css("--accent");
    const wide = width / this.#spectrum.length;
    this.#spectrum.forEach((db, n) => { const high = (db + 96) / 96 * height; g.fillRect(n * wide, height - high, wide - 1, high); });
  }

  #over(g, surface, ratio) {
    const frame = this.#frame;
    if (!frame) return;
    g.lineCap = "round";
    if ($("trail").checked) for (let n = 1; n < this.#trail.length; n++) {
      const [x, y, p] = this.#trail[n], [x0, y0] = this.#trail[n - 1];
      g.strokeStyle = `rgba(255, 157, 77, ${n / this.#trail.length})`;
      g.lineWidth = ratio * (1 + 5 * p);
      surface.path(g, [[x0, y0], [x, y]]);
    }
    // Frames come 43 times a second, pictures 60 times: the cursor goes on between them.
    this.#shown.x += (frame.x - this.#shown.x) * 0.5;
    this.#shown.y += (frame.y - this.#shown.y) * 0.5;
    if (this.hand.pressed) {
      g.lineWidth = ratio;
      surface.ring(g, this.hand.place.x, this.hand.place.y, 16 * ratio, "rgba(255, 255, 255, .8)");
    }
    surface.ring(g, this.#shown.x, this.#shown.y, ratio * (4 + 8 * frame.p), "#ff7a1a", true);
    g.lineWidth = 2 * ratio;
    surface.ring(g, this.#shown.x, this.#shown.y, ratio * (4 + 8 * frame.p), "#fff");
  }
}
