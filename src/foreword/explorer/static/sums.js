// Token rows, positions and their sums as heat maps; the row of the token in hand; the schemes of positions beside it.

import { $, ask, code, draw, hue, latest, make, number, py, telling } from "./lib.js";
import { HeatMap, array, legend } from "./heat.js";
import { label } from "./pieces.js";
import { lookup, positions, shapes } from "./sentences.js";
import { DIM, HEADS, SEED, batchOf, cellOf, now, state } from "./view.js";

export const LIMIT = 3; // standard deviations of the learned tables: colours are full there

/** What the server makes of windows of ids: arrays { token, position, sum }; position null where nothing is added. */
export async function sumsOf(windows, signal) {
  const body = { ids: windows, vocab_size: now.reading.vocab_size, embedding_dim: DIM, position: state.position, num_heads: HEADS, seed: SEED };
  const answer = await ask("embed", { signal, query: { encoding: "base64" }, body });
  return { token: array(answer.token), position: answer.position && array(answer.position), sum: array(answer.sum) };
}

let heat = {};
let strips = {};

/** Make the heat maps; take(place), pin(place) when a row is pointed at, or picked. */
export function prepareSums(take, pin) {
  const placeOf = (row) => now.batch && now.batch.starts[Math.floor(row / state.T)] + (row % state.T);
  const linked = { point: (row) => take(placeOf(row)), pick: (row) => pin(placeOf(row)), leave: () => take(null) };
  const names = (block) => String(state.batch * state.B + block);
  const at = (what) => (row, column, value) => `${what}: window ${names(Math.floor(row / state.T))}, position ${row % state.T}, dimension ${column}: ${value}`;
  heat = {
    token: new HeatMap($("#heat-token"), { ...linked, names, tell: at("token") }),
    position: new HeatMap($("#heat-position"), { ...linked, tell: (row, column, value) => `position ${row}, dimension ${column}: ${value}` }),
    sum: new HeatMap($("#heat-sum"), { ...linked, names, tell: at("sum") }),
  };
  const single = (what) => ({ tell: (_, column, value) => `${what}, dimension ${column}: ${value}` });
  strips = { token: new HeatMap($("#strip-token"), single("token row")), position: new HeatMap($("#strip-position"), single("position row")), sum: new HeatMap($("#strip-sum"), single("sum")) };
}

export function showSums() {
  const { batch, sums, reading } = now;
  for (const one of document.querySelectorAll(".needs-sums")) one.hidden = !sums;
  $("#shape-out").textContent = sums ? `[${batch.starts.length}, ${state.T}] → [${batch.starts.length}, ${state.T}, ${DIM}]` : "";
  $("#about-shapes").textContent = sums ? shapes(batch.starts.length, state.T, DIM) : "";
  if (!sums) return;
  const V = reading.vocab_size;
  const [B, T] = [batch.starts.length, state.T];
  $("#shape-table").textContent = `[${V}, ${DIM}]`;
  $("#shape-token").textContent = $("#shape-sum").textContent = `[${B}, ${T}, ${DIM}]`;
  $("#shape-position").textContent = sums.position ? `[${T}, ${DIM}]` : "";
  $("#no-position").textContent = sums.position ? "" : positions(state.position, 0);
  for (const one of document.querySelectorAll(".needs-position")) one.hidden = !sums.position;
  const rows = B * T;
  const height = Math.max(3, Math.min(13, Math.round(280 / rows)));
  heat.token.show({ data: sums.token.data, rows, columns: DIM, block: T, limit: LIMIT, height });
  heat.sum.show({ data: sums.sum.data, rows, columns: DIM, block: T, limit: LIMIT, height });
  if (sums.position) heat.position.show({ data: sums.position.data, rows: T, columns: DIM, limit: LIMIT, height });
  for (const name of ["rows-token", "rows-sum"]) $(`#${name}`).textContent = `↓ ${B} × ${T} tokens, by window`;
  $("#rows-position").textContent = `↓ position 0 to ${T - 1}`;
  $("#legend-low").textContent = `−${LIMIT}`;
  $("#legend-high").textContent = `${LIMIT}`;
  legend($("#legend"));
  showTableBar();
}

function showTableBar() {
  const V = now.reading.vocab_size;
  const x = (id) => 4 + (id / Math.max(1, V - 1)) * 992;
  const distinct = [...new Set(now.batch.inputs.flat())];
  const svg = $("#table-bar");
  svg.setAttribute("viewBox", "0 0 1000 34");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.replaceChildren(
    draw("line", { class: "axis", x1: 4, x2: 996, y1: 30, y2: 30 }),
    ...distinct.map((id) => draw("line", { class: "tick", x1: x(id), x2: x(id), y1: 8, y2: 30, "--h": hue(id), "data-id": id })),
  );
  $("#table-last").textContent = `row ${number(V - 1)}`;
}

/** Light up rows of the batch's heat maps. */
export function lightRows(rows) {
  heat.token.light(rows);
  heat.sum.light(rows);
  heat.position.light([...new Set(rows.map((row) => row % state.T))]);
}

/** The row of the token in hand, its position and their sum; of a token outside the batch nothing, and where it is. */
export function showStrips(place, showBatch) {
  const { batch, sums, reading } = now;
  if (!batch?.batches || !sums) return;
  const cell = cellOf(place);
  const token = reading.tokens[place];
  $("#strips").hidden = !cell;
  $("#elsewhere").hidden = Boolean(cell);
  $("#about-lookup").textContent = lookup(token.id, reading.vocab_size, DIM);
  if (!cell) {
    const other = batchOf(place);
    const name = make("code", {}, ...label(token));
    if (other === null) $("#elsewhere").replaceChildren(name, ` at place ${number(place)} is in the inputs of no ${state.last ? "whole " : ""}batch: the model never sees it.`);
    else $("#elsewhere").replaceChildren(name, ` at place ${number(place)} is not in this batch. `, make("button", { type: "button", onclick: () => showBatch(other, place) }, `Show batch ${number(other + 1)}`));
    return;
  }
  const [b, t] = cell;
  const row = b * state.T + t;
  const slices = {
    token: sums.token.data.subarray(row * DIM, (row + 1) * DIM),
    position: sums.position?.data.subarray(t * DIM, (t + 1) * DIM),
    sum: sums.sum.data.subarray(row * DIM, (row + 1) * DIM),
  };
  for (const [name, data] of Object.entries(slices)) {
    if (data) strips[name].show({ data, rows: 1, columns: DIM, limit: LIMIT, height: 20 });
    $(`#strip-${name}-values`).textContent = data ? values(data) : "";
  }
  $("#strip-token-name").replaceChildren("row ", make("code", {}, number(batch.inputs[b][t])), " of the token table, for ", make("code", {}, ...label(token)));
  $("#strip-position-name").replaceChildren(...(slices.position ? ["row ", make("code", {}, String(t)), " of the position table"] : [positions(state.position, t)]));
  $("#strip-sum-name").replaceChildren("what the first block sees at ", make("code", {}, `[${b}, ${t}]`));
}

/** The first values of a row, as text. */
export const values = (data) => `${[...data.subarray(0, 5)].map((value) => value.toFixed(4).replace("-", "−")).join("  ")}  …`;

// ---------------------------------------------------------------- the schemes of positions

const SIDE = 64; // positions, and dimensions, of the pictures
export const SCHEMES = {
  learned: [
    "Learned", "A row for each position, learned like the rows of tokens. GPT-2 has them.",
    () => py`import torch\nfrom foreword.embeddings import LearnedPositions\n\ntorch.manual_seed(${SEED})\nLearnedPositions(${SIDE}, ${SIDE})()`,
  ],
  sinusoidal: [
    "Sinusoidal", "Waves of many lengths, fixed: each position has its own pattern.",
    () => py`from foreword.embeddings import SinusoidalPositions\n\nSinusoidalPositions(${SIDE}, ${SIDE})()`,
  ],
  rotary: [
    "Rotary", "Turns queries and keys in attention; a score depends on the distance alone.",
    () => py`from foreword.embeddings import RotaryPositions\n\ncos, sin = RotaryPositions(${SIDE}, ${2 * SIDE})()\ncos`,
  ],
  alibi: [
    "ALiBi", "Lowers attention’s scores with the distance; no table at all.",
    () => py`from foreword.embeddings import AlibiBias\n\nbias = AlibiBias(${HEADS})(${SIDE})  # [${HEADS}, ${SIDE}, ${SIDE}]\nbias[0]`,
  ],
  none: ["None", "Nothing is added: “dog bites man” is “man bites dog”.", () => py`import torch\n\ntorch.zeros(${SIDE}, ${SIDE})`],
};
const pictures = {};

/** Radio buttons of the schemes: with pictures beside the sums, by name alone in the guide. */
export function makeSchemes(chosen) {
  const radio = (group, name) => make("input", { type: "radio", name: group, value: name, "data-position": name, onchange: () => chosen(name) });
  for (const [name, [title, about]] of Object.entries(SCHEMES)) {
    const canvas = make("canvas", { role: "img", "aria-label": `${title} positions as a heat map` });
    const axes = make("div", { class: "axes" });
    $("#schemes").append(make("label", {}, make("span", { class: "title" }, radio("position", name), title), canvas, axes, make("p", {}, about)));
    pictures[name] = { map: new HeatMap(canvas), axes };
    $("#guide-schemes").append(make("label", {}, radio("guide-position", name), ` ${title}`));
  }
}

export async function showSchemes() {
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

export function showScheme() {
  $("#about-scheme").textContent = SCHEMES[state.position][1];
  code($("#code-positions"), SCHEMES[state.position][2]());
}

/** For a new theme. */
export function renewSums() {
  for (const map of [...Object.values(heat), ...Object.values(strips), ...Object.values(pictures).map(({ map }) => map)]) map.renew();
  legend($("#legend"));
}
