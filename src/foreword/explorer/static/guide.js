// One token's way, step by step: a screen a step, in words beside a picture that follows the scrolling. What is drawn is
// computed from the text and the settings of the page, and changes with them.

import { $, draw, hue, latest, make, number } from "./lib.js";
import { HeatMap } from "./heat.js";
import { chip, label, said, showChips } from "./pieces.js";
import { contexts, lookup, mostCut, positions, shapes, shift, strides, tokensAndWords, vocabulary } from "./sentences.js";
import { LIMIT, sumsOf } from "./sums.js";
import { DIM, cellOf, now, state } from "./view.js";
import { cascade } from "./windows.js";

const steps = [...document.querySelectorAll("#steps .step")];
const still = matchMedia("(prefers-reduced-motion: reduce)");
const narrow = matchMedia("(max-width: 56rem)"); // the picture stands above the words
let current = 0;
let begin = 0; // where the window of the token starts
let rows = null; // { key, token, position, sum }: the vectors of the token

/** The token that is followed: the one kept in hand, else the first of the word that is cut into the most tokens. */
function followed() {
  const { tokens } = now.reading;
  if (state.at >= 0 && state.at < tokens.length) return state.at;
  return mostCut(now.reading.text, tokens)?.tokens[0]?.place ?? 0;
}

/** The start of the first window whose inputs hold a place, by arithmetic; null where none does. */
function windowOf(place) {
  const { T, S } = state;
  const first = Math.max(0, Math.ceil((place - T + 1) / S)) * S;
  return first <= place && first + T < now.reading.tokens.length ? first : null;
}

// ---------------------------------------------------------------- what each step shows

const around = (place, count) => {
  const { tokens } = now.reading;
  const low = Math.max(0, Math.min(place - Math.floor(count / 2), tokens.length - count));
  return tokens.slice(low, low + count);
};

/** Some tokens about the one that is followed, as chips. */
function chips(place, withIds) {
  const list = make("ol", { class: `tokens${withIds ? "" : " no-ids"}`, "aria-label": "The token among its neighbours" });
  const one = (token, nodes) => {
    const made = chip("span", token, nodes, { "data-place": token.place });
    if (token.place === place) traveller(made);
    return made;
  };
  showChips(list, around(place, narrow.matches ? 9 : 15), one, now.reading.text);
  return list;
}

function traveller(element) {
  element.classList.add("traveller");
  return element;
}

const SCENES = {
  text(place) {
    return [axis("the text, cut into tokens →"), chips(place, false)];
  },
  id(place) {
    const V = now.reading.vocab_size;
    const { id } = now.reading.tokens[place];
    const wide = narrow.matches ? 330 : 600;
    const line = draw("svg", { class: "number-line", viewBox: `0 0 ${wide} 46`, role: "img", "aria-label": `Id ${id} among ${V}` },
      draw("line", { x1: 6, x2: wide - 6, y1: 24, y2: 24 }), draw("circle", { cx: 6 + ((wide - 12) * id) / Math.max(1, V - 1), cy: 24, r: 6 }),
      draw("text", { x: 4, y: 43 }, "0"), draw("text", { x: wide - 4, y: 43, class: "end" }, number(V - 1)));
    return [axis("tokens, and under each its id →"), chips(place, true), fresh("id", make("div", { class: "big-id", title: `bytes ${now.reading.tokens[place].bytes}` }, number(id)), line, axis("every id of the vocabulary →"))];
  },
  window(place) {
    const { T, S } = state;
    const total = now.reading.tokens.length;
    const near = windowOf(place) ?? Math.max(0, Math.floor((place - T) / S)) * S;
    const holding = Math.max(1, Math.floor((place - near) / S) + 1); // windows that hold the token, from near on
    const every = Array.from({ length: Math.min(holding, 12) + 2 }, (_, i) => near + (i - 1) * S); // and their neighbours
    const starts = every.filter((start) => start >= 0 && start + T < total);
    if (!starts.length) return [none()];
    const svg = draw("svg", { class: "cascade", role: "img", "aria-label": "Windows that hold the token, along the text" });
    const box = make("div", {}, svg);
    queueMicrotask(() => {
      cascade(svg, { starts, names: starts.map((start) => start / S), low: Math.max(0, starts[0] - 1), high: Math.min(total, starts.at(-1) + T + 2), most: 40 });
      for (const rect of svg.querySelectorAll(`[data-place="${place}"]`)) rect.classList.add("on");
    });
    return [axis("place in the text →"), fresh("windows", box), axis("↓ windows, by number; the dashed square is the last target")];
  },
  shift(place) {
    if (windowOf(place) === null) return [none()];
    const { tokens } = now.reading;
    const { T } = state;
    const t = place - begin;
    const width = Math.min(T, narrow.matches ? 4 : 7);
    const low = Math.max(0, Math.min(t - Math.floor(width / 2), T - width));
    const columns = Array.from({ length: width }, (_, i) => low + i);
    const cell = (token, mark) => make("td", { class: `cell${mark ? " marked" : ""}`, "--h": hue(token.id), title: `id ${token.id}, bytes ${token.bytes}` }, make("span", { class: "text" }, ...label(token)), make("span", { class: "id" }, String(token.id)));
    const row = (name, by, isFresh) => make("tr", { class: isFresh ? "new" : "" }, make("th", { scope: "row" }, name), ...columns.map((i) => {
      const made = cell(tokens[begin + i + by], i === t);
      return i === t && !by ? traveller(made) : made;
    }));
    const head = make("tr", {}, make("td"), ...columns.map((i) => make("th", { scope: "col" }, String(i))));
    return [axis(`position in the window, 0 to ${T - 1} →`), make("table", { class: "grid" }, head, row("inputs", 0, false), row("targets", 1, true))];
  },
  row: (place) => [lookupTable(place), ...strips(place, 1)],
  position: (place) => strips(place, 2),
  sum: (place) => [...strips(place, 3), now.sums ? make("p", { class: "shape-line" }, make("code", {}, shapes(now.batch.starts.length, state.T, DIM).split(":")[0])) : null],
};

/** The token table as a rectangle, and the row that the id picks. */
function lookupTable(place) {
  const V = now.reading.vocab_size;
  const { id } = now.reading.tokens[place];
  const [wide, tall] = narrow.matches ? [110, 90] : [240, 154];
  const right = 70 + wide;
  const y = 22 + ((tall - 4) * id) / Math.max(1, V - 1);
  return draw("svg", { class: "lookup", viewBox: `0 0 ${narrow.matches ? 330 : 600} ${tall + 32}`, role: "img", "aria-label": `The token table: ${V} rows of ${DIM} numbers, of which row ${id} is taken` },
    draw("rect", { x: 70, y: 20, width: wide, height: tall, rx: 3 }), draw("text", { x: 70, y: 13 }, `${DIM} dimensions →`),
    draw("text", { x: 62, y: 30, class: "end" }, "row 0"), draw("text", { x: 62, y: 20 + tall, class: "end" }, number(V - 1)),
    draw("line", { x1: 70, x2: right, y1: y, y2: y, class: "picked" }), draw("line", { x1: right, x2: right + 50, y1: y, y2: y, class: "leader" }), draw("text", { x: right + 56, y: y + 5, class: "picked" }, `row ${number(id)}`));
}

/** The first so many of: the token's row, its position's, their sum. What the step adds is marked. */
function strips(place, count) {
  if (windowOf(place) === null) return [none()];
  if (!rows) return [make("p", { class: "note" }, "…")];
  const { tokens, vocab_size } = now.reading;
  const token = tokens[place];
  const t = place - begin;
  const parts = [
    ["token row", `row ${number(token.id)} of ${number(vocab_size)}`, rows.token, ""],
    ["position row", `row ${t} of ${state.T}`, rows.position, "+"],
    ["sum", "what the first block sees", rows.sum, "="],
  ].slice(0, count);
  const name = traveller(chip("span", token, label(token)));
  return [
    make("div", { class: "from" }, name, make("span", { class: "arrow", "aria-hidden": "true" }, "→"), make("span", { class: "note" }, `id ${number(token.id)}`)),
    ...parts.map(([what, where, data, sign], i) => {
      const isNew = i === count - 1;
      if (!data) return make("div", { class: `strip-line${isNew ? " new" : ""}` }, make("span", { class: "sign" }, ""), make("p", { class: "note" }, positions(state.position, t)));
      const canvas = make("canvas", { role: "img", "aria-label": `${what} as a heat map` });
      const line = make("div", { class: `strip-line${isNew ? " new" : ""}` }, make("span", { class: "sign" }, sign), make("div", {}, make("span", { class: "note" }, `${what}: ${where}`), canvas));
      const map = new HeatMap(canvas, { tell: (_, column, value) => `${what}, dimension ${column}: ${value}` });
      queueMicrotask(() => map.show({ data, rows: 1, columns: DIM, limit: LIMIT, height: narrow.matches ? 14 : 26 }));
      return line;
    }),
    axis(`dimension, 0 to ${DIM - 1} →`),
  ];
}

const axis = (text) => make("p", { class: "axis" }, text);
const fresh = (name, ...children) => make("div", { class: "new", "data-part": name }, ...children);
const none = () => make("p", { class: "note" }, "This token is in the inputs of no window: choose another above, or change the windows.");

// ---------------------------------------------------------------- what each step says

function say(place) {
  const { tokens, vocab_size, distinct } = now.reading;
  const { T, S } = state;
  const token = tokens[place];
  const inside = windowOf(place) !== null;
  const t = place - begin;
  const { given, predict } = inside ? shift(tokens, begin, t, said) : {};
  const B = now.batch?.starts.length;
  const sentences = {
    text: tokensAndWords(now.reading.text, tokens),
    id: `“${said(token)}” has the id ${number(token.id)}. ${vocabulary(vocab_size, tokens.length, distinct)}`,
    window: `${contexts(T, S)} ${strides(S, T)}`,
    shift: inside ? ["given ", make("em", {}, make("bdi", {}, given)), ", predict ", make("em", {}, make("bdi", {}, predict))] : "",
    row: lookup(token.id, vocab_size, DIM),
    position: inside ? positions(state.position, t) : "",
    sum: B ? shapes(B, T, DIM) : "",
  };
  for (const step of steps) $(".live", step).replaceChildren(...[sentences[step.dataset.step]].flat());
}

// ---------------------------------------------------------------- drawing and moving

const askRows = latest();

/** Draw the current step anew: after a change of the text, of a control, or of the token in hand. */
export async function showGuide() {
  const some = Boolean(now.reading?.tokens.length);
  $("#guide-body").classList.toggle("empty", !some);
  if (!some) {
    $("#scene-inner").replaceChildren(make("p", { class: "note" }, "Type a text above."));
    for (const step of steps) $(".live", step).replaceChildren();
    return;
  }
  const place = followed();
  begin = windowOf(place) ?? 0;
  rows = vectors(place);
  say(place);
  scene(place);
  if (rows || windowOf(place) === null || $("#guide-body").hidden) return;
  const key = keyOf(place);
  try {
    const sums = await askRows((signal) => sumsOf([windowIds()], signal));
    if (!sums || key !== keyOf(followed())) return; // something else is followed by now
    fetched = { key, sums };
    rows = vectors(place);
    scene(place);
  } catch {
    // the stage of the embeddings says what is wrong
  }
}

let fetched = null; // what the server made of a window that is not in the batch
const windowIds = () => now.reading.tokens.slice(begin, begin + state.T).map(({ id }) => id);
const keyOf = (place) => JSON.stringify([windowIds(), state.position, now.reading.vocab_size, place]);

/** The vectors of the token in its window: of the batch, or fetched apart; null where they have not come yet. */
function vectors(place) {
  if (windowOf(place) === null) return null;
  const cell = now.batch?.batches && now.sums ? cellOf(place) : null;
  const mine = cell && now.batch.starts[cell[0]] === begin;
  const from = mine ? now.sums : fetched?.key === keyOf(place) ? fetched.sums : null;
  if (!from) return null;
  const t = place - begin;
  const row = (mine ? cell[0] * state.T : 0) + t;
  return {
    token: from.token.data.subarray(row * DIM, (row + 1) * DIM),
    position: from.position?.data.subarray(t * DIM, (t + 1) * DIM) ?? null,
    sum: from.sum.data.subarray(row * DIM, (row + 1) * DIM),
  };
}

function scene(place) {
  const box = $("#scene-inner");
  const before = $(".traveller", box)?.getBoundingClientRect();
  box.replaceChildren(...SCENES[steps[current].dataset.step](place).filter(Boolean));
  $("#guide-where").textContent = `${current + 1} of ${steps.length}`;
  const after = $(".traveller", box);
  if (!before || !after || still.matches) return;
  const there = after.getBoundingClientRect();
  const [x, y] = [before.left - there.left, before.top - there.top];
  if (Math.abs(x) + Math.abs(y) > 2) after.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], { duration: 500, easing: "ease-in-out" });
}

function enter(index) {
  if (index === current) return;
  current = index;
  steps.forEach((step, i) => step.classList.toggle("current", i === current));
  if (now.reading?.tokens.length) scene(followed());
}

function go(index) {
  if (index < 0) return;
  if (index >= steps.length) {
    $("#h-windows").scrollIntoView({ behavior: still.matches ? "auto" : "smooth", block: "start" });
    return;
  }
  steps[index].scrollIntoView({ behavior: still.matches ? "auto" : "smooth", block: narrow.matches ? "start" : "center" });
  steps[index].focus({ preventScroll: true });
  enter(index);
}

function shownOrNot(shown, from) {
  $("#guide-body").hidden = !shown;
  $("#guide-skip").textContent = shown ? "Skip it" : "Show it";
  $("#guide-skip").setAttribute("aria-expanded", String(shown));
  try {
    localStorage.setItem("foreword-guide", shown ? "shown" : "skipped");
  } catch {
    // not kept: fine
  }
  if (from) $(".guide").scrollIntoView({ behavior: "auto" });
  if (from && shown) showGuide();
}

function wasSkipped() {
  try {
    return localStorage.getItem("foreword-guide") === "skipped";
  } catch {
    return false;
  }
}

/** Listen to scrolling, keys and buttons. */
export function startGuide() {
  shownOrNot(!wasSkipped());
  $("#guide-skip").addEventListener("click", () => shownOrNot($("#guide-body").hidden, true));
  $("#guide-back").addEventListener("click", () => go(current - 1));
  $("#guide-on").addEventListener("click", () => go(current + 1));
  for (const [i, step] of steps.entries()) {
    step.addEventListener("keydown", (event) => {
      const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
      if (!by || event.target !== step) return;
      event.preventDefault();
      go(i + by);
    });
    step.addEventListener("focus", () => enter(i));
  }
  steps[0].classList.add("current");
  const watch = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) if (entry.isIntersecting) enter(steps.indexOf(entry.target));
    },
    { rootMargin: "-55% 0px -44% 0px" },
  );
  for (const step of steps) watch.observe(step);
}
