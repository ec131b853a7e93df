// The Words view: neighbours as bars, analogies as parallelograms, a map.

import { $, ask, brief, chosen, clamp, code, debounce, draw, giveUp, latest, make, number, options as choices, plural, py, python, remembered, telling, themeSwitch } from "./lib.js";
import { WordMap } from "./map.js";

const LIST =
  "king queen prince princess duke monarch man woman boy girl child father mother brother sister paris france london england " +
  "berlin germany rome italy madrid spain tokyo japan dog cat horse cow sheep wolf lion tiger apple orange banana grape lemon " +
  "bread cheese wine car truck train bus bicycle airplane ship piano violin guitar drum physics chemistry biology mathematics " +
  "monday tuesday friday january march october red green blue yellow one two three seven";

const [state, remember] = remembered(
  { vectors: "", word: "language", topn: 10, a: "king", b: "man", c: "woman", map: "list", list: LIST, find: "", view: "" },
  () => start(),
);
let every = []; // the word vectors that there are
const loading = () => py`import foreword as fw\n\nwv = fw.load(${python(chosen(every, state.vectors).source)})\n`;
const path = (what) => `vectors/${encodeURIComponent(state.vectors)}/${what}`;

// ---------------------------------------------------------------- completion

/** A text field that completes words: the combobox of the ARIA practices. */
function complete(input, taken) {
  const list = make("ul", { role: "listbox", id: `${input.id}-list`, hidden: true, "aria-label": "Words" });
  const asker = latest();
  let options = [];
  let at = -1;
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-autocomplete", "list");
  input.after(list);

  const hide = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const close = () => {
    asker.stop();
    hide();
  };
  const choose = (word) => {
    input.value = word;
    close();
    taken(word);
  };
  const mark = () => {
    [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
    if (at >= 0) {
      input.setAttribute("aria-activedescendant", list.children[at].id);
      list.children[at].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  };
  const offer = (words) => {
    if (document.activeElement !== input || !words.length) return hide();
    const marked = options[at];
    options = words;
    at = words.indexOf(marked);
    list.replaceChildren(...options.map((word, i) => make("li", { role: "option", id: `${list.id}-${i}`, "aria-selected": "false", onmousedown: (event) => event.preventDefault(), onclick: () => choose(word) }, word)));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark();
  };
  input.addEventListener("input", () => {
    const prefix = input.value;
    if (!list.hidden) offer(options.filter((word) => word.startsWith(prefix))); // until the answer is here
    asker(async (signal) => offer(prefix ? await ask(path("complete"), { signal, query: { prefix, limit: 12 } }) : [])).catch(hide);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") choose(at >= 0 ? options[at] : input.value.trim());
    else if (event.key === "Escape") close();
    else if (list.hidden) return;
    else if (event.key === "ArrowDown") at = (at + 1) % options.length;
    else if (event.key === "ArrowUp") at = (Math.max(at, 0) - 1 + options.length) % options.length;
    else return;
    event.preventDefault();
    mark();
  });
  input.addEventListener("blur", close);
  input.addEventListener("change", () => taken(input.value.trim()));
}

// ---------------------------------------------------------------- neighbours

function bars(element, neighbours) {
  element.replaceChildren(
    ...neighbours.map(({ key, score }) =>
      make("li", {},
        make("button", { class: "word-link", type: "button", title: `The neighbours of ${key}`, onclick: () => look(key) }, key),
        make("span", { class: "track" }, make("span", { class: `fill${score < 0 ? " below" : ""}`, "--w": `${Math.min(100, Math.abs(score) * 100).toFixed(2)}%` })),
        make("span", { class: "score" }, score.toFixed(4).replace("-", "−")))),
  );
}

const askNear = latest();

async function near() {
  $("#out-topn").textContent = state.topn;
  code($("#code-near"), [...loading(), ...py`wv.most_similar(${python(state.word)}, topn=${state.topn})`]);
  await telling("near", askNear, async (signal) => {
    const [found, own] = await Promise.all([
      ask(path("similar"), { signal, query: { key: state.word, topn: state.topn } }),
      ask(path("lookup"), { signal, query: { key: state.word } }),
    ]);
    bars($("#near"), found);
    $("#facts-near").replaceChildren(
      make("li", {}, "row ", make("b", {}, number(own.row))),
      make("li", {}, "length ", make("b", {}, own.norm.toFixed(3))),
      make("li", {}, `[${own.vector.length}]  ${own.vector.slice(0, 4).map((value) => value.toFixed(4).replace("-", "−")).join("  ")}  …`),
    );
  });
}

function look(word, { scroll = true } = {}) {
  state.word = word;
  $("#word").value = word;
  remember();
  near();
  if (scroll) $("#word").scrollIntoView({ block: "nearest" });
}

// ---------------------------------------------------------------- analogies

const askAnalogy = latest();

async function analogy() {
  const { a, b, c } = state;
  code($("#code-analogy"), py`wv.most_similar(\n    positive=[${python(a)}, ${python(c)}],\n    negative=[${python(b)}])`, loading());
  await telling("analogy", askAnalogy, async (signal) => {
    const answer = await ask(path("analogy"), { signal, body: { a, b, c, topn: 10 } });
    bars($("#answers"), answer.neighbours);
    parallelogram(answer);
  });
}

function parallelogram({ corners, points }) {
  const near = points.slice(0, 5);
  const every = [...corners, ...near];
  const width = Math.min(560, $("#plane").clientWidth || 560); // so that letters keep their size on a phone
  const height = (5 / 7) * width;
  const margin = 64;
  const bounds = (axis) => [Math.min(...every.map((p) => p[axis])), Math.max(...every.map((p) => p[axis]))];
  const [[x0, x1], [y0, y1]] = [bounds("x"), bounds("y")];
  const scale = Math.min((width - 2 * margin) / (x1 - x0 || 1), (height - 2 * margin) / (y1 - y0 || 1));
  const x = (p) => width / 2 + (p.x - (x0 + x1) / 2) * scale;
  const y = (p) => height / 2 - (p.y - (y0 + y1) / 2) * scale;
  const [b, a, c, sum] = corners;
  const line = (kind, p, q) => draw("line", { class: kind, x1: x(p), y1: y(p), x2: x(q), y2: y(q) });
  const arrow = (p, q) => {
    const angle = Math.atan2(y(q) - y(p), x(q) - x(p));
    const tip = [x(q) - 7 * Math.cos(angle), y(q) - 7 * Math.sin(angle)];
    const wing = (turn) => `${tip[0] - 9 * Math.cos(angle + turn)},${tip[1] - 9 * Math.sin(angle + turn)}`;
    return [line("step", p, q), draw("polygon", { class: "head", points: `${tip.join(",")} ${wing(0.42)} ${wing(-0.42)}` })];
  };
  const label = (p, text, kind, dx, dy) => draw("text", { class: kind, x: x(p) + dx, y: y(p) + dy, "text-anchor": "middle" }, text);
  const told = [b, a, c, { ...sum, key: "A − B + C" }];
  const svg = $("#plane");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(
    line("side-line", b, c), line("side-line", a, sum), ...arrow(b, a), ...arrow(c, sum),
    ...near.map((p) => draw("circle", { class: "near", cx: x(p), cy: y(p), r: 3.5 })),
    ...[b, a, c].map((p) => draw("circle", { cx: x(p), cy: y(p), r: 5 })),
    draw("circle", { class: "sum", cx: x(sum), cy: y(sum), r: 6 }),
    ...spread([...told, ...near], every, x, y).map(([p, dx, dy]) => label(p, p.key, p === near[0] || corners.includes(p) ? "" : "near", dx, dy)),
  );
  svg.setAttribute("aria-label", `${state.b} to ${state.a} is as ${state.c} to ${near[0]?.key ?? "nothing"}`);
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

// ---------------------------------------------------------------- map

const map = new WordMap($("#map"), { chosen: fromMap, told: (word) => { $("#on-map").textContent = word; }, looked: (view) => { state.view = view; remember(); } });
const askMap = latest();

/** A word of the map: its neighbours are shown, and the map stays where it is. */
function fromMap(word) {
  look(word, { scroll: false });
  $("#on-map").replaceChildren("The neighbours of ", make("b", {}, word), " are ", make("a", { href: "#word", onclick: (event) => { event.preventDefault(); $("#word").focus(); } }, "above"), ".");
}

/** Where the map has not the word that was asked for, say so. */
function tellFound() {
  $("#on-map").textContent = state.find && !map.has(state.find) ? `“${state.find}” is not on this map.` : "";
}

async function showMap() {
  const isList = state.map === "list";
  $("#list-box").hidden = !isList;
  const words = state.list.split(/[\s,;]+/).filter(Boolean).slice(0, 1000);
  const source = isList ? brief(`[word for word in ${python(words.join(" "))}.split() if word in wv]`, 60) : `wv.index_to_key[:${state.map}]`;
  code($("#code-map"), py`from foreword.vectors import word_map\n\nwords = ${source}\nword_map(wv, words).places`, loading());
  await telling("map", askMap, async (signal) => {
    const answer = isList
      ? await ask(path("map"), { signal, body: { keys: words } })
      : await ask(path("map"), { signal, query: { count: state.map } });
    map.show(answer, state.view, state.find);
    tellFound();
    const missing = answer.missing.length ? ` Without a vector: ${answer.missing.slice(0, 12).join(", ")}${answer.missing.length > 12 ? " …" : ""}.` : "";
    $("#about-map").textContent = `${plural(answer.keys.length, "word")} in ${plural(answer.clusters, "cluster")}; the plane keeps ${(answer.kept * 100).toFixed(0)} % of the variance.${missing}`;
  });
}

// ---------------------------------------------------------------- start

function start() {
  state.vectors = chosen(every, state.vectors).name;
  state.topn = clamp(state.topn, 1, 40);
  if (!["list", "1000", "10000"].includes(state.map)) state.map = "list";
  $("#vectors").value = state.vectors;
  for (const name of ["word", "a", "b", "c", "list", "topn", "find"]) $(`#${name}`).value = state[name];
  $("#which").value = state.map;
  return Promise.all([near(), analogy(), showMap()]);
}

complete($("#word"), (word) => { if (word !== state.word) look(word); });
for (const name of ["a", "b", "c"]) complete($(`#${name}`), (word) => { if (word !== state[name]) { state[name] = word; remember(); analogy(); } });
$("#topn").addEventListener("input", (event) => { state.topn = Number(event.target.value); remember(); near(); });
$("#vectors").addEventListener("change", (event) => { Object.assign(state, { vectors: event.target.value, view: "" }); remember(); start(); });
$("#which").addEventListener("change", (event) => { Object.assign(state, { map: event.target.value, view: "" }); remember(); showMap(); });
$("#list").addEventListener("input", debounce((event) => { Object.assign(state, { list: event.target.value, view: "" }); remember(); showMap(); }, 300));
$("#find").addEventListener("input", (event) => { state.find = event.target.value.trim(); remember(); map.find(state.find); tellFound(); });
$("#find").addEventListener("keydown", (event) => { if (event.key === "Enter" && map.has(state.find)) fromMap(state.find); });
$("#zoom-in").addEventListener("click", () => map.zoom(1.5));
$("#zoom-out").addEventListener("click", () => map.zoom(1 / 1.5));
$("#zoom-all").addEventListener("click", () => map.all());
themeSwitch(() => map.paint());

try {
  every = await ask("vectors");
} catch (error) {
  $("#problem-vectors").textContent = error.message;
}
$("#vectors").replaceChildren(...choices(every));
if (every.length) await start();
else giveUp();
document.documentElement.dataset.ready = "yes";
