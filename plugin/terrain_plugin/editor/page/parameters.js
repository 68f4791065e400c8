// Sliders and exact values of the parameters that hosts have too, made of the table that the server sends.

import { element } from "./dom.js";

const ECHO_MS = 300;

export class Parameters {
  #rows = new Map();
  #table = [];

  constructor(connection) {
    this.connection = connection;
    connection.on("hello", ({ table }) => { this.#table = table; this.#fill(); });
    connection.on("state", ({ parameters }) => this.#show(parameters));
    connection.on("frame", ({ parameters }) => { if (parameters) this.#show(parameters); });  // a DAW's automation
  }

  #show(parameters) {
    for (const [key, value] of Object.entries(parameters)) for (const show of this.#rows.get(key) ?? []) show(value);
  }

  #places = [];
  // Show parameters by key in an element, or whole groups, each under a heading.
  place(where, { keys = null, groups = null }) { this.#places.push({ where, keys, groups }); }

  #fill() {
    this.#rows.clear();
    for (const { where, keys, groups } of this.#places) {
      where.replaceChildren();
      if (keys) for (const key of keys) where.append(this.#row(this.#table.find((row) => row.key === key)));
      for (const group of groups ?? []) {
        const box = element("details", {}, element("summary", { textContent: group }));
        for (const row of this.#table) if (row.group === group && !["x", "y", "bypass", "tap"].includes(row.key)) box.append(this.#row(row));
        where.append(box);
      }
    }
  }

  #row(row) {
    const send = (value, held = false) => { if (Number.isFinite(value)) this.connection.send("set", { values: { [row.key]: value }, held }); };
    const made = element("div", { className: "parameter", title: row.help });
    const show = this.#rows.get(row.key) ?? [];
    this.#rows.set(row.key, show);
    made.append(element("span", { textContent: row.unit ? `${row.name}, ${row.unit}` : row.name }));
    if (row.choices.length) {
      const choice = element("select", { "aria-label": row.name, onchange: () => send(Number(choice.value)) });
      row.choices.forEach((text, value) => choice.append(element("option", { value, textContent: text })));
      show.push((value) => { choice.value = Math.round(value); });
      made.append(choice);
      return made;
    }
    const step = row.stepped ? 1 : (row.high - row.low) / 1000;
    const range = { min: row.low, max: row.high };
    // While a hand holds it, and until the last echo of that hand has come back, it shows the hand.
    let held = false, latest = null, timer = 0;
    const slider = element("input", {
      type: "range", ...range, step, "aria-label": row.name,
      oninput: () => { held = true; clearTimeout(timer); exact.value = slider.value; send(Number(slider.value), true); },
      onchange: () => {
        send(Number(slider.value));
        latest = null;
        timer = setTimeout(() => { held = false; if (latest !== null) appear(latest); }, ECHO_MS);
      },
    });
    const exact = element("input", { type: "number", ...range, step: "any", "aria-label": `${row.name}, exactly`, onchange: () => { slider.value = exact.value; send(Number(exact.value)); } });
    const appear = (value) => {
      latest = value;
      if (held) return;
      slider.value = value;
      if (document.activeElement !== exact) exact.value = Number(value.toFixed(4));
    };
    show.push(appear);
    made.append(slider, exact);
    return made;
  }
}
