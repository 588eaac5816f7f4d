// Above the cards: which version is shown, in which theme, and whether its server is there; and the
// page's words, which go into the status line or a banner.

import { isAway } from "./server.js";

const STATUS_MILLISECONDS = 2000;
const $ = (id) => document.getElementById(id);

// ---- words

let spokenAt = 0;
let waiting = 0;

// At most one message in two seconds, the newest: a screen reader reads each to its end.
export function say(text) {
  clearTimeout(waiting);
  const pause = Math.max(0, spokenAt + STATUS_MILLISECONDS - performance.now());
  waiting = setTimeout(() => {
    spokenAt = performance.now();
    $("status").textContent = text;
  }, pause);
}

export function notice(text) {
  $("notice-text").textContent = text;
  $("notice").hidden = !text;
}

// All but all is not said to be all.
export const percent = (value) => `${(value < 1 ? Math.min(99.9, 100 * value) : 100).toFixed(1)} %`;
export const count = (value) => value.toLocaleString("en");

// ---- a server that is away

let staleSince = null;

export const isStale = () => staleSince !== null;

function stale(reason) {
  staleSince ??= new Date();
  $("stale").textContent = `${reason} What is shown is from before ${staleSince.toLocaleTimeString()}; asking again.`;
  $("stale").hidden = false;
  document.body.classList.add("stale");
  $("serving").textContent = "away";
}

function fresh() {
  staleSince = null;
  $("stale").hidden = true;
  document.body.classList.remove("stale");
}

// Does it, and says why it could not be done.
export async function guarded(work) {
  try {
    await work();
  } catch (error) {
    if (isAway(error)) stale(error.message);
    else if (error.code) notice(error.message);
    else throw error;
  }
}

// ---- what is chosen

// Written only if it is another: an open list would close.
function fill(select, values, chosen) {
  const texts = values.map(([value, text]) => `${value}:${text}`).join("|");
  if (select.dataset.texts !== texts) {
    select.dataset.texts = texts;
    select.replaceChildren(...values.map(([value, text]) => new Option(text, value)));
  }
  if (select.value !== String(chosen)) select.value = chosen;
}

export class Header {
  // `chosen` is told what is to be shown, `themed` that colours are others.
  constructor({ state, chosen, themed }) {
    Object.assign(this, { state, themed });
    $("model").addEventListener("change", ({ target }) => chosen({ model: target.value, version: 0, first: 0, second: 0 }));
    $("version").addEventListener("change", ({ target }) => chosen({ version: Number(target.value) }));
    $("dismiss").addEventListener("click", () => notice(""));
    $("help").addEventListener("click", () => $("guide").showModal());
    // Of the dialog itself only what is around it can be hit.
    $("guide").addEventListener("click", ({ target }) => target === $("guide") && $("guide").close());
    const theme = localStorage.getItem("theme");
    document.documentElement.dataset.theme = $("theme").value = ["light", "dark"].includes(theme) ? theme : "";
    $("theme").addEventListener("change", ({ target }) => {
      localStorage.setItem("theme", target.value);
      document.documentElement.dataset.theme = target.value;
      themed();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);
  }

  // The server has answered.
  show(served) {
    fresh();
    const { model } = served.detail;
    $("serving").textContent = `${this.state.version ? "showing" : "serving"} v${model.version} · sha ${model.digest.slice(0, 7)}${served.latency && ` · ${served.latency}`}`;
    $("badge").title = served.failure;
    $("badge").classList.toggle("failing", served.failure !== "");
    document.documentElement.dataset.version = model.version;
    this.#fillSelects(served);
  }

  #fillSelects(served) {
    const { state } = this;
    const { name } = served.detail.model;
    fill($("model"), served.models.map((model) => [model.name, model.name]), name);
    const [versions, aliases] = [served.versions(), served.aliases()];
    const called = (version) => Object.keys(aliases).filter((alias) => aliases[alias] === version.version);
    const each = versions.toReversed().map((version) => [version.version, [`v${version.version}`, ...called(version), ...(version.state === "STATE_FAILED" ? ["failing"] : [])].join(", ")]);
    fill($("version"), [[0, "served"], ...each], state.version);
    for (const id of ["first", "second"]) {
      if (state[id] && !versions.some((version) => Number(version.version) === state[id])) {
        notice(`${name} has no version ${state[id]} to compare: another is shown instead.`);
        state[id] = 0;
      }
      fill($(id), each, state[id] || versions.at(id === "first" ? 0 : -1)?.version);
    }
  }
}
