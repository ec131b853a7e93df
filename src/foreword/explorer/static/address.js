// The state of a view: in the address after the #, so that it never leaves the browser, and in the history, so that Back
// and Forward lead from view to view. Long texts are kept beside the address, which stays short.

const LONGEST = 1_500; // characters of a value in the address; one that takes more is kept in the history alone
const TOGETHER = 1_000; // milliseconds within which changes of the same kind are one view

/** State that the address keeps: [state, remember, lost]. Call remember() after a change; changed() is called when the
    browser has gone back or forward, or another address was typed. A change of the names in minor is no view of its
    own. lost() gives the names of values that the address only mentions: they were too long for a link. */
export function remembered(defaults, changed, { minor = [] } = {}) {
  const state = { ...defaults };
  let missing = [];
  let written = {};
  let last = { names: [], at: -Infinity };
  let timer = null;

  const read = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    missing = [];
    for (const [name, value] of Object.entries(defaults)) {
      const text = given.get(name);
      const mark = given.get(`${name}-kept`);
      if (mark !== null && typeof value === "string") {
        state[name] = longText(name, mark) ?? value;
        if (fingerprint(state[name]) !== mark) missing.push(name);
      } else if (text === null) state[name] = value;
      else if (typeof value === "number") state[name] = Number.isFinite(Number(text)) && text !== "" ? Number(text) : value;
      else if (typeof value === "boolean") state[name] = text === "1";
      else state[name] = text;
    }
    written = { ...state };
  };

  const write = (leaving = false) => {
    clearTimeout(timer);
    timer = null;
    const names = Object.keys(state).filter((name) => state[name] !== written[name]);
    if (!names.length) return;
    const { hash, long } = addressOf(state, defaults);
    const now = performance.now();
    const more = names.every((name) => last.names.includes(name)) && now - last.at < TOGETHER;
    const same = leaving || more || names.every((name) => minor.includes(name));
    history[same ? "replaceState" : "pushState"](long, "", hash || location.pathname + location.search);
    if (!same || more) last = { names, at: now };
    written = { ...state };
    missing = missing.filter((name) => !names.includes(name));
    keep(viewOf(location), hash, long);
  };

  read();
  keep(viewOf(location), location.hash, history.state);
  // The other views are found as they were left.
  for (const link of document.querySelectorAll(".masthead a")) if (viewOf(link) !== viewOf(location)) link.href = link.pathname + kept(viewOf(link));
  addEventListener("pagehide", () => timer !== null && write(true));
  addEventListener("popstate", () => {
    clearTimeout(timer);
    timer = null;
    last = { names: [], at: -Infinity };
    read();
    keep(viewOf(location), location.hash, history.state);
    changed();
  });
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(write, 200);
  };
  return [state, later, () => missing];
}

/** What the address says of a state, and the values that are too long for it. */
function addressOf(state, defaults) {
  const parameters = new URLSearchParams();
  const long = {};
  for (const [name, value] of Object.entries(state)) {
    if (value === defaults[name]) continue;
    if (typeof value === "string" && String(new URLSearchParams({ value })).length > LONGEST) {
      parameters.set(`${name}-kept`, fingerprint(value));
      long[name] = value;
    } else parameters.set(name, typeof value === "boolean" ? (value ? "1" : "0") : value);
  }
  return { hash: parameters.size ? `#${parameters}` : "", long: Object.keys(long).length ? long : null };
}

/** A few letters that tell a long text from others (FNV-1a, 32 bits). */
function fingerprint(text) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(36);
}

/** A long value that the address mentions: from this entry of the history, or as this window last had it. */
function longText(name, mark) {
  const found = [history.state?.[name], stored(`foreword long ${viewOf(location)}`, {})[name]];
  return found.find((text) => typeof text === "string" && fingerprint(text) === mark);
}

/** The path of a view: a host may leave out the name of its first file. */
const viewOf = ({ pathname }) => pathname.replace(/\/index\.html$/, "/");

function keep(path, hash, long) {
  try {
    sessionStorage.setItem(`foreword ${path}`, JSON.stringify(hash));
    if (long) sessionStorage.setItem(`foreword long ${path}`, JSON.stringify(long));
  } catch {
    // not kept: fine
  }
}

const kept = (path) => stored(`foreword ${path}`, "");

function stored(key, otherwise) {
  try {
    return JSON.parse(sessionStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}
