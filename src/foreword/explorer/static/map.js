// A map of words on a canvas: drag or arrow keys to move, wheel or + and − to zoom, labels where there is room.

import { isDark } from "./lib.js";

const FURTHEST = 400; // times as near as all of it
const HUES = [25, 250, 145, 85, 310, 200, 55, 280, 165, 0];

export class WordMap {
  /** chosen(word) when one is clicked; looked(view) when one looks elsewhere, view being what show() takes; told(word)
      for the word that keys have come to. */
  constructor(canvas, { chosen, looked, told }) {
    this.canvas = canvas;
    this.looked = looked;
    this.words = null;
    this.hover = -1;
    this.wanted = "";
    const fingers = new Map(); // where each pointer that is down was last
    let moved = false;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      if (!fingers.size) moved = false;
      fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const here = [event.offsetX, event.offsetY];
      const from = fingers.get(event.pointerId);
      if (from) {
        moved ||= Math.hypot(here[0] - from[0], here[1] - from[1]) > 3;
        const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
        if (other && moved) this.zoom(apart(here, other) / apart(from, other), ...other);
        else if (moved) this.move(here[0] - from[0], here[1] - from[1]);
        if (moved) fingers.set(event.pointerId, here);
        return;
      }
      const hover = this.nearest(...here);
      if (hover !== this.hover) {
        this.hover = hover;
        this.paint();
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      const word = !fingers.delete(event.pointerId) || moved ? -1 : this.nearest(event.offsetX, event.offsetY);
      if (word >= 0) chosen(this.words.keys[word]);
    });
    canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId)); // the page scrolls
    for (const leaving of ["pointerleave", "blur"]) canvas.addEventListener(leaving, () => { this.hover = -1; this.paint(); });
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
        Enter: () => chosen(this.words.keys[this.hover < 0 ? this.middleWord() : this.hover]),
      }[event.key];
      if (!act || !this.words || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      act();
      if (event.key === "Enter") return;
      this.hover = this.middleWord();
      told(this.words.keys[this.hover]);
      this.paint();
    });
    new ResizeObserver(() => this.paint()).observe(canvas);
  }

  /** Show words, from a view "x,y,zoom" that was looked at before, or all of them; one is marked that is wanted. */
  show(words, view = "", wanted = "") {
    this.words = words;
    this.wanted = wanted;
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
    const told = (...values) => values.map((value) => Number(value.toFixed(8))).join(",");
    const view = told(...this.centre, this.scale / this.whole);
    this.looked(view === told(...this.middle, 1) ? "" : view);
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
    if (at < 0) return this.paint();
    this.centre = [this.words.x[at], this.words.y[at]];
    this.look();
  }

  size() {
    return [this.canvas.clientWidth, this.canvas.clientHeight];
  }

  place(i) {
    const [width, height] = this.size();
    return [width / 2 + (this.words.x[i] - this.centre[0]) * this.scale, height / 2 - (this.words.y[i] - this.centre[1]) * this.scale];
  }

  middleWord() {
    const [width, height] = this.size();
    return this.nearest(width / 2, height / 2, Infinity);
  }

  has(word) {
    return this.words?.keys.includes(word) ?? false;
  }

  nearest(px, py, within = 14) {
    if (!this.words) return -1;
    let best = -1;
    let least = within ** 2;
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
      // To the right of its point, to the left, above or below: where there is room.
      const choices = [[x + 6, y], [x - 6 - wide, y], [x - wide / 2, y - 11], [x - wide / 2, y + 12]];
      const cells = choices.map(([left, middle]) => cover(left, middle, wide));
      let at = choices.findIndex(([left], k) => left >= 2 && left + wide <= width - 2 && !cells[k].some((one) => taken.has(one)));
      if (at < 0 && !marked) continue;
      at = Math.max(0, at);
      for (const one of cells[at]) taken.add(one);
      const [left, middle] = [Math.max(2, Math.min(choices[at][0], width - wide - 2)), choices[at][1]];
      pen.strokeStyle = style.backgroundColor === "rgba(0, 0, 0, 0)" ? getComputedStyle(document.body).backgroundColor : style.backgroundColor;
      pen.lineWidth = 3;
      pen.strokeText(words.keys[i], left, middle);
      pen.fillStyle = marked ? style.color : colour(words.cluster[i]);
      pen.fillText(words.keys[i], left, middle);
      drawn++;
    }
  }
}

const CELL = 6; // pixels: what labels take is kept in cells of this size

/** The cells that a label covers. */
function cover(left, middle, wide) {
  const cells = [];
  for (let x = Math.floor(left / CELL); x <= Math.floor((left + wide) / CELL); x++) for (let y = Math.floor((middle - 7) / CELL); y <= Math.floor((middle + 7) / CELL); y++) cells.push(`${x},${y}`);
  return cells;
}

const apart = ([x0, y0], [x1, y1]) => Math.max(1, Math.hypot(x1 - x0, y1 - y0));
const min = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const max = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
