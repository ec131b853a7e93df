// Names on a map: those of regions first, then words, the most frequent first, each where no other name lies. What was
// written stays written while one moves, so that names don't flicker.

import { inkOf } from "./dots.js";

const CELL = 6; // pixels: what names take is kept in cells of this size
const ROOM = 6500; // square pixels of the map for each word

export class Labels {
  constructor() {
    this.widths = new Map();
    this.forget();
  }

  /** Other words come. */
  forget() {
    this.kept = [];
    this.written = [];
    this.scale = 0;
    this.widths.clear();
  }

  /** The word whose name is written at a place; −1 where there is none. */
  at(x, y) {
    return this.written.find(([, left, middle, wide]) => x >= left && x <= left + wide && Math.abs(y - middle) < 9)?.[0] ?? -1;
  }

  paint(pen, words, { at, zoom, scale, size: [width, height], marked, near, look }) {
    const taken = new Set();
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    pen.strokeStyle = look.paper;
    const write = (text, left, middle, colour) => {
      pen.strokeText(text, left, middle);
      pen.fillStyle = colour;
      pen.fillText(text, left, middle);
    };
    const measure = (text, font) => {
      const key = `${font} ${text}`;
      let wide = this.widths.get(key);
      if (wide === undefined) {
        if (this.widths.size > 20_000) this.widths.clear();
        this.widths.set(key, (wide = pen.measureText(text).width));
      }
      return wide;
    };
    const free = (cells) => !cells.some((one) => taken.has(one));
    const take = (cells) => cells.forEach((one) => taken.add(one));

    this.written = []; // [word, left, middle, width]
    // The words that are marked have their place before all others.
    pen.lineWidth = 4;
    pen.font = `600 16px ${look.serif}`;
    const first = marked.map((i) => {
      const [x, y] = at(words.x[i], words.y[i]);
      const wide = measure(words.keys[i], "m");
      const left = Math.max(2, Math.min(x + 7, width - wide - 2));
      take(cover(left, y, wide, 9));
      this.written.push([i, left, y, wide]);
      return [words.keys[i], left, y];
    });

    // Regions: finer ones as one comes closer.
    const finest = zoom < 1.6 ? 0 : zoom < 4 ? 1 : zoom < 14 ? 2 : -1;
    pen.font = `600 12px ${look.sans}`;
    pen.lineWidth = 4;
    for (const region of finest < 0 ? [] : words.regions ?? []) {
      if (region.level > finest) continue;
      const [x, y] = at(region.x, region.y);
      const wide = measure(region.name, "r");
      const cells = cover(x - wide / 2, y, wide, 9);
      if (x - wide / 2 < 2 || x + wide / 2 > width - 2 || y < 8 || y > height - 8 || !free(cells)) continue;
      take(cells);
      write(region.name, x - wide / 2, y, look.ink);
    }

    // Words.
    pen.font = `13.5px ${look.serif}`;
    pen.lineWidth = 3;
    const most = Math.round((width * height) / ROOM);
    const before = scale === this.scale ? this.kept : [];
    this.kept = [];
    const done = new Set(marked);
    const candidates = function* () {
      yield* near;
      yield* before;
      for (let i = 0; i < words.keys.length; i++) yield i;
    };
    for (const i of candidates()) {
      if (this.kept.length >= most) break;
      if (done.has(i)) continue;
      const [x, y] = at(words.x[i], words.y[i]);
      if (x < 0 || y < 0 || x > width || y > height) continue;
      const text = words.keys[i];
      const wide = measure(text, "w");
      // To the right of its dot, to the left, above or below: where there is room.
      const choices = [[x + 5, y], [x - 5 - wide, y], [x - wide / 2, y - 10], [x - wide / 2, y + 11]];
      for (const [left, middle] of choices) {
        if (left < 2 || left + wide > width - 2) continue;
        const cells = cover(left, middle, wide, 7);
        if (!free(cells)) continue;
        take(cells);
        done.add(i);
        this.kept.push(i);
        this.written.push([i, left, middle, wide]);
        write(text, left, middle, near.includes(i) ? look.red : inkOf(words.cluster[i], look.dark));
        break;
      }
    }
    this.scale = scale;
    pen.font = `600 16px ${look.serif}`;
    pen.lineWidth = 4;
    for (const [text, left, y] of first) write(text, left, y, look.red);
  }
}

/** The cells that a name covers. */
function cover(left, middle, wide, half) {
  const cells = [];
  for (let x = Math.floor(left / CELL); x <= Math.floor((left + wide) / CELL); x++) for (let y = Math.floor((middle - half) / CELL); y <= Math.floor((middle + half) / CELL); y++) cells.push((x << 12) ^ (y & 4095));
  return cells;
}
