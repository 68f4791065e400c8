// A canvas that shows the unit square: the terrain's picture, whatever is drawn on it, zoom and pan, pointers.

const MOST_ZOOM = 40;

export class Surface {
  // handlers: down(point, event), move(point, event), up(point, event), wheel is the surface's own if `zoomable`
  constructor(canvas, picture, { zoomable = false, draw = () => {}, pointer = null } = {}) {
    this.canvas = canvas;
    this.picture = picture;
    this.view = { x: 0, y: 0, size: 1 };
    this.drawOver = draw;
    this.#follow(pointer, zoomable);
  }

  #follow(pointer, zoomable) {
    const canvas = this.canvas;
    let panned = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus({ preventScroll: true });
      try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that a program made up */ }
      if (zoomable && (event.button === 1 || event.button === 2 || event.shiftKey)) panned = { x: event.clientX, y: event.clientY };
      else if (event.button === 0) pointer?.("down", this.unit(event), event);
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (panned) {
        const box = canvas.getBoundingClientRect();
        this.pan((panned.x - event.clientX) / box.width, (panned.y - event.clientY) / box.height);
        panned = { x: event.clientX, y: event.clientY };
      } else pointer?.("move", this.unit(event), event);
    });
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => {
      if (panned) panned = null;
      else pointer?.("up", this.unit(event), event);
    });
    if (!zoomable) return;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), this.unit(event, false));
    }, { passive: false });
  }

  zoom(factor, about = { x: this.view.x + this.view.size / 2, y: this.view.y + this.view.size / 2 }) {
    const size = Math.min(Math.max(this.view.size / factor, 1 / MOST_ZOOM), 1);
    const scale = size / this.view.size;
    this.view = { x: about.x - (about.x - this.view.x) * scale, y: about.y - (about.y - this.view.y) * scale, size };
    this.pan(0, 0);
  }

  pan(dx, dy) {
    const { size } = this.view, within = (value) => Math.min(Math.max(value, 0), 1 - size);
    this.view = { x: within(this.view.x + dx * size), y: within(this.view.y + dy * size), size };
  }

  unit(event, clamp = true) {
    const box = this.canvas.getBoundingClientRect();
    const x = this.view.x + (event.clientX - box.left) / box.width * this.view.size;
    const y = this.view.y + (event.clientY - box.top) / box.height * this.view.size;
    return clamp ? { x: Math.min(Math.max(x, 0), 1), y: Math.min(Math.max(y, 0), 1) } : { x, y };
  }

  // Pixels of a point of the unit square.
  at(x, y) {
    const { canvas, view } = this;
    return [(x - view.x) / view.size * canvas.width, (y - view.y) / view.size * canvas.height];
  }

  draw() {
    const { canvas, picture, view } = this;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const g = canvas.getContext("2d");
    g.imageSmoothingEnabled = true;
    const source = picture.canvas;
    if (picture.revision) {
      g.drawImage(source, view.x * source.width, view.y * source.height, view.size * source.width, view.size * source.height, 0, 0, width, height);
    } else { g.fillStyle = "#15181d"; g.fillRect(0, 0, width, height); }
    this.drawOver(g, this, ratio);
  }

  path(g, points) {
    g.beginPath();
    points.forEach(([x, y], n) => { const [px, py] = this.at(x, y); if (n) g.lineTo(px, py); else g.moveTo(px, py); });
    g.stroke();
  }

  ring(g, x, y, radius, colour, fill = false) {
    const [px, py] = this.at(x, y);
    g.beginPath();
    g.arc(px, py, radius, 0, 2 * Math.PI);
    if (fill) { g.fillStyle = colour; g.fill(); } else { g.strokeStyle = colour; g.stroke(); }
  }
}
