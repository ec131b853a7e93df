// The pen that draws an axis on the map, from one word to another: by dragging, by picking one word after the other, or
// by keys.

const REACH = 40; // pixels around the pointer in which a word is looked for
const HEAD = 11; // pixels of the arrow's head

export class AxisPen {
  /** drawn([from, to]) and drawing(from) as WordMap has them. */
  constructor(map, { drawn, drawing }) {
    Object.assign(this, { map, drawn, drawing, isOn: false, isDown: false, from: -1, to: null });
  }

  /** Take the pen up, or put it away. */
  take(isOn) {
    if (this.isOn === isOn) return;
    Object.assign(this, { isOn, isDown: false, from: -1, to: null });
    this.map.canvas.classList.toggle("drawing", isOn);
    this.drawing(isOn ? "" : null);
    this.map.repaint();
  }

  /** A pointer comes down: with the pen in hand, or Shift, it begins an axis. */
  down({ offsetX, offsetY, shiftKey }) {
    if (shiftKey && this.map.words) this.take(true);
    if (!this.isOn) return;
    this.isDown = true;
    this.pressed = this.map.pick(offsetX, offsetY, REACH);
  }

  /** It moves to a place: the axis goes from where it came down to there. */
  move(place) {
    this.from = this.pressed;
    this.to = place;
    this.map.hover = this.map.pick(...place, REACH);
    this.map.repaint();
  }

  /** It is lifted at a place: that is the axis's other end, or, where it didn't move, the next of two words. */
  up(place, moved) {
    this.isDown = false;
    this.to = null;
    if (moved && this.from < 0) return this.lift(); // it began at no word
    this.end(this.map.pick(...place, REACH));
  }

  /** A stroke that is none: the page scrolls, or a second finger zooms. */
  lift() {
    this.isDown = false;
    this.to = null;
    if (this.isOn) this.map.repaint();
  }

  /** A word is the axis's first end, or its last. */
  end(word) {
    if (word >= 0 && this.from < 0) this.from = word;
    else if (word >= 0 && word !== this.from) {
      const { keys } = this.map.words;
      const axis = [keys[this.from], keys[word]];
      this.take(false);
      this.drawn(axis);
      return;
    }
    this.drawing(this.from < 0 ? "" : this.map.words.keys[this.from]);
    this.map.repaint();
  }

  /** The words at the ends of what is being drawn; null where nothing is. */
  ends() {
    return this.isOn ? [this.from].filter((i) => i >= 0) : null;
  }

  /** Paint the axis between words, or from the first one to where the pointer is. */
  paint(pen, ends, { red }) {
    const places = ends.map((i) => this.map.place(i));
    if (this.to && places.length) places[1] = this.to;
    if (places.length < 2) return;
    const [[x0, y0], [x1, y1]] = places;
    const angle = Math.atan2(y1 - y0, x1 - x0);
    pen.strokeStyle = pen.fillStyle = red;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
    pen.stroke();
    pen.beginPath();
    pen.moveTo(x1, y1);
    for (const turn of [-0.4, 0.4]) pen.lineTo(x1 - HEAD * Math.cos(angle + turn), y1 - HEAD * Math.sin(angle + turn));
    pen.fill();
  }
}
