// A terrain's latents as pixels: one in grey, or the first in brightness and the next three in red, green and blue;
// contours where a level is crossed; shading as if light fell from the upper left on the first latent as a height.

const LEVELS = 10, LIGHT = 2.2;
const FINE = 448;  // pixels a side, about
const LOW = [0.9, 0.75, 0.6];

// Between the pixels that came, so that contours are lines and no stairs.
function upscaled(levels, width, height, finer) {
  const out = new Float32Array(width * finer * height * finer);
  for (let y = 0, i = 0; y < height * finer; y++) {
    const v = Math.min(y / finer, height - 1), y0 = Math.floor(v), y1 = Math.min(y0 + 1, height - 1), dy = v - y0;
    for (let x = 0; x < width * finer; x++, i++) {
      const u = Math.min(x / finer, width - 1), x0 = Math.floor(u), x1 = Math.min(x0 + 1, width - 1), dx = u - x0;
      const above = levels[y0 * width + x0] * (1 - dx) + levels[y0 * width + x1] * dx;
      const below = levels[y1 * width + x0] * (1 - dx) + levels[y1 * width + x1] * dx;
      out[i] = above * (1 - dy) + below * dy;
    }
  }
  return out;
}

export class Picture {
  canvas = document.createElement("canvas");
  revision = 0;
  options = { show: "colour", contours: true, shading: true };
  #data = null;

  take(data) {
    this.#data = data;
    this.draw();
  }

  draw() {
    const data = this.#data;
    if (!data) return;
    const finer = Math.max(1, Math.round(FINE / data.width));
    const width = data.width * finer, height = data.height * finer, source = data.width * data.height;
    const count = data.low.length;
    const { show, contours, shading } = this.options;
    const colour = show === "colour" && count >= 3;
    const main = show === "colour" ? 0 : Math.min(Number(show), count - 1);
    const layer = (n) => upscaled(data.levels.subarray(n * source, (n + 1) * source), data.width, data.height, finer);
    const shape = layer(main);
    const image = new ImageData(width, height), out = image.data;
    const [red, green, blue] = colour ? (count >= 4 ? [1, 2, 3] : [0, 1, 2]).map(layer) : [shape, shape, shape];
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const value = shape[i] / 255;
        let r = value, g = value, b = value;
        if (colour) {
          const base = 0.25 + 0.75 * value;
          r = base * (LOW[0] * 0.35 + red[i] / 255 * 0.65);
          g = base * (LOW[1] * 0.35 + green[i] / 255 * 0.65);
          b = base * (LOW[2] * 0.35 + blue[i] / 255 * 0.65);
        }
        const right = x + 1 < width ? shape[i + 1] : shape[i], below = y + 1 < height ? shape[i + width] : shape[i];
        if (shading) {
          const slope = 1 + LIGHT * finer * (right - shape[i] + below - shape[i]) / 64;
          const lit = Math.min(Math.max(slope, 0.45), 1.6);
          r *= lit; g *= lit; b *= lit;
        }
        if (contours) {
          const step = (v) => Math.floor(v * LEVELS / 256);
          if (step(shape[i]) !== step(right) || step(shape[i]) !== step(below)) { r = r * 0.5 + 0.45; g = g * 0.5 + 0.4; b = b * 0.5 + 0.3; }
        }
        out[4 * i] = 255 * r; out[4 * i + 1] = 255 * g; out[4 * i + 2] = 255 * b; out[4 * i + 3] = 255;
      }
    }
    this.canvas.width = width;
    this.canvas.height = height;
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    this.revision += 1;
  }
}
