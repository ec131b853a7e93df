// The map of all words, as it comes: words by the ten thousand, a first layout at once, a better one when it is ready.

import { ask } from "./lib.js";

const PART = 25_000; // words of a request
const AGAIN = 1_000; // milliseconds until the next look at how far the better layout is
const WHOLE = 65_535;

/** Load the map of word vectors. path(what) is the API's path for them; shown(words) is called when there is something
    to show, grown() when words were appended, state(answer) with how far it is, better(x, y, regions) with other
    places. Ends when there is no better layout to come, or signal is aborted. */
export async function loadAtlas(path, { signal, shown, grown, state, better }) {
  let now = await ask(path("atlas"), { signal });
  state(now);
  const words = { keys: [], x: new Float32Array(now.words), y: new Float32Array(now.words), cluster: new Uint8Array(now.words), regions: now.regions, bounds: [0, WHOLE, 0, WHOLE] };
  let layout = null;
  for (let start = 0; start < now.words; start += PART) {
    const part = await ask(path("atlas/words"), { signal, query: { start, count: PART } });
    layout ??= part.layout;
    words.x.set(numbers(part.x, Uint16Array), start);
    words.y.set(numbers(part.y, Uint16Array), start);
    words.cluster.set(numbers(part.cluster, Uint8Array), start);
    words.keys.push(...part.keys);
    if (part.layout !== layout) layout = "mixed"; // the better one came in between: all places are asked for anew
    if (start) grown();
    else shown(words);
  }
  while (true) {
    now = await ask(path("atlas"), { signal });
    state(now);
    if (now.layout !== layout) {
      const [x, y] = [new Float32Array(now.words), new Float32Array(now.words)];
      for (let start = 0; start < now.words; start += 2 * PART) {
        const part = await ask(path("atlas/words"), { signal, query: { start, count: 2 * PART, keys: false } });
        x.set(numbers(part.x, Uint16Array), start);
        y.set(numbers(part.y, Uint16Array), start);
      }
      layout = now.layout;
      better(x, y, now.regions);
    } else words.regions = now.regions;
    if (!now.doing) return;
    await new Promise((done) => setTimeout(done, AGAIN));
    signal.throwIfAborted();
  }
}

function numbers(base64, Type) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Type(bytes.buffer);
}
