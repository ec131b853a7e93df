// What an exported page has in place of source.js: the answers of the API, computed in the browser from what the page
// carries. No request is sent to anyone. What the API gives in JSON is given here, to the last bits of its floats.

import { Problem } from "./carried.js";
import * as flow from "./flow.js";
import * as words from "./words.js";

export const exported = true;

const ROUTES = [
  [/^tokenizers$/, flow.tokenizers],
  [/^tokenize$/, flow.tokenize],
  [/^merges$/, flow.merges],
  [/^windows$/, flow.windows],
  [/^embed$/, flow.embed],
  [/^positions$/, flow.positions],
  [/^vectors$/, words.vectors],
  [/^vectors\/([^/]+)\/lookup$/, words.lookup],
  [/^vectors\/([^/]+)\/complete$/, words.complete],
  [/^vectors\/([^/]+)\/similar$/, words.similar],
  [/^vectors\/([^/]+)\/analogy$/, words.analogy],
  [/^vectors\/([^/]+)\/find$/, words.find],
  [/^vectors\/([^/]+)\/map$/, words.map],
  [/^vectors\/([^/]+)\/axis$/, words.axis],
  [/^vectors\/([^/]+)\/atlas$/, words.atlas],
  [/^vectors\/([^/]+)\/atlas\/words$/, words.atlasWords],
];

/** As source.js: { ok, answer }. */
export async function answerTo(path, { body, query, signal } = {}) {
  signal?.throwIfAborted();
  for (const [pattern, answer] of ROUTES) {
    const found = pattern.exec(path);
    if (!found) continue;
    try {
      return { ok: true, answer: answer({ body, query }, ...found.slice(1).map(decodeURIComponent)) };
    } catch (error) {
      if (error instanceof Problem) return { ok: false, answer: error.facts };
      throw error;
    }
  }
  return { ok: false, answer: { title: "an exported page does not have this", fix: "foreword explore shows it" } };
}
