// The header: the selected version, the theme, and the state of the server. Also the messages of the
// page, in the status line and in a banner.

import { isUnavailable } from "./server.js";

const STATUS_MILLISECONDS = 2000;
const $ = (id) => document.getElementById(id);

// ---- messages

let spokenAt = 0;
let waiting = 0;

// At most one message every two seconds, the newest: a screen reader reads each one completely.
export function announce(text) {
  clearTimeout(waiting);
  const pause = Math.max(0, spokenAt + STATUS_MILLISECONDS - performance.now());
  waiting = setTimeout(() => {
    spokenAt = performance.now();
    $("status").textContent = text;
  }, pause);
}

export function showNotice(text) {
  $("notice-text").textContent = text;
  $("notice").hidden = !text;
}

// Only 1 is 100 %: 0.9999 is 99.9 %.
export const percent = (value) => `${(value < 1 ? Math.min(99.9, 100 * value) : 100).toFixed(1)} %`;
export const count = (value) => value.toLocaleString("en");

// ---- an unreachable server

let staleSince = null;

export const isServerAway = () => staleSince !== null;

function showServerAway(reason) {
  staleSince ??= new Date();
  $("stale").textContent = `${reason} The page shows data from before ${staleSince.toLocaleTimeString()}, and retries.`;
  $("stale").hidden = false;
  document.body.classList.add("stale");
  $("serving").textContent = "unreachable";
}

function showServerBack() {
  staleSince = null;
  $("stale").hidden = true;
  document.body.classList.remove("stale");
}

// Runs the function, and shows its error.
export async function reportErrors(work) {
  try {
    await work();
  } catch (error) {
    if (isUnavailable(error)) showServerAway(error.message);
    else if (error.code) showNotice(error.message);
    else throw error;
  }
}

// ---- the selected version

// Changes the options only if they differ, because an open list would close.
function fill(select, values, chosen) {
  const texts = values.map(([value, text]) => `${value}:${text}`).join("|");
  if (select.dataset.texts !== texts) {
    select.dataset.texts = texts;
    select.replaceChildren(...values.map(([value, text]) => new Option(text, value)));
  }
  if (select.value !== String(chosen)) select.value = chosen;
}

export class Header {
  // `chosen` is called with the selected version, `themed` after a change of colours.
  constructor({ state, chosen, themed }) {
    Object.assign(this, { state, themed });
    $("model").addEventListener("change", ({ target }) => chosen({ model: target.value, version: 0, first: 0, second: 0 }));
    $("version").addEventListener("change", ({ target }) => chosen({ version: Number(target.value) }));
    $("dismiss").addEventListener("click", () => showNotice(""));
    $("help").addEventListener("click", () => $("guide").showModal());
    // A click whose target is the dialog itself is a click outside of its content.
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
    showServerBack();
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
        showNotice(`${name} has no version ${state[id]} to compare; another one is shown instead.`);
        state[id] = 0;
      }
      fill($(id), each, state[id] || versions.at(id === "first" ? 0 : -1)?.version);
    }
  }
}
