// The Words view: neighbours as bars, analogies as parallelograms, a map.

import { $, ask, code, debounce, draw, latest, make, number, plural, python, remembered, themeSwitch } from "./lib.js";
import { WordMap } from "./map.js";

const LIST =
  "king queen prince princess duke monarch man woman boy girl child father mother brother sister paris france london england " +
  "berlin germany rome italy madrid spain tokyo japan dog cat horse cow sheep wolf lion tiger apple orange banana grape lemon " +
  "bread cheese wine car truck train bus bicycle airplane ship piano violin guitar drum physics chemistry biology mathematics " +
  "monday tuesday friday january march october red green blue yellow one two three seven";

const [state, remember] = remembered(
  { vectors: "", word: "language", topn: 10, a: "king", b: "man", c: "woman", map: "list", list: LIST },
  () => start(),
);
const path = (what) => `vectors/${encodeURIComponent(state.vectors)}/${what}`;

async function inSection(name, work) {
  const problem = $(`#problem-${name}`);
  try {
    await work();
    problem.textContent = "";
  } catch (error) {
    problem.textContent = error.message;
  }
}

// ---------------------------------------------------------------- completion

/** A text field that completes words: the combobox of the ARIA practices. */
function complete(input, chosen) {
  const list = make("ul", { role: "listbox", id: `${input.id}-list`, hidden: true, "aria-label": "Words" });
  const asker = latest();
  let options = [];
  let at = -1;
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-autocomplete", "list");
  input.after(list);

  const close = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const choose = (word) => {
    input.value = word;
    close();
    chosen(word);
  };
  const mark = () => {
    [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
    if (at >= 0) {
      input.setAttribute("aria-activedescendant", list.children[at].id);
      list.children[at].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  };
  input.addEventListener("input", () =>
    asker(async (signal) => {
      const prefix = input.value;
      if (!prefix) return close();
      options = await ask(path("complete"), { signal, query: { prefix, limit: 12 } });
      if (document.activeElement !== input || !options.length) return close();
      at = -1;
      list.replaceChildren(...options.map((word, i) => make("li", { role: "option", id: `${list.id}-${i}`, "aria-selected": "false", onpointerdown: (event) => { event.preventDefault(); choose(word); } }, word)));
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
    }).catch(close),
  );
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") choose(at >= 0 ? options[at] : input.value);
    else if (event.key === "Escape") close();
    else if (list.hidden) return;
    else if (event.key === "ArrowDown") at = (at + 1) % options.length;
    else if (event.key === "ArrowUp") at = (at - 1 + options.length) % options.length;
    else return;
    event.preventDefault();
    mark();
  });
  input.addEventListener("blur", close);
  input.addEventListener("change", () => chosen(input.value));
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
  code($("#code-near"), `import foreword as fw\n\nwv = fw.load(‹${python(state.vectors)}›)\nwv.most_similar(‹${python(state.word)}›, topn=‹${state.topn}›)`);
  await inSection("near", () =>
    askNear(async (signal) => {
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
    }),
  );
}

function look(word) {
  state.word = word;
  $("#word").value = word;
  remember();
  near();
  $("#word").scrollIntoView({ block: "nearest" });
}

// ---------------------------------------------------------------- analogies

const askAnalogy = latest();

async function analogy() {
  const { a, b, c } = state;
  code($("#code-analogy"), `wv.most_similar(\n    positive=[‹${python(a)}›, ‹${python(c)}›],\n    negative=[‹${python(b)}›])`);
  await inSection("analogy", () =>
    askAnalogy(async (signal) => {
      const answer = await ask(path("analogy"), { signal, body: { a, b, c, topn: 10 } });
      bars($("#answers"), answer.neighbours);
      parallelogram(answer);
    }),
  );
}

function parallelogram({ corners, points }) {
  const near = points.slice(0, 5);
  const every = [...corners, ...near];
  const width = 560;
  const height = 400;
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
  const label = (p, text, kind, dy = -12) => draw("text", { class: kind, x: x(p), y: y(p) + dy, "text-anchor": "middle" }, text);
  const svg = $("#plane");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(
    line("side-line", b, c), line("side-line", a, sum), ...arrow(b, a), ...arrow(c, sum),
    ...near.map((p) => draw("circle", { class: "near", cx: x(p), cy: y(p), r: 3.5 })),
    ...[b, a, c].map((p) => draw("circle", { cx: x(p), cy: y(p), r: 5 })),
    draw("circle", { class: "sum", cx: x(sum), cy: y(sum), r: 6 }),
    ...spread(near, x, y).map(([p, dy]) => label(p, p.key, p === near[0] ? "" : "near", dy)),
    ...[b, a, c].map((p) => label(p, p.key, "", y(p) > height / 2 ? 24 : -12)),
    label(sum, "A − B + C", "near", y(sum) > height / 2 ? 24 : -14),
  );
  svg.setAttribute("aria-label", `${state.b} to ${state.a} is as ${state.c} to ${near[0]?.key ?? "nothing"}`);
}

/** Labels moved up or down where they would lie over each other. */
function spread(points, x, y) {
  const taken = [];
  return points.map((point) => {
    for (const dy of [-9, 17, -23, 31, -37, 45]) {
      const here = [x(point), y(point) + dy];
      if (taken.every(([tx, ty]) => Math.abs(tx - here[0]) > 70 || Math.abs(ty - here[1]) > 13)) {
        taken.push(here);
        return [point, dy];
      }
    }
    return [point, -9];
  });
}

// ---------------------------------------------------------------- map

const map = new WordMap($("#map"), { chosen: look });
const askMap = latest();

async function showMap() {
  const isList = state.map === "list";
  $("#list-box").hidden = !isList;
  code($("#code-map"), `from foreword.vectors import word_map\n\nwords = ‹${isList ? '["…"]' : `wv.index_to_key[:${state.map}]`}›\nword_map.word_map(wv, words).places`);
  await inSection("map", () =>
    askMap(async (signal) => {
      const words = state.list.split(/[\s,;]+/).filter(Boolean);
      const answer = isList
        ? await ask(path("map"), { signal, body: { keys: words.slice(0, 1000) } })
        : await ask(path("map"), { signal, query: { count: state.map } });
      map.show(answer);
      const missing = answer.missing.length ? ` Without a vector: ${answer.missing.slice(0, 12).join(", ")}${answer.missing.length > 12 ? " …" : ""}.` : "";
      $("#about-map").textContent = `${plural(answer.keys.length, "word")} in ${plural(answer.clusters, "cluster")}; the plane keeps ${(answer.kept * 100).toFixed(0)} % of the variance.${missing}`;
    }),
  );
}

// ---------------------------------------------------------------- start

function start() {
  if (!names.includes(state.vectors)) state.vectors = names[0] ?? "";
  state.topn = Math.max(1, Math.min(40, Math.round(state.topn)));
  if (!["list", "1000", "10000"].includes(state.map)) state.map = "list";
  $("#vectors").value = state.vectors;
  for (const name of ["word", "a", "b", "c", "list", "topn"]) $(`#${name}`).value = state[name];
  $("#which").value = state.map;
  return Promise.all([near(), analogy(), showMap()]);
}

complete($("#word"), (word) => { if (word !== state.word) look(word); });
for (const name of ["a", "b", "c"]) complete($(`#${name}`), (word) => { if (word !== state[name]) { state[name] = word; remember(); analogy(); } });
$("#topn").addEventListener("input", (event) => { state.topn = Number(event.target.value); remember(); near(); });
$("#vectors").addEventListener("change", (event) => { state.vectors = event.target.value; remember(); start(); });
$("#which").addEventListener("change", (event) => { state.map = event.target.value; remember(); showMap(); });
$("#list").addEventListener("input", debounce((event) => { state.list = event.target.value; remember(); showMap(); }, 300));
$("#find").addEventListener("input", (event) => map.find(event.target.value.trim()));
$("#zoom-in").addEventListener("click", () => map.zoom(1.5));
$("#zoom-out").addEventListener("click", () => map.zoom(1 / 1.5));
$("#zoom-all").addEventListener("click", () => map.all());
themeSwitch(() => map.paint());

let names = [];
try {
  names = (await ask("vectors")).map(({ name }) => name);
} catch (error) {
  $("#problem-vectors").textContent = error.message;
}
$("#vectors").replaceChildren(...names.map((name) => make("option", { value: name }, name)));
if (names.length) await start();
document.documentElement.dataset.ready = "yes";
