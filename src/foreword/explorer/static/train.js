// Train it here: a tiny model learns to predict the next token of the text, in the browser. One sees the loss fall, the
// rows of the table move, two tokens that are used alike come together, and a prediction get better.

import { $, code, draw, enable, hue, make, number, onPress, plural, py } from "./lib.js";
import { Model, followers, surest, usedAlike } from "./model.js";
import { label } from "./pieces.js";

const SEED = 123;
const STEPS = 300; // that the button trains
const MOST = 1_500; // distinct tokens
const FEWEST = 4;
const DRAWN = 150; // rows in the picture, the most frequent
const A_FRAME = 2; // steps between two pictures

let given = null; // what showTraining was given last
let task = null; // the text as the model has it; null where it can't be trained
let run = null; // the model, and what has become of it
let frame = 0;

/** Show the training of a text's tokens, cut into windows as the page cuts them; from the start if anything changed.
    text: { tokens, T, S, B, last, python }, or null where there are no windows. */
export function showTraining(text) {
  const key = text && JSON.stringify([text.tokens.map((token) => token.id), text.T, text.S, text.B, text.last]);
  if (given && key === given.key) {
    Object.assign(given, text);
    showPython();
    return;
  }
  given = { ...text, key };
  $("#problem-train").textContent = "";
  task = null;
  try {
    if (text) task = prepare(given);
  } catch (error) {
    $("#problem-train").textContent = error.message;
  }
  $("#training").hidden = !task;
  reset();
}

/** The text's own tokens numbered from 0, as batches of inputs and targets, one after another. */
function prepare({ tokens, T, S, B, last }) {
  const words = [...new Set(tokens.map((token) => token.id))].sort((a, b) => a - b);
  if (words.length > MOST) throw new Error(`The page trains on texts of up to ${number(MOST)} distinct tokens; this one has ${number(words.length)}.`);
  if (words.length < FEWEST) throw new Error(`There is little to learn: the text has ${plural(words.length, "distinct token")}. ${FEWEST} are the fewest.`);
  const numbers = new Map(words.map((id, i) => [id, i]));
  const own = tokens.map((token) => numbers.get(token.id));
  const batches = [];
  const windows = Math.floor((own.length - 1 - T) / S) + 1;
  for (let first = 0; first < windows && !(last && first + B > windows); first += B) {
    const batch = { inputs: [], targets: [] };
    for (let window = first; window < Math.min(first + B, windows); window++) {
      batch.inputs.push(...own.slice(window * S, window * S + T));
      batch.targets.push(...own.slice(window * S + 1, window * S + T + 1));
    }
    batches.push(batch);
  }
  if (!batches.length) throw new Error("There is no whole batch to train on.");
  const all = (name) => batches.flatMap((batch) => batch[name]);
  const counts = followers(all("inputs"), all("targets"));
  const often = new Float64Array(words.length);
  for (const input of all("inputs")) often[input]++;
  const drawn = [...often.keys()].sort((a, b) => often[b] - often[a] || a - b).slice(0, DRAWN);
  const first = new Map(tokens.map((token) => [numbers.get(token.id), token]));
  return { words, batches, counts, drawn, tokens: words.map((_, i) => first.get(i)), names: words.map((_, i) => make("span", {}, ...label(first.get(i))).textContent) };
}

// ---------------------------------------------------------------- a run

function reset() {
  halt();
  run = null;
  if (!task) return;
  const D = Number($("#train-dim").value);
  const model = new Model(task.words.length, D, SEED);
  const { given: first } = surest(task.counts);
  run = { model, D, losses: [], until: STEPS, pair: usedAlike(task.counts, (a, b) => model.similarity(a, b)), axes: null, reach: 0 };
  run.before = run.pair && model.similarity(run.pair.a, run.pair.b);
  run.firstGuess = new Model(task.words.length, D, SEED);
  const options = task.drawn.filter((token) => task.counts.has(token)).sort((a, b) => a - b);
  $("#train-given").replaceChildren(...options.map((token) => make("option", { value: token, selected: token === first }, task.names[token])));
  $("#train-status").textContent = "";
  show();
}

const rate = () => Number($("#train-rate").value);

/** One step; false where the loss has become no number. */
function step() {
  const { inputs, targets } = task.batches[run.losses.length % task.batches.length];
  const loss = run.model.step(inputs, targets, rate());
  run.losses.push(loss);
  if (Number.isFinite(loss) && run.model.rows.every(Number.isFinite)) return true;
  run.failed = true;
  $("#problem-train").textContent = "The loss is no number any more: the learning rate is too high. Choose a lower one.";
  return false;
}

function train() {
  if (frame) return stop();
  run.until = run.losses.length + STEPS;
  $("#train-go").textContent = "Stop";
  enable($("#train-step"), false);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const more = () => {
    for (let i = 0; i < (still ? 10 * A_FRAME : A_FRAME); i++) {
      if (run.losses.length >= run.until || !step()) return stop();
    }
    if (!still) show();
    frame = requestAnimationFrame(more);
  };
  frame = requestAnimationFrame(more);
}

function stop() {
  halt();
  show();
  report();
}

function halt() {
  cancelAnimationFrame(frame);
  frame = 0;
  $("#train-go").textContent = `Train ${STEPS} steps`;
}

/** What has been reached, for those who hear the page, too. */
function report() {
  const { losses, pair, before, model } = run;
  if (!losses.length) return;
  const together = pair ? ` The similarity of ${task.names[pair.a]} and ${task.names[pair.b]} went from ${signed(before)} to ${signed(model.similarity(pair.a, pair.b))}.` : "";
  $("#train-status").textContent = `After ${plural(losses.length, "step")} the loss went from ${losses[0].toFixed(3)} to ${losses.at(-1).toFixed(3)}.${together}`;
}

const signed = (value) => value.toFixed(2).replace("-", "−");
const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;

// ---------------------------------------------------------------- pictures

function show() {
  const failed = run.failed === true;
  enable($("#train-go"), !failed);
  enable($("#train-step"), !failed && !frame);
  enable($("#train-reset"), run.losses.length > 0);
  showFacts();
  if (!failed) {
    showRows();
    showPair();
    showGuess();
  }
  showLoss();
  showPython();
}

function showFacts() {
  const { losses, model } = run;
  const V = task.words.length;
  const loss = losses.length ? losses.at(-1).toFixed(3) : "–";
  $("#train-facts").replaceChildren(
    ...[[number(losses.length), "steps"], [loss, "loss"], [`[${V}, ${run.D}]`, "rows of the table"], [number(task.batches.length), task.batches.length === 1 ? "batch, again and again" : "batches, in turn"]]
      .map(([value, name]) => make("li", {}, make("b", {}, value), ` ${name}`)),
  );
  const moved = model.changed.size;
  $("#train-moved").textContent = losses.length
    ? `The last step’s batch held ${number(moved)} of the ${plural(V, "token")}: their rows moved, ${moved === V ? "and no other is left" : `and the other ${number(V - moved)} stayed as they were`}.`
    : `A step takes one batch of the windows above, and moves the rows of the tokens that it holds.`;
}

/** The loss of every step, over axes; guessing has the loss ln V. */
function showLoss() {
  const svg = $("#train-loss");
  const [width, height, left, bottom, top] = [Math.min(520, svg.clientWidth || 520), 230, 44, 38, 14];
  const losses = run.losses.filter(Number.isFinite);
  const guessing = Math.log(task.words.length);
  const steps = Math.max(STEPS, frame ? run.until : run.losses.length);
  const highest = Math.ceil(Math.max(guessing, losses[0] ?? 0)); // what is above is drawn at the top
  const right = width - 16;
  const x = (i) => left + (i / steps) * (right - left);
  const y = (loss) => height - bottom - (Math.min(loss, highest) / highest) * (height - bottom - top);
  const text = (at, down, words, anchor = "middle") => draw("text", { x: at, y: down, "text-anchor": anchor }, words);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(
    ...Array.from({ length: highest + 1 }, (_, loss) => loss).flatMap((loss) => [draw("line", { class: "tick", x1: left, x2: right, y1: y(loss), y2: y(loss) }), text(left - 7, y(loss) + 4, String(loss), "end")]),
    ...[0, steps / 2, steps].map((i) => text(x(i), height - bottom + 16, number(Math.round(i)))),
    text((left + width) / 2, height - 6, "step →"),
    draw("text", { x: 12, y: (height - bottom + top) / 2, transform: `rotate(-90 12 ${(height - bottom + top) / 2})`, "text-anchor": "middle" }, "loss →"),
    draw("line", { class: "guessing", x1: left, x2: right, y1: y(guessing), y2: y(guessing) }),
    text(right, y(guessing) - 5, `guessing: ln ${task.words.length} = ${guessing.toFixed(2)}`, "end"),
    draw("polyline", { class: "loss", points: losses.map((loss, i) => `${x(i + 1).toFixed(1)},${y(loss).toFixed(1)}`).join(" ") }),
    losses.length ? draw("circle", { class: "now", cx: x(losses.length), cy: y(losses.at(-1)), r: 4 }) : null,
  );
  svg.setAttribute("aria-label", losses.length ? `The loss of ${plural(losses.length, "step")}: from ${losses[0].toFixed(2)} to ${losses.at(-1).toFixed(2)}` : "The loss of each step: none yet");
}

/** The rows on the plane along which they differ most. It turns slowly as they move: each time from where it was. */
function showRows() {
  const { model, D } = run;
  const { drawn, names } = task;
  const svg = $("#train-rows");
  const [width, height] = [Math.min(520, svg.clientWidth || 520), 340];
  const mean = new Float64Array(D);
  for (const token of drawn) for (let d = 0; d < D; d++) mean[d] += model.row(token)[d] / drawn.length;
  const centred = drawn.map((token) => Float64Array.from(model.row(token), (value, d) => value - mean[d]));
  run.axes = towardsPlane(centred, run.axes ?? [0, 1].map((axis) => Float64Array.from({ length: D }, (_, d) => Number(d === axis))), run.axes ? 2 : 40);
  const flat = centred.map((row) => run.axes.map((axis) => dot(axis, row)));
  run.reach = Math.max(run.reach, ...flat.flat().map(Math.abs));
  const scale = Math.min(width - 90, height - 50) / 2 / (run.reach || 1);
  const place = new Map(drawn.map((token, i) => [token, [width / 2 + flat[i][0] * scale, height / 2 - flat[i][1] * scale]]));
  const pair = run.pair ? [run.pair.a, run.pair.b].filter((token) => place.has(token)) : [];
  const labels = apart([...pair, ...drawn], place, names);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(
    draw("line", { class: "axis", x1: 8, x2: width - 8, y1: height - 16, y2: height - 16 }),
    draw("line", { class: "axis", x1: 8, x2: 8, y1: 8, y2: height - 16 }),
    draw("text", { class: "name", x: width - 8, y: height - 3, "text-anchor": "end" }, "where the rows differ most →"),
    draw("text", { class: "name", x: 14, y: 14 }, "↑ where they differ most besides"),
    pair.length === 2 ? draw("line", { class: "pair", x1: place.get(pair[0])[0], y1: place.get(pair[0])[1], x2: place.get(pair[1])[0], y2: place.get(pair[1])[1] }) : null,
    ...drawn.flatMap((token) => {
      const [x, y] = place.get(token);
      const kind = pair.includes(token) ? "paired" : model.changed.has(token) ? "moved" : "";
      return [
        draw("circle", { class: kind, cx: x.toFixed(1), cy: y.toFixed(1), r: kind === "paired" ? 5 : 3.4, "--h": hue(task.words[token]) }),
        labels.has(token) ? draw("text", { class: kind, x: (x + 6).toFixed(1), y: (y + 4).toFixed(1) }, names[token]) : null,
      ].filter(Boolean);
    }),
  );
  const many = drawn.length < task.words.length ? ` The ${DRAWN} most frequent of ${plural(task.words.length, "token")}.` : "";
  $("#train-rows-note").textContent = `Each point is a token’s row; ringed, those that the last step moved.${many}`;
}

/** The tokens whose names have room beside their points, those first in the list before others. */
function apart(tokens, place, names) {
  const taken = [];
  return new Set(tokens.filter((token) => {
    const [x, y] = place.get(token);
    const box = [x + 4, x + 10 + 7 * names[token].length, y - 7, y + 7];
    if (taken.some((other) => box[0] < other[1] && other[0] < box[1] && box[2] < other[3] && other[2] < box[3])) return false;
    taken.push(box);
    return true;
  }));
}

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

/** Two axes nearer to the plane in which rows differ most: orthogonal iteration. */
function towardsPlane(rows, axes, rounds) {
  let [a, b] = axes;
  const pull = (axis) => {
    const pulled = new Float64Array(axis.length);
    for (const row of rows) {
      const along = dot(axis, row);
      for (let d = 0; d < axis.length; d++) pulled[d] += along * row[d];
    }
    return pulled;
  };
  const unit = (axis, otherwise) => {
    const length = Math.sqrt(dot(axis, axis));
    return length > 1e-12 ? axis.map((value) => value / length) : otherwise;
  };
  for (let round = 0; round < rounds; round++) {
    a = unit(pull(a), a);
    const pulled = pull(b);
    const along = dot(pulled, a);
    b = unit(pulled.map((value, d) => value - along * a[d]), b);
  }
  return [a, b];
}

/** Two amounts, one above the other: before training, and now. */
function bars(element, before, now, text) {
  const bar = (name, value) =>
    make("li", {}, make("span", {}, name), make("span", { class: "track" }, make("span", { class: `fill${value < 0 ? " below" : ""}`, "--w": `${Math.min(100, Math.abs(value) * 100).toFixed(1)}%` })), make("span", { class: "score" }, text(value)));
  element.replaceChildren(bar("before", before), bar("now", now));
}

const token = (i) => make("code", { class: "piece" }, ...label(task.tokens[i]));

function showPair() {
  const { pair, model, before } = run;
  $("#train-pair").hidden = !pair;
  if (!pair) {
    $("#train-alike").replaceChildren("No two tokens of these windows are followed by the same token, so none are used alike. A longer text has some.");
    return;
  }
  const shared = [...task.counts.get(pair.a).keys()].filter((next) => task.counts.get(pair.b).has(next));
  const after = shared.slice(0, 3).flatMap((next, i) => [i ? ", " : "", token(next)]);
  $("#train-alike").replaceChildren(token(pair.a), " and ", token(pair.b), " are used alike: after both comes ", ...after, ". So each step pulls their rows the same way. The similarity (cosine) of their rows:");
  bars($("#train-pair"), before, model.similarity(pair.a, pair.b), signed);
}

function showGuess() {
  const input = Number($("#train-given").value);
  const after = [...(task.counts.get(input) ?? [])].sort(([, a], [, b]) => b - a);
  const [next] = after[0];
  const rest = after.length > 1 ? `, or ${plural(after.length - 1, "other token")} in other places` : "";
  $("#train-next").replaceChildren("In the text ", token(next), ` comes next${rest}. Its probability, as the model gives it:`);
  bars($("#train-guess"), run.firstGuess.predict(input)[next], run.model.predict(input)[next], percent);
}

// ---------------------------------------------------------------- the same in Python

function showPython() {
  if (!task || !run) return;
  const { T, S, B, last, python } = given;
  const { pair } = run;
  const alike = pair ? py`
i, j = np.searchsorted(
    words, [${task.words[pair.a]}, ${task.words[pair.b]}])
rows = table.token_embedding.weight
alike = torch.cosine_similarity(
    rows[i], rows[j], dim=0)
losses[0], losses[-1], alike.item()` : py`
losses[0], losses[-1]`;
  const shown = py`import numpy as np
import torch

# its own tokens, numbered from 0
words, own = np.unique(
    ids, return_inverse=True)
data = fw.WindowDataset(
    own, context_length=${T}, stride=${S})
loader = fw.WindowLoader(
    data, batch_size=${B},
    drop_last=${last ? "True" : "False"})

torch.manual_seed(${SEED})
table = fw.InputEmbedding(
    vocab_size=len(words),
    embedding_dim=${run.D},
    context_length=${T},
    position="none")
head = torch.nn.Linear(
    ${run.D}, len(words), bias=False)
model = torch.nn.Sequential(table, head)
optimizer = torch.optim.SGD(
    model.parameters(), lr=${rate()})
measure = torch.nn.CrossEntropyLoss()

losses = []
while len(losses) < ${frame ? run.until : run.losses.length || STEPS}:
    for inputs, targets in loader:
        logits = model(inputs)
        loss = measure(
            logits.flatten(0, 1),
            targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if len(losses) == ${frame ? run.until : run.losses.length || STEPS}:
            break
`;
  code($("#code-train"), [...shown, ...alike], python);
}

/** Listen to the controls: once, when the page is there. */
export function startTraining() {
  onPress($("#train-go"), train);
  onPress($("#train-step"), () => {
    step();
    show();
    report();
  });
  onPress($("#train-reset"), () => {
    $("#problem-train").textContent = "";
    reset();
  });
  for (const name of ["dim", "rate"]) $(`#train-${name}`).addEventListener("change", () => { $("#problem-train").textContent = ""; if (task) reset(); });
  $("#train-given").addEventListener("change", showGuess);
}
