// A path of corners with two handles each, as a pen tool draws it. Points are [x, y] in the unit square.

const HIT = 14;  // pixels round a corner or a handle

export class Curve {
  corners = [];  // { at, before, after }
  #grip = null;
  chosen = null;  // the corner that Delete takes

  // From a path's control points: anchor, handle, handle, anchor, ...
  static of(controls) {
    const curve = new Curve(), mirrored = ([x, y], [hx, hy]) => [2 * x - hx, 2 * y - hy];
    for (let n = 0; n < controls.length; n += 3) {
      const at = controls[n], before = controls[n - 1], after = controls[n + 1];
      curve.corners.push({ at, before: before ?? mirrored(at, after), after: after ?? mirrored(at, before) });
    }
    return curve;
  }

  get controls() {
    return this.corners.flatMap(({ at, before, after }, n) => [...(n ? [before] : []), at, ...(n < this.corners.length - 1 ? [after] : [])]);
  }

  // A handle moves alone, a corner takes both of its handles along, or has them pulled out anew (`pull`); elsewhere there
  // is a new corner, out of which both are pulled.
  down(point, surface, pull = false) {
    this.#grip = this.#under(point, surface);
    if (pull && this.#grip?.part === "at") this.#grip.part = "both";
    if (!this.#grip) {
      const at = [point.x, point.y];
      this.corners.push({ at, before: at, after: at });
      this.#grip = { corner: this.corners.at(-1), part: "both" };
    }
    this.chosen = this.#grip.corner;
  }

  move({ x, y }) {
    if (!this.#grip) return;
    const { corner, part } = this.#grip, [ax, ay] = corner.at;
    if (part === "at") {
      const shifted = ([hx, hy]) => [hx + x - ax, hy + y - ay];
      Object.assign(corner, { at: [x, y], before: shifted(corner.before), after: shifted(corner.after) });
    } else {
      corner[part === "both" ? "after" : part] = [x, y];
      if (part === "both") corner.before = [2 * ax - x, 2 * ay - y];
    }
  }

  up() {
    const moved = Boolean(this.#grip);
    this.#grip = null;
    return moved;
  }

  // Take the chosen corner out; whether there was one that could go.
  remove() {
    if (!this.chosen || this.corners.length < 3) return false;
    this.corners = this.corners.filter((corner) => corner !== this.chosen);
    this.chosen = null;
    return true;
  }

  #under(point, surface) {
    const [px, py] = surface.at(point.x, point.y);
    let best = null, near = HIT * (devicePixelRatio || 1);
    // Corners first: a handle that lies on its corner is pulled out of it.
    for (const part of ["at", "after", "before"]) for (const corner of this.corners) {
      const [qx, qy] = surface.at(...corner[part]), away = Math.hypot(px - qx, py - qy);
      if (away < near) { near = away; best = { corner, part }; }
    }
    return best;
  }

  draw(g, surface, ratio) {
    g.strokeStyle = g.fillStyle = "#fff";
    g.lineWidth = 2 * ratio;
    if (this.corners.length > 1) {
      g.beginPath();
      g.moveTo(...surface.at(...this.corners[0].at));
      for (let n = 1; n < this.corners.length; n++) {
        const from = this.corners[n - 1], to = this.corners[n];
        g.bezierCurveTo(...surface.at(...from.after), ...surface.at(...to.before), ...surface.at(...to.at));
      }
      g.stroke();
    }
    g.lineWidth = ratio;
    for (const corner of this.corners) {
      for (const handle of [corner.before, corner.after]) {
        surface.path(g, [corner.at, handle]);
        surface.ring(g, ...handle, 4 * ratio, "#fff");
      }
      surface.ring(g, ...corner.at, 5 * ratio, corner === this.chosen ? "#ff7a1a" : "#fff", true);
    }
  }
}
