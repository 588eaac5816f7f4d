// What is served: one version and its answers, and the look at the server that finds the next one.

import { grid } from "./plane.js";
import { call } from "./rpc.js";
import { columns, named, NAMES } from "./teams.js";

const SIDE = 96;

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
    return this.detail.features.map((feature) => feature.name);
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
