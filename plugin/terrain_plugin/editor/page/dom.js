// Small helpers for elements.

export const $ = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function button(text, label, onclick, more = {}) {
  return element("button", { textContent: text, title: label, "aria-label": label, onclick, ...more });
}

export function note(text, bad = false) {
  const made = element("p", { textContent: text, className: bad ? "bad" : "" });
  $("notes").append(made);
  setTimeout(() => made.remove(), bad ? 8000 : 4000);
}

// Whether a key is meant for a field that is being typed in.
export const typing = (event) => event.target.closest("input:not([type=checkbox]):not([type=range]), select, textarea, dialog");

// Replace a list's rows only where what they show has changed, so that a field keeps its focus.
export function rows(list, items, key, make) {
  const old = new Map([...list.children].map((row) => [row.dataset.key, row]));
  const wanted = items.map((item) => {
    const text = JSON.stringify(key(item));
    const kept = old.get(text);
    if (kept) return kept;
    const made = make(item);
    made.dataset.key = text;
    return made;
  });
  if (wanted.length !== list.children.length || wanted.some((row, n) => row !== list.children[n])) list.replaceChildren(...wanted);
}

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
