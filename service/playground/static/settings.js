// The settings, in the address and in the form. Values from both are checked before they are used.

import { call, stream } from "./server.js";
import { PRESETS, makeTrainRequest } from "./sandbox.js";
import { pointColumns, randomPoints } from "./teams.js";

const integer = (least, most) => (text) => {
  const value = Number(text);
  return /^\d{1,10}$/.test(text) && value >= least && value <= most ? value : undefined;
};
const real = (least, most) => (text) => {
  const value = Number(text);
  return /^-?[\d.]{1,20}(e-?\d{1,3})?$/i.test(text) && value >= least && value <= most ? value : undefined;
};
const choice = (...known) => (text) => (known.includes(text) ? text : undefined);
const option = (id) => choice(...Array.from(document.getElementById(id).options, ({ value }) => value));
const list = (each, longest) => (text) => {
  const values = text === "" ? [] : text.split(",").map((part) => each(part.trim()));
  return values.length <= longest && !values.includes(undefined) ? values : undefined;
};
const pair = (text) => {
  const values = list(real(-1, 1), 2)(text);
  return values?.length === 2 ? values : undefined;
};
const name = (text) => (/^[a-z0-9][a-z0-9_-]{0,63}$/.test(text) ? text : undefined);

// For each setting: a parser of its text, which returns undefined for invalid texts, and the default.
const FIELDS = {
  view: [choice("served", "sandbox", "compare"), "served"],
  model: [name, ""],
  version: [integer(1, 2 ** 31), 0],
  first: [integer(1, 2 ** 31), 0],
  second: [integer(1, 2 ** 31), 0],
  probe: [pair, [0.3, 0.6]],
  classified: [integer(1, 5000), 500],
  draw: [integer(0, 2 ** 32 - 1), 1],
  data: [choice("quadrants", "centres", "rings", "spiral", "own"), "quadrants"],
  points: [integer(1, 5000), 500],
  iterations: [integer(1, 10_000_000), 8000],
  rate: [real(1e-9, 1e9), 0.03],
  layers: [list(integer(1, 64), 6), [6]],
  activation: [option("activation"), "tanh"],
  loss: [option("loss"), "log_loss"],
  solver: [option("solver"), "adam"],
  batch: [integer(1, 5000), 32],
  momentum: [real(0, 0.999), 0],
  init: [option("init"), "auto"],
  alpha: [real(0, 1e6), 0],
  dropout: [real(0, 0.9), 0],
  noise: [integer(0, 50), 0],
  seed: [integer(0, 2 ** 32 - 1), 42],
  biases: [(text) => ({ yes: true, no: false })[text], true],
  speed: [(text) => choice("1", "5", "25", "100")(text) && Number(text), 5],
  stop: [(text) => choice("0", "0.95", "0.99", "0.999", "1")(text) && Number(text), 0],
};

const SHOWN = 5;

export const defaults = () => Object.fromEntries(Object.entries(FIELDS).map(([key, [, value]]) => [key, value]));

// Parses the text of one field, from the address or the form.
const parseField = (key, text) => FIELDS[key][0](text);

function formatValue(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return Array.isArray(value) ? value.join(",") : String(value);
}

// Returns the settings, and the names of invalid ones.
function parseAddress(fragment) {
  const state = defaults();
  const wrong = [];
  for (const [key, text] of new URLSearchParams(fragment.replace(/^#/, "").slice(0, 4000))) {
    const value = Object.hasOwn(FIELDS, key) ? parseField(key, text) : undefined;
    if (value === undefined) wrong.push(key.slice(0, 20));
    else state[key] = value;
  }
  const more = wrong.length > SHOWN ? ` and ${wrong.length - SHOWN} more` : "";
  return { state, wrong: wrong.length ? wrong.slice(0, SHOWN).join(", ") + more : "" };
}

export function formatAddress(state) {
  const parts = new URLSearchParams();
  for (const [key, [, value]] of Object.entries(FIELDS)) {
    if (formatValue(state[key]) !== formatValue(value)) parts.set(key, formatValue(state[key]));
  }
  return parts.size ? `#${parts.toString().replaceAll("%2C", ",")}` : "#";
}

// ---- the address

const ADDRESS_MILLISECONDS = 100;

let remembering = 0;

// Delayed and combined: browsers limit the changes of the address, and a drag makes sixty a second.
export function writeAddress(state) {
  clearTimeout(remembering);
  remembering = setTimeout(() => history.replaceState(null, "", formatAddress(state)), ADDRESS_MILLISECONDS);
}

// Reads the settings from the address, and returns the names of invalid ones.
export function readAddress(state) {
  clearTimeout(remembering);
  const { state: given, wrong } = parseAddress(location.hash);
  Object.assign(state, given);
  return wrong;
}

// ---- the form

const $ = (id) => document.getElementById(id);

const FORM = ["data", "points", "iterations", "rate", "layers", "activation", "loss", "solver", "batch", "momentum", "init", "alpha", "dropout",
  "noise", "seed", "biases", "speed", "stop", "classified"];

function readControl(control) {
  if (control.type === "checkbox") return control.checked ? "yes" : "no";
  return control.value.trim().replace(/,?\s*$/, "").replace(/\s*[,;\s]\s*/g, ",");
}

export class Form {
  // `changed` is called with the name of a changed setting, `preset` with the name of a preset,
  // `refused` with the reason why a value is invalid.
  constructor({ state, changed, preset, refused }) {
    Object.assign(this, { state, changed, refused });
    for (const id of FORM) $(id).addEventListener("change", ({ target }) => this.set(id, readControl(target)));
    $("settings").addEventListener("submit", (event) => event.preventDefault());
    $("more").addEventListener("click", () => this.set("layers", [...state.layers, state.layers.at(-1) ?? 6].join()));
    $("fewer").addEventListener("click", () => this.set("layers", state.layers.slice(0, -1).join()));
    $("reseed").addEventListener("click", () => this.set("seed", String(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000)));
    $("preset").addEventListener("change", ({ target }) => {
      if (!target.value) return;
      Object.assign(state, PRESETS[target.value]);
      this.fill();
      preset(target.selectedOptions[0].text);
    });
  }

  fill() {
    const { state } = this;
    for (const id of FORM) {
      const control = $(id);
      if (control.type === "checkbox") control.checked = state[id];
      else control.value = Array.isArray(state[id]) ? state[id].join(", ") : state[id];
      control.removeAttribute("aria-invalid");
    }
    const preset = Object.keys(PRESETS).find((name) => Object.entries(PRESETS[name]).every(([id, value]) => String(state[id]) === String(value)));
    $("preset").value = preset ?? "";
    // The article's second page has this name for the button, and one more button.
    $("visualize").hidden = preset !== "article2";
    $("reset").textContent = preset === "article2" ? "Initialise" : "Reset";
  }

  async set(id, text) {
    const value = parseField(id, text);
    if (value === undefined) return this.refused(await this.#explainRefusal(id, text));
    this.state[id] = value;
    this.fill();
    return this.changed(id);
  }

  // Returns the server's error for an invalid value: the server has the limits.
  async #explainRefusal(id, text) {
    $(id).setAttribute("aria-invalid", "true");
    const number = (part) => (part.trim() === "" || Number.isNaN(Number(part)) ? "NaN" : Number(part));
    const raw = id === "layers" ? text.split(",").map(number) : number(text);
    try {
      if (id === "classified") await call("Inspect", { layers: [], ...pointColumns(randomPoints(Math.min(Number(text) || 0, 20_000), 1)) }, { quiet: true });
      else {
        const request = makeTrainRequest({ ...this.state, [id]: raw }, [], []);
        for await (const _ of stream("Train", { ...request, maxEpochs: 0 }, undefined, { quiet: true })) break;
      }
    } catch (error) {
      return error.message;
    }
    return `${id}: ${text.slice(0, 40) || "an empty value"} is invalid; ${this.state[id]} is kept.`;
  }
}
