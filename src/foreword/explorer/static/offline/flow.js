// The way from text to input embeddings, computed in the browser: what api/flow.py answers.

import { Generator } from "../torch.js";
import { Bpe, utf8 } from "./bpe.js";
import { Problem, base64, ranks } from "./carried.js";

const END_OF_TEXT = "<|endoftext|>";
const byName = new Map();

/** Tokenizers by name: { vocab_size, special_tokens, encode(text) → ids, bytes(id) → one character a byte }, and where
    there are merges, merges(id). */
function tokenizer(name) {
  if (!byName.size) {
    const bpe = new Bpe(ranks);
    const single = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
    byName.set("gpt2", { ...withEnd(bpe.tokens, (text) => bpe.encode(text)), merges: (id) => bpe.merges(id) });
    byName.set("bytes", withEnd(single, (text) => Array.from(new TextEncoder().encode(text))));
  }
  const found = byName.get(name || "gpt2");
  if (!found) throw new Problem(`unknown tokenizer: '${name}'`, { expected: "one of 'gpt2', 'bytes'" });
  return found;
}

/** A tokenizer whose last id is the end of text. */
function withEnd(tokens, encode) {
  const end = tokens.length;
  return { vocab_size: end + 1, special_tokens: { [END_OF_TEXT]: end }, encode, end, bytes: (id) => (id === end ? END_OF_TEXT : tokens[id]) };
}

export const tokenizers = () =>
  ["gpt2", "bytes"].map((name) => {
    const { vocab_size, special_tokens } = tokenizer(name);
    return { name, source: name, vocab_size, special_tokens };
  });

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export function tokenize({ body: { text, tokenizer: name = "", special = false } }) {
  const { vocab_size, encode, end, bytes } = tokenizer(name);
  const parts = special ? text.split(END_OF_TEXT) : [text];
  const ids = parts.flatMap((part, i) => (i ? [end, ...encode(part)] : encode(part)));
  const known = new Map();
  for (const id of ids) if (!known.has(id)) known.set(id, token(id, bytes(id), special && id === end));
  let at = 0; // characters that have begun before the token
  return {
    tokenizer: name || "gpt2",
    vocab_size,
    characters: [...text].length,
    utf8_bytes: utf8(text).length,
    distinct: known.size,
    tokens: ids.map((id) => {
      const string = bytes(id);
      const start = at - Number(isInside(string, 0));
      for (let i = 0; i < string.length; i++) if (!isInside(string, i)) at++;
      return { ...known.get(id), start, end: at };
    }),
  };
}

/** Whether a byte is none that a character begins with. */
const isInside = (string, i) => (string.charCodeAt(i) & 0xc0) === 0x80;

const hexadecimal = (string) => Array.from(string, (byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join(" ");

function token(id, string, special) {
  const bytes = Uint8Array.from(string, (byte) => byte.charCodeAt(0));
  return { id, text: decoder.decode(bytes), bytes: hexadecimal(string), special };
}

export function merges({ query: { id, tokenizer: name } }) {
  const { bytes, end, merges: mergesOf } = tokenizer(name);
  const string = bytes(Number(id));
  const steps = mergesOf && (Number(id) === end ? [] : mergesOf(Number(id)));
  const first = steps?.length ? [...string] : [string];
  return { id: Number(id), bytes: hexadecimal(string), parts: first.map(hexadecimal), steps: steps?.map((step) => ({ ...step, parts: step.parts.map(hexadecimal) })) ?? null };
}

// ---------------------------------------------------------------- windows

export function windows({ body: { ids, context_length: T = 4, stride: S = 4, batch_size: B = 8, batch = 0, drop_last: dropLast = true } }) {
  const stored = ids.length;
  if (stored <= T) {
    throw new Problem("too few tokens for one window", {
      got: `${stored} token${stored === 1 ? "" : "s"}`,
      expected: `at least ${T + 1} (context_length + 1, for the shifted targets)`,
      fix: stored > 1 ? `give more text, or a context_length of at most ${stored - 1}` : "give more text",
    });
  }
  const count = Math.floor((stored - 1 - T) / S) + 1;
  const batches = dropLast ? Math.floor(count / B) : Math.ceil(count / B);
  if (batches && batch >= batches) throw new Problem("no such batch", { got: String(batch), expected: `0 … ${batches - 1}` });
  const starts = [];
  for (let i = batch * B; batches && i < Math.min(count, (batch + 1) * B); i++) starts.push(i * S);
  const distinct = (count - 1) * Math.min(S, T) + T;
  return {
    windows: count,
    batches,
    account: { windows: count, stored, distinct, repeated: count * T - distinct, padded: 0, dropped: stored - distinct },
    starts,
    inputs: starts.map((start) => ids.slice(start, start + T)),
    targets: starts.map((start) => ids.slice(start + 1, start + T + 1)),
  };
}

// ---------------------------------------------------------------- embeddings

const generators = new Map(); // by seed: it keeps its way
const generator = (seed) => generators.get(seed) ?? generators.set(seed, new Generator(seed)).get(seed);

export function embed({ body: { ids, vocab_size: V, embedding_dim: D, position, seed }, query: { encoding } = {} }) {
  const [B, T] = [ids.length, ids[0].length];
  const random = generator(seed);
  const rows = new Map(); // of the token table, which is drawn first
  for (const id of [...new Set(ids.flat())].sort((a, b) => a - b)) rows.set(id, random.normal(0, id * D, (id + 1) * D));
  const tokens = new Float32Array(B * T * D);
  ids.flat().forEach((id, i) => tokens.set(rows.get(id), i * D));
  const added = { learned: () => random.normal(V * D, 0, T * D), sinusoidal: () => sinusoidal(T, D) }[position]?.();
  const sum = added ? tokens.map((value, i) => value + added[i % added.length]) : tokens;
  return { token: array([B, T, D], tokens, encoding), position: added ? array([T, D], added, encoding) : null, sum: array([B, T, D], sum, encoding) };
}

export function positions({ query: { scheme, context_length: T = 64, embedding_dim: D = 64, num_heads: heads = 8, seed = 123, encoding } }) {
  const [shape, values, names] = {
    learned: () => [[T, D], generator(seed).normal(0, 0, T * D)],
    sinusoidal: () => [[T, D], sinusoidal(T, D)],
    rotary: () => [[T, D / heads / 2], turns(T, D / heads, Math.cos), ["position", "pair of a head's dimensions"]],
    alibi: () => [[T, T], alibi(T, heads), ["query", "key"]],
    none: () => [[T, D], new Float32Array(T * D)],
  }[scheme]();
  const [rows, columns] = names ?? ["position", "dimension"];
  return { scheme, rows, columns, values: array(shape, values, encoding) };
}

/** f of the angles of positions, [T, D / 2]. */
function turns(T, D, f) {
  const half = D / 2;
  return Float32Array.from({ length: T * half }, (_, i) => f(Math.floor(i / half) * 10_000 ** ((-2 * (i % half)) / D)));
}

function sinusoidal(T, D) {
  const [sines, cosines] = [turns(T, D, Math.sin), turns(T, D, Math.cos)];
  return Float32Array.from({ length: T * D }, (_, i) => (i % 2 ? cosines : sines)[i >> 1]);
}

/** What the first head adds to its scores; a key to come has the lowest value. */
function alibi(T, heads) {
  const slope = 2 ** (-8 / 2 ** Math.floor(Math.log2(heads)));
  return Float32Array.from({ length: T * T }, (_, i) => {
    const [query, key] = [Math.floor(i / T), i % T];
    return -slope * (key > query ? T - 1 : query - key);
  });
}

/** An array as the API writes it. */
function array(shape, values, encoding) {
  if (encoding !== "base64") throw new Problem("an exported page gives arrays in base64 alone");
  return { shape, dtype: "float32", base64: base64(values) };
}
