// The Words view: neighbours as bars, a map of all words or of a list, analogies as parallelograms, words along an axis.

import { $, ask, brief, chosen, clamp, code, debounce, giveUp, latest, make, number, options as choices, plural, py, python, telling, themeSwitch } from "./lib.js";
import { remembered } from "./address.js";
import { loadAtlas } from "./atlas.js";
import { drawAxis } from "./axis.js";
import { complete, resolve } from "./complete.js";
import { WordMap } from "./map.js";
import { analogySentences, drawParallelogram } from "./parallelogram.js";
import { exported } from "./source.js";

const LIST =
  "king queen prince princess duke monarch man woman boy girl child father mother brother sister paris france london england " +
  "berlin germany rome italy madrid spain tokyo japan dog cat horse cow sheep wolf lion tiger apple orange banana grape lemon " +
  "bread cheese wine car truck train bus bicycle airplane ship piano violin guitar drum physics chemistry biology mathematics " +
  "monday tuesday friday january march october red green blue yellow one two three seven";
const ALONG = "king queen nurse doctor engineer teacher boy girl secretary captain dancer soldier librarian farmer actress poet ship guitar lipstick beard football ballet mother uncle";
const EXAMPLES = { along: ALONG, list: LIST };
const AXES = [["he", "she"], ["small", "large"], ["cold", "hot"], ["past", "future"], ["poor", "rich"]];
const WITHOUT = exported ? "Not among the words that this page carries" : "Without a vector";
const GLIDE = 700; // milliseconds from one layout to the next

const [state, remember] = remembered(
  { vectors: "", word: "language", topn: 10, map: "all", list: LIST, find: "", view: "", a: "king", b: "man", c: "woman", low: "he", high: "she", along: ALONG, drawn: false },
  () => start(),
  { minor: ["view", "topn"] },
);
let every = []; // the word vectors that there are
const loading = () => py`import foreword as fw\n\nwv = fw.load(${python(chosen(every, state.vectors).source)})\n`;
/** What makes Python look where the page does, of how many words: an exported page carries the most frequent alone. */
const among = (argument) => {
  const { keys, total } = chosen(every, state.vectors);
  return exported && keys < total ? `, ${argument}=${keys}` : "";
};
const path = (what) => `vectors/${encodeURIComponent(state.vectors)}/${what}`;
const listed = (text) => text.split(/[\s,;]+/).filter(Boolean).slice(0, 1000);

/** A field for a word: what is typed is found in any case and kept in state[name], and then used. */
function wordField(name, problem, use) {
  const input = $(`#${name}`);
  let tried = "";
  const take = async (text) => {
    if (text === (problem.textContent ? tried : state[name])) return; // a field says twice what was typed, on Enter and on leaving
    tried = text;
    const key = await resolve(text, path, problem, take);
    if (key === null) return;
    input.value = key;
    if (key === state[name]) return;
    state[name] = key;
    remember();
    use();
  };
  complete(input, path, take);
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
  $("#not-found").replaceChildren();
  code($("#code-near"), [...loading(), ...py`wv.most_similar(${python(state.word)}, topn=${state.topn}${among("restrict_vocab")})`]);
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
    map.join(found.map(({ key }) => key));
  });
}

function look(word, { scroll = true } = {}) {
  state.word = word;
  $("#word").value = word;
  remember();
  near();
  if (!state.find) map.find(word, { look: false });
  if (scroll) $("#word").scrollIntoView({ block: "nearest" });
}

// ---------------------------------------------------------------- map

const map = new WordMap($("#map"), { chosen: fromMap, told: (word) => { $("#on-map").textContent = word; }, looked: (view) => { state.view = view; remember(); axisLater(); }, drawn: drawnOnMap, drawing });
const askMap = latest();
let whole = false; // whether all words of the map are here
let coming = new AbortController(); // ends what is still to come of a map that is seen already

/** A word of the map: its neighbours are shown, and the map stays where it is. */
function fromMap(word) {
  state.find = "";
  $("#find").value = "";
  look(word, { scroll: false });
  map.find(word, { look: false });
  $("#on-map").replaceChildren("The neighbours of ", make("b", {}, word), " are ", make("a", { href: "#word", onclick: (event) => { event.preventDefault(); $("#word").focus(); } }, "above"), ", and joined to it on the map.");
}

/** An axis is being drawn: what to do next. from is its first word, "" where there is none yet; null when it is over. */
function drawing(from) {
  $("#draw-axis").setAttribute("aria-pressed", String(from !== null));
  const next = { "": ["Drag from one word to another, or choose the two one after the other. Escape puts the pen away."] }[from] ?? ["From ", make("b", {}, from ?? ""), " to …? Choose the word at the other end."];
  $("#on-map").replaceChildren(...(from === null ? [] : next));
}

/** An axis from one word to another: it stays on the map, and in the last section. */
function drawnOnMap([low, high]) {
  Object.assign(state, { low, high, drawn: true });
  $("#low").value = low;
  $("#high").value = high;
  remember();
  axis();
}

const askOnMap = latest();
const axisLater = debounce(() => axisOnMap(), 300); // other words are written

/** The words that are written on the map, laid out along the axis that was drawn on it. */
async function axisOnMap() {
  const { low, high, drawn } = state;
  const figure = $("#axis-on-map");
  figure.hidden = !drawn;
  map.showAxis(drawn ? [low, high] : []);
  if (!drawn) askOnMap.stop();
  if (!drawn || !map.words) return;
  const svg = $("svg", figure);
  const written = map.writtenWords(Math.round(svg.clientWidth / 16)).filter((word) => /\p{L}/u.test(word));
  const keys = [...new Set([low, high, ...written])];
  await telling("on-map", askOnMap, async (signal) => {
    const answer = await ask(path("axis"), { signal, body: { low, high, keys } });
    drawAxis(svg, answer, [low, high], (word) => look(word));
    $("#about-axis-on-map").textContent = `Words that are written on the map, from ${low} to ${high}.`;
  });
}

/** Bring what is looked for into sight; where the map has it not, say so. */
async function findOnMap(text) {
  state.find = text;
  remember();
  const note = $("#on-map");
  note.replaceChildren();
  if (!text) return map.find(state.word, { look: false });
  const key = map.has(text) ? text : await resolve(text, path, note, (word) => { $("#find").value = word; findOnMap(word); });
  if (key === null || text !== state.find) return;
  if (map.has(key)) {
    map.find(key);
    if (key !== state.word) look(key, { scroll: false });
  } else note.replaceChildren(make("b", {}, key), whole ? " is not on this map." : " is not on the map yet.");
}

async function showMap() {
  const isList = state.map === "list";
  coming.abort();
  coming = new AbortController();
  whole = isList;
  $("#list-box").hidden = !isList;
  const words = listed(state.list);
  if (isList) code($("#code-map"), py`from foreword.vectors import word_map\n\nwords = ${brief(`[word for word in ${python(words.join(" "))}.split() if word in wv]`, 60)}\nword_map(wv, words).places`, loading());
  else code($("#code-map"), py`from foreword.vectors import lay_out\n\nplaces = lay_out(wv${among("count")})  # [N, 2]`, loading());
  $("#idea-list").hidden = !isList;
  $("#idea-all").hidden = isList;
  $("#progress-map").hidden = true;
  await telling("map", askMap, (signal) => (isList ? showList(words, signal) : showAll(coming.signal)));
  axisOnMap();
}

/** What is looked for is marked and seen, where no other view was; else the word whose neighbours are shown is marked. */
function mark() {
  if (state.find) map.find(state.find, { look: !state.view });
  else map.find(state.word, { look: false });
}

async function showList(words, signal) {
  const answer = await ask(path("map"), { signal, body: { keys: words } });
  map.show(answer, state.view);
  mark();
  const missing = answer.missing.length ? ` ${WITHOUT}: ${answer.missing.slice(0, 12).join(", ")}${answer.missing.length > 12 ? " …" : ""}.` : "";
  $("#about-map").textContent = `${plural(answer.keys.length, "word")} in ${plural(answer.clusters, "cluster")}; the plane keeps ${(answer.kept * 100).toFixed(0)} % of the variance.${missing}`;
}

/** The map of all words. Resolves when there is something to see; what is to come goes on coming. */
function showAll(signal) {
  return new Promise((seen, failed) => {
    let words = null;
    loadAtlas(path, {
      signal,
      shown: (some) => {
        words = some;
        map.show(words, state.view);
        mark();
        seen();
      },
      grown: () => map.refresh(),
      state: aboutAll,
      better: (x, y, regions) => glide(words, x, y, regions, signal),
    }).then(() => {
      whole = true;
      document.documentElement.dataset.map = "whole";
      mark();
      axisLater();
    }, (error) => (signal.aborted || words === null ? failed(error) : ($("#problem-map").textContent = error.message)));
  });
}

const percent = (share) => `${(share * 100).toFixed(share < 0.01 ? 1 : 0)}\u00a0%`;

function aboutAll({ words, layout, doing, share, seconds, problem, kept, kept_by_components: plain }) {
  $("#progress-map").hidden = !doing;
  $("#progress-map progress").value = share;
  $("#doing").textContent = `${doing}: ${Math.round(share * 100)} %, ${seconds.toFixed(0)} s so far`;
  const about = `${plural(words, "word")}. `;
  if (layout === "neighbours" && kept === null) $("#about-map").textContent = about;
  else if (layout === "neighbours") $("#about-map").textContent = `${about}Of a frequent word's ten nearest words, ${percent(kept)} are among the ten nearest on the map; two principal components keep ${percent(plain)}.`;
  else if (problem) $("#about-map").textContent = `${about}By two principal components; a better layout can't be made: ${problem}.`;
  else $("#about-map").textContent = `${about}By two principal components, until a layout is ready that puts neighbours together. It is kept for the next time.`;
}

/** Words move from their places to others. */
function glide(words, x, y, regions, signal) {
  const [fromX, fromY] = [words.x.slice(), words.y.slice()];
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  words.regions = [];
  map.all();
  const began = performance.now();
  const step = (now) => {
    if (signal.aborted) return;
    const t = still ? 1 : Math.min(1, Math.max(0, (now - began) / GLIDE));
    const eased = t * t * (3 - 2 * t);
    for (let i = 0; i < x.length; i++) {
      words.x[i] = fromX[i] + (x[i] - fromX[i]) * eased;
      words.y[i] = fromY[i] + (y[i] - fromY[i]) * eased;
    }
    if (t === 1) words.regions = regions;
    map.refresh();
    if (t < 1) requestAnimationFrame(step);
    else {
      mark();
      axisLater();
    }
  };
  step(still ? 0 : began);
}

// ---------------------------------------------------------------- analogies

const askAnalogy = latest();

async function analogy() {
  const { a, b, c } = state;
  $("#not-found-analogy").replaceChildren();
  code($("#code-analogy"), py`wv.most_similar(\n    positive=[${python(a)}, ${python(c)}],\n    negative=[${python(b)}]${among("restrict_vocab")})`, loading());
  await telling("analogy", askAnalogy, async (signal) => {
    const answer = await ask(path("analogy"), { signal, body: { a, b, c, topn: 10 } });
    bars($("#answers"), answer.neighbours);
    $("#about-analogy").textContent = analogySentences(state, answer);
    $("#figure-analogy").hidden = false;
    $("#figure-analogy").hidden = !drawParallelogram($("#plane"), answer);
  });
}

// ---------------------------------------------------------------- axis

const askAxis = latest();

async function axis() {
  const { low, high } = state;
  axisOnMap();
  $("#not-found-axis").replaceChildren();
  for (const button of document.querySelectorAll("#axes button")) button.setAttribute("aria-pressed", String(button.textContent === `${low} → ${high}`));
  const words = listed(state.along);
  code($("#code-axis"), py`low, high = wv.get_vector(${python(low)}, norm=True), wv.get_vector(${python(high)}, norm=True)\nstep, middle = high - low, (high + low) / 2\nwords = ${brief(`[word for word in ${python([...new Set(words)].join(" "))}.split() if word in wv]`, 60)}\n[(wv.get_vector(word, norm=True) - middle) @ step * 2 / (step @ step) for word in words]`, loading());
  await telling("axis", askAxis, async (signal) => {
    const answer = await ask(path("axis"), { signal, body: { low, high, keys: words } });
    drawAxis($("#axis"), answer, [low, high], (word) => look(word));
    const order = [...answer.keys.keys()].filter((i) => ![low, high].includes(answer.keys[i])).sort((i, j) => answer.values[i] - answer.values[j]);
    const missing = answer.missing.length ? ` ${WITHOUT}: ${answer.missing.slice(0, 12).join(", ")}${answer.missing.length > 12 ? " …" : ""}.` : "";
    $("#about-axis").textContent = (order.length ? `Of these words, ${answer.keys[order[0]]} lies furthest towards ${low}, ${answer.keys[order.at(-1)]} towards ${high}.` : "") + missing;
  });
}

// ---------------------------------------------------------------- start

const TRIED = ["word", "a", "b", "c", "low", "high"];
let triedOn = "";

/** Words that these vectors don't have, such as those of the examples, give way to their most frequent. */
async function fit() {
  if (triedOn === state.vectors) return;
  triedOn = state.vectors;
  try {
    const found = await Promise.all(TRIED.map((name) => ask(path("find"), { query: { word: state[name] } })));
    if (found.every(({ key }) => key !== null)) return;
    const frequent = await ask(path("complete"), { query: { prefix: "", limit: 40 } });
    const other = { word: 0, a: 0, b: 1, c: 2, low: 0, high: 1 };
    TRIED.forEach((name, i) => { if (found[i].key === null) state[name] = frequent[Math.min(other[name], frequent.length - 1)]; });
    for (const name of ["along", "list"]) if (state[name] === EXAMPLES[name]) state[name] = frequent.join(" ");
  } catch {
    // whoever needs the words says what is wrong
  }
}

async function start() {
  state.vectors = chosen(every, state.vectors).name;
  await fit();
  state.topn = clamp(state.topn, 1, 40);
  if (!["all", "list"].includes(state.map)) state.map = "all";
  $("#vectors").value = state.vectors;
  for (const name of ["word", "a", "b", "c", "low", "high", "list", "along", "topn", "find"]) $(`#${name}`).value = state[name];
  $("#which").value = state.map;
  const again = `${state.vectors} ${state.map} ${state.map === "list" ? state.list : ""}`;
  const same = again === shownMap; // Back and Forward don't fetch the map anew
  shownMap = again;
  if (same) map.view(state.view);
  if (same) mark();
  return Promise.all([near(), same ? null : showMap(), analogy(), axis()]);
}
let shownMap = "";

const again = (what) => { shownMap = `${state.vectors} ${state.map} ${state.map === "list" ? state.list : ""}`; what(); };
wordField("word", $("#not-found"), () => look(state.word, { scroll: false }));
for (const name of ["a", "b", "c"]) wordField(name, $("#not-found-analogy"), analogy);
for (const name of ["low", "high"]) wordField(name, $("#not-found-axis"), axis);
$("#axes").append(...AXES.map(([low, high]) => make("button", { class: "chip", type: "button", onclick: () => { Object.assign(state, { low, high }); $("#low").value = low; $("#high").value = high; remember(); axis(); } }, `${low} → ${high}`)));
$("#topn").addEventListener("input", (event) => { state.topn = Number(event.target.value); remember(); near(); });
$("#vectors").addEventListener("change", (event) => { Object.assign(state, { vectors: event.target.value, view: "" }); remember(); start(); });
$("#which").addEventListener("change", (event) => { Object.assign(state, { map: event.target.value, view: "" }); remember(); again(showMap); });
$("#list").addEventListener("input", debounce((event) => { Object.assign(state, { list: event.target.value, view: "" }); remember(); again(showMap); }, 300));
$("#along").addEventListener("input", debounce((event) => { state.along = event.target.value; remember(); axis(); }, 300));
complete($("#find"), path, findOnMap);
$("#draw-axis").addEventListener("click", () => { map.pen.take(!map.pen.isOn); $("#map").focus({ preventScroll: true }); });
$("#own-words").addEventListener("click", () => $("#along").focus());
$("#remove-axis").addEventListener("click", () => { state.drawn = false; remember(); axisOnMap(); $("#map").focus({ preventScroll: true }); });
$("#zoom-in").addEventListener("click", () => map.zoom(1.5));
$("#zoom-out").addEventListener("click", () => map.zoom(1 / 1.5));
$("#zoom-all").addEventListener("click", () => map.all());
addEventListener("resize", debounce(() => { if (every.length) { analogy(); axis(); } }, 200));
themeSwitch(() => map.repaint());

try {
  every = await ask("vectors");
} catch (error) {
  $("#problem-vectors").textContent = error.message;
}
if (exported) $("#which option[value=all]").textContent = "all words of this page";
$("#vectors").replaceChildren(...choices(every));
if (every.length) await start();
else giveUp();
document.documentElement.dataset.ready = "yes";
