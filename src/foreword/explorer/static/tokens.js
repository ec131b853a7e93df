// The tokens of the text: chips, the merges that made one, tokenizers side by side, and texts to begin with.

import { $, ask, latest, make, number, plural, telling, visible } from "./lib.js";
import { arrange, chip, label, showChips } from "./pieces.js";
import { countWords, tokensAndWords, vocabulary } from "./sentences.js";
import { OPENING, SHOWN, now, state } from "./view.js";

/** Texts to begin with: [what the button shows, its name, language, text]. */
const EXAMPLES = [
  ["English", "English", "en", OPENING],
  ["中文", "Chinese", "zh", "我第一次听见河流的声音，是在一个下雨的早晨。模型读到的不是字，而是词元：常见的字是一个词元，少见的字要用几个。"],
  ["عربي", "Arabic", "ar", "سمعتُ النهرَ أوّلَ مرّةٍ في صباحٍ ماطر. لا يقرأ النموذجُ الكلمات، بل يقرأ قِطَعًا منها، لكلِّ قطعةٍ رقم."],
  ["👩‍👩‍👧‍👦", "Emoji", "en", "A family 👩‍👩‍👧‍👦 is seven signs that are shown as one, a thumb 👍🏽 is two, and a flag 🇺🇳 is two letters. To the tokenizer all are bytes. 🌊🙂"],
  ["Python", "Python", "en", 'def windows(ids, context_length, stride):\n    """Inputs, and the same shifted by one."""\n    for start in range(0, len(ids) - context_length, stride):\n        yield ids[start : start + context_length], ids[start + 1 : start + context_length + 1]\n'],
];

/** Buttons that put an example into the text box. */
export function showExamples(choose) {
  $("#examples").append(...EXAMPLES.map(([shown, name, lang, text]) => make("button", { type: "button", title: name, lang, onclick: () => choose(text) }, shown)));
}

export function showTokens() {
  const { text, tokens, vocab_size, characters, utf8_bytes, distinct } = now.reading;
  arrange(tokens, text);
  $("#about-words").textContent = tokens.length ? tokensAndWords(text, tokens) : "";
  $("#about-vocabulary").textContent = vocabulary(vocab_size, tokens.length, distinct);
  const pairs = [[number(tokens.length), tokens.length === 1 ? "token" : "tokens"], [number(distinct), "distinct"], [number(characters), characters === 1 ? "character" : "characters"], [number(utf8_bytes), utf8_bytes === 1 ? "byte" : "bytes"], ...(tokens.length ? [[(utf8_bytes / tokens.length).toFixed(2), "bytes a token"]] : []), [number(vocab_size), "vocab_size"]];
  $("#facts-tokens").replaceChildren(...pairs.map(([value, name]) => make("li", {}, make("b", {}, value), ` ${name}`)));
  showChips($("#tokens"), tokens.slice(0, SHOWN), (token, nodes) => chip("button", token, nodes, { type: "button", "data-place": token.place, tabindex: -1 }), text);
  $("#more-tokens").textContent = tokens.length > SHOWN ? `… and ${plural(tokens.length - SHOWN, "more token")}, not drawn here but cut into windows below.` : "";
  $("#shape-ids").textContent = `[${tokens.length}] token ids`;
}

// ---------------------------------------------------------------- merges

const askMerges = latest();
let merged = null; // "tokenizer id" of what is shown

/** The merges that made the token at a place; none are shown where there is none in hand. */
export async function showMerges(place) {
  const token = place === null ? null : now.reading?.tokens[place];
  const name = now.reading?.tokenizer; // which may not be the one that is chosen by now
  const wanted = token ? `${name} ${token.id}` : null;
  if (wanted === merged) return;
  merged = wanted;
  const box = $("#merges");
  if (!token) {
    askMerges.stop();
    box.hidden = true;
    $("#problem-merges").textContent = "";
    return;
  }
  await telling("merges", askMerges, async (signal) => {
    const { parts, steps } = await ask("merges", { signal, query: { id: token.id, tokenizer: name } });
    $("#about-merges").replaceChildren(...caption(token, parts, steps));
    const rows = [{ rank: null, at: -1, parts }, ...(steps ?? [])];
    $("#merge-steps").replaceChildren(
      ...(steps?.length ? rows : []).map(({ rank, at, parts: after }) =>
        make("li", {}, make("span", { class: "rank" }, rank === null ? "bytes" : number(rank)), make("span", { class: "parts", dir: "ltr" }, ...after.map((hex, i) => make("span", { class: `part${i === at ? " new" : ""}` }, ...shown(hex)))))),
    );
    box.hidden = false;
  });
}

function caption(token, parts, steps) {
  const name = make("code", {}, ...label(token));
  if (steps === null) return [name, " was not merged: this tokenizer has no merges."];
  if (token.special) return [name, " is a special token: it is in the vocabulary as it is, and is never merged."];
  if (!steps.length) return [name, " is a single byte, and in the vocabulary from the start: nothing is merged."];
  return [`How `, name, ` came to be: ${plural(steps.length, "merge")}. Of two neighbours that can be merged, those that stand first in the tokenizer’s list are merged next; the number is the place in that list.`];
}

/** Bytes as the text that they are, or in hexadecimal. */
function shown(hex) {
  const bytes = Uint8Array.from(hex.split(" "), (one) => parseInt(one, 16));
  try {
    return visible({ text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes), bytes: hex });
  } catch {
    return [make("span", { class: "bytes" }, hex)];
  }
}

// ---------------------------------------------------------------- side by side

const askSide = latest();
const DRAWN = 250; // tokens of each

export async function showSideBySide() {
  await telling("side", askSide, async (signal) => {
    const { text } = state;
    const usable = now.tokenizers.filter((one) => !one.problem);
    const every = await Promise.all(usable.map((one) => ask("tokenize", { signal, body: { text, tokenizer: one.name, special: state.special } })));
    const bytes = every[0]?.utf8_bytes ?? 0;
    const most = Math.max(1, ...every.map((one) => bytes / Math.max(1, one.tokens.length)), bytes / Math.max(1, countWords(text)));
    const bar = (each) => make("span", { class: "track" }, make("span", { class: "fill", "--w": `${(100 * each) / most}%` }));
    const figure = (name, count, what, rest, ...more) => {
      const each = bytes / Math.max(1, count);
      return make("figure", {}, make("figcaption", {}, make("code", {}, name), ` · ${plural(count, what)} · `, make("b", {}, `${each.toFixed(2)} bytes a ${what}`), rest), bar(each), ...more);
    };
    $("#side").replaceChildren(
      ...every.map((one, i) => {
        arrange(one.tokens, text);
        const list = make("ol", { class: "tokens", "aria-label": `Tokens of ${usable[i].name}` });
        showChips(list, one.tokens.slice(0, DRAWN), (token, nodes) => chip("span", token, nodes), text);
        return figure(usable[i].name, one.tokens.length, "token", ` · vocab_size ${number(one.vocab_size)}`, list, one.tokens.length > DRAWN ? make("p", { class: "note" }, `… and ${number(one.tokens.length - DRAWN)} more`) : null);
      }),
      figure("words", countWords(text), "word", " · for comparison: a table of words would have a row for each, and none for a word that is new"),
      figure("characters", every[0]?.characters ?? 0, "character", " · for comparison: a small table, and long sequences"),
    );
  });
}
