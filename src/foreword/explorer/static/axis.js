// Words laid out along a direction, from one word to another: names in lanes over a line, each above its place.

import { draw } from "./lib.js";

const LANE = 19;
const DOT = 4;

/** Draw { keys, values } into an SVG; chosen(word) when one is clicked. */
export function drawAxis(svg, { keys, values }, [low, high], chosen) {
  const width = svg.clientWidth || 720;
  const side = 12;
  const most = Math.max(1.05, ...values.map(Math.abs)); // the words at both ends stand at −1 and 1
  const x = (value) => width / 2 + (value / most) * (width / 2 - side);
  const order = [...keys.keys()].sort((a, b) => values[a] - values[b]);
  const wide = (word) => 7.4 * [...word].length + 10;
  const ends = []; // of each lane: where its last name ends
  const placed = order.map((i) => {
    const middle = Math.max(wide(keys[i]) / 2, Math.min(width - wide(keys[i]) / 2, x(values[i])));
    const left = middle - wide(keys[i]) / 2;
    let lane = ends.findIndex((end) => end <= left);
    if (lane < 0) lane = ends.push(0) - 1;
    ends[lane] = left + wide(keys[i]);
    return { word: keys[i], value: values[i], middle, lane };
  });
  const foot = 44;
  const height = Math.max(4, ends.length) * LANE + foot + 10;
  const base = height - foot;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(
    ...placed.map(({ value, middle, lane }) => draw("line", { class: "stem", x1: x(value), y1: base, x2: middle, y2: base - 10 - lane * LANE })),
    draw("line", { class: "axis", x1: 0, x2: width, y1: base, y2: base }),
    ...[-1, 0, 1].map((value) => draw("line", { class: "axis", x1: x(value), x2: x(value), y1: base - 5, y2: base + 5 })),
    draw("text", { class: "end", x: x(-1), y: base + 30, "text-anchor": x(-1) < 60 ? "start" : "middle" }, `← ${low}`),
    draw("text", { class: "end", x: x(1), y: base + 30, "text-anchor": x(1) > width - 60 ? "end" : "middle" }, `${high} →`),
    ...placed.map(({ value, word }) => draw("circle", { class: word === low || word === high ? "own" : "near", cx: x(value), cy: base, r: DOT })),
    ...placed.map(({ word, value, middle, lane }) =>
      draw("text", { class: word === low || word === high ? "own" : "word", x: middle, y: base - 13 - lane * LANE, "text-anchor": "middle", onclick: () => chosen(word) }, word, draw("title", {}, `${word}: ${value.toFixed(2).replace("-", "−")}`))),
  );
  svg.setAttribute("aria-label", `From ${low} to ${high}: ${placed.map(({ word, value }) => `${word} ${value.toFixed(2)}`).join(", ")}`);
}
