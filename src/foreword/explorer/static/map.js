// A map of words on a canvas: drag or arrow keys to move, wheel or + and − to zoom, names where there is room, an axis
// drawn from one word to another. dots.js draws the words as dots, labels.js chooses which words are written, pen.js
// draws the axis; this module moves and finds.

import { isDark } from "./lib.js";
import { Dots } from "./dots.js";
import { Labels } from "./labels.js";
import { AxisPen } from "./pen.js";

const FURTHEST = 400; // times as near as all of it
const CELLS = 256; // of the grid, on each side, in which a word is looked up by its place

export class WordMap {
  /** chosen(word) when one is clicked; looked(view) when one looks elsewhere, view being what show() takes; told(word)
      for the word that keys have come to; drawn([from, to]) when an axis was drawn, and drawing(from) while it is: from
      is its first word, "" before there is one, null when no axis is drawn any more. */
  constructor(canvas, { chosen, looked, told, drawn, drawing }) {
    this.canvas = canvas;
    this.looked = looked;
    this.words = null;
    this.hover = -1;
    this.wanted = "";
    this.near = [];
    this.dots = new Dots();
    this.labels = new Labels();
    this.pen = new AxisPen(this, { drawn, drawing });
    this.axis = []; // the words at both ends of the axis that was drawn
    this.frame = 0;
    const fingers = new Map(); // where each pointer that is down was last
    let moved = false;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      if (!fingers.size) {
        moved = false;
        this.pen.down(event);
      } else this.pen.lift();
      fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const here = [event.offsetX, event.offsetY];
      const from = fingers.get(event.pointerId);
      if (from) {
        moved ||= Math.hypot(here[0] - from[0], here[1] - from[1]) > 3;
        if (this.pen.isDown) return moved && this.pen.move(here);
        const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
        if (other && moved) this.zoom(apart(here, other) / apart(from, other), ...other);
        else if (moved) this.move(here[0] - from[0], here[1] - from[1]);
        if (moved) fingers.set(event.pointerId, here);
        return;
      }
      this.point(this.pick(...here));
    });
    canvas.addEventListener("pointerup", (event) => {
      const here = [event.offsetX, event.offsetY];
      if (!fingers.delete(event.pointerId)) return;
      if (this.pen.isDown) return this.pen.up(here, moved);
      const word = moved ? -1 : this.pick(...here);
      if (word >= 0) chosen(this.words.keys[word]);
    });
    canvas.addEventListener("pointercancel", (event) => { // the page scrolls
      fingers.delete(event.pointerId);
      this.pen.lift();
    });
    for (const leaving of ["pointerleave", "blur"]) canvas.addEventListener(leaving, () => this.point(-1));
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
        Enter: () => this.take(this.hover < 0 ? this.middleWord() : this.hover, chosen), a: () => this.pen.take(!this.pen.isOn), Escape: () => this.pen.take(false),
      }[event.key];
      if (!act || !this.words || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      act();
      if (["Enter", "Escape", "a"].includes(event.key)) return;
      this.hover = this.middleWord();
      if (this.hover >= 0) told(this.words.keys[this.hover]);
      this.repaint();
    });
    new ResizeObserver(() => this.repaint()).observe(canvas);
  }

  /** Show words { keys, x, y, cluster, regions }, from a view "x,y,zoom" that was looked at before, or all of them. More
      words may be appended to them later, and refresh() called. */
  show(words, view = "") {
    this.words = words;
    this.hover = -1;
    this.grid = null;
    this.labels.forget();
    this.view(view);
  }

  /** Look where a view says. */
  view(view) {
    if (!this.words) return;
    this.fit();
    const [x, y, zoom] = view.split(",").map(Number);
    if (view && [x, y, zoom].every(Number.isFinite) && zoom > 0) {
      this.centre = [x, y];
      this.scale *= Math.min(zoom, FURTHEST);
    }
    this.repaint();
  }

  /** Words were appended, or moved. */
  refresh() {
    this.grid = null;
    this.repaint();
  }

  /** Everything in sight. */
  all() {
    if (!this.words) return;
    this.fit();
    this.look();
  }

  fit() {
    const [x0, x1, y0, y1] = this.words.bounds ?? [min(this.words.x), max(this.words.x), min(this.words.y), max(this.words.y)];
    const [width, height] = this.size();
    this.scale = this.whole = 0.9 * Math.min(width / (x1 - x0 || 1), height / (y1 - y0 || 1));
    this.middle = this.centre = [(x0 + x1) / 2, (y0 + y1) / 2];
  }

  /** After a move: paint, and tell. */
  look() {
    const text = (...values) => values.map((value) => Number(value.toPrecision(9))).join(",");
    const view = text(...this.centre, this.scale / this.whole);
    this.looked(view === text(...this.middle, 1) ? "" : view);
    this.repaint();
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

  /** Mark a word; bring it to the middle, and near, where it is to be looked at. */
  find(word, { look = true } = {}) {
    this.wanted = word;
    const at = this.words?.keys.indexOf(word) ?? -1;
    if (at < 0 || !look) return this.repaint();
    this.centre = [this.words.x[at], this.words.y[at]];
    if (this.words.keys.length > 1000) this.scale = Math.max(this.scale, this.whole * 8);
    this.look();
  }

  /** Join the wanted word to others with lines. */
  join(words) {
    this.near = words;
    this.repaint();
  }

  size() {
    return [this.canvas.clientWidth, this.canvas.clientHeight];
  }

  /** Where a word is on the canvas. */
  place(i) {
    return this.at(this.words.x[i], this.words.y[i]);
  }

  at(x, y) {
    return [this.canvas.clientWidth / 2 + (x - this.centre[0]) * this.scale, this.canvas.clientHeight / 2 - (y - this.centre[1]) * this.scale];
  }

  middleWord() {
    const [width, height] = this.size();
    for (let within = 14; within < 4 * Math.max(width, height); within *= 3) {
      const found = this.nearest(width / 2, height / 2, within);
      if (found >= 0) return found;
    }
    return -1;
  }

  /** Keys have chosen a word: as an end of the axis where one is drawn. */
  take(word, chosen) {
    if (word < 0) return;
    if (this.pen.isOn) this.pen.end(word);
    else chosen(this.words.keys[word]);
  }

  /** Show an axis from one word to another; none where axis is empty. */
  showAxis(axis) {
    this.axis = axis;
    this.repaint();
  }

  /** The first words of those that are written on the map. */
  writtenWords(count) {
    if (this.frame) this.paint();
    return this.labels.written.slice(0, count).map(([i]) => this.words.keys[i]);
  }

  has(word) {
    return this.words?.keys.includes(word) ?? false;
  }

  point(word) {
    if (word === this.hover) return;
    this.hover = word;
    this.repaint();
  }

  /** The word whose name is written at a place, else the one whose dot is nearest. */
  pick(px, py, within) {
    const named = this.labels.at(px, py);
    return named >= 0 ? named : this.nearest(px, py, within);
  }

  /** The word at a place, −1 where there is none: the nearest, but rather a frequent one than a rare one beside it. */
  nearest(px, py, within = 14) {
    if (!this.words) return -1;
    const { x, y, keys } = this.words;
    this.grid ??= cells(x, y, keys.length);
    const { low, size, starts, members } = this.grid;
    const [width, height] = this.size();
    const [wx, wy] = [this.centre[0] + (px - width / 2) / this.scale, this.centre[1] - (py - height / 2) / this.scale];
    const reach = within / this.scale;
    const cell = (value, axis) => Math.max(0, Math.min(CELLS - 1, Math.floor((value - low[axis]) / size)));
    let best = -1;
    let least = Infinity;
    for (let row = cell(wy - reach, 1); row <= cell(wy + reach, 1); row++) {
      for (let at = starts[row * CELLS + cell(wx - reach, 0)]; at < starts[row * CELLS + cell(wx + reach, 0) + 1]; at++) {
        const i = members[at];
        const away = Math.hypot(x[i] - wx, y[i] - wy) * this.scale;
        if (away > within) continue;
        const cost = keys[i] === this.wanted ? -1 : away + (away < 0.5 ? 0 : 1.5 * Math.log2(i + 2));
        if (cost < least) [best, least] = [i, cost];
      }
    }
    return best;
  }

  /** Paint with the next frame, once however often it was asked for. */
  repaint() {
    this.frame ||= requestAnimationFrame(() => this.paint());
  }

  paint() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { canvas, words } = this;
    const [width, height] = this.size();
    if (!words || !width) return;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    const pen = canvas.getContext("2d");
    const dark = isDark();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    this.dots.paint(pen, words, { ratio, scale: this.scale, centre: this.centre, dark });
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const rows = (list) => list.map((word) => words.keys.indexOf(word)).filter((i) => i >= 0);
    const [wanted] = rows([this.wanted]);
    const near = wanted === undefined ? [] : rows(this.near);
    const style = getComputedStyle(canvas);
    const look = { dark, ink: style.color, paper: style.backgroundColor, red: style.outlineColor, serif: style.getPropertyValue("--serif"), sans: style.getPropertyValue("--sans") };
    if (near.length) this.dots.join(pen, this.place(wanted), near.map((i) => this.place(i)), look.red);
    const ends = this.pen.ends() ?? rows(this.axis);
    const marked = [...new Set([...ends, wanted, this.hover].filter((i) => i >= 0))];
    // As place(), but for the size of the canvas, which takes the browser time to tell.
    const at = (x, y) => [width / 2 + (x - this.centre[0]) * this.scale, height / 2 - (y - this.centre[1]) * this.scale];
    this.labels.paint(pen, words, { at, zoom: this.scale / this.whole, scale: this.scale, size: [width, height], marked, near, look });
    this.pen.paint(pen, ends, look);
  }
}

/** Words by place: a grid of cells, row by row, and the words of each. */
function cells(x, y, count) {
  const low = [min(x, count), min(y, count)];
  const size = Math.max(max(x, count) - low[0], max(y, count) - low[1], 1e-9) / (CELLS - 1e-6);
  const of = new Uint32Array(count);
  const starts = new Uint32Array(CELLS * CELLS + 1);
  for (let i = 0; i < count; i++) {
    of[i] = Math.floor((y[i] - low[1]) / size) * CELLS + Math.floor((x[i] - low[0]) / size);
    starts[of[i] + 1]++;
  }
  for (let i = 0; i < CELLS * CELLS; i++) starts[i + 1] += starts[i];
  const next = starts.slice();
  const members = new Uint32Array(count);
  for (let i = 0; i < count; i++) members[next[of[i]]++] = i;
  return { low, size, starts, members };
}

const apart = ([x0, y0], [x1, y1]) => Math.max(1, Math.hypot(x1 - x0, y1 - y0));

function min(values, count = values.length) {
  let least = Infinity;
  for (let i = 0; i < count; i++) if (values[i] < least) least = values[i];
  return least;
}

function max(values, count = values.length) {
  let most = -Infinity;
  for (let i = 0; i < count; i++) if (values[i] > most) most = values[i];
  return most;
}
