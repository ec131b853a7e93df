// The windows of a batch as pictures: along the text, as inputs and targets, and what becomes of every token.

import { $, draw, enable, hue, make, number, plural } from "./lib.js";
import { initial, label } from "./pieces.js";
import { lastBatch } from "./sentences.js";
import { now, state } from "./view.js";

/** The batch that the server answered, or, where there is none, that there is none. */
export function showWindows() {
  const { batch } = now;
  const some = Boolean(batch?.batches);
  $("#windows").hidden = !some;
  $("#which-batch").textContent = some ? `batch ${number(state.batch + 1)} of ${number(batch.batches)}` : "no batch";
  enable($("#previous"), some && state.batch > 0);
  enable($("#next"), some && state.batch + 1 < batch.batches);
  $("#about-last").textContent = batch ? lastBatch(batch.windows, state.B, state.last) : "";
  $("#shape-batch").textContent = some ? `[${batch.starts.length}, ${state.T}] token ids` : "";
  if (!some) return;
  $("#shape-inputs").textContent = $("#shape-targets").textContent = `[${batch.starts.length}, ${state.T}]`;
  table($("#inputs"), 0);
  table($("#targets"), 1);
  showCascade();
  showAccount();
}

function table(element, shift) {
  const { batch, reading } = now;
  const positions = Array.from({ length: state.T }, (_, t) => make("th", { scope: "col" }, String(t)));
  element.replaceChildren(
    make("tr", {}, make("td", { class: "corner" }), ...positions),
    ...batch.starts.map((start, b) =>
      make("tr", {}, make("th", { scope: "row" }, String(state.batch * state.B + b)),
        ...batch.inputs[b].map((_, t) => {
          const place = start + t + shift;
          const token = reading.tokens[place];
          return make("td", { class: "cell", tabindex: b || t ? -1 : 0, "--h": hue(token.id), "data-place": place, "data-window": b, "data-position": t, title: `id ${token.id}, place ${place}` },
            make("span", { class: "text" }, ...label(token)), make("span", { class: "id" }, String(token.id)));
        })),
    ),
  );
}

/** The windows of the batch where they lie in the text, as wide as there is room. */
export function showCascade() {
  const { batch, reading } = now;
  if (!batch?.batches) return;
  const { starts } = batch;
  const total = reading.tokens.length;
  const isLast = state.batch + 1 === batch.batches;
  const end = starts.at(-1) + state.T + 1;
  const whole = total <= 44;
  const low = whole ? 0 : Math.max(0, starts[0] - 2);
  const high = whole ? total : Math.min(total, end + (isLast ? 6 : 3));
  cascade($("#cascade"), { starts, names: starts.map((_, b) => state.batch * state.B + b), low, high, most: 24 });
}

/** Draw the text from place low to high as squares, and below it windows, each with its last target. */
export function cascade(svg, { starts, names, low, high, most }) {
  const { reading } = now;
  const width = Math.max(200, svg.parentElement.clientWidth);
  const left = 34;
  const size = Math.min(most, (width - left - 2) / (high - low + 1));
  const row = Math.max(9, Math.min(18, size));
  const x = (place) => left + (place - low) * size;
  const seen = coverage();
  const elements = [draw("text", { x: 0, y: Math.max(9, row - 4) }, "text")];
  for (let place = low; place < high; place++) {
    elements.push(square(place, 0, seen(place) ? "" : "dropped"));
    if (size >= 13) elements.push(draw("text", { class: "letter", x: x(place) + size / 2, y: row / 2 + 3.5 }, initial(reading.tokens[place])));
  }
  starts.forEach((start, b) => {
    const y = (b + 1) * (row + 4) + 8;
    elements.push(draw("text", { x: 0, y: y + row - 4 }, String(names[b])));
    for (let t = 0; t < state.T; t++) elements.push(square(start + t, y, ""));
    elements.push(square(start + state.T, y, "target"));
  });
  const height = (starts.length + 1) * (row + 4) + 10;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(...elements.filter(Boolean));

  function square(place, y, kind) {
    if (place < low || place >= high) return null;
    const wide = Math.max(1, size - (size > 5 ? 1.5 : 0.4));
    const inset = kind ? Math.min(0.7, wide / 4) : 0;
    return draw("rect", { class: kind, x: x(place) + inset, y: y + inset, width: wide - 2 * inset, height: row - 2 * inset, rx: Math.min(2, size / 6), "--h": hue(reading.tokens[place].id), "data-place": place });
  }
}

/** Whether a place stands in the inputs of any window of the epoch. */
function coverage() {
  const { T, S } = state;
  const windows = now.batch ? now.batch.windows : 0;
  return (place) => {
    const last = Math.min(Math.floor(place / S), windows - 1);
    return last >= 0 && place - last * S < T;
  };
}

function showAccount() {
  const { windows, stored, distinct, repeated, padded, dropped } = now.batch.account;
  const parts = [["distinct", distinct], ["repeated", repeated], ["dropped", dropped]];
  $("#account-bar").replaceChildren(...parts.filter(([, count]) => count).map(([name, count]) => make("span", { class: name, "--n": count })));
  $("#account-of").textContent = `Every token is accounted for, over ${windows === 1 ? "the one window" : `all ${number(windows)} windows`}`;
  $("#account").replaceChildren(
    ...parts.map(([name, count]) => make("li", {}, make("span", { class: `swatch ${name}` }), make("b", {}, number(count)), ` ${name}`)),
    make("li", {}, `${plural(windows, "window")} × ${state.T} = `, make("b", {}, number(windows * state.T)), ` = ${number(distinct)} distinct + ${number(repeated)} repeated${padded ? ` + ${number(padded)} padded` : ""}`),
    make("li", {}, `${plural(stored, "token")} = ${number(distinct)} distinct + ${number(dropped)} dropped`),
  );
}
