// Word vectors in the browser: what api/vectors.py answers, for the words that the page carries, their numbers rounded
// to 8 bits. A search looks at every row.

import { Problem, base64, tables } from "./carried.js";

const CLUSTERS = 10;
const ROUNDS = 12;
const known = new Map(); // of each table, what is worked out once

function table(name) {
  const found = tables.find((one) => one.name === name);
  if (!found) throw new Problem(`unknown word vectors: '${name}'`, { expected: `one of ${tables.map((one) => `'${one.name}'`).join(", ")}` });
  if (!known.has(found)) known.set(found, { ...found, places: new Map(found.words.map((word, row) => [word, row])), units: units(found) });
  return known.get(found);
}

/** The rows [n, dim], each of length 1. */
function units({ rows, dim }) {
  const scaled = Float32Array.from(rows);
  for (let start = 0; start < scaled.length; start += dim) normalise(scaled.subarray(start, start + dim));
  return scaled;
}

function normalise(vector) {
  const norm = Math.hypot(...vector) || 1;
  for (let i = 0; i < vector.length; i++) vector[i] /= norm;
  return vector;
}

const unit = ({ units, dim }, row) => units.subarray(row * dim, (row + 1) * dim);
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

function place(table, key) {
  const row = table.places.get(key);
  if (row !== undefined) return row;
  const near = spellings(key, table.words);
  throw new Problem(`key '${key}' is not among the ${table.words.length.toLocaleString("en-US")} words that this page carries`, {
    fix: near.length ? `did you mean ${near.map((word) => `'${word}'`).join(" or ")}?` : undefined,
  });
}

/** Three words that a key may have been meant to be: those of one other letter, else of two, the most frequent first. */
function spellings(key, words) {
  const letters = [...key.toLowerCase()];
  const found = [[], [], []];
  if (letters.length > 1) for (const word of words) if (Math.abs(word.length - letters.length) <= 2) found[changes(letters, [...word])]?.push(word);
  return (found[0].length + found[1].length ? [...found[0], ...found[1]] : letters.length > 3 ? found[2] : []).slice(0, 3);
}

/** Letters to put in, leave out or replace (Levenshtein 1966); 3 stands for more. */
function changes(from, to) {
  let last = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) row.push(Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (from[i - 1] === to[j - 1] ? 0 : 1)));
    last = row;
  }
  return Math.min(3, last.at(-1));
}

export const vectors = () => tables.map(({ name, source, total, words, dim }) => ({ name, source, keys: words.length, dim, total }));

export function lookup({ query: { key } }, name) {
  const here = table(name);
  const { rows, scales, dim } = here;
  const row = place(here, key);
  const vector = Array.from(rows.subarray(row * dim, (row + 1) * dim), (value) => value * scales[row]);
  return { key, row, norm: Math.hypot(...vector), vector };
}

const folded = (word) => word.toLowerCase();

/** The words that start so, in any case: those of the same letters first, then the most frequent. */
function starting(here, prefix, limit) {
  const start = folded(prefix);
  here.folded ??= here.words.map(folded);
  const found = here.words.filter((_, row) => here.folded[row].startsWith(start));
  const rank = (word) => (word === prefix ? 0 : folded(word) === start ? 1 : 2);
  return found.sort((a, b) => rank(a) - rank(b)).slice(0, limit);
}

export const complete = ({ query: { prefix, limit = 10 } }, name) => starting(table(name), prefix, Number(limit));

export function find({ query: { word } }, name) {
  const here = table(name);
  const text = word.trim();
  if (!text) return { key: null, suggestions: [] };
  const found = starting(here, text, 6);
  if (found.length && folded(found[0]) === folded(text)) return { key: found[0], suggestions: [] };
  return { key: null, suggestions: found.length ? found : spellings(text, here.words) };
}

/** The nearest words to a direction of length 1, the given rows left out. */
function nearest(table, direction, without, topn) {
  const { words, units, dim } = table;
  const scores = new Float64Array(words.length);
  for (let row = 0, at = 0; row < words.length; row++) {
    let sum = 0;
    for (let i = 0; i < dim; i++) sum += units[at++] * direction[i];
    scores[row] = sum;
  }
  const rows = [...scores.keys()].filter((row) => !without.includes(row));
  rows.sort((a, b) => scores[b] - scores[a] || a - b);
  return rows.slice(0, topn).map((row) => ({ key: words[row], score: scores[row] }));
}

export function similar({ query: { key, topn = 10 } }, name) {
  const here = table(name);
  const row = place(here, key);
  return nearest(here, unit(here, row), [row], Number(topn));
}

export function analogy({ body: { a, b, c, topn = 10 } }, name) {
  const here = table(name);
  const rows = [a, b, c].map((key) => place(here, key));
  const [A, B, C] = rows.map((row) => unit(here, row));
  const sum = A.map((value, i) => value - B[i] + C[i]);
  const direction = normalise(sum.slice());
  const neighbours = nearest(here, direction, rows, topn);
  const found = neighbours.map(({ key }) => unit(here, here.places.get(key)));
  // The plane through the four corners: along b → a, and across to c.
  const along = A.map((value, i) => value - B[i]);
  const across = C.map((value, i) => value - B[i]);
  const x = normalise(Float64Array.from(along));
  const inward = dot(across, x);
  const y = normalise(Float64Array.from(across, (value, i) => value - inward * x[i]));
  const point = (key, vector) => {
    const from = Float64Array.from(vector, (value, i) => value - B[i]);
    return { key, x: dot(from, x), y: dot(from, y) };
  };
  return {
    neighbours,
    own: [[a, A], [b, B], [c, C]].map(([key, vector]) => ({ key, score: Math.max(-1, Math.min(1, dot(vector, direction))) })),
    corners: [point(b, B), point(a, A), point(c, C), point(`${a} − ${b} + ${c}`, sum)],
    points: neighbours.map(({ key }, i) => point(key, found[i])),
  };
}

// ---------------------------------------------------------------- map

/** Of a list of words those that are here, each once, and those that are not. */
function listed(here, given) {
  const keys = [...new Set(given)];
  const missing = keys.filter((key) => !here.places.has(key));
  const rows = keys.flatMap((key) => here.places.get(key) ?? []);
  if (!rows.length) throw new Problem("none of the words has a vector", { got: missing.slice(0, 10).join(", ") || "no words" });
  return { rows, missing };
}

export function map({ body: { keys } }, name) {
  const here = table(name);
  const { rows, missing } = listed(here, keys);
  return drawn(here, rows, Math.max(1, Math.min(CLUSTERS, Math.floor(rows.length / 4))), missing);
}

/** Words along the direction from one word to another: −1 at its start, 1 at its end. */
export function axis({ body: { low, high, keys } }, name) {
  const here = table(name);
  const [from, to] = [low, high].map((key) => Float64Array.from(unit(here, place(here, key))));
  if (low === high) throw new Problem("a direction leads from one word to another", { got: `'${low}' twice`, fix: "name two words" });
  const { rows, missing } = listed(here, keys);
  const step = to.map((value, i) => value - from[i]);
  const middle = to.map((value, i) => (value + from[i]) / 2);
  const along = (row) => (dot(step, unit(here, row).map((value, i) => value - middle[i])) * 2) / dot(step, step);
  return { keys: rows.map((row) => here.words[row]), values: rows.map((row) => Number(along(row).toFixed(6))), missing };
}

export const atlas = (_, name) => table(name).map.state;

export function atlasWords({ query: { start = 0, count = 10_000, keys = true } }, name) {
  const { words, map: { state, places, cluster } } = table(name);
  const [first, last] = [Number(start), Math.min(Number(start) + Number(count), state.words)];
  return {
    start: first,
    layout: state.layout,
    keys: keys ? words.slice(first, last) : null,
    x: base64(places.slice(first, last)),
    y: base64(places.slice(state.words + first, state.words + last)),
    cluster: base64(cluster.slice(first, last)),
  };
}

function drawn(table, rows, clusters, missing) {
  const points = rows.map((row) => unit(table, row));
  const { x, y, kept } = plane(points, table.dim);
  const cluster = clustered(points, Math.min(clusters, points.length));
  return { kept, clusters: Math.max(...cluster) + 1, keys: rows.map((row) => table.words[row]), x, y, cluster, missing };
}

/** The first two principal components: the covariance's eigenvectors, by Jacobi's rotations. */
function plane(points, dim) {
  const mean = new Float64Array(dim);
  for (const point of points) for (let i = 0; i < dim; i++) mean[i] += point[i] / points.length;
  const centred = points.map((point) => Float64Array.from(point, (value, i) => value - mean[i]));
  const matrix = Array.from({ length: dim }, () => new Float64Array(dim));
  for (const point of centred) for (let i = 0; i < dim; i++) for (let j = 0; j <= i; j++) matrix[i][j] += point[i] * point[j];
  for (let i = 0; i < dim; i++) for (let j = 0; j < i; j++) matrix[j][i] = matrix[i][j];
  const axes = eigenvectors(matrix);
  const order = [...axes.keys()].sort((a, b) => matrix[b][b] - matrix[a][a]);
  const total = order.reduce((sum, i) => sum + Math.max(0, matrix[i][i]), 0);
  const found = order.slice(0, 2).map((i) => {
    // As Foreword's own: the largest loading is positive.
    const largest = axes[i].reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
    return centred.map((point) => Number((dot(point, axes[i]) * (largest < 0 ? -1 : 1)).toFixed(5)));
  });
  const most = order.slice(0, 2).reduce((sum, i) => sum + Math.max(0, matrix[i][i]), 0);
  return { x: found[0], y: found[1] ?? found[0].map(() => 0), kept: total > 0 ? most / total : 1 };
}

/** The eigenvectors of a symmetric matrix, each a row; the matrix becomes diagonal. */
function eigenvectors(matrix) {
  const size = matrix.length;
  const vectors = Array.from({ length: size }, (_, i) => Float64Array.from({ length: size }, (_, j) => Number(i === j)));
  for (let round = 0; round < 60; round++) {
    let off = 0;
    let all = 0;
    for (let i = 0; i < size; i++) for (let j = 0; j <= i; j++) (i === j ? (all += matrix[i][i] ** 2) : (off += matrix[i][j] ** 2));
    if (off <= 1e-24 * all) break;
    for (let p = 0; p < size; p++) {
      for (let q = p + 1; q < size; q++) {
        if (!matrix[p][q]) continue;
        const theta = (matrix[q][q] - matrix[p][p]) / (2 * matrix[p][q]);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        for (let k = 0; k < size; k++) [matrix[k][p], matrix[k][q]] = [c * matrix[k][p] - s * matrix[k][q], s * matrix[k][p] + c * matrix[k][q]];
        for (const rows of [matrix, vectors]) for (let k = 0; k < size; k++) [rows[p][k], rows[q][k]] = [c * rows[p][k] - s * rows[q][k], s * rows[p][k] + c * rows[q][k]];
      }
    }
  }
  return vectors;
}

/** Spherical k-means; the first centres are words at even distances in the list. Clusters are numbered by size. */
function clustered(points, count) {
  const centres = Array.from({ length: count }, (_, k) => Float64Array.from(points[Math.floor((k * points.length) / count)]));
  let nearest = [];
  for (let round = 0; round < ROUNDS; round++) {
    nearest = points.map((point) => {
      const scores = centres.map((centre) => dot(point, centre));
      return scores.indexOf(Math.max(...scores));
    });
    for (const centre of centres) centre.fill(0);
    points.forEach((point, i) => point.forEach((value, j) => (centres[nearest[i]][j] += value)));
    centres.forEach(normalise);
  }
  const sizes = centres.map((_, k) => nearest.filter((one) => one === k).length);
  const order = [...sizes.keys()].sort((a, b) => sizes[b] - sizes[a]);
  return nearest.map((k) => order.indexOf(k));
}
