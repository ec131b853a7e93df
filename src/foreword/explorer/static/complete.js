// A text field that completes words, and finds them in any case: the combobox of the ARIA practices.

import { ask, latest, make } from "./lib.js";
import { exported } from "./source.js";

/** path(what) is the API's path for the word vectors in use; taken(text) is called with what was chosen or typed. */
export function complete(input, path, taken) {
  const list = make("ul", { role: "listbox", id: `${input.id}-list`, hidden: true, "aria-label": "Words" });
  const asker = latest();
  let options = [];
  let at = -1;
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-autocomplete", "list");
  input.after(list);

  const hide = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const close = () => {
    asker.stop();
    hide();
  };
  const choose = (word) => {
    input.value = word;
    close();
    taken(word);
  };
  const mark = () => {
    [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
    if (at >= 0) {
      input.setAttribute("aria-activedescendant", list.children[at].id);
      list.children[at].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  };
  const offer = (words) => {
    if (document.activeElement !== input || !words.length) return hide();
    const marked = options[at];
    options = words;
    at = words.indexOf(marked);
    list.replaceChildren(...options.map((word, i) => make("li", { role: "option", id: `${list.id}-${i}`, "aria-selected": "false", onmousedown: (event) => event.preventDefault(), onclick: () => choose(word) }, word)));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark();
  };
  input.addEventListener("input", () => {
    const prefix = input.value.trim();
    if (!list.hidden) offer(options.filter((word) => word.toLowerCase().startsWith(prefix.toLowerCase()))); // until the answer is here
    asker(async (signal) => offer(prefix ? await ask(path("complete"), { signal, query: { prefix, limit: 12 } }) : [])).catch(hide);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") choose(at >= 0 ? options[at] : input.value.trim());
    else if (event.key === "Escape") close();
    else if (list.hidden) return;
    else if (event.key === "ArrowDown") at = (at + 1) % options.length;
    else if (event.key === "ArrowUp") at = (Math.max(at, 0) - 1 + options.length) % options.length;
    else return;
    event.preventDefault();
    mark();
  });
  input.addEventListener("blur", close);
  input.addEventListener("change", () => taken(input.value.trim()));
}

/** The key that a word is, in any case; where there is none, place says so, with words that can be taken instead. */
export async function resolve(word, path, place, take) {
  place.replaceChildren();
  if (!word) return null;
  let found;
  try {
    found = await ask(path("find"), { query: { word } });
  } catch (error) {
    place.textContent = error.message;
    return null;
  }
  if (found.key !== null) return found.key;
  place.append(make("b", {}, word), ` is not among the words ${exported ? "that this page carries" : "of these vectors"}.`);
  if (found.suggestions.length) {
    place.append(" Did you mean ", ...found.suggestions.flatMap((one, i) => [i ? " · " : "", make("button", { class: "plain link", type: "button", onclick: () => take(one) }, one)]), "?");
  }
  return null;
}
