// The server behind the gateway: calls to it, the served version, and changes of it.

import { pointColumns, cellCentres, nameFromWire, NAMES } from "./teams.js";

const SERVED = "quadrant.v1.QuadrantService";
const PLAYGROUND = "quadrant.v1.PlaygroundService";
const OF = { Inspect: PLAYGROUND, Train: PLAYGROUND };

const SIDE = 96;
const POLL_MILLISECONDS = 1000;
const LONGEST_PAUSE = 5000;

// ---- calls: the Connect protocol in JSON, unary and streams

export const path = (method) => `${OF[method] ?? SERVED}/${method}`;

// The last request of each method, for "Copy as".
export const lastCalls = {};

export class CallError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// Whether the gateway or the server behind it did not answer.
export const isUnavailable = (error) => error.code === "unavailable" || error.code === "deadline_exceeded";

// Converts errors of the browser, also if a response ends early.
export async function translateErrors(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") throw new CallError("deadline_exceeded", "No answer in time.");
    throw new CallError("unavailable", "The page's gateway does not respond.");
  }
}

const post = (method, body, headers, signal) => translateErrors(() => fetch(path(method), { method: "POST", body, headers, signal }));

async function readError(response) {
  try {
    const { code, message } = await response.json();
    return new CallError(code ?? "unknown", message ?? response.statusText);
  } catch {
    return new CallError("unknown", `The gateway returned status ${response.status}.`);
  }
}

export async function call(method, request, { milliseconds = 8000, quiet = false } = {}) {
  if (!quiet) lastCalls[method] = request;
  const headers = { "Content-Type": "application/json", "Connect-Timeout-Ms": String(milliseconds) };
  const response = await post(method, JSON.stringify(request), headers, AbortSignal.timeout(milliseconds + 500));
  if (!response.ok) throw await readError(response);
  return translateErrors(() => response.json());
}

function makeEnvelope(request) {
  const text = new TextEncoder().encode(JSON.stringify(request));
  const body = new Uint8Array(5 + text.length);
  new DataView(body.buffer).setUint32(1, text.length);
  body.set(text, 5);
  return body;
}

export async function* stream(method, request, signal, { quiet = false } = {}) {
  if (!quiet) lastCalls[method] = request;
  const headers = { "Content-Type": "application/connect+json" };
  const response = await post(method, makeEnvelope(request), headers, signal);
  if (!response.ok) throw await readError(response);
  const reader = response.body.getReader();
  let held = new Uint8Array(0);
  for (;;) {
    const { done, value } = await translateErrors(() => reader.read());
    if (done) throw new CallError("unavailable", "The gateway closed the connection during the run.");
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
        if (message.error) throw new CallError(message.error.code, message.error.message);
        return;
      }
      yield message;
    }
  }
}

export function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

// ---- the served version, its answers, and the check for a new version

export class Served {
  // `state` has the selected version and the probe; `points` returns the points to classify.
  constructor({ state, points }) {
    Object.assign(this, { state, points: [], pointsToClassify: points });
    Object.assign(this, { detail: null, map: null, side: SIDE, trace: null, features: null, models: [], failure: "", latency: "" });
    this.refreshes = 0;
    this.probing = false;
  }

  // Whether the model has quadrants as classes, and two numbers as inputs, so that there is a map.
  get planar() {
    const { detail } = this;
    if (!detail || detail.task === "multilabel" || !NAMES.every((name) => detail.classes.includes(name)) || detail.classes.length !== NAMES.length) return false;
    const sent = detail.columns.length ? detail.columns : detail.features;
    return sent.length === 2 && sent.every(({ kind }) => !kind || kind === "number");
  }

  // The names of the network's inputs.
  get inputs() {
    return this.detail?.features.map((feature) => feature.name);
  }

  // The names of the network's outputs: classes, or the number that it predicts.
  get outputs() {
    const { classes, target, quantiles } = this.detail;
    if (classes.length) return classes;
    return quantiles.length ? quantiles.map((level) => `${target.name} ${level}`) : [target?.name ?? "value"];
  }

  // The data for the map and the diagram.
  get subject() {
    const { detail, inputs, planar, side } = this;
    return detail && { layers: detail.layers, map: planar && this.map, side, scale: 1, inputs, classes: this.outputs };
  }

  get wanted() {
    const { model, version } = this.state;
    return { ...(model && { name: model }), ...(version && { version }) };
  }

  // The version that answered, so that everything on the page is of one version.
  get answering() {
    const { name, version } = this.detail.model;
    return { name, version };
  }

  async refresh() {
    const mine = ++this.refreshes;
    const detail = await call("GetModel", { model: this.wanted }, { quiet: true });
    if (mine !== this.refreshes) return;
    this.detail = detail;
    if (!this.planar) return;
    const cells = cellCentres(SIDE);
    const [map] = await Promise.all([
      call("Classify", { model: this.answering, ...cells, allCertainties: true }, { quiet: true }),
      this.classify(),
      this.probe(),
    ]);
    if (mine === this.refreshes) this.map = map.allCertainties;
  }

  async classify() {
    const points = this.pointsToClassify();
    const answer = await call("Classify", { model: this.answering, ...pointColumns(points) });
    this.points = points.map((point, at) => {
      const name = nameFromWire(answer.quadrants[at]);
      return NAMES.includes(name) ? { ...point, answer: name } : point;
    });
  }

  async probe() {
    this.features = this.state.probe;
    const names = this.detail.columns.map(({ name }) => name);
    // Columns of these names are x and y in any order, as for Classify.
    const features = names.join() === "y,x" ? this.features.toReversed() : this.features;
    this.trace = await call("Explain", { model: this.answering, features });
  }

  // Traces the probe, with one call at a time: after each, the latest position.
  async followProbe() {
    if (this.probing) return;
    this.probing = true;
    try {
      do await this.probe();
      while (this.features !== this.state.probe);
    } finally {
      this.probing = false;
    }
  }

  // Traces other inputs than a point of the plane: `input` has the features, or the columns.
  async explain(input) {
    this.trace = await call("Explain", { model: this.answering, ...input });
  }

  // Refreshes if another version is to be shown; returns whether it did.
  async checkForChanges({ again }) {
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
    // Only the server knows which version answers: an empty call returns it.
    const started = performance.now();
    const { model } = await call("Classify", { model: this.wanted }, { milliseconds: 2000, quiet: true });
    this.latency = `${(performance.now() - started).toFixed(1)} ms`;
    return model.digest;
  }
}

// Calls `check` once a second, and less often while the server is unreachable; `check` returns whether
// it is reachable.
export async function pollServer(check) {
  for (let pause = POLL_MILLISECONDS; ;) {
    // A hidden page is not refreshed.
    const reachable = document.hidden || (await check());
    pause = reachable ? POLL_MILLISECONDS : Math.min(1.5 * pause, LONGEST_PAUSE);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
