// The server behind the gateway: how it is called, what it serves, and whether it is there.

import { columns, grid, named, NAMES } from "./teams.js";

const SERVED = "quadrant.v1.QuadrantService";
const PLAYGROUND = "quadrant.v1.PlaygroundService";
const OF = { Inspect: PLAYGROUND, Train: PLAYGROUND };

const SIDE = 96;
const POLL_MILLISECONDS = 1000;
const LONGEST_PAUSE = 5000;

// ---- calls: Connect's JSON, plain and streamed

export const path = (method) => `${OF[method] ?? SERVED}/${method}`;

// The calls made last, for "Copy as": what is copied is what was sent.
export const last = {};

export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// One that nobody answered: the gateway or the server behind it is away.
export const isAway = (error) => error.code === "unavailable" || error.code === "deadline_exceeded";

// What the browser throws, in our words; the answer to a call can break off after it has begun.
export async function reached(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") throw new Refused("deadline_exceeded", "No answer in time.");
    throw new Refused("unavailable", "The page's gateway does not answer.");
  }
}

const post = (method, body, headers, signal) => reached(() => fetch(path(method), { method: "POST", body, headers, signal }));

async function refusal(response) {
  try {
    const { code, message } = await response.json();
    return new Refused(code ?? "unknown", message ?? response.statusText);
  } catch {
    return new Refused("unknown", `The gateway answered ${response.status}.`);
  }
}

export async function call(method, request, { milliseconds = 8000, quiet = false } = {}) {
  if (!quiet) last[method] = request;
  const headers = { "Content-Type": "application/json", "Connect-Timeout-Ms": String(milliseconds) };
  const response = await post(method, JSON.stringify(request), headers, AbortSignal.timeout(milliseconds + 500));
  if (!response.ok) throw await refusal(response);
  return reached(() => response.json());
}

function enveloped(request) {
  const text = new TextEncoder().encode(JSON.stringify(request));
  const body = new Uint8Array(5 + text.length);
  new DataView(body.buffer).setUint32(1, text.length);
  body.set(text, 5);
  return body;
}

export async function* stream(method, request, signal, { quiet = false } = {}) {
  if (!quiet) last[method] = request;
  const headers = { "Content-Type": "application/connect+json" };
  const response = await post(method, enveloped(request), headers, signal);
  if (!response.ok) throw await refusal(response);
  const reader = response.body.getReader();
  let held = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reached(() => reader.read());
    if (done) throw new Refused("unavailable", "The gateway went away in the middle of the run.");
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
    while (held.length >= 5) {
      const length = new DataView(held.buffer, held.byteOffset).getUint32(1);
      if (held.length < 5 + length) break;
      const message = JSON.parse(new TextDecoder().decode(held.subarray(5, 5 + length)));
      const flags = held[0];
      held = held.subarray(5 + length);
      if (flags & 2) {
        if (message.error) throw new Refused(message.error.code, message.error.message);
        return;
      }
      yield message;
    }
  }
}

export function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

// ---- what is served: one version and its answers, and the look that finds the next one

export class Served {
  // `state` names the version and the probe; `points` gives what is to be classified.
  constructor({ state, points }) {
    Object.assign(this, { state, points: [], pointsToAsk: points });
    Object.assign(this, { detail: null, map: null, side: SIDE, trace: null, features: null, models: [], failure: "", latency: "" });
    this.asked = 0;
    this.probing = false;
  }

  // Whether it says quadrants: then there is a map.
  get planar() {
    return this.detail?.features.length === 2 && NAMES.every((name) => this.detail.classes.includes(name));
  }

  get inputs() {
    return this.detail?.features.map((feature) => feature.name);
  }

  // What the map and the network are drawn of.
  get subject() {
    const { detail, inputs, planar, side } = this;
    return detail && { layers: detail.layers, map: planar && this.map, side, scale: 1, inputs, classes: detail.classes };
  }

  get wanted() {
    const { model, version } = this.state;
    return { ...(model && { name: model }), ...(version && { version }) };
  }

  // The version that answered, so that all that is shown is of one.
  get answering() {
    const { name, version } = this.detail.model;
    return { name, version };
  }

  async refresh() {
    const mine = ++this.asked;
    const detail = await call("GetModel", { model: this.wanted }, { quiet: true });
    if (mine !== this.asked) return;
    this.detail = detail;
    if (!this.planar) return;
    const cells = grid(SIDE);
    const [map] = await Promise.all([
      call("Classify", { model: this.answering, ...cells, allCertainties: true }, { quiet: true }),
      this.classify(),
      this.probe(),
    ]);
    if (mine === this.asked) this.map = map.allCertainties;
  }

  async classify() {
    const points = this.pointsToAsk();
    const answer = await call("Classify", { model: this.answering, ...columns(points) });
    this.points = points.map((point, at) => {
      const said = named(answer.quadrants[at]);
      return NAMES.includes(said) ? { ...point, answer: said } : point;
    });
  }

  async probe() {
    this.features = this.state.probe;
    this.trace = await call("Explain", { model: this.answering, features: this.features });
  }

  // Follows the probe, one question at a time: where it is by then is asked next.
  async follow() {
    if (this.probing) return;
    this.probing = true;
    try {
      do await this.probe();
      while (this.features !== this.state.probe);
    } finally {
      this.probing = false;
    }
  }

  // The way of other inputs than a point of the plane.
  async explain(features) {
    this.trace = await call("Explain", { model: this.answering, features });
    this.features = features;
  }

  // Looks whether another version is to be shown, and whether all is well; says if one is.
  async look({ again }) {
    const listed = await call("ListModels", {}, { milliseconds: 2000, quiet: true });
    this.models = listed.models;
    this.failure = listed.failure;
    if (again || !this.detail || (await this.#target()) !== this.detail.model.digest) {
      await this.refresh();
      return true;
    }
    return false;
  }

  versions() {
    return this.models.find((model) => model.name === this.detail.model.name)?.versions ?? [];
  }

  aliases() {
    return this.models.find((model) => model.name === this.detail.model.name)?.aliases ?? {};
  }

  async #target() {
    const shown = this.detail.model;
    const numbered = (number) => this.versions().find((version) => Number(version.version) === Number(number))?.digest ?? shown.digest;
    if (this.state.version) return numbered(this.state.version);
    if (!this.planar) return numbered(this.aliases().champion);
    // Which version answers only the server itself knows: an empty question tells.
    const started = performance.now();
    const { model } = await call("Classify", { model: this.wanted }, { milliseconds: 2000, quiet: true });
    this.latency = `${(performance.now() - started).toFixed(1)} ms`;
    return model.digest;
  }
}

// Looks once a second, and less often while nobody is there; `look` says whether somebody is.
export async function watch(look) {
  for (let pause = POLL_MILLISECONDS; ;) {
    // Who does not look needs no news.
    const there = document.hidden || (await look());
    pause = there ? POLL_MILLISECONDS : Math.min(1.5 * pause, LONGEST_PAUSE);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
