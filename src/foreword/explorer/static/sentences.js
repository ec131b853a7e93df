// What the page says in words of what it shows: sentences computed from the text and the settings. Pure functions.

import { number, plural } from "./lib.js";

const times = (count) => (count === 1 ? "once" : count === 2 ? "twice" : `${number(count)} times`);

/** The words of a text, as its language writes them: [start, end) in code units. */
function words(text) {
  if (Intl.Segmenter) return [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)].filter((one) => one.isWordLike).map(({ segment, index }) => [index, index + segment.length]);
  return [...text.matchAll(/[\p{L}\p{N}\p{M}]+/gu)].map((found) => [found.index, found.index + found[0].length]);
}

export const countWords = (text) => words(text).length;

/** The word that is cut into the most tokens: { word, tokens }; null where there is no word. */
export function mostCut(text, tokens) {
  const unit = []; // the code unit where each code point starts, and the end
  let at = 0;
  for (const point of text) {
    unit.push(at);
    at += point.length;
  }
  unit.push(at);
  let best = null;
  let from = 0;
  for (const [start, end] of words(text)) {
    while (from < tokens.length && unit[tokens[from].end] <= start) from++;
    let to = from;
    while (to < tokens.length && unit[tokens[to].start] < end) to++;
    if (!best || to - from > best.tokens.length) best = { word: text.slice(start, end), tokens: tokens.slice(from, to) };
  }
  return best;
}

/** What a token is beside a word. */
export function tokensAndWords(text, tokens) {
  const count = countWords(text);
  const best = mostCut(text, tokens);
  const all = `Your text has ${plural(count, "word")} and ${plural(tokens.length, "token")}.`;
  if (!best) return all;
  if (best.tokens.length < 2) {
    const sign = tokens.reduce((most, { group }) => (group && group.count > (most?.count ?? 0) ? group : most), null);
    return `${all} Here each word is a single token${sign ? `, and “${sign.text.trim()}”, which is no word, is ${plural(sign.count, "token")}.` : "; a rarer word would be cut into several."}`;
  }
  const parts = best.tokens.some((token) => token.group) ? "" : `: ${best.tokens.map((token) => token.text.trim()).join(" · ")}`;
  return `${all} “${best.word}” alone is ${plural(best.tokens.length, "token")}${parts}.`;
}

export const vocabulary = (size, tokens, distinct) =>
  `vocab_size = ${number(size)} is how many different tokens the tokenizer has.${tokens ? ` Your text uses ${number(distinct)} of them, in ${plural(tokens, "token")}.` : ""}`;

/** What stride means beside context_length. */
export function strides(S, T) {
  if (S < T) return `stride ${S} < context_length ${T}: windows overlap, and each token is seen up to ${times(Math.ceil(T / S))}.`;
  if (S === T) return `stride ${S} = context_length ${T}: windows lie end to end, and each token is seen once.`;
  return `stride ${S} > context_length ${T}: between two windows ${plural(S - T, "token")} ${S - T === 1 ? "is" : "are"} left out, and never seen.`;
}

export const contexts = (T, S) => `context_length ${T}: a window has ${plural(T, "token")}, all that a model sees at once. stride ${S}: the next window starts ${plural(S, "token")} further on.`;

/** What drop_last does to the last batch. */
export function lastBatch(windows, B, drop) {
  const rest = windows % B;
  if (!rest) return `${plural(windows, "window")} ${windows === 1 ? "fills" : "fill"} ${plural(windows / B, "batch", "batches")}: drop_last has nothing to leave out.`;
  const is = `${rest === 1 ? "1 window is" : `${rest} windows are`} left for the last batch, which would take ${B}`;
  return drop ? `${is}: drop_last leaves ${rest === 1 ? "it" : "them"} out.` : `${is}: without drop_last it is a smaller batch.`;
}

/** What a model learns at position t of a window: { given, predict }. */
export const shift = (tokens, start, t, said) => ({
  given: sequence(tokens.slice(start, start + t + 1), said),
  predict: sequence(tokens.slice(start + t + 1, start + t + 2), said),
});

/** The text of tokens; a character once, though several tokens make it. */
function sequence(tokens, said) {
  let text = "";
  tokens.forEach((token, i) => {
    if (!token.group) text += token.text;
    else if (token.part === token.group.count - 1 && i >= token.part) text += token.group.text;
    else if (i === tokens.length - 1) text += ` ${said(token)}`;
  });
  return text.trim() || "(white space)";
}

export const lookup = (id, V, D) => `A lookup takes row ${number(id)} out of the table [${V}, ${D}] as it is: ${D} numbers for one id, the same wherever the token stands.`;

export const shapes = (B, T, D) => `[${B}, ${T}] → [${B}, ${T}, ${D}]: ${plural(B, "window")} of ${plural(T, "token")}, and each of the ${plural(B * T, "id")} has become ${D} numbers.`;

/** What a position scheme does to the token at position t. */
export function positions(scheme, t) {
  switch (scheme) {
    case "learned":
      return `Row ${t} of a second, small table is added: it stands for position ${t}, whatever the token, and is learned like the rows of tokens.`;
    case "sinusoidal":
      return `Row ${t} of a fixed table of waves is added: it stands for position ${t}, and nothing of it is learned.`;
    case "rotary":
      return "Nothing is added here: rotary positions act in attention, where they turn queries and keys by an angle for each position.";
    case "alibi":
      return "Nothing is added here: ALiBi acts in attention, where it lowers a score the further apart two tokens are.";
    default:
      return "Nothing is added, here or later: to the model “dog bites man” and “man bites dog” are the same.";
  }
}
