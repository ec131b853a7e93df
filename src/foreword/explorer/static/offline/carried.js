// What an exported page carries, unpacked: GPT-2's ranks and word vectors. They are in scripts that run before this one,
// so that a page opened from a folder, which may fetch nothing, has them too.

/** Why a question can't be answered: the facts that the API's problems have. */
export class Problem extends Error {
  constructor(title, facts = {}) {
    super(title);
    this.facts = { title, ...facts };
  }
}

/** The bytes that were compressed, and written in base64. */
async function unpacked(base64) {
  const packed = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).arrayBuffer();
}

const packed = globalThis.FOREWORD ?? {};

/** { bytes: Uint8Array, merges: Uint16Array, classes }, or undefined where the page does without. */
export const ranks = packed.ranks && {
  bytes: new Uint8Array(await unpacked(packed.ranks.bytes)),
  merges: new Uint16Array(await unpacked(packed.ranks.merges)),
  classes: packed.ranks.classes,
};

/** Word vectors: { name, source, total, words, dim, scales: Float32Array [n], rows: Int8Array [n, dim],
    map: { state, places: Uint16Array [2, m], cluster: Uint8Array [m] } } each. */
export const tables = await Promise.all(
  (packed.vectors ?? []).map(async ({ scales, rows, map, ...table }) => ({
    ...table,
    scales: new Float32Array(await unpacked(scales)),
    rows: new Int8Array(await unpacked(rows)),
    map: { state: map.state, places: new Uint16Array(await unpacked(map.places)), cluster: new Uint8Array(await unpacked(map.cluster)) },
  })),
);

/** The bytes of an array in base64. */
export function base64(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let text = "";
  for (let i = 0; i < bytes.length; i += 1 << 15) text += String.fromCharCode(...bytes.subarray(i, i + (1 << 15)));
  return btoa(text);
}
