// The view Build: sounds dropped in, encoded, laid out, drawn; a terrain that grows through them.

import { $, button, css, element, note, rows, typing } from "./dom.js";
import { Curve } from "./curve.js";
import { Surface } from "./surface.js";

const COLOURS = ["#ff9d4d", "#5fd39a", "#6db7ff", "#ff8a94", "#ffd166", "#c79bff", "#7ee0e6", "#e9e9e9"];
const NEAR = 0.004, HIT = 14;

export class BuildView {
  #state = { sounds: [], curve: [], stage: "idle" };
  #tool = "move";
  #chosen = null;
  #drawing = null;
  #pen = null;  // the Bézier path that is being drawn, or whose handles are shown
  #moving = null;
  #frame = null;

  constructor({ connection, hand, picture }) {
    this.connection = connection;
    this.hand = hand;
    this.surface = new Surface($("build-pad"), picture, {
      zoomable: true,
      draw: (g, surface, ratio) => this.#over(g, surface, ratio),
      pointer: (kind, point, event) => this.#pointer(kind, point, event),
    });
    connection.on("build", (state) => this.#take(state));
    connection.on("frame", (frame) => { this.#frame = frame; });
    connection.on("state", ({ library }) => rows($("library"), library, (name) => name, (name) =>
      element("li", {}, element("span", { className: "grow", textContent: name }), button("Play", `Play ${name}`, () => connection.send("open", { name })))));
    for (const made of document.querySelectorAll("[data-tool]")) made.onclick = () => this.#use(made.dataset.tool);
    const asks = { undo: "build_undo", redo: "build_redo", encode: "build_encode", cancel: "build_cancel", "train-stop": "build_stop", listen: "build_play" };
    for (const [id, ask] of Object.entries(asks)) $(id).onclick = () => connection.send(ask);
    $("layout-map").onclick = () => connection.send("build_layout", { method: "map" });
    $("layout-packed").onclick = () => connection.send("build_layout", { method: "packed" });
    $("zoom-in").onclick = () => this.surface.zoom(1.5);
    $("zoom-out").onclick = () => this.surface.zoom(1 / 1.5);
    $("zoom-all").onclick = () => this.surface.zoom(1e-3);
    $("train").onclick = () => this.#train(true);
    $("train-on").onclick = () => this.#train(false);
    $("save").onclick = () => connection.send("build_save", { name: $("save-name").value.trim() || "mine" });
    $("files").onchange = () => { this.#upload([...$("files").files]); $("files").value = ""; };
    $("build-pad").addEventListener("dblclick", () => {  // who plays with a finger has no Enter
      if (this.#tool === "bezier" && this.#penIsNew) this.#endPen();
      else if (this.#tool === "polyline") this.#finish(false);
    });
    this.#acceptDrops();
  }

  #train(fresh) {
    this.connection.send("build_train", { epochs: Number($("epochs").value), rate: Number($("rate").value), fresh });
  }

  #acceptDrops() {
    const place = $("view-build"), box = $("drop");
    place.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("over"); });
    place.addEventListener("dragleave", () => box.classList.remove("over"));
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      box.classList.remove("over");
      this.#upload([...event.dataTransfer.files]);
    });
  }

  async #upload(files) {
    let taken = 0;
    for (const file of files) {
      const answer = await fetch(`upload?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file }).catch(() => null);
      if (answer?.ok) taken += 1;
      else note(answer ? await answer.text() : `${file.name} could not be sent`, true);
    }
    if (taken && this.#state.stage === "idle") this.connection.send("build_encode");
  }

  #use(tool) {
    this.#tool = tool;
    this.#drawing = null;
    this.#showPen();
    for (const made of document.querySelectorAll("[data-tool]")) made.setAttribute("aria-pressed", made.dataset.tool === tool);
  }

  // The handles of the chosen sound's path, where it was drawn with some.
  #showPen() {
    const controls = this.#state.sounds.find(({ id }) => id === this.#chosen)?.controls;
    const corner = this.#pen?.corners.indexOf(this.#pen.chosen) ?? -1;
    this.#pen = this.#tool === "bezier" && controls ? Curve.of(controls) : null;
    if (this.#pen) this.#pen.chosen = this.#pen.corners[corner] ?? null;
    this.#penIsNew = !this.#pen;
  }

  #penIsNew = true;
  #endPen() {
    if (!this.#pen || this.#chosen === null || this.#pen.corners.length < 2) return;
    this.#penIsNew = false;
    this.connection.send("build_curve", { id: this.#chosen, controls: this.#pen.controls });
  }

  key(event) {
    if (typing(event)) return false;
    if ((event.ctrlKey || event.metaKey) && "zy".includes(event.key.toLowerCase())) {
      this.connection.send(event.key.toLowerCase() === "y" || event.shiftKey ? "build_redo" : "build_undo");
      return true;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    if (event.key === "Enter" && this.#tool === "bezier" && this.#pen) { this.#endPen(); return true; }
    if (event.key === "Delete" && this.#pen?.remove()) { if (!this.#penIsNew) this.#endPen(); return true; }
    if (event.key === "Enter" && this.#drawing && this.#tool === "polyline") { this.#finish(false); return true; }
    if (event.key === "Escape") { this.#drawing = this.#moving = null; this.#showPen(); return true; }
    if (event.key === "Delete" && this.#chosen !== null) { this.connection.send("build_remove_path", { id: this.#chosen }); return true; }
    const tools = { v: "move", f: "freehand", l: "polyline", b: "bezier", p: "play" }, tool = tools[event.key.toLowerCase()];
    if (tool) { this.#use(tool); return true; }
    const step = event.shiftKey ? 0.05 : 0.01;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.target === $("build-pad") && moves[event.key]) {
      event.preventDefault();
      if (this.#tool === "play") this.hand.key(event);
      else if (this.#chosen !== null) { const [dx, dy] = moves[event.key]; this.connection.send("build_move", { id: this.#chosen, dx, dy }); }
      return true;
    }
    return false;
  }

  #finish(freehand) {
    const points = this.#drawing;
    this.#drawing = null;
    if (points && this.#chosen !== null) this.connection.send("build_path", { id: this.#chosen, points, freehand });
  }

  #pointer(kind, point, event) {
    const tool = this.#tool;
    if (tool === "play") { this.hand.pointer(kind, point, event); return; }
    if (tool === "move") {
      if (kind === "down") { this.#chosen = this.#under(point) ?? this.#chosen; this.#moving = this.#under(point) === null ? null : { from: point, to: point }; this.#list(); }
      else if (this.#moving) this.#moving.to = point;
      if (kind === "up" && this.#moving) {
        const { from, to } = this.#moving;
        this.#moving = null;
        if (from.x !== to.x || from.y !== to.y) this.connection.send("build_move", { id: this.#chosen, dx: to.x - from.x, dy: to.y - from.y });
      }
      return;
    }
    if (kind === "down" && this.#chosen === null) { note("Choose a sound in the list first."); return; }
    if (tool === "bezier") {
      if (kind === "down") { this.#pen ??= new Curve(); this.#pen.down(point, this.surface, event.altKey); }
      else if (kind === "move") this.#pen?.move(point);
      else if (this.#pen?.up() && !this.#penIsNew) this.#endPen();
      return;
    }
    if (tool === "polyline") {
      if (kind === "down") {
        this.#drawing = [...(this.#drawing ?? []), [point.x, point.y]];
      }
      return;
    }
    if (kind === "down") this.#drawing = [[point.x, point.y]];
    if (!this.#drawing) return;
    const [x, y] = this.#drawing.at(-1);
    if (Math.hypot(point.x - x, point.y - y) > NEAR && this.#drawing.length < 4000) this.#drawing.push([point.x, point.y]);
    if (kind === "up") this.#finish(true);
  }

  #under(point) {
    const [px, py] = this.surface.at(point.x, point.y);
    let best = null, near = HIT * (devicePixelRatio || 1);
    for (const { id, path } of this.#state.sounds) for (const [x, y] of path ?? []) {
      const [qx, qy] = this.surface.at(x, y), away = Math.hypot(px - qx, py - qy);
      if (away < near) { near = away; best = id; }
    }
    return best;
  }

  #take(state) {
    const before = this.#state.sounds.find(({ id }) => id === this.#chosen)?.controls;
    this.#state = state;
    const now = state.sounds.find(({ id }) => id === this.#chosen)?.controls;
    if (JSON.stringify(before) !== JSON.stringify(now)) this.#showPen();  // drawn, undone, or drawn on another page
    if (this.#chosen !== null && !state.sounds.some(({ id }) => id === this.#chosen)) this.#chosen = null;
    const busy = state.stage !== "idle";
    $("stage").textContent = state.stage === "encoding" ? `Encoding ${state.what} (${state.done + 1} of ${state.total})`
      : state.stage === "training" ? `Training: epoch ${state.done} of ${state.total}` : "Nothing is going on";
    $("progress").value = state.total && busy ? state.done / state.total : 0;
    $("undo").disabled = !state.undo;
    $("redo").disabled = !state.redo;
    $("cancel").disabled = state.stage !== "encoding";
    $("train-stop").disabled = state.stage !== "training";
    $("train").disabled = busy || !state.sounds.some(({ path }) => path);
    $("train-on").disabled = $("listen").disabled = busy || !state.trained;
    $("save").disabled = !state.trained;
    const last = state.curve.at(-1), { report } = state;
    $("report").textContent = report.psnr !== undefined
      ? `${report.psnr.toFixed(1)} dB PSNR after ${report.epochs} epochs, ${report.seconds.toFixed(1)} s${report.stopped ? ", stopped" : ""}`
      : last ? `loss ${last[1].toPrecision(3)}, ${last[2].toFixed(1)} dB PSNR` : "";
    this.#list();
    this.#curve();
  }

  #list() {
    rows($("sounds"), this.#state.sounds, (sound) => [sound.id, sound.name, sound.frames, sound.problem, Boolean(sound.path), sound.id === this.#chosen], (sound) => {
      const { id, name, frames, problem, path } = sound;
      const text = problem || (frames ? `${frames} frames${path ? "" : ", no path"}` : "not encoded");
      return element("li", {},
        button(name, `Choose ${name}`, () => { this.#chosen = id; this.#showPen(); this.#list(); }, { className: id === this.#chosen ? "grow chosen" : "grow", "aria-pressed": String(id === this.#chosen) }),
        element("span", { className: problem ? "bad" : "number", textContent: text }),
        button("No path", `Remove the path of ${name}`, () => this.connection.send("build_remove_path", { id }), { disabled: !path }),
        button("×", `Remove ${name}`, () => this.connection.send("build_remove", { id })));
    });
  }

  #curve() {
    const g = $("curve").getContext("2d"), { width, height } = g.canvas, { curve } = this.#state;
    g.fillStyle = css("--back");
    g.fillRect(0, 0, width, height);
    if (curve.length < 2) return;
    const first = curve[0][0], span = Math.max(curve.at(-1)[0] - first, 1);
    const line = (values, colour, name, row) => {
      const low = Math.min(...values), high = Math.max(...values);
      g.strokeStyle = g.fillStyle = colour;
      g.lineWidth = 2;
      g.beginPath();
      values.forEach((value, n) => g.lineTo((curve[n][0] - first) / span * width, 4 + (height - 8) * (1 - (value - low) / (high - low || 1))));
      g.stroke();
      g.font = "12px system-ui";
      g.fillText(name, 6, 14 + 14 * row);
    };
    line(curve.map(([, loss]) => Math.log10(Math.max(loss, 1e-12))), css("--bad"), "loss (log)", 0);
    line(curve.map(([, , psnr]) => psnr), css("--good"), "PSNR", 1);
  }

  draw() { this.surface.draw(); }

  #over(g, surface, ratio) {
    g.lineJoin = "round";
    this.#state.sounds.forEach(({ id, path }, n) => {
      if (!path) return;
      const shift = this.#moving && id === this.#chosen ? [this.#moving.to.x - this.#moving.from.x, this.#moving.to.y - this.#moving.from.y] : [0, 0];
      const shown = path.map(([x, y]) => [x + shift[0], y + shift[1]]);
      g.lineWidth = (id === this.#chosen ? 4 : 2) * ratio;
      g.strokeStyle = COLOURS[n % COLOURS.length];
      surface.path(g, shown);
      surface.ring(g, ...shown[0], 5 * ratio, g.strokeStyle, true);
    });
    if (this.#drawing) {
      g.strokeStyle = "#fff";
      g.lineWidth = 2 * ratio;
      surface.path(g, this.#drawing);
      for (const [x, y] of this.#tool === "polyline" ? this.#drawing : []) surface.ring(g, x, y, 4 * ratio, "#fff", true);
    }
    if (this.#tool === "bezier") this.#pen?.draw(g, surface, ratio);
    if (this.#frame && this.#tool === "play") surface.ring(g, this.#frame.x, this.#frame.y, 7 * ratio, "#ff7a1a", true);
  }
}
