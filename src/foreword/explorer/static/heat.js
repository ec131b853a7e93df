// Heat maps: arrays as colours on a canvas, from one colour below zero through the paper to another above it.

import { clamp, isDark, make } from "./lib.js";

const LIGHT = [[20, 74, 105], [92, 153, 184], [252, 251, 248], [222, 146, 105], [140, 52, 18]];
const DARK = [[150, 214, 240], [58, 118, 146], [30, 28, 26], [168, 92, 54], [255, 190, 150]];

/** 256 colours for −limit … limit. */
function palette() {
  const stops = isDark() ? DARK : LIGHT;
  const colours = new Uint8ClampedArray(256 * 4);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) colours[4 * i + c] = stops[low][c] + (stops[low + 1][c] - stops[low][c]) * (place - low);
    colours[4 * i + 3] = 255;
  }
  return colours;
}

/** What the API sends with encoding=base64: { shape, data: Float32Array }. */
export function array({ shape, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return { shape, data: new Float32Array(bytes.buffer) };
}

/** An image of [rows, columns], one pixel a value. */
function picture(data, rows, columns, limit) {
  const colours = palette();
  const image = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    const level = Math.max(0, Math.min(255, Math.round(((data[i] / limit + 1) / 2) * 255)));
    image.data.set(colours.subarray(4 * level, 4 * level + 4), 4 * i);
  }
  const canvas = new OffscreenCanvas(columns, rows);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** A heat map in blocks of rows (a block a window), whose rows can be lit and pointed at.
    With tell(row, column, value), which gives a sentence, a value is shown where the pointer is, and by the arrow keys;
    with names(block), each block has its name at its left. */
export class HeatMap {
  constructor(canvas, { point, leave, pick, tell, names } = {}) {
    this.canvas = canvas;
    this.lit = [];
    Object.assign(this, { tell, names });
    if (point) {
      canvas.addEventListener("pointermove", (event) => {
        const row = this.rowAt(event);
        if (row >= 0) point(row);
      });
      canvas.addEventListener("pointerleave", leave);
      canvas.addEventListener("click", (event) => {
        const row = this.rowAt(event);
        if (row >= 0) pick(row);
      });
    }
    if (tell) this.listen();
    if (names) {
      this.gutter = make("div", { class: "heat-names", "aria-hidden": "true" });
      canvas.before(this.gutter);
    }
    new ResizeObserver(() => this.paint()).observe(canvas.parentElement);
  }

  /** Values: under the pointer, and of the cell that the arrow keys have come to. */
  listen() {
    const { canvas } = this;
    canvas.tabIndex = 0;
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const column = clamp(Math.floor(((event.clientX - box.left) / box.width) * this.columns), 0, this.columns - 1);
      const row = this.rowAt(event);
      if (row >= 0) this.say(row, column, event.clientX, event.clientY);
      else hush();
    });
    canvas.addEventListener("pointerleave", hush);
    canvas.addEventListener("blur", hush);
    let [row, column] = [0, 0];
    canvas.addEventListener("keydown", (event) => {
      const [down, right] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key] ?? [0, 0];
      if (!this.data || (!down && !right)) return;
      event.preventDefault();
      event.stopPropagation();
      row = clamp(row + down, 0, this.rows - 1);
      column = clamp(column + right, 0, this.columns - 1);
      const box = canvas.getBoundingClientRect();
      this.say(row, column, box.left + ((column + 0.5) / this.columns) * box.width, box.top + this.top(row) + this.height / 2);
    });
  }

  say(row, column, x, y) {
    const value = this.data[row * this.columns + column];
    tell(this.tell(row, column, value.toFixed(4).replace("-", "−")), x, y);
  }

  /** Show values [rows, columns], in blocks of so many rows. */
  show({ data, rows, columns, block = rows, limit = 3, height }) {
    Object.assign(this, { data, rows, columns, block, limit });
    this.height = height ?? Math.max(3, Math.min(13, Math.round(280 / rows)));
    this.gap = rows > block ? Math.max(2, Math.round(this.height / 2)) : 0;
    this.image = null;
    this.lit = [];
    const blocks = Math.ceil(rows / block);
    const one = this.block * this.height + this.gap;
    const every = Math.max(1, Math.ceil(13 / one)); // no closer than their letters are tall
    this.gutter?.replaceChildren(...Array.from({ length: blocks }, (_, b) => b).filter((b) => b % every === 0).map((b) => make("span", { "--y": `${b * one}px` }, this.names(b))));
    this.paint();
  }

  light(rows) {
    this.lit = rows;
    this.paint();
  }

  /** For a new theme. */
  renew() {
    this.image = null;
    this.paint();
  }

  top(row) {
    return row * this.height + Math.floor(row / this.block) * this.gap;
  }

  rowAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const y = (event.clientY - box.top) * (this.total / box.height);
    const step = this.block * this.height + this.gap;
    const inside = Math.floor((y % step) / this.height);
    const row = Math.floor(y / step) * this.block + inside;
    return inside < this.block && row < this.rows ? row : -1;
  }

  paint() {
    if (!this.data || !this.rows) return;
    this.image ??= picture(this.data, this.rows, this.columns, this.limit);
    const scale = devicePixelRatio || 1;
    const width = Math.max(1, Math.round(this.canvas.clientWidth * scale));
    this.total = this.top(this.rows - 1) + this.height;
    const { canvas } = this;
    if (canvas.width !== width) canvas.width = width;
    canvas.height = Math.round(this.total * scale);
    canvas.style.height = `${this.total}px`;
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = width < this.columns;
    const lit = new Set(this.lit);
    for (let row = 0; row < this.rows; row++) {
      pen.globalAlpha = !lit.size || lit.has(row) ? 1 : 0.3;
      pen.drawImage(this.image, 0, row, this.columns, 1, 0, Math.round(this.top(row) * scale), width, Math.ceil(this.height * scale));
    }
    pen.globalAlpha = 1;
  }
}

/** A scale from −limit to limit. */
export function legend(canvas) {
  const values = Float32Array.from({ length: 128 }, (_, i) => (i / 127) * 2 - 1);
  canvas.width = 128;
  canvas.height = 1;
  canvas.getContext("2d").drawImage(picture(values, 1, 128, 1), 0, 0);
}

let tip = null;

/** A value beside a point of the window. */
function tell(text, x, y) {
  if (!tip) document.body.append((tip = make("div", { class: "tip", role: "status" })));
  tip.textContent = text;
  tip.hidden = false;
  tip.style.setProperty("left", `${clamp(x + 12, 4, innerWidth - tip.offsetWidth - 4)}px`);
  tip.style.setProperty("top", `${clamp(y - tip.offsetHeight - 10, 4, innerHeight - tip.offsetHeight - 4)}px`);
}

function hush() {
  if (tip) tip.hidden = true;
}
