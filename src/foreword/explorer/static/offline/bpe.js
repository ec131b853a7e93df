// Byte-pair encoding in the browser: the ids that Foreword's own tokenizer gives. A text is cut into words by GPT-2's
// pattern; in each word the two neighbouring pieces whose union has the lowest rank are joined, the leftmost first, until
// there are no such two. What a letter, a number and white space is comes from the tokenizer's own engine, for browsers
// differ in their version of Unicode. Bytes are strings here, one character a byte.

const REMEMBERED = 100_000; // words
const NO_RANK = -1;

export class Bpe {
  #ranks = new Map(); // of each token's bytes
  #words = new Map(); // of each word, its ids
  #pattern;

  /** bytes: of each of the first 256 ids, its byte. merges: of each further id the ids of its two halves, all left ones
      and then all right ones. classes: { letters, numbers, spaces }, each what stands inside [ and ] of a pattern. */
  constructor({ bytes, merges, classes: { letters: L, numbers: N, spaces: S } }) {
    this.tokens = Array.from(bytes, (byte) => String.fromCharCode(byte));
    const count = merges.length / 2;
    for (let i = 0; i < count; i++) this.tokens.push(this.tokens[merges[i]] + this.tokens[merges[count + i]]);
    this.tokens.forEach((token, rank) => this.#ranks.set(token, rank));
    this.#pattern = new RegExp(`'(?:[sdmt]|ll|ve|re)| ?[${L}]+| ?[${N}]+| ?[^${S}${L}${N}]+|[${S}]+$|[${S}]+(?![^${S}])|[${S}]`, "gu");
  }

  /** The ids of a text; half a surrogate pair counts as U+FFFD. */
  encode(text) {
    const ids = [];
    for (const word of text.replace(/[\ud800-\udfff]/gu, "\ufffd").match(this.#pattern) ?? []) {
      let found = this.#words.get(word);
      if (!found) {
        found = this.#merged(utf8(word));
        if (this.#words.size < REMEMBERED) this.#words.set(word, found);
      }
      for (const id of found) ids.push(id);
    }
    return ids;
  }

  /** The merges that make a token, in order: the rank of each, which of the parts it made, and all parts after it. */
  merges(id) {
    let parts = [...this.tokens[id]];
    const steps = [];
    for (;;) {
      const ranks = parts.slice(1).map((part, i) => this.#ranks.get(parts[i] + part) ?? Infinity);
      const rank = Math.min(...ranks);
      if (rank === Infinity) return steps;
      const at = ranks.indexOf(rank);
      parts = parts.toSpliced(at, 2, parts[at] + parts[at + 1]);
      steps.push({ rank, at, parts });
    }
  }

  /** The ids of one word. A piece is known by where it starts; those that can be joined wait in a queue by rank. */
  #merged(word) {
    if (this.#ranks.has(word)) return [this.#ranks.get(word)];
    const count = word.length;
    const pieces = Array.from(word, (byte) => this.#ranks.get(byte));
    const next = Int32Array.from(pieces, (_, i) => i + 1);
    const previous = Int32Array.from(pieces, (_, i) => i - 1);
    const joined = new Int32Array(count).fill(NO_RANK); // the rank of each piece with the one after it
    const queue = new Queue();
    const look = (i) => {
      joined[i] = next[i] < count ? this.#ranks.get(this.tokens[pieces[i]] + this.tokens[pieces[next[i]]]) ?? NO_RANK : NO_RANK;
      if (joined[i] !== NO_RANK) queue.push(joined[i] * 2 ** 32 + i);
    };
    for (let i = 0; i + 1 < count; i++) look(i);
    while (queue.size) {
      const least = queue.pop();
      const i = least % 2 ** 32;
      if (joined[i] !== Math.floor(least / 2 ** 32)) continue; // it, or the one after it, has been joined meanwhile
      const gone = next[i];
      pieces[i] = joined[i];
      joined[gone] = NO_RANK;
      next[i] = next[gone];
      if (next[i] < count) previous[next[i]] = i;
      look(i);
      if (previous[i] >= 0) look(previous[i]);
    }
    const ids = [];
    for (let i = 0; i < count; i = next[i]) ids.push(pieces[i]);
    return ids;
  }
}

/** The bytes of a text in UTF-8. */
export function utf8(text) {
  let bytes = "";
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}

/** Numbers, of which the least is taken out first: a binary heap. */
class Queue {
  #heap = [];

  get size() {
    return this.#heap.length;
  }

  push(value) {
    const heap = this.#heap;
    let at = heap.push(value) - 1;
    while (at && heap[(at - 1) >> 1] > value) {
      heap[at] = heap[(at - 1) >> 1];
      at = (at - 1) >> 1;
    }
    heap[at] = value;
  }

  pop() {
    const heap = this.#heap;
    const least = heap[0];
    const value = heap.pop();
    if (!heap.length) return least;
    let at = 0;
    for (let child; (child = 2 * at + 1) < heap.length; at = child) {
      if (child + 1 < heap.length && heap[child + 1] < heap[child]) child++;
      if (heap[child] >= value) break;
      heap[at] = heap[child];
    }
    heap[at] = value;
    return least;
  }
}
