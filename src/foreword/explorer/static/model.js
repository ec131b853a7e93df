// The smallest model that learns: a token's row of a table, a linear layer, and a softmax over all tokens, trained by
// gradient descent to predict the next token. It begins with the numbers that torch draws for the same layers, and does
// with them what torch does, in 64 bits.

import { Generator } from "./torch.js";

export class Model {
  /** V tokens, rows of D numbers, so many that V × D is 16 at least. */
  constructor(V, D, seed) {
    const random = new Generator(seed);
    const { values, next } = random.tensor(0, V * D);
    this.V = V;
    this.D = D;
    this.rows = Float64Array.from(values); // [V, D]
    this.weights = Float64Array.from(random.uniform(next, V * D, -1 / Math.sqrt(D), 1 / Math.sqrt(D))); // [V, D]
    this.changed = new Set(); // tokens whose rows the last step changed
  }

  row(token) {
    return this.rows.subarray(token * this.D, (token + 1) * this.D);
  }

  /** The probability of each token to be the next after a token, [V]. */
  predict(token) {
    const { V, D, weights } = this;
    const row = this.row(token);
    const scores = new Float64Array(V);
    let most = -Infinity;
    for (let v = 0; v < V; v++) {
      let score = 0;
      for (let d = 0; d < D; d++) score += weights[v * D + d] * row[d];
      scores[v] = score;
      if (score > most) most = score;
    }
    let sum = 0;
    for (let v = 0; v < V; v++) sum += scores[v] = Math.exp(scores[v] - most);
    for (let v = 0; v < V; v++) scores[v] /= sum;
    return scores;
  }

  /** One step of gradient descent on a batch: tokens, and for each the one that follows it. Gives the mean loss before. */
  step(inputs, targets, rate) {
    const { D, rows, weights } = this;
    const ofWeights = new Float64Array(weights.length); // gradients
    const ofRows = new Map();
    let loss = 0;
    inputs.forEach((input, i) => {
      const row = this.row(input);
      const errors = this.predict(input); // minus 1 where the next token is: the gradient of the scores
      loss -= Math.log(errors[targets[i]]) / inputs.length;
      errors[targets[i]] -= 1;
      if (!ofRows.has(input)) ofRows.set(input, new Float64Array(D));
      const ofRow = ofRows.get(input);
      errors.forEach((error, v) => {
        const part = error / inputs.length;
        for (let d = 0; d < D; d++) {
          ofWeights[v * D + d] += part * row[d];
          ofRow[d] += part * weights[v * D + d];
        }
      });
    });
    for (let i = 0; i < weights.length; i++) weights[i] -= rate * ofWeights[i];
    for (const [input, ofRow] of ofRows) for (let d = 0; d < D; d++) rows[input * D + d] -= rate * ofRow[d];
    this.changed = new Set(ofRows.keys());
    return loss;
  }

  /** The cosine of two tokens' rows. */
  similarity(a, b) {
    const [x, y] = [this.row(a), this.row(b)];
    const dot = (one, other) => one.reduce((sum, value, d) => sum + value * other[d], 0);
    return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
  }
}

/** What a text's windows say of its tokens: how often each is followed by each, as a Map of Maps. */
export function followers(inputs, targets) {
  const counts = new Map();
  inputs.forEach((input, i) => {
    if (!counts.has(input)) counts.set(input, new Map());
    const after = counts.get(input);
    after.set(targets[i], (after.get(targets[i]) ?? 0) + 1);
  });
  return counts;
}

/** The two tokens that are used most alike: what follows them has the highest cosine, as counts; of several pairs, the
    one that apart(a, b) is least for. null where no two tokens are followed by the same one. */
export function usedAlike(counts, apart) {
  const before = new Map(); // of each token, those that it follows
  for (const [token, after] of counts) for (const next of after.keys()) before.set(next, [...(before.get(next) ?? []), token]);
  const length = (after) => Math.hypot(...after.values());
  let best = null;
  const seen = new Set();
  for (const tokens of before.values()) {
    for (let i = 0; i < tokens.length; i++) {
      for (let j = i + 1; j < tokens.length; j++) {
        const [a, b] = [tokens[i], tokens[j]].sort((x, y) => x - y);
        if (seen.has(`${a} ${b}`)) continue;
        seen.add(`${a} ${b}`);
        let dot = 0;
        for (const [next, count] of counts.get(a)) dot += count * (counts.get(b).get(next) ?? 0);
        const alike = dot / (length(counts.get(a)) * length(counts.get(b)));
        const gap = apart(a, b);
        if (!best || alike > best.alike + 1e-9 || (alike > best.alike - 1e-9 && gap < best.gap)) best = { a, b, alike, gap };
      }
    }
  }
  return best;
}

/** The pair "given a token, this one is next" that the text has most often, and most surely. */
export function surest(counts) {
  let best = null;
  for (const [given, after] of counts) {
    const total = [...after.values()].reduce((sum, count) => sum + count, 0);
    for (const [next, count] of after) {
      const share = count / total;
      if (!best || count * share > best.worth) best = { given, next, worth: count * share };
    }
  }
  return best;
}
