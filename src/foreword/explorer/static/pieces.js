// Tokens as people can see them. A token may be a part of a character: its bytes are no text by themselves, so the pieces
// of one character stand joined under it. Letters of Arabic and other joining scripts keep the shapes that they have in
// the word, and text from right to left stands in its own order.

import { areJoined } from "./joining.js";
import { hue, make, visible } from "./lib.js";

const segmenter = Intl.Segmenter ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

/** Where in a text, in code points, a character as people see it (a grapheme cluster) ends; 0 too. */
function characterEnds(text) {
  const ends = new Set([0]);
  let at = 0;
  const parts = segmenter ? [...segmenter.segment(text)].map(({ segment }) => segment) : [...text];
  for (const part of parts) {
    if (part === "\r\n") ends.add(at + 1); // one cluster by the rules, two signs to everybody
    ends.add((at += [...part].length));
  }
  return ends;
}

/** Tell each token of a reading which characters it belongs to: token.group is { first, count, text } where several
    tokens share them, and null where it has its own; token.joins says on which sides its letters join others. */
export function arrange(tokens, text) {
  const points = [...text.toWellFormed()];
  const ends = characterEnds(points.join(""));
  let first = 0;
  tokens.forEach((token, i) => {
    const next = tokens[i + 1];
    if (next && !(next.start >= token.end && ends.has(token.end))) return;
    const members = tokens.slice(first, i + 1);
    const whole = points.slice(Math.min(...members.map((one) => one.start)), Math.max(...members.map((one) => one.end))).join("");
    members.forEach((one, part) => {
      one.group = members.length > 1 ? { first, count: members.length, text: whole } : null;
      one.part = part;
    });
    first = i + 1;
  });
  for (const [i, token] of tokens.entries()) {
    const { start, end } = token.group ? { start: tokens[token.group.first].start, end: tokens[token.group.first + token.group.count - 1].end } : token;
    token.joins = { before: joined(points, start), after: joined(points, end) };
    token.place = i;
  }
}

/** Tokens with their places, from the bytes of each in hexadecimal, of any stretch of a text: as tokenize answers them,
    and arranged. What belongs to a character that begins before the stretch, or ends after it, keeps its bytes. */
export function arrangedFromBytes(hexes, texts) {
  const lists = hexes.map((hex) => (hex ? hex.split(" ").map((one) => parseInt(one, 16)) : []));
  const flat = lists.flat();
  const begins = (byte) => (byte & 0xc0) !== 0x80;
  const skipped = Math.max(0, flat.findIndex(begins)); // bytes of a character that began before
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(flat.slice(skipped)));
  let characters = 0;
  const tokens = lists.map((bytes, i) => {
    const start = bytes.length && !begins(bytes[0]) ? Math.max(0, characters - 1) : characters;
    characters += bytes.filter(begins).length;
    return { text: texts[i], bytes: hexes[i], start, end: characters };
  });
  if ([...text].length === characters) arrange(tokens, text); // otherwise these are no bytes of a text
  return tokens;
}

const MARK = /\p{M}/u;

/** Whether the letters on both sides of a place in the text are written as one. */
function joined(points, at) {
  let before = at - 1;
  while (before >= 0 && MARK.test(points[before])) before--;
  let after = at;
  while (after < points.length && MARK.test(points[after])) after++;
  if (before < 0 || after >= points.length) return false;
  return areJoined(points[before], points[after]);
}

const JOINER = "\u200d"; // a letter beside it has the shape that it has beside another

/** The nodes of a text that has its neighbours' shapes. */
function shaped(text, joins, bytes = "") {
  return [joins?.before ? JOINER : null, ...visible({ text, bytes }), joins?.after ? JOINER : null].filter(Boolean);
}

/** The characters that several tokens make, as nodes: white space is seen, and what joins signs into one does its work. */
function whole({ group, joins }) {
  const space = /^\s*/u.exec(group.text)[0];
  const rest = group.text.slice(space.length);
  if (!/[\p{L}\p{N}\p{P}\p{S}]/u.test(rest)) return shaped(group.text, joins);
  return [...(space ? visible({ text: space, bytes: "" }) : []), `${joins.before ? JOINER : ""}${rest}${joins.after ? JOINER : ""}`];
}

/** A token by itself, as nodes: its text, or the character that it is a piece of and which piece. */
export function label(token) {
  if (!token.group || token.group.text.includes("\ufffd")) return [make("bdi", {}, ...shaped(token.text, token.joins, token.bytes))];
  return [make("bdi", {}, ...whole(token)), nth(token)];
}

const nth = (token) => make("span", { class: "nth", title: `piece ${token.part + 1} of the ${token.group.count} that this is cut into` }, `${token.part + 1}/${token.group.count}`);

/** A token in a sentence, as text. */
export const said = (token) => (token.group ? `${token.group.text.trim()} (piece ${token.part + 1} of ${token.group.count})` : token.text.replace(/^ /, "·"));

/** The first character of a token, to stand in a small square. */
export function initial(token) {
  const text = (token.group?.text ?? token.text).trim();
  const first = segmenter ? segmenter.segment(text)[Symbol.iterator]().next().value?.segment : [...text][0];
  if (!first) return "·";
  return [...visible({ text: first, bytes: "" })].some((node) => typeof node !== "string") && !/\p{Extended_Pictographic}/u.test(first) ? "·" : first;
}

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** "rtl" or "ltr", by the first letter of a text (or digit, which is written as in "ltr"); null where it has none. */
export function direction(text) {
  const first = /[\p{L}\p{N}]/u.exec(text);
  if (!first) return null;
  return RIGHT_TO_LEFT.test(first[0]) ? "rtl" : "ltr";
}

/** Show tokens in a list: chips, pieces joined under their character, lines as they break, runs of the other direction in
    their own order. button(token) makes what stands for one. */
export function showChips(list, tokens, button, text) {
  const base = (/\p{L}/u.exec(text) && direction(/\p{L}/u.exec(text)[0])) || "ltr";
  list.dir = base;
  const items = []; // [element, direction]
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    const count = token.group && token.part === 0 ? Math.min(token.group.count, tokens.length - i) : 1;
    if (token.group && token.part === 0) {
      const pieces = tokens.slice(i, i + count).map((one) => button(one, pieceText(one)));
      const above = make("span", { class: "whole" }, make("bdi", {}, ...whole(token)));
      items.push([make("li", { class: "joined" }, make("span", { class: "glyph" }, above, make("span", { class: "pieces" }, ...pieces))), direction(token.group.text)]);
      i += count - 1;
    } else items.push([make("li", {}, button(token, label(token))), direction(token.text)]);
    if (token.text.includes("\n")) items.push([make("li", { class: "newline", "aria-hidden": "true" }), base]);
  }
  list.replaceChildren(...inRuns(items, base));
}

/** What a piece shows under its character: its own letters where it has some, else which piece it is. */
function pieceText(token) {
  const own = !token.text.includes("\ufffd") && /[\p{L}\p{N}\p{P}\p{S}]/u.test(token.text);
  return own ? [make("bdi", {}, ...shaped(token.text))] : [nth(token)];
}

/** Items of the other direction, and what stands between two of them, in a list of that direction. */
function inRuns(items, base) {
  const out = [];
  for (let i = 0; i < items.length; i++) {
    const [element, way] = items[i];
    if (way === null || way === base) {
      out.push(element);
      continue;
    }
    let end = i;
    for (let j = i + 1; j < items.length && items[j][1] !== base; j++) if (items[j][1] === way) end = j;
    const run = items.slice(i, end + 1).map(([one]) => one);
    out.push(make("li", { class: "run" }, make("ol", { dir: way }, ...run)));
    i = end;
  }
  return out;
}

/** A chip: what is in it, the id below, and the bytes. */
export const chip = (tag, token, nodes, attributes = {}) =>
  make(
    tag,
    { class: `token${token.special ? " special" : ""}${token.group ? " piece" : ""}`, "--h": hue(token.id), title: `id ${token.id}, bytes ${token.bytes}`, ...attributes },
    make("span", { class: "text" }, ...nodes),
    make("span", { class: "id" }, String(token.id)),
    make("span", { class: "hex" }, token.bytes),
  );
