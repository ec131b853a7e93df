// Words as dots: written pixel by pixel into an image, so that 400,000 of them take some milliseconds on any machine.

const HUES = [25, 250, 145, 85, 310, 200, 55, 280, 165, 0, 120, 225];
const FREQUENT = 20_000; // words whose dots are larger, where there is room
const DEPTH = 8; // dots on a pixel that darken it

/** The colour of a cluster's letters. */
export const inkOf = (cluster, dark) => `oklch(${dark ? 0.8 : 0.42} 0.11 ${HUES[cluster % HUES.length]})`;

export class Dots {
  constructor() {
    this.image = null;
    this.colours = null;
    this.dark = null;
  }

  /** Fill the canvas of pen, whose pixels are 1 / ratio wide. */
  paint(pen, words, { ratio, scale, centre, dark }) {
    const { width, height } = pen.canvas;
    if (this.image?.width !== width || this.image.height !== height) {
      this.image = new ImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.depth = new Uint8Array(width * height);
    }
    if (this.dark !== dark) [this.dark, this.colours] = [dark, palette(dark)];
    const { pixels, depth, colours } = this;
    pixels.fill(0);
    depth.fill(0);
    const { x, y, cluster, keys } = words;
    const [step, left, top] = [scale * ratio, width / 2 - centre[0] * scale * ratio, height / 2 + centre[1] * scale * ratio];
    const radius = (count) => size(words, count, [width, height], [step, left, top], ratio);
    const [rare, frequent] = [radius(keys.length), radius(Math.min(FREQUENT, keys.length))];
    const rim = Math.ceil(Math.max(rare, frequent));
    const discs = [rare, frequent].map((one) => (one <= 1 ? null : circle(one, width)));
    for (let i = keys.length - 1; i >= 0; i--) {
      const px = (left + x[i] * step) | 0;
      const py = (top - y[i] * step) | 0;
      if (px < rim || py < rim || px >= width - rim || py >= height - rim) continue;
      const at = py * width + px;
      const colour = cluster[i] * DEPTH;
      const disc = discs[i < FREQUENT ? 1 : 0];
      if (!disc) {
        const deep = depth[at];
        if (deep < DEPTH) {
          depth[at] = deep + 1;
          pixels[at] = colours[colour + deep];
        }
      } else for (let k = 0; k < disc.length; k++) pixels[at + disc[k]] = colours[colour + DEPTH - 1];
    }
    pen.putImageData(this.image, 0, 0);
  }

  /** Lines from a place to others. */
  join(pen, from, others, colour) {
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = 1;
    pen.globalAlpha = 0.55;
    for (const [x, y] of others) {
      pen.beginPath();
      pen.moveTo(...from);
      pen.lineTo(x, y);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    for (const [x, y] of [from, ...others]) {
      pen.beginPath();
      pen.arc(x, y, 3, 0, 7);
      pen.fill();
    }
  }
}

/** The radius of the dots of the first words, in pixels: the fewer of them are in sight, the larger. A sample is counted. */
function size({ x, y }, count, [width, height], [step, left, top], ratio) {
  const stride = Math.max(1, Math.floor(count / 4096));
  let inside = 0;
  for (let i = 0; i < count; i += stride) {
    const [px, py] = [left + x[i] * step, top - y[i] * step];
    if (px >= 0 && py >= 0 && px < width && py < height) inside += stride;
  }
  const room = Math.sqrt((width * height) / Math.max(1, inside)) / ratio; // between two dots
  return room < 5 ? 1 : Math.min(3.2, Math.max(1, room / 7)) * ratio;
}

/** For each cluster DEPTH pixels, from faint to strong. */
function palette(dark) {
  const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const colours = new Uint32Array(256 * DEPTH);
  for (let cluster = 0; cluster < HUES.length; cluster++) {
    pen.fillStyle = `oklch(${dark ? 0.72 : 0.58} 0.13 ${HUES[cluster]})`;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
    for (let deep = 0; deep < DEPTH; deep++) {
      const pixel = new Uint8ClampedArray([r, g, b, 255 * (0.28 + 0.6 * (deep / (DEPTH - 1)))]);
      for (let same = cluster; same < 256; same += HUES.length) colours[same * DEPTH + deep] = new Uint32Array(pixel.buffer)[0];
    }
  }
  return colours;
}

/** The pixels of a disc, counted from its middle in an image so wide. */
function circle(radius, width) {
  const offsets = [];
  const reach = Math.floor(radius);
  for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) if (dx * dx + dy * dy <= radius * radius) offsets.push(dy * width + dx);
  return Int32Array.from(offsets);
}
