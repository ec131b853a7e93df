// The picture of A − B + C: four corners, two equal steps, and the words found near the fourth.

import { draw } from "./lib.js";

/** Draw an analogy's answer into an SVG; false where its corners don't span a plane, and nothing is drawn. */
export function drawParallelogram(svg, { corners, points }) {
  const near = points.slice(0, 5);
  const every = [...corners, ...near];
  const width = Math.min(560, svg.clientWidth || 560); // so that letters keep their size on a phone
  const height = (5 / 7) * width;
  const margin = 64;
  const [b, a, c, sum] = corners;
  const area = Math.abs((a.x - b.x) * (c.y - b.y) - (a.y - b.y) * (c.x - b.x));
  if (area < 1e-4) return false;
  const bounds = (axis) => [Math.min(...every.map((p) => p[axis])), Math.max(...every.map((p) => p[axis]))];
  const [[x0, x1], [y0, y1]] = [bounds("x"), bounds("y")];
  const scale = Math.min((width - 2 * margin) / (x1 - x0 || 1), (height - 2 * margin) / (y1 - y0 || 1));
  const x = (p) => width / 2 + (p.x - (x0 + x1) / 2) * scale;
  const y = (p) => height / 2 - (p.y - (y0 + y1) / 2) * scale;
  const line = (kind, p, q) => draw("line", { class: kind, x1: x(p), y1: y(p), x2: x(q), y2: y(q) });
  const arrow = (p, q) => {
    const angle = Math.atan2(y(q) - y(p), x(q) - x(p));
    const tip = [x(q) - 7 * Math.cos(angle), y(q) - 7 * Math.sin(angle)];
    const wing = (turn) => `${tip[0] - 9 * Math.cos(angle + turn)},${tip[1] - 9 * Math.sin(angle + turn)}`;
    return [line("step", p, q), draw("polygon", { class: "head", points: `${tip.join(",")} ${wing(0.42)} ${wing(-0.42)}` })];
  };
  const inside = (middle, text) => Math.max(4 * text.length + 4, Math.min(width - 4 * text.length - 4, middle));
  const label = (p, text, kind, dx, dy) => draw("text", { class: kind, x: inside(x(p) + dx, text), y: y(p) + dy, "text-anchor": "middle" }, text);
  const named = [b, a, c, { ...sum, key: "A − B + C" }];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(
    line("side-line", b, c), line("side-line", a, sum), ...arrow(b, a), ...arrow(c, sum),
    ...near.map((p) => draw("circle", { class: "near", cx: x(p), cy: y(p), r: 3.5 })),
    ...[b, a, c].map((p) => draw("circle", { cx: x(p), cy: y(p), r: 5 })),
    draw("circle", { class: "sum", cx: x(sum), cy: y(sum), r: 6 }),
    ...spread([...named, ...near], every, x, y).map(([p, dx, dy]) => label(p, p.key, p === near[0] || corners.includes(p) ? "" : "near", dx, dy)),
  );
  svg.setAttribute("aria-label", `${b.key} to ${a.key} is as ${c.key} to ${near[0]?.key ?? "nothing"}`);
  return true;
}

/** For each point a place for its label, the first of several around it that covers no label and no point. */
function spread(points, every, x, y) {
  const taken = every.map((p) => [x(p) - 5, x(p) + 5, y(p) - 5, y(p) + 5]);
  return points.map((point) => {
    const half = 4 * point.key.length + 4;
    const choices = [[0, -9], [0, 21], [half + 8, 5], [-half - 8, 5], [0, -27], [0, 39], [half + 8, -13], [-half - 8, -13]];
    const boxes = choices.map(([dx, dy]) => [x(point) + dx - half, x(point) + dx + half, y(point) + dy - 13, y(point) + dy + 4]);
    const free = boxes.findIndex((box) => taken.every((other) => box[1] < other[0] || other[1] < box[0] || box[3] < other[2] || other[3] < box[2]));
    const at = Math.max(0, free);
    taken.push(boxes[at]);
    return [point, ...choices[at]];
  });
}

/** What an analogy found, in sentences: { neighbours, own: [{ key, score }] of A, B and C }. */
export function analogySentences({ a, b, c }, { neighbours, own }) {
  const best = neighbours[0];
  if (!best) return "No other word is there.";
  const cosine = (value) => value.toFixed(2).replace("-", "−");
  const found = `${best.key} (${cosine(best.score)})`;
  if (a === b) return `A and B are the same word, so the step between them is nothing, and what is found are the neighbours of ${c}: first ${found}.`;
  if (b === c) return `B and C are the same word: it is taken away and added again, and what is found are the neighbours of ${a}: first ${found}.`;
  const step = `The step from ${b} to ${a}, taken from ${c}, ends nearest to ${found}.`;
  const nearest = own?.reduce((most, one) => (one.score > most.score ? one : most));
  if (!nearest) return step;
  if (nearest.score > best.score) return `${step} ${nearest.key} itself is nearer still (${cosine(nearest.score)}), as the step is short beside the words: so A, B and C are left out of the answers, or an analogy would mostly answer with one of its own words.`;
  return `${step} A, B and C are left out of the answers; here ${nearest.key} would come after it anyway (${cosine(nearest.score)}).`;
}
