// The Flow view: text → tokens → windows → input embeddings, one stage asking the API after another; and the link
// between them. A token in hand is a place in the text; every stage lights up what comes of that place.

import { $, ask, brief, chosen, clamp, code, debounce, draw, enable, giveUp, hue, latest, make, number, onPress, options, plural, py, python, remembered, telling, themeSwitch, visible } from "./lib.js";
import { HeatMap, array, legend } from "./heat.js";

const OPENING =
  "Every model begins with a text. Before the first block sees any of it, words have become tokens, tokens numbers, and " +
  "numbers rows of a table--one row for what a token is, one for where it stands--so that all a transformer ever reads is " +
  "their sum. The rows begin as noise; what they come to mean is learned.";
const LONGEST = 100_000; // characters; the API refuses more
const SHOWN = 600; // tokens drawn; all are used
const DIM = 256;
const SEED = 123;
const HEADS = 8;

const [state, remember] = remembered(
  { text: OPENING, tokenizer: "", special: false, bytes: false, T: 4, S: 4, B: 8, last: true, batch: 0, position: "learned", at: -1, side: false },
  () => { controlsFromState(); start(); },
);

let tokenizers = [];
let reading = null; // the API's answer to tokenize
let batch = null; // … to windows
let sums = null; // … to embed, as arrays
let hover = null; // the place in hand while pointing; otherwise state.at, −1 for none
const ids = () => reading.tokens.map((token) => token.id);
const tokenizer = () => chosen(tokenizers, state.tokenizer);

// ---------------------------------------------------------------- 1 tokens

const askTokens = latest();

async function readText() {
  const well = await telling("tokens", askTokens, async (signal) => {
    const characters = [...state.text].length;
    if (characters > LONGEST) throw new Error(`The page shows texts of up to ${number(LONGEST)} characters; this one has ${number(characters)}.\nPrepare it into a store instead: foreword prepare FILE STORE`);
    reading = await ask("tokenize", { signal, body: { text: state.text, tokenizer: state.tokenizer, special: state.special } });
    showTokens();
    await cutWindows();
  });
  if (well && state.side) readSideBySide();
}

function showTokens() {
  const { tokens, vocab_size, characters, utf8_bytes, distinct } = reading;
  $("#idea-tokens").textContent =
    `A model reads pieces of text by number: vocab_size counts the different pieces there are, ${number(vocab_size)}, ` +
    `and not the tokens of your text, ${number(tokens.length)}.`;
  facts("#facts-tokens", [[number(tokens.length), tokens.length === 1 ? "token" : "tokens"], [number(distinct), "distinct"], [number(characters), "characters"], [number(utf8_bytes), "bytes"], [number(vocab_size), "vocab_size"]]);
  code($("#code-tokens"), reads());
  state.at = Math.min(state.at, tokens.length - 1);
  const shown = tokens.slice(0, SHOWN);
  $("#tokens").replaceChildren(...withBreaks(shown, (token, place) => chip(token, place)));
  $("#more-tokens").textContent = tokens.length > SHOWN ? `… and ${plural(tokens.length - SHOWN, "more token")}, not drawn here but cut into windows below.` : "";
  $("#shape-ids").textContent = `[${tokens.length}] token ids`;
}

/** The Python of each stage, which goes on from the one before. */
const reads = () => py`import foreword as fw

text = ${brief(python(state.text), 30)}
tok = fw.get_tokenizer(${python(tokenizer().source)})
ids = tok.encode(text, ${state.special ? 'allowed_special="all"' : "disallowed_special=()"})
`;
const cuts = () => py`data = fw.WindowDataset(
    ids, context_length=${state.T}, stride=${state.S})
loader = fw.WindowLoader(
    data, batch_size=${state.B},
    drop_last=${state.last ? "True" : "False"})
inputs, targets = ${state.batch ? `list(loader)[${state.batch}]` : "next(iter(loader))"}
`;
const sumsUp = () => py`import torch

torch.manual_seed(${SEED})
layer = fw.InputEmbedding(
    vocab_size=${reading.vocab_size},
    embedding_dim=${DIM},
    context_length=${state.T},
    position=${python(state.position)}${hasHeads() ? `,\n    num_heads=${HEADS}` : ""})
x = layer(inputs)
`;
const hasHeads = () => state.position === "rotary" || state.position === "alibi";

function withBreaks(tokens, element) {
  const items = [];
  tokens.forEach((token, place) => {
    items.push(element(token, place));
    if (token.text.includes("\n")) items.push(make("li", { class: "newline", "aria-hidden": "true" }));
  });
  return items;
}

function chip(token, place) {
  const button = make(
    "button",
    { class: `token${token.special ? " special" : ""}`, type: "button", "--h": hue(token.id), "data-place": place, tabindex: -1, title: `id ${token.id}, bytes ${token.bytes}` },
    make("span", { class: "text" }, ...visible(token)),
    make("span", { class: "id" }, String(token.id)),
    make("span", { class: "hex" }, token.bytes),
  );
  return make("li", {}, button);
}

const askSide = latest();

async function readSideBySide() {
  await telling("side", askSide, async (signal) => {
    const usable = tokenizers.filter((one) => !one.problem);
    const every = await Promise.all(usable.map((one) => ask("tokenize", { signal, body: { text: state.text, tokenizer: one.name, special: state.special } })));
    $("#side").replaceChildren(
      ...every.map((one, i) => {
        const { name } = usable[i];
        const each = (one.characters / Math.max(1, one.tokens.length)).toFixed(2);
        const tokens = one.tokens.slice(0, 250);
        return make(
          "figure", {},
          make("figcaption", {}, make("code", {}, name), ` · ${plural(one.tokens.length, "token")} · ${each} characters each · vocab_size ${number(one.vocab_size)}`),
          make("ol", { class: "tokens", "aria-label": `Tokens of ${name}` }, ...withBreaks(tokens, (token) => make("li", {}, make("span", { class: "token", "--h": hue(token.id), title: `id ${token.id}, bytes ${token.bytes}` }, make("span", { class: "text" }, ...visible(token)))))),
          one.tokens.length > tokens.length ? make("p", { class: "note" }, `… and ${number(one.tokens.length - tokens.length)} more`) : null,
        );
      }),
    );
  });
}

// ---------------------------------------------------------------- 2 windows

const askWindows = latest();

async function cutWindows() {
  if (!reading) return;
  $("#out-T").textContent = state.T;
  $("#out-S").textContent = state.S;
  $("#out-B").textContent = state.B;
  code($("#code-windows"), cuts(), reads());
  batch = sums = null;
  const done = await telling("windows", askWindows, async (signal) => {
    if (reading.tokens.length > LONGEST) throw new Error(`The page cuts up to ${number(LONGEST)} tokens into windows; this text has ${number(reading.tokens.length)}.`);
    const body = { ids: ids(), context_length: state.T, stride: state.S, batch_size: state.B, drop_last: state.last, batch: state.batch };
    try {
      batch = await ask("windows", { signal, body });
    } catch (error) {
      if (!state.batch || !error.message.startsWith("no such batch")) throw error;
      const { batches } = await ask("windows", { signal, body: { ...body, batch: 0 } });
      state.batch = Math.max(0, batches - 1); // there are no more
      remember();
      batch = await ask("windows", { signal, body: { ...body, batch: state.batch } });
    }
    if (!batch.batches) throw new Error(`No whole batch: the text gives ${plural(batch.windows, "window")}, a batch takes ${state.B}, and drop_last leaves out what is not full.\nA smaller batch_size, a smaller stride, or drop_last off gives one.`);
    $("#windows").hidden = false;
    showWindows();
    await embed();
  });
  if (done === undefined) return; // a later cut is under way
  $("#windows").hidden = !done && !batch?.batches;
  $("#embeddings").hidden = !batch?.batches;
  if (!batch?.batches) $("#shape-batch").textContent = $("#shape-out").textContent = "";
  light();
}

function showWindows() {
  const { T } = state;
  const B = batch.starts.length;
  $("#which-batch").textContent = `batch ${number(state.batch + 1)} of ${number(batch.batches)}`;
  const left = state.last ? batch.windows - batch.batches * state.B : 0;
  $("#left-out").textContent = left ? `drop_last leaves out ${plural(left, "window")}, too few for a whole batch.` : "";
  enable($("#previous"), state.batch > 0);
  enable($("#next"), state.batch + 1 < batch.batches);
  $("#shape-inputs").textContent = $("#shape-targets").textContent = `[${B}, ${T}]`;
  $("#shape-batch").textContent = `[${B}, ${T}] token ids`;
  table($("#inputs"), 0);
  table($("#targets"), 1);
  showCascade();
  showAccount();
}

function table(element, shift) {
  element.replaceChildren(
    ...batch.starts.map((start, b) =>
      make("tr", {}, make("th", { scope: "row" }, String(state.batch * state.B + b)),
        ...batch.inputs[b].map((_, t) => {
          const place = start + t + shift;
          const token = reading.tokens[place];
          return make("td", { class: "cell", tabindex: b || t ? -1 : 0, "--h": hue(token.id), "data-place": place, "data-window": b, "data-position": t, title: `id ${token.id}, place ${place}` },
            make("span", { class: "text" }, ...visible(token)), make("span", { class: "id" }, String(token.id)));
        })),
    ),
  );
}

function showCascade() {
  const { T } = state;
  const { starts } = batch;
  const total = reading.tokens.length;
  const isLast = state.batch + 1 === batch.batches;
  const end = starts.at(-1) + T + 1;
  const whole = total <= 44;
  const low = whole ? 0 : Math.max(0, starts[0] - 2);
  const high = whole ? total : Math.min(total, end + (isLast ? 6 : 3));
  const size = Math.min(24, 1000 / (high - low + 3));
  const row = Math.max(9, Math.min(18, size));
  const left = 30;
  const x = (place) => left + (place - low) * size;
  const svg = $("#cascade");
  const elements = [];
  const covered = coverage();
  for (let place = low; place < high; place++) {
    elements.push(rect(place, 0, covered(place) ? "" : "dropped"));
    if (size >= 13) {
      const first = [...reading.tokens[place].text.trim()][0] ?? "·";
      elements.push(draw("text", { class: "letter", x: x(place) + size / 2, y: 0 + row / 2 + 3.5 }, first));
    }
  }
  elements.push(draw("text", { x: 0, y: row - 4 }, "text"));
  starts.forEach((start, b) => {
    const y = (b + 1) * (row + 4) + 8;
    elements.push(draw("text", { x: 0, y: y + row - 4 }, String(state.batch * state.B + b)));
    for (let t = 0; t < T; t++) elements.push(rect(start + t, y, ""));
    elements.push(rect(start + T, y, "target"));
  });
  const height = (starts.length + 1) * (row + 4) + 10;
  svg.setAttribute("viewBox", `0 0 ${Math.max(left + (high - low + 1) * size, 760)} ${height}`);
  svg.replaceChildren(...elements);

  function rect(place, y, kind) {
    const width = Math.max(1, size - (size > 5 ? 1.5 : 0.4));
    const inset = kind ? 0.7 : 0;
    return draw("rect", { class: kind, x: x(place) + inset, y: y + inset, width: width - 2 * inset, height: row - 2 * inset, rx: Math.min(2, size / 6), "--h": hue(reading.tokens[place].id), "data-place": place });
  }
}

/** Whether a place stands in the inputs of any window of the epoch. */
function coverage() {
  const { T, S } = state;
  return (place) => {
    const last = Math.min(Math.floor(place / S), batch.windows - 1);
    return last >= 0 && place - last * S < T;
  };
}

function showAccount() {
  const { windows, stored, distinct, repeated, padded, dropped } = batch.account;
  const parts = [["distinct", distinct], ["repeated", repeated], ["dropped", dropped]];
  $("#account-bar").replaceChildren(...parts.filter(([, count]) => count).map(([name, count]) => make("span", { class: name, "--n": count })));
  $("#account-of").textContent = `Every token is accounted for, over ${windows === 1 ? "the one window" : `all ${number(windows)} windows`}`;
  $("#account").replaceChildren(
    ...parts.map(([name, count]) => make("li", {}, make("span", { class: `swatch ${name}` }), make("b", {}, number(count)), ` ${name}`)),
    make("li", {}, `${number(windows)} windows × ${state.T} = `, make("b", {}, number(windows * state.T)), ` = ${number(distinct)} distinct + ${number(repeated)} repeated${padded ? ` + ${number(padded)} padded` : ""}`),
    make("li", {}, `${number(stored)} tokens = ${number(distinct)} distinct + ${number(dropped)} dropped`),
  );
}

// ---------------------------------------------------------------- 3 embeddings

const askEmbed = latest();
const LIMIT = 3; // standard deviations of the learned tables: colours are full there

async function embed() {
  code($("#code-embeddings"), sumsUp(), [...reads(), ...cuts()]);
  await telling("embeddings", askEmbed, async (signal) => {
    const answer = await ask("embed", { signal, query: { encoding: "base64" }, body: { ids: batch.inputs, vocab_size: reading.vocab_size, embedding_dim: DIM, position: state.position, num_heads: HEADS, seed: SEED } });
    sums = { token: array(answer.token), position: answer.position && array(answer.position), sum: array(answer.sum) };
    $("#embeddings").hidden = false;
    showEmbeddings();
  });
}

/** The place in the text of a row of a heat map: of the batch, or of its first window. */
const placeOf = (row) => batch && batch.starts[Math.floor(row / state.T)] + (row % state.T);
const linked = { point: (row) => take(placeOf(row)), pick: (row) => pin(placeOf(row)), leave: () => take(null) };
const heat = {
  token: new HeatMap($("#heat-token"), linked),
  position: new HeatMap($("#heat-position"), linked),
  sum: new HeatMap($("#heat-sum"), linked),
};
const strips = { token: new HeatMap($("#strip-token")), position: new HeatMap($("#strip-position")), sum: new HeatMap($("#strip-sum")) };
const NOTHING = {
  rotary: "Nothing is added: rotary positions turn queries and keys inside attention.",
  alibi: "Nothing is added: ALiBi lowers attention scores with the distance.",
  none: "Nothing is added: the order of the tokens is lost.",
};

function showEmbeddings() {
  const V = reading.vocab_size;
  const [B, T] = [batch.starts.length, state.T];
  $("#shape-table").textContent = `[${V}, ${DIM}]`;
  $("#shape-token").textContent = $("#shape-sum").textContent = `[${B}, ${T}, ${DIM}]`;
  $("#shape-position").textContent = sums.position ? `[${T}, ${DIM}]` : "";
  $("#shape-out").textContent = `[${B}, ${T}] → [${B}, ${T}, ${DIM}]`;
  $("#no-position").textContent = NOTHING[state.position] ?? "";
  $("#heat-position").hidden = !sums.position;
  const rows = B * T;
  const height = Math.max(3, Math.min(13, Math.round(280 / rows)));
  heat.token.show({ data: sums.token.data, rows, columns: DIM, block: T, limit: LIMIT, height });
  heat.sum.show({ data: sums.sum.data, rows, columns: DIM, block: T, limit: LIMIT, height });
  if (sums.position) heat.position.show({ data: sums.position.data, rows: T, columns: DIM, limit: LIMIT, height });
  $("#legend-low").textContent = `−${LIMIT}`;
  $("#legend-high").textContent = `${LIMIT}`;
  legend($("#legend"));
  showTableBar();
}

function showTableBar() {
  const V = reading.vocab_size;
  const x = (id) => 4 + (id / Math.max(1, V - 1)) * 992;
  const distinct = [...new Set(batch.inputs.flat())];
  const svg = $("#table-bar");
  svg.setAttribute("viewBox", "0 0 1000 34");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.replaceChildren(
    draw("line", { class: "axis", x1: 4, x2: 996, y1: 30, y2: 30 }),
    ...distinct.map((id) => draw("line", { class: "tick", x1: x(id), x2: x(id), y1: 8, y2: 30, "--h": hue(id), "data-id": id })),
  );
}

/** The row of the token in hand, its position and their sum; of a token outside the batch nothing, and where it is. */
function showStrips(place) {
  if (!batch?.batches || !sums) return;
  const cell = cellOf(place);
  $("#strips").hidden = !cell;
  $("#elsewhere").hidden = Boolean(cell);
  if (!cell) {
    const other = batchOf(place);
    const token = make("code", {}, ...visible(reading.tokens[place]));
    if (other === null) $("#elsewhere").replaceChildren(token, ` at place ${number(place)} is in the inputs of no ${state.last ? "whole " : ""}batch: the model never sees it.`);
    else $("#elsewhere").replaceChildren(token, ` at place ${number(place)} is not in this batch. `, make("button", { type: "button", onclick: () => { state.batch = other; pin(place); changed(); $(`#tokens [data-place="${place}"]`)?.focus({ preventScroll: true }); } }, `Show batch ${number(other + 1)}`));
    return;
  }
  const [b, t] = cell;
  const id = batch.inputs[b][t];
  const row = b * state.T + t;
  const slices = {
    token: sums.token.data.subarray(row * DIM, (row + 1) * DIM),
    position: sums.position ? sums.position.data.subarray(t * DIM, (t + 1) * DIM) : new Float32Array(DIM),
    sum: sums.sum.data.subarray(row * DIM, (row + 1) * DIM),
  };
  for (const [name, data] of Object.entries(slices)) {
    strips[name].show({ data, rows: 1, columns: DIM, limit: LIMIT, height: 20 });
    const values = [...data.subarray(0, 5)].map((value) => value.toFixed(4).replace("-", "−")).join("  ");
    $(`#strip-${name}-values`).textContent = `${values}  …`;
  }
  $("#strip-token-name").replaceChildren("row ", make("code", {}, number(id)), " of the token table, for ", make("code", {}, ...visible(reading.tokens[place])));
  $("#strip-position-name").replaceChildren(...(sums.position ? ["row ", make("code", {}, String(t)), " of the position table"] : ["nothing is added here"]));
  $("#strip-sum-name").replaceChildren("what the first block sees at ", make("code", {}, `[${b}, ${t}]`));
}

// ---------------------------------------------------------------- 4 positions

const SIDE = 64; // positions, and dimensions, of the pictures
const SCHEMES = {
  learned: [
    "Learned", "A row for each place, learnt like the words. GPT-2 and the notebook.",
    () => py`import torch\nfrom foreword.embeddings import LearnedPositions\n\ntorch.manual_seed(${SEED})\nLearnedPositions(${SIDE}, ${SIDE})()`,
  ],
  sinusoidal: [
    "Sinusoidal", "Waves of many lengths, fixed: every place has its own chord.",
    () => py`from foreword.embeddings import SinusoidalPositions\n\nSinusoidalPositions(${SIDE}, ${SIDE})()`,
  ],
  rotary: [
    "Rotary", "Turns queries and keys; a score depends on the distance alone.",
    () => py`from foreword.embeddings import RotaryPositions\n\ncos, sin = RotaryPositions(${SIDE}, ${2 * SIDE})()\ncos`,
  ],
  alibi: [
    "ALiBi", "Takes from a score what the distance costs; no table at all.",
    () => py`from foreword.embeddings import AlibiBias\n\nbias = AlibiBias(${HEADS})(${SIDE})  # [${HEADS}, ${SIDE}, ${SIDE}]\nbias[0]`,
  ],
  none: ["None", "Nothing is added: dog bites man is man bites dog.", () => py`import torch\n\ntorch.zeros(${SIDE}, ${SIDE})`],
};
const pictures = {};

async function showSchemes() {
  const box = $("#schemes");
  for (const [name, [title, told]] of Object.entries(SCHEMES)) {
    const canvas = make("canvas", { role: "img", "aria-label": `${title} positions as a heat map` });
    const axes = make("div", { class: "axes" });
    const radio = make("input", { type: "radio", name: "position", value: name, onchange: () => { state.position = name; changed(); } });
    box.append(make("label", {}, make("span", { class: "title" }, radio, title), canvas, axes, make("p", {}, told)));
    pictures[name] = { map: new HeatMap(canvas), axes };
  }
  controlsFromState();
  await telling("positions", latest(), async (signal) => {
    await Promise.all(
      Object.entries(pictures).map(async ([name, { map, axes }]) => {
        // Rotary turns pairs of a head's dimensions, the others have a value a dimension.
        const answer = await ask("positions", { signal, query: { scheme: name, context_length: SIDE, embedding_dim: name === "rotary" ? 2 * SIDE * HEADS : SIDE, num_heads: HEADS, encoding: "base64" } });
        const { shape, data } = array(answer.values);
        const limit = name === "learned" ? LIMIT : Math.max(...data.map(Math.abs)) || 1;
        map.show({ data, rows: shape[0], columns: shape[1], limit, height: map.canvas.clientWidth / shape[0] });
        axes.textContent = `${answer.rows} ↓  ${answer.columns.replace("pair of a head's dimensions", "pair of dimensions")} →`;
      }),
    );
  });
}

// ---------------------------------------------------------------- the link

/** The [window, position] in the inputs of this batch where a place stands first. */
function cellOf(place) {
  const b = batch.starts.findIndex((start) => place >= start && place < start + state.T);
  return b < 0 ? null : [b, place - batch.starts[b]];
}

/** The number of the first batch whose inputs hold a place; null where none does. */
function batchOf(place) {
  const window = Math.max(0, Math.ceil((place - state.T + 1) / state.S));
  const whole = window < (state.last ? batch.batches * state.B : batch.windows);
  return whole && place >= window * state.S ? Math.floor(window / state.B) : null;
}

function take(place) {
  if (place === hover) return;
  hover = place;
  light();
}

/** Keep a place in hand, or none. */
function pin(place) {
  state.at = place ?? -1;
  remember();
  hover = null;
  light();
}

/** Light up the place in hand at every stage. */
const light = () => {
  cancelAnimationFrame(light.frame);
  light.frame = requestAnimationFrame(paint);
};

function paint() {
  if (!reading) return;
  const last = reading.tokens.length - 1;
  const held = hover ?? (state.at < 0 ? null : state.at);
  const place = Math.min(held ?? 0, last);
  const token = reading.tokens[place];
  document.body.classList.toggle("linked", held !== null);
  for (const element of document.querySelectorAll("[data-place].on, [data-place].same, [data-id].on")) element.classList.remove("on", "same");
  const focused = document.activeElement.closest("#tokens [data-place]")?.dataset.place;
  const stop = Number(focused ?? clamp(state.at, 0, Math.min(last, SHOWN - 1))); // where Tab comes to
  for (const button of $("#tokens").querySelectorAll("button")) button.tabIndex = Number(button.dataset.place) === stop ? 0 : -1;
  if (!token) {
    $("#inspector").replaceChildren("Type a text above.");
    return;
  }
  for (const element of document.querySelectorAll("[data-place]")) {
    const other = Number(element.dataset.place);
    if (other === place) element.classList.add("on");
    else if (reading.tokens[other]?.id === token.id) element.classList.add("same");
  }
  $(`#table-bar [data-id="${token.id}"]`)?.classList.add("on");
  const rows = [];
  if (batch?.batches) batch.starts.forEach((start, b) => { if (place >= start && place < start + state.T) rows.push(b * state.T + place - start); });
  const lit = held === null ? [] : rows;
  heat.token.light(lit);
  heat.sum.light(lit);
  heat.position.light([...new Set(lit.map((row) => row % state.T))]);
  showStrips(place);
  inspect(place, token, rows);
}

function inspect(place, token, rows) {
  const where = rows.map((row) => `[${Math.floor(row / state.T)}, ${row % state.T}]`);
  const times = reading.tokens.filter((other) => other.id === token.id).length;
  const item = (name, value) => make("span", {}, `${name} `, make("code", {}, value));
  $("#inspector").replaceChildren(
    make("span", { class: "word" }, ...visible(token)),
    item("id", String(token.id)),
    item("bytes", token.bytes || "none"),
    item("place", `${place}`),
    times > 1 ? item("same id", `${times}×`) : "",
    batch?.batches ? (where.length ? item(where.length > 1 ? "inputs at" : "input at", where.slice(0, 4).join(" ") + (where.length > 4 ? " …" : "")) : make("span", {}, "not among this batch’s inputs")) : "",
  );
}

// ---------------------------------------------------------------- events

function facts(selector, pairs) {
  $(selector).replaceChildren(...pairs.map(([value, name]) => make("li", {}, make("b", {}, value), ` ${name}`)));
}

function controlsFromState() {
  if (tokenizers.length) state.tokenizer = tokenizer().name;
  for (const [name, low, high] of [["T", 1, 32], ["S", 1, 32], ["B", 1, 8], ["batch", 0, LONGEST], ["at", -1, LONGEST]]) state[name] = clamp(state[name], low, high);
  if (!Object.hasOwn(SCHEMES, state.position)) state.position = "learned";
  if ($("#text-input").value !== state.text) $("#text-input").value = state.text;
  $("#tokenizer").value = state.tokenizer;
  $("#special").checked = state.special;
  $("#bytes").checked = state.bytes;
  $("#tokens").classList.toggle("with-bytes", state.bytes);
  for (const name of ["T", "S", "B"]) $(`#${name}`).value = state[name];
  $("#last").checked = state.last;
  $("#side-by-side").open = state.side;
  for (const radio of document.querySelectorAll("[name=position]")) radio.checked = radio.value === state.position;
  code($("#code-positions"), SCHEMES[state.position][2]());
}

/** The windows and what follows, again. */
const changed = () => {
  remember();
  controlsFromState();
  cutWindows();
};
const start = () => readText().then(light);
const typed = debounce(start, 60);

$("#text-input").addEventListener("input", (event) => { state.text = event.target.value; state.batch = 0; remember(); typed(); });
$("#tokenizer").addEventListener("change", (event) => { state.tokenizer = event.target.value; remember(); start(); });
$("#bytes").addEventListener("change", (event) => { state.bytes = event.target.checked; remember(); controlsFromState(); });
$("#special").addEventListener("change", (event) => { state.special = event.target.checked; remember(); start(); });
for (const name of ["T", "S", "B"]) $(`#${name}`).addEventListener("input", (event) => { state[name] = Number(event.target.value); state.batch = 0; changed(); });
$("#last").addEventListener("change", (event) => { state.last = event.target.checked; changed(); });
onPress($("#previous"), () => { state.batch--; changed(); });
onPress($("#next"), () => { state.batch++; changed(); });
$("#side-by-side").addEventListener("toggle", (event) => {
  state.side = event.target.open;
  remember();
  if (state.side) readSideBySide();
});
document.addEventListener("pointerover", (event) => {
  const target = event.target.closest?.("[data-place]");
  if (target) take(Number(target.dataset.place));
  else if (hover !== null && !event.target.closest?.("canvas")) take(null);
});
document.addEventListener("click", (event) => {
  const target = event.target.closest?.("[data-place]");
  const place = Number(target?.dataset.place);
  if (target) pin(place === state.at ? null : place);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state.at >= 0) pin(null);
});
document.addEventListener("focusin", (event) => {
  const target = event.target.closest?.("[data-place]");
  if (target && target.matches(":focus-visible")) take(Number(target.dataset.place));
});
document.addEventListener("focusout", (event) => {
  if (event.target.closest?.("[data-place]")) take(null);
});
$("#tokens").addEventListener("keydown", (event) => {
  const here = Number(event.target.dataset?.place);
  const last = Math.min(reading.tokens.length, SHOWN) - 1;
  const to = { ArrowRight: () => here + 1, ArrowLeft: () => here - 1, Home: () => 0, End: () => last, ArrowDown: () => below(event.target, 1), ArrowUp: () => below(event.target, -1) }[event.key];
  if (!to || Number.isNaN(here)) return;
  event.preventDefault();
  const place = clamp(to(), 0, last);
  pin(place);
  $(`#tokens [data-place="${place}"]`).focus();
});

for (const table of [$("#inputs"), $("#targets")]) {
  table.addEventListener("keydown", (event) => {
    const { window, position } = event.target.dataset ?? {};
    const [down, right] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key] ?? [0, 0];
    const to = table.querySelector(`[data-window="${Number(window) + down}"][data-position="${Number(position) + right}"]`);
    if (!to || (!down && !right)) return;
    event.preventDefault();
    for (const old of table.querySelectorAll("[tabindex='0']")) old.tabIndex = -1;
    to.tabIndex = 0;
    pin(Number(to.dataset.place));
    to.focus();
  });
}

/** The chip nearest above or below, on the next line. */
function below(chip, direction) {
  const box = chip.getBoundingClientRect();
  const others = [...$("#tokens").querySelectorAll("button")].map((one) => [one, one.getBoundingClientRect()]);
  const further = others.filter(([, other]) => (other.top - box.top) * direction > box.height / 2);
  const line = Math.min(...further.map(([, other]) => Math.abs(other.top - box.top)));
  const onLine = further.filter(([, other]) => Math.abs(other.top - box.top) < line + box.height / 2);
  onLine.sort(([, a], [, b]) => Math.abs(a.left - box.left) - Math.abs(b.left - box.left));
  return onLine.length ? Number(onLine[0][0].dataset.place) : Number(chip.dataset.place);
}

themeSwitch(() => {
  for (const map of [...Object.values(heat), ...Object.values(strips), ...Object.values(pictures).map(({ map }) => map)]) map.renew();
  legend($("#legend"));
});

tokenizers = await ask("tokenizers").catch((error) => {
  $("#problem-tokens").textContent = error.message;
  return [];
});
$("#tokenizer").replaceChildren(...options(tokenizers));
controlsFromState();
if (tokenizers.length) await start();
else giveUp();
await showSchemes();
document.documentElement.dataset.ready = "yes";
