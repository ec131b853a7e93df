// The Store view: what a prepared store holds, its documents, any place of it, and where a token sequence stands.

import { $, ask, brief, chosen, clamp, code, debounce, draw, enable, hue, latest, make, number, onPress, options, plural, py, python, remembered, telling, themeSwitch } from "./lib.js";
import { arrangedFromBytes, label } from "./pieces.js";

const PAGE = 12; // documents
const PIECE = 256; // tokens
const FURTHEST = 2 ** 53; // what a number counts to

const [state, remember] = remembered({ store: "", documents: 0, place: 0, find: "" }, () => start());
let stores = [];
let total = 0; // tokens and documents of the store, as last told
let documents = 0;
let found = null; // { forms: [{ text, ids, next }], places: [{ place, length }] } of what was last looked for

const opening = () => py`import foreword as fw\n\nstore = fw.TokenStore.open(${python(chosen(stores, state.store).source)})\n`;

// ---------------------------------------------------------------- account

const askAccount = latest();

async function account() {
  code($("#code-account"), [...opening(), "len(store), store.documents, store.dtype"]);
  await telling("account", askAccount, async (signal) => {
    const told = await ask("stores/account", { signal, query: { store: state.store } });
    const pairs = [["tokens", number(told.tokens)], ["documents", number(told.documents)], ["tokenizer", told.tokenizer], ["vocab_size", number(told.vocab_size)], ["dtype", told.dtype], ["on disk", size(told.bytes)], ["shortest", number(told.shortest)], ["median", number(told.median)], ["longest", number(told.longest)]];
    $("#numbers").replaceChildren(...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
    histogram(told.histogram);
  });
}

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = bytes ? Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3)) : 0;
  const value = bytes / 1000 ** power;
  return `${power && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

function histogram(bins) {
  const [height, foot] = [190, 22];
  const width = $("#histogram").clientWidth || 720; // so that letters keep their size on a phone
  const wide = Math.min(90, width / Math.max(1, bins.length));
  const most = Math.max(1, ...bins.map((bin) => bin.documents));
  const svg = $("#histogram");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(
    ...bins.flatMap((bin, i) => {
      const tall = bin.documents ? Math.max(1, ((height - foot - 18) * bin.documents) / most) : 0;
      const x = i * wide;
      return [
        draw("rect", { x: x + 2, y: height - foot - tall, width: wide - 4, height: tall, rx: 1.5 }, draw("title", {}, `${plural(bin.documents, "document")} of ${number(bin.low)} to ${number(bin.high - 1)} tokens`)),
        bin.documents ? draw("text", { x: x + wide / 2, y: height - foot - tall - 5 }, number(bin.documents)) : "",
        draw("text", { x: x + wide / 2, y: height - 6 }, bin.low >= 10000 ? `${Math.round(bin.low / 1000)}k` : `${bin.low}`),
      ];
    }),
  );
  svg.setAttribute("aria-label", `Documents by length: ${bins.map((bin) => `${bin.documents} from ${bin.low} to ${bin.high - 1}`).join(", ")}`);
}

// ---------------------------------------------------------------- documents

const askDocuments = latest();

async function listDocuments() {
  code($("#code-documents"), py`ids = store.document(${state.documents})\nstore.tokenizer.decode(ids)\nstore.offsets  # where each starts`, opening());
  await telling("documents", askDocuments, async (signal) => {
    const pageFrom = (start) => ask("stores/documents", { signal, query: { store: state.store, start, limit: PAGE } });
    let told = await pageFrom(state.documents);
    documents = told.documents;
    if (state.documents > lastPage()) {
      state.documents = lastPage(); // there are no more
      told = await pageFrom(state.documents);
    }
    const { page } = told;
    const head = make("tr", {}, ...[["document", "n"], ["starts at", "n"], ["tokens", "n"], ["begins", ""]].map(([name, kind]) => make("th", { scope: "col", class: kind }, name)));
    const rows = page.map((one) =>
      make("tr", {}, make("td", { class: "n" }, make("button", { class: "plain link", type: "button", onclick: () => go(one.start).then(() => $("#reading").scrollIntoView({ block: "nearest" })), "aria-label": `Read document ${one.index}` }, number(one.index))),
        make("td", { class: "n" }, number(one.start)), make("td", { class: "n" }, number(one.tokens)), make("td", { class: "begin" }, one.text.replace(/\s+/g, " "))));
    $("#documents").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
    enable($("#documents-back"), state.documents > 0);
    enable($("#documents-on"), state.documents + PAGE < documents);
    $("#documents-where").textContent = page.length ? `${number(page[0].index)} to ${number(page.at(-1).index)} of ${number(documents)}` : "none";
  });
}

const lastPage = () => PAGE * Math.floor(Math.max(0, documents - 1) / PAGE);

function turn(by) {
  state.documents = clamp(state.documents + by, 0, lastPage());
  remember();
  listDocuments();
}

// ---------------------------------------------------------------- read and find

const askRead = latest();

async function read() {
  code($("#code-read"), py`ids = store[${state.place} : ${state.place} + ${PIECE}]\nstore.tokenizer.decode(ids)`, opening());
  await telling("read", askRead, async (signal) => {
    const pieceFrom = (start) => ask("stores/read", { signal, query: { store: state.store, start, count: PIECE } });
    let piece = await pieceFrom(state.place);
    total = piece.tokens;
    if (state.place >= total && total) {
      state.place = total - 1; // there are no more
      piece = await pieceFrom(state.place);
    }
    $("#place").max = Math.max(0, total - 1);
    const starts = new Set(piece.starts);
    const marked = new Set();
    for (const { place, length } of found?.places ?? []) for (let i = 0; i < length; i++) marked.add(place + i - piece.start);
    let current = piece.document;
    const items = [];
    const tokens = arrangedFromBytes(piece.bytes, piece.texts);
    piece.ids.forEach((id, i) => {
      if (starts.has(i)) {
        if (i) current++;
        items.push(make("li", { class: "document" }, `document ${number(current)}`));
      }
      items.push(make("li", {}, make("span", { class: `token${marked.has(i) ? " on" : ""}`, "--h": hue(id), title: `id ${id}, place ${piece.start + i}, bytes ${piece.bytes[i]}` }, make("span", { class: "text" }, ...label(tokens[i])))));
      if (piece.texts[i].includes("\n")) items.push(make("li", { class: "newline", "aria-hidden": "true" }));
    });
    $("#reading").replaceChildren(make("ol", { class: "tokens" }, ...items));
    $("#place").value = $("#out-place").textContent = piece.start;
    if (document.activeElement !== $("#anywhere")) $("#anywhere").value = (piece.start / Math.max(1, total - 1)) * 1000;
    enable($("#read-back"), piece.start > 0);
    enable($("#read-on"), piece.start + piece.ids.length < total);
    $("#about-reading").textContent = piece.ids.length ? `tokens ${number(piece.start)} to ${number(piece.start + piece.ids.length - 1)} of ${number(total)}, from document ${number(piece.document)} on` : "the end of the store";
  });
}

function go(place) {
  state.place = clamp(place || 0, 0, (total || FURTHEST) - 1);
  remember();
  return read();
}

const askFind = latest();

/** The forms in which a text may stand: as it is, and after a space, which the tokens of a word begin with. */
const forms = (text) => (/^\s/u.test(text) ? [text] : [text, ` ${text}`]);

/** Find the text of the state; more of it, where more is true. */
async function find(more = false) {
  const texts = forms(state.find);
  code($("#code-find"), py`texts = ${brief(`[${texts.map(python).join(", ")}]`, 60)}\nforms = [store.tokenizer.encode(text, disallowed_special=()) for text in texts]\nsorted(place for ids in forms for place in store.find(ids))`, opening());
  if (!more) found = null;
  if (!state.find) {
    askFind.stop();
    $("#places").replaceChildren();
    $("#about-found").textContent = $("#problem-find").textContent = "";
    return;
  }
  await telling("find", askFind, async (signal) => {
    const last = more && found ? found : { forms: texts.map((text) => ({ text, ids: [], next: 0 })), places: [] };
    const answers = await Promise.all(last.forms.map((form) => (form.next === null ? { ids: form.ids, places: [], next: null } : ask("stores/find", { signal, body: { store: state.store, text: form.text, start: form.next, limit: 20 } }))));
    const fresh = answers.flatMap(({ ids, places }) => places.map((place) => ({ place, length: ids.length })));
    found = {
      forms: last.forms.map(({ text }, i) => ({ text, ids: answers[i].ids, next: answers[i].next })),
      places: [...last.places, ...fresh].sort((a, b) => a.place - b.place),
    };
    const unfinished = found.forms.some(({ next }) => next !== null);
    const sought = found.forms.map(({ text, ids }, i) => `${i ? "after a space " : ""}“${text}” [${ids.join(", ")}]`).join(" and ");
    $("#about-found").textContent = `${plural(found.places.length, "place")}${unfinished ? " so far" : ""} of ${sought}. Inside a longer token a text is not found.`;
    $("#places").replaceChildren(
      ...found.places.map(({ place }) => make("li", {}, make("button", { type: "button", onclick: () => go(Math.max(0, place - 24)) }, number(place)))),
      unfinished ? make("li", {}, make("button", { type: "button", onclick: () => find(true) }, "search on")) : "",
    );
    if (!more) return;
    const first = found.places.findIndex((one) => fresh.includes(one));
    if (first >= 0) $(`#places li:nth-child(${first + 1}) button`)?.focus();
    read();
  });
}

// ---------------------------------------------------------------- start

async function start() {
  state.store = chosen(stores, state.store).name;
  $("#store").value = state.store;
  $("#wanted").value = state.find;
  total = documents = 0;
  state.documents = PAGE * Math.floor(clamp(state.documents, 0, FURTHEST - 1) / PAGE);
  state.place = clamp(state.place, 0, FURTHEST - 1);
  await Promise.all([account(), listDocuments(), find().then(read)]);
}

$("#store").addEventListener("change", (event) => { Object.assign(state, { store: event.target.value, documents: 0, place: 0 }); remember(); start(); });
onPress($("#documents-back"), () => turn(-PAGE));
onPress($("#documents-on"), () => turn(PAGE));
$("#place").addEventListener("change", (event) => go(Number(event.target.value)));
$("#anywhere").addEventListener("input", debounce((event) => go((Number(event.target.value) / 1000) * (total - 1)), 40));
onPress($("#read-back"), () => go(state.place - PIECE));
onPress($("#read-on"), () => go(state.place + PIECE));
$("#finder").addEventListener("submit", async (event) => {
  event.preventDefault();
  state.find = $("#wanted").value;
  remember();
  await find();
  await go(found?.places.length ? Math.max(0, found.places[0].place - 24) : state.place);
});
themeSwitch(() => {});

try {
  stores = await ask("stores");
  $("#store").replaceChildren(...options(stores));
  $("#views").hidden = !stores.length;
  $("#empty").hidden = stores.length > 0;
  if (stores.length) await start();
  else code($("#code-empty"), ["foreword prepare CORPUS STORE\nforeword explore --store STORE"]);
} catch (error) {
  $("#problem-stores").textContent = error.message;
}
document.documentElement.dataset.ready = "yes";
