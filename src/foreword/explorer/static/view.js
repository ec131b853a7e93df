// What the modules of the Flow view share: its state, and the server's last answers.

import { chosen, remembered } from "./lib.js";

export const OPENING =
  "Every model begins with a text. Before the first block reads any of it, tokenization has cut even an unputdownable " +
  "story into tokens: pieces of words, looked up by number. Each number picks a row of a table--one row for what a token is, " +
  "one for where it stands--and all that a transformer ever sees is their sum. The rows begin as noise; what they come to " +
  "mean is learned.";
export const DIM = 256;
export const SEED = 123;
export const HEADS = 8;
export const SHOWN = 600; // tokens drawn; all are used
export const LONGEST = 100_000; // characters; the API refuses more

const DEFAULTS = { text: OPENING, tokenizer: "", special: false, bytes: false, T: 4, S: 4, B: 8, last: true, batch: 0, position: "learned", at: -1, side: false };
let moved = () => {};
export const [state, remember, lost] = remembered(DEFAULTS, () => moved(), { minor: ["at"] });
/** What to do when Back or Forward has changed the state. */
export const onMove = (work) => (moved = work);

/** The tokenizers; the answers to tokenize (with its text), windows and embed (as arrays), null where there is none that fits the state;
    and the place pointed at, null for none. */
export const now = { tokenizers: [], reading: null, batch: null, sums: null, hover: null };

export const tokenizer = () => chosen(now.tokenizers, state.tokenizer);
export const ids = () => now.reading.tokens.map((token) => token.id);

/** The place in hand: pointed at, else kept; null for none. */
export function held() {
  const place = now.hover ?? (state.at < 0 ? null : state.at);
  return place !== null && now.reading && place < now.reading.tokens.length ? place : null;
}

/** The [window, position] in the inputs of this batch where a place stands first; null where it does not. */
export function cellOf(place) {
  const { starts } = now.batch;
  const b = starts.findIndex((start) => place >= start && place < start + state.T);
  return b < 0 ? null : [b, place - starts[b]];
}

/** The number of the first batch whose inputs hold a place; null where none does. */
export function batchOf(place) {
  const { batches, windows } = now.batch;
  const window = Math.max(0, Math.ceil((place - state.T + 1) / state.S));
  const whole = window < (state.last ? batches * state.B : windows);
  return whole && place >= window * state.S ? Math.floor(window / state.B) : null;
}
