// What every view uses: the API, elements, the state in the address, the theme, tokens as people can see them.

import { answerTo } from "./source.js";

/** Ask the API; a problem becomes an Error whose message has its title and its facts. */
export async function ask(path, question) {
  const { ok, answer } = await answerTo(path, question);
  if (ok) return answer;
  const facts = ["detail", "got", "expected", "where", "fix"].filter((name) => answer[name]);
  throw new Error([answer.title, ...facts.map((name) => `${name}: ${answer[name]}`)].join("\n"));
}

/** Only the last of several questions is answered: each call gives up the one before, and stop() the last. */
export function latest() {
  let running = null;
  const last = async (work) => {
    running?.abort();
    const mine = (running = new AbortController());
    try {
      return await work(mine.signal);
    } catch (error) {
      if (mine.signal.aborted) return undefined;
      throw error;
    } finally {
      if (running === mine) running = null;
    }
  };
  last.stop = () => running?.abort();
  return last;
}

export const $ = (selector, root = document) => root.querySelector(selector);

/** An element: make("b", { class: "x", onclick: f, "--h": 20 }, child, "text"). */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

const SVG = "http://www.w3.org/2000/svg";
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The choices of what the API lists by name; what can't be opened is there too, and says so. */
export const options = (listed) => listed.map(({ name, problem }) => make("option", { value: name }, problem ? `${name} (can’t be opened)` : name));

/** The one of a name, or the first that can be opened. */
export const chosen = (listed, name) => listed.find((one) => one.name === name) ?? listed.find((one) => !one.problem) ?? listed[0];

export const number = (value) => value.toLocaleString("en-US");
export const plural = (count, word, many = `${word}s`) => `${number(count)} ${count === 1 ? word : many}`;
export const python = (text) => JSON.stringify(text);

export { remembered } from "./address.js";

// The skip link moves the focus, and not the address, which is the state's.
$(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  const target = $(event.target.hash);
  target.tabIndex = Math.max(-1, target.tabIndex);
  target.focus();
});

export const isDark = () => {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

/** The switch between light and dark; redraw is called for what CSS can't repaint. */
export function themeSwitch(redraw) {
  const button = $("#theme");
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Light theme" : "Dark theme");
  };
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("foreword-theme", theme);
    } catch {
      // not kept: fine
    }
    label();
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    label();
    redraw();
  });
  label();
}

/** The hue of a token id: neighbours in the vocabulary lie far apart. */
export const hue = (id) => ((id * 137.508) % 360).toFixed(1);

const NAMES = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽" };
const INVISIBLE = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\ufffd]/u; // U+2800 is a pattern of no dots
const MARKS = /^\p{M}+$/u; // which stand on a letter that is not there

/** A token's text as nodes in which nothing is invisible; bytes that are no text, in hexadecimal. */
export function visible(token) {
  if (token.text.includes("\ufffd") && token.bytes !== "ef bf bd") return [make("span", { class: "bytes" }, `⟨${token.bytes}⟩`)];
  const nodes = [];
  let plain = MARKS.test(token.text) ? "\u25cc" : "";
  for (const character of token.text) {
    if (!INVISIBLE.test(character)) {
      plain += character;
      continue;
    }
    if (plain) nodes.push(plain);
    plain = "";
    const code = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    nodes.push(make("span", { class: "ws" }, NAMES[character] ?? `U+${code}`));
  }
  if (plain || !nodes.length) nodes.push(plain);
  return nodes;
}

/** Python in which what changes stands apart: py`wv[${python(word)}]`. A value may be { shown, whole }. */
export function py(strings, ...values) {
  const apart = (value) => (typeof value === "object" ? value : { shown: String(value), whole: String(value) });
  return strings.flatMap((text, i) => (i < values.length ? [text, apart(values[i])] : [text]));
}

/** A Python literal that is shown cut short, and copied whole. */
export function brief(literal, longest) {
  return { shown: literal.length > longest ? `${whole(literal, longest - 1)}…` : literal, whole: literal };
}

/** The beginning of a text, at most so many code units long, that ends between two characters. */
function whole(text, longest) {
  let end = 0;
  for (const each of Intl.Segmenter ? new Intl.Segmenter().segment(text.slice(0, 2 * longest)) : text) {
    const next = end + (each.segment ?? each).length;
    if (next > longest) break;
    end = next;
  }
  return text.slice(0, end);
}

/** Show Python in a block, with a button that copies it: after what it needs of the blocks before, so that it runs. */
export function code(place, shown, needed = []) {
  let pre = $("pre", place);
  if (!pre) {
    pre = make("pre");
    const button = make("button", { class: "plain", type: "button" }, "Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(place.whole);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Press Ctrl-C";
        getSelection().selectAllChildren(pre);
      }
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    place.append(pre, button);
  }
  place.whole = [...needed, ...shown].map((part) => part.whole ?? part).join("").trim() + "\n";
  pre.replaceChildren(...shown.map((part) => (part.shown === undefined ? part : make("b", {}, part.shown))));
}

/** Do the work of a section; what goes wrong is told in its place, and what needs the section is not shown meanwhile.
    asker is a latest(): where a later question came before the answer, nothing is told. True when it went well, false
    when it did not, undefined where a later question took its place. */
export async function telling(section, asker, work) {
  let problem = "";
  try {
    const done = await asker(async (signal) => {
      await work(signal);
      return true;
    });
    if (!done) return undefined;
  } catch (error) {
    problem = error.message;
  }
  $(`#problem-${section}`).textContent = problem;
  for (const one of document.querySelectorAll(`[data-needs~="${section}"]`)) one.classList.toggle(`without-${section}`, problem !== "");
  return !problem;
}

/** Nothing on the page can work: its controls are dead, and what was told in its place says why. */
export function giveUp() {
  for (const one of document.querySelectorAll(".controls, textarea, fieldset, details")) one.inert = true;
}

/** Switch a button on or off; off, it keeps the focus that it may have. */
export function enable(button, on) {
  button.setAttribute("aria-disabled", String(!on));
}

/** Do something when a button is pressed that is on. */
export function onPress(button, work) {
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") !== "true") work();
  });
}

export const clamp = (value, low, high) => Math.max(low, Math.min(high, Math.round(value)));

export const debounce = (work, wait) => {
  let timer;
  return (...rest) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...rest), wait);
  };
};
