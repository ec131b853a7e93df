// The Flow view: text → tokens → windows → input embeddings, one stage asking the API after another; and the link
// between them. A token in hand is a place in the text; every stage lights up what comes of that place.

import { $, ask, brief, clamp, code, debounce, giveUp, latest, make, number, onPress, options, py, python, telling, themeSwitch } from "./lib.js";
import { showGuide, startGuide } from "./guide.js";
import { watchScrolling } from "./hints.js";
import { label } from "./pieces.js";
import { contexts, strides } from "./sentences.js";
import { SCHEMES, lightRows, makeSchemes, prepareSums, renewSums, showScheme, showSchemes, showStrips, showSums, sumsOf } from "./sums.js";
import { showExamples, showMerges, showSideBySide, showTokens } from "./tokens.js";
import { DIM, HEADS, LONGEST, SEED, SHOWN, held, ids, lost, now, onMove, remember, state, tokenizer } from "./view.js";
import { showTraining, startTraining } from "./train.js";
import { showCascade, showWindows } from "./windows.js";

// ---------------------------------------------------------------- the Python of each stage

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
    vocab_size=${now.reading.vocab_size},
    embedding_dim=${DIM},
    context_length=${state.T},
    position=${python(state.position)}${hasHeads() ? `,\n    num_heads=${HEADS}` : ""})
x = layer(inputs)
`;
const hasHeads = () => state.position === "rotary" || state.position === "alibi";

// ---------------------------------------------------------------- the stages, one after another

const askTokens = latest();
const askWindows = latest();
const askEmbed = latest();
let schemes = null; // that the pictures of the position schemes are drawn

async function readText() {
  const well = await telling("tokens", askTokens, async (signal) => {
    const characters = [...state.text].length;
    if (characters > LONGEST) throw new Error(`The page shows texts of up to ${number(LONGEST)} characters; this one has ${number(characters)}.\nPrepare it into a store instead: foreword prepare FILE STORE`);
    const { text } = state;
    const answer = await ask("tokenize", { signal, body: { text, tokenizer: tokenizer().name, special: state.special } });
    now.reading = { ...answer, text };
    const cut = cutWindows(); // asked first, then drawn: the server works meanwhile
    showTokens();
    code($("#code-tokens"), reads());
    await cut;
  });
  if (well === false) {
    now.reading = now.batch = now.sums = null; // what was shown is not of this text
    showWindows();
    showSums();
    showGuide();
  }
  if (well && state.side) showSideBySide();
}

async function cutWindows() {
  if (!now.reading) return;
  const { tokens } = now.reading;
  for (const name of ["T", "S", "B"]) for (const output of document.querySelectorAll(`[data-output=${name}]`)) output.textContent = state[name];
  $("#about-windows").textContent = contexts(state.T, state.S);
  $("#about-stride").textContent = strides(state.S, state.T);
  code($("#code-windows"), cuts(), reads());
  now.batch = now.sums = null;
  const done = await telling("windows", askWindows, async (signal) => {
    if (tokens.length > LONGEST) throw new Error(`The page cuts up to ${number(LONGEST)} tokens into windows; this text has ${number(tokens.length)}.`);
    if (tokens.length < state.T + 1) throw new Error(tooShort(tokens.length));
    now.batch = await askBatch(signal);
    const { windows, batches } = now.batch;
    if (!batches) throw new Error(`No whole batch: the text gives ${windows === 1 ? "1 window" : `${number(windows)} windows`}, a batch takes ${state.B}, and drop_last leaves out what is not full.\nA smaller batch_size, a smaller stride, or drop_last off gives one.`);
    const embedded = embed();
    showWindows();
    await embedded;
  });
  if (done === undefined) return; // a later cut is under way
  if (!done) {
    showWindows();
    showSums();
  }
  const { batch, reading } = now;
  showTraining(batch?.batches ? { tokens: reading.tokens, T: state.T, S: state.S, B: state.B, last: state.last, python: reads() } : null);
  light();
  showGuide();
}

const tooShort = (count) =>
  `${count ? `The text has ${count === 1 ? "one token" : `${count} tokens`}, too few for a window` : "There is no text yet"}: a window of context_length ${state.T} and its last target take at least ${state.T + 1} tokens.\nType more${count > 1 ? ", or choose a smaller context_length" : ""}.`;

async function askBatch(signal) {
  const body = { ids: ids(), context_length: state.T, stride: state.S, batch_size: state.B, drop_last: state.last, batch: state.batch };
  try {
    return await ask("windows", { signal, body });
  } catch (error) {
    if (!state.batch || !error.message.startsWith("no such batch")) throw error;
    const { batches } = await ask("windows", { signal, body: { ...body, batch: 0 } });
    state.batch = Math.max(0, batches - 1); // there are no more
    remember();
    return ask("windows", { signal, body: { ...body, batch: state.batch } });
  }
}

async function embed() {
  code($("#code-embeddings"), sumsUp(), [...reads(), ...cuts()]);
  await telling("embeddings", askEmbed, async (signal) => {
    const sums = sumsOf(now.batch.inputs, signal);
    schemes ??= showSchemes(); // asked once, and after what the text needs
    now.sums = await sums;
    showSums();
  });
}

// ---------------------------------------------------------------- the token in hand

function take(place) {
  if (place === now.hover) return;
  now.hover = place;
  light();
}

/** Keep a place in hand, or none. */
function pin(place) {
  state.at = place ?? -1;
  remember();
  now.hover = null;
  light();
  showGuide();
}

/** Light up the place in hand at every stage. */
const light = () => {
  cancelAnimationFrame(light.frame);
  light.frame = requestAnimationFrame(paint);
};

function paint() {
  const inHand = held();
  document.body.classList.toggle("linked", inHand !== null);
  $(".inspector").hidden = inHand === null;
  for (const element of document.querySelectorAll("[data-place].on, [data-place].same, [data-id].on")) element.classList.remove("on", "same");
  showMerges(state.at >= 0 ? held() : null);
  if (!now.reading?.tokens.length) return;
  const { tokens } = now.reading;
  const place = inHand ?? Math.min(Math.max(state.at, 0), tokens.length - 1);
  const token = tokens[place];
  const focused = document.activeElement.closest("#tokens [data-place]")?.dataset.place;
  const stop = Number(focused ?? clamp(state.at, 0, Math.min(tokens.length, SHOWN) - 1)); // where Tab comes to
  for (const button of $("#tokens").querySelectorAll("button")) button.tabIndex = Number(button.dataset.place) === stop ? 0 : -1;
  if (inHand !== null) {
    for (const element of document.querySelectorAll("[data-place]")) {
      const other = Number(element.dataset.place);
      if (other === place) element.classList.add("on");
      else if (tokens[other]?.id === token.id) element.classList.add("same");
    }
    $(`#table-bar [data-id="${token.id}"]`)?.classList.add("on");
  }
  const rows = [];
  if (now.batch?.batches) now.batch.starts.forEach((start, b) => { if (place >= start && place < start + state.T) rows.push(b * state.T + place - start); });
  lightRows(inHand === null ? [] : rows);
  showStrips(place, (batch, wanted) => {
    state.batch = batch;
    pin(wanted);
    changed();
    $(`#tokens [data-place="${wanted}"]`)?.focus({ preventScroll: true });
  });
  if (inHand !== null) inspect(place, token, rows);
}

function inspect(place, token, rows) {
  const where = rows.map((row) => `[${Math.floor(row / state.T)}, ${row % state.T}]`);
  const times = now.reading.tokens.filter((other) => other.id === token.id).length;
  const item = (name, value) => make("span", {}, `${name} `, make("code", {}, value));
  $("#inspector").replaceChildren(
    make("span", { class: "word" }, ...label(token)),
    item("id", String(token.id)),
    item("bytes", token.bytes || "none"),
    item("place", `${place}`),
    times > 1 ? item("same id", `${times}×`) : "",
    now.batch?.batches ? (where.length ? item(where.length > 1 ? "inputs at" : "input at", where.slice(0, 4).join(" ") + (where.length > 4 ? " …" : "")) : make("span", {}, "not among this batch’s inputs")) : "",
  );
  $("#let-go").hidden = state.at < 0;
}

// ---------------------------------------------------------------- events

function controlsFromState() {
  for (const [name, low, high] of [["T", 1, 32], ["S", 1, 32], ["B", 1, 8], ["batch", 0, LONGEST], ["at", -1, LONGEST]]) state[name] = clamp(state[name], low, high);
  if (!Object.hasOwn(SCHEMES, state.position)) state.position = "learned";
  if ($("#text-input").value !== state.text) $("#text-input").value = state.text;
  $("#lost").hidden = !lost().includes("text");
  $("#tokenizer").value = tokenizer()?.name ?? "";
  $("#special").checked = state.special;
  $("#bytes").checked = state.bytes;
  $("#tokens").classList.toggle("with-bytes", state.bytes);
  for (const slider of document.querySelectorAll("[data-control]")) slider.value = state[slider.dataset.control];
  $("#last").checked = state.last;
  $("#side-by-side").open = state.side;
  for (const radio of document.querySelectorAll("[data-position]")) if (radio.type === "radio") radio.checked = radio.value === state.position;
  showScheme();
}

/** The windows and what follows, again. */
const changed = () => {
  remember();
  controlsFromState();
  cutWindows();
};
const start = () => readText().then(light);
const typed = debounce(start, 60);

/** Another text, or its tokens anew: what was in hand is another token now. */
function anew(part) {
  Object.assign(state, part, { at: -1, batch: 0 });
  now.hover = null;
  remember();
}

$("#text-input").addEventListener("input", (event) => { anew({ text: event.target.value }); $("#lost").hidden = true; typed(); });
showExamples((text) => { anew({ text }); controlsFromState(); $("#lost").hidden = true; start(); });
$("#tokenizer").addEventListener("change", (event) => { anew({ tokenizer: event.target.value }); start(); });
$("#special").addEventListener("change", (event) => { anew({ special: event.target.checked }); start(); });
$("#bytes").addEventListener("change", (event) => { state.bytes = event.target.checked; remember(); controlsFromState(); });
for (const slider of document.querySelectorAll("[data-control]")) {
  slider.addEventListener("input", () => { state[slider.dataset.control] = Number(slider.value); state.batch = 0; changed(); });
}
$("#last").addEventListener("change", (event) => { state.last = event.target.checked; changed(); });
onPress($("#previous"), () => { state.batch--; changed(); });
onPress($("#next"), () => { state.batch++; changed(); });
$("#side-by-side").addEventListener("toggle", (event) => {
  if (state.side === event.target.open) return;
  state.side = event.target.open;
  remember();
  if (state.side) showSideBySide();
});
document.addEventListener("pointerover", (event) => {
  if (event.pointerType === "touch") return; // what is touched is picked
  const target = event.target.closest?.("[data-place]");
  if (target) take(Number(target.dataset.place));
  else if (now.hover !== null && !event.target.closest?.("canvas")) take(null);
});
const KEEPS = "button, a, input, select, textarea, label, summary, canvas, output, .inspector, .step, .scene";
document.addEventListener("click", (event) => {
  const target = event.target.closest?.("[data-place]");
  if (target) {
    const place = Number(target.dataset.place);
    pin(place === state.at ? null : place);
  } else if (state.at >= 0 && !event.target.closest?.(KEEPS)) pin(null); // beside everything: let go
});
$("#let-go").addEventListener("click", () => { pin(null); $("#tokens [tabindex='0']")?.focus({ preventScroll: true }); });
$("#to-train").addEventListener("click", () => $("#train").scrollIntoView());
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
  const last = Math.min(now.reading.tokens.length, SHOWN) - 1;
  const onward = getComputedStyle(event.target.closest("ol")).direction === "rtl" ? -1 : 1;
  const to = { ArrowRight: () => here + onward, ArrowLeft: () => here - onward, Home: () => 0, End: () => last, ArrowDown: () => below(event.target, 1), ArrowUp: () => below(event.target, -1) }[event.key];
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

startTraining();
prepareSums(take, pin);
makeSchemes((name) => { state.position = name; changed(); });
themeSwitch(() => { renewSums(); showGuide(); });
onMove(() => { now.hover = null; controlsFromState(); start(); });
watchScrolling();
let width = innerWidth;
addEventListener("resize", debounce(() => {
  if (width === innerWidth) return; // a phone's address bar came or went
  width = innerWidth;
  showCascade();
  light();
  showGuide();
}, 100));

now.tokenizers = await ask("tokenizers").catch((error) => {
  $("#problem-tokens").textContent = error.message;
  return [];
});
$("#tokenizer").replaceChildren(...options(now.tokenizers));
controlsFromState();
startGuide();
if (now.tokenizers.length) await start();
else giveUp();
await (schemes ??= showSchemes());
document.documentElement.dataset.ready = "yes";
