// A map of words on a canvas: drag or arrow keys to move, wheel or + and − to zoom, labels where there is room.

import { isDark } from "./lib.js";

const FURTHEST = 400; // times as near as all of it
const HUES = [25, 250, 145, 85, 310, 200, 55, 280, 165, 0];

export class WordMap {
  /** chosen(word) when one is clicked; looked(view) when one looks elsewhere, view being what show() takes. */
  constructor(canvas, { chosen, looked }) {
    this.canvas = canvas;
    this.looked = looked;
    this.words = null;
    this.hover = -1;
    this.wanted = "";
    let from = null;
    let moved = false;
    canvas.addEventListener("pointerdown", (event) => {
      from = [event.offsetX, event.offsetY];
      moved = false;
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (from) {
        moved ||= Math.hypot(event.offsetX - from[0], event.offsetY - from[1]) > 3;
        this.move(event.offsetX - from[0], event.offsetY - from[1]);
        from = [event.offsetX, event.offsetY];
        return;
      }
      const hover = this.nearest(event.offsetX, event.offsetY);
      if (hover !== this.hover) {
        this.hover = hover;
        this.paint();
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      from = null;
      const word = moved ? -1 : this.nearest(event.offsetX, event.offsetY);
      if (word >= 0) chosen(this.words.keys[word]);
    });
    canvas.addEventListener("pointerleave", () => { this.hover = -1; this.paint(); });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return; // the page scrolls; a map in focus zooms
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const step = 60;
      const act = {
        ArrowLeft: () => this.move(step, 0), ArrowRight: () => this.move(-step, 0), ArrowUp: () => this.move(0, step), ArrowDown: () => this.move(0, -step),
        "+": () => this.zoom(1.4), "=": () => this.zoom(1.4), "-": () => this.zoom(1 / 1.4), 0: () => this.all(),
      }[event.key];
      if (!act || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      act();
    });
    new ResizeObserver(() => this.paint()).observe(canvas);
  }

  /** Show words, from a view "x,y,zoom" that was looked at before, or all of them. */
  show(words, view = "") {
    this.words = words;
    this.hover = -1;
    this.fit();
    const [x, y, zoom] = view.split(",").map(Number);
    if (view && [x, y, zoom].every(Number.isFinite) && zoom > 0) {
      this.centre = [x, y];
      this.scale *= Math.min(zoom, FURTHEST);
    }
    this.paint();
  }

  /** Everything in sight. */
  all() {
    if (!this.words) return;
    this.fit();
    this.look();
  }

  fit() {
    const { x, y } = this.words;
    const [x0, x1, y0, y1] = [min(x), max(x), min(y), max(y)];
    const [width, height] = this.size();
    this.scale = this.whole = 0.86 * Math.min(width / (x1 - x0 || 1), height / (y1 - y0 || 1));
    this.middle = this.centre = [(x0 + x1) / 2, (y0 + y1) / 2];
  }

  /** After a move: paint, and tell. */
  look() {
    const changed = this.scale !== this.whole || this.centre !== this.middle;
    this.looked(changed ? [...this.centre.map((place) => place.toFixed(4)), (this.scale / this.whole).toFixed(2)].join(",") : "");
    this.paint();
  }

  zoom(factor, px, py) {
    if (!this.words) return;
    const [width, height] = this.size();
    const [cx, cy] = [px ?? width / 2, py ?? height / 2];
    const fixed = [this.centre[0] + (cx - width / 2) / this.scale, this.centre[1] - (cy - height / 2) / this.scale];
    this.scale = Math.max(this.whole / 4, Math.min(this.whole * FURTHEST, this.scale * factor));
    this.centre = [fixed[0] - (cx - width / 2) / this.scale, fixed[1] + (cy - height / 2) / this.scale];
    this.look();
  }

  move(dx, dy) {
    if (!this.words) return;
    this.centre = [this.centre[0] - dx / this.scale, this.centre[1] + dy / this.scale];
    this.look();
  }

  /** Mark a word, and bring it to the middle. */
  find(word) {
    this.wanted = word;
    const at = this.words?.keys.indexOf(word) ?? -1;
    if (at >= 0) this.centre = [this.words.x[at], this.words.y[at]];
    if (at >= 0) this.look();
    else this.paint();
  }

  size() {
    return [this.canvas.clientWidth, this.canvas.clientHeight];
  }

  place(i) {
    const [width, height] = this.size();
    return [width / 2 + (this.words.x[i] - this.centre[0]) * this.scale, height / 2 - (this.words.y[i] - this.centre[1]) * this.scale];
  }

  nearest(px, py) {
    if (!this.words) return -1;
    let best = -1;
    let least = 14 ** 2;
    for (let i = 0; i < this.words.keys.length; i++) {
      const [x, y] = this.place(i);
      const away = (x - px) ** 2 + (y - py) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    return best;
  }

  paint() {
    const { canvas, words } = this;
    const [width, height] = this.size();
    if (!words || !width) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const dark = isDark();
    const style = getComputedStyle(canvas);
    const colour = (cluster, alpha = 1) => `oklch(${dark ? 0.74 : 0.5} 0.12 ${HUES[cluster % HUES.length]} / ${alpha})`;
    const many = words.keys.length > 300;
    for (let i = 0; i < words.keys.length; i++) {
      const [x, y] = this.place(i);
      if (x < -4 || y < -4 || x > width + 4 || y > height + 4) continue;
      pen.fillStyle = colour(words.cluster[i], many ? 0.6 : 0.9);
      pen.beginPath();
      pen.arc(x, y, many ? 2 : 3.2, 0, 7);
      pen.fill();
    }
    // Labels, the most frequent word first, each where no other lies.
    const taken = new Set();
    const cell = 16;
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    const first = [words.keys.indexOf(this.wanted), this.hover].filter((i) => i >= 0);
    let drawn = 0;
    for (const i of [...first, ...words.keys.keys()]) {
      if (drawn > 260) break;
      const [x, y] = this.place(i);
      if (x < 0 || y < 0 || x > width || y > height) continue;
      const marked = first.includes(i);
      pen.font = `${marked ? "600 16px" : "13.5px"} ${style.getPropertyValue("--serif")}`;
      const wide = pen.measureText(words.keys[i]).width;
      const cells = [];
      for (let cx = Math.floor(x / cell); cx <= Math.floor((x + wide + 10) / cell); cx++) for (const dy of [-5, 5]) cells.push(`${cx},${Math.floor((y + dy) / cell)}`);
      if (!marked && cells.some((one) => taken.has(one))) continue;
      for (const one of cells) taken.add(one);
      const left = Math.min(x + 6, width - wide - 4);
      pen.strokeStyle = style.backgroundColor === "rgba(0, 0, 0, 0)" ? getComputedStyle(document.body).backgroundColor : style.backgroundColor;
      pen.lineWidth = 3;
      pen.strokeText(words.keys[i], left, y);
      pen.fillStyle = marked ? style.color : colour(words.cluster[i]);
      pen.fillText(words.keys[i], left, y);
      drawn++;
    }
  }
}

const min = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const max = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
