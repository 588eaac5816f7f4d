// A training run of the sandbox: its buttons, its progress, and its curves.

import { count, reportErrors, showNotice, percent, announce } from "./header.js";
import { svgElement } from "./plane.js";
import { RESETTING, Sandbox } from "./sandbox.js";

const WIDTH = 420;
const HEIGHT = 120;
const LEFT = 44;
const TOP = 12;
const LINES = {
  loss: [["loss", "train"], ["testLoss", "test"]],
  accuracy: [["accuracy", "train"], ["testAccuracy", "test"]],
};

// The reasons to stop that are shown as a notice: the run is not finished.
const UNFINISHED = ["STOP_REASON_DIVERGED", "STOP_REASON_TIME_LIMIT"];

const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const tick = (value) => (value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(2));

// Loss and accuracy by epoch, for the training points and the held-out points.
class Curves {
  constructor(root, reading) {
    Object.assign(this, { root, reading, frames: [], at: null, empty: true });
    this.charts = Object.fromEntries(Object.keys(LINES).map((kind) => [kind, this.#chart(kind)]));
    root.append(...Object.values(this.charts).map((chart) => chart.svg));
  }

  // `frames` have an epoch and the four numbers. A bar marks the frame at `at`.
  show(frames, at) {
    this.frames = frames;
    if (!frames.length) this.reading.textContent = "No training yet.";
    else if (this.empty) this.reading.textContent = "";
    this.empty = !frames.length;
    this.root.dataset.points = frames.length;
    const last = Math.max(1, frames.at(-1)?.epoch ?? 1);
    this.across = (epoch) => LEFT + ((WIDTH - LEFT - 8) * epoch) / last;
    for (const [kind, chart] of Object.entries(this.charts)) {
      const values = frames.flatMap((frame) => LINES[kind].map(([key]) => frame[key]));
      const top = kind === "accuracy" ? 1 : Math.max(1e-6, ...values.filter(Number.isFinite));
      const down = (value) => TOP + HEIGHT * (1 - value / top);
      chart.lines.forEach((line, which) => {
        const points = frames.map((frame) => `${this.across(frame.epoch).toFixed(1)} ${down(frame[LINES[kind][which][0]]).toFixed(1)}`);
        line.setAttribute("d", points.length ? `M${points.join("L")}` : "");
      });
      // Without frames there is no scale.
      const [high, middle] = kind === "accuracy" ? ["100 %", "50 %"] : frames.length ? [tick(top), tick(top / 2)] : ["", ""];
      chart.top.textContent = high;
      chart.middle.textContent = middle;
      chart.end.textContent = frames.length ? `epoch ${count(last)}` : "epoch";
    }
    // The bar stays where the user has moved it until there is another frame.
    const given = `${frames.length} ${at}`;
    this.#mark(given === this.given ? this.at : at);
    this.given = given;
  }

  #chart(kind) {
    const lines = LINES[kind].map(([, line]) => svgElement("path", { class: `curve ${line}` }));
    const text = (x, y, content, anchor = "end") => svgElement("text", { x, y, "text-anchor": anchor }, content);
    const [top, middle, end] = [text(LEFT - 6, TOP + 4, ""), text(LEFT - 6, TOP + HEIGHT / 2 + 4, ""), text(WIDTH - 8, TOP + HEIGHT + 14, "")];
    const bar = svgElement("path", { class: "mark" });
    const frame = svgElement("path", { class: "axis", d: `M${LEFT} ${TOP}V${TOP + HEIGHT}H${WIDTH - 8}M${LEFT} ${TOP + HEIGHT / 2}H${WIDTH - 8}M${LEFT} ${TOP}H${WIDTH - 8}` });
    const svg = svgElement("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + TOP + 18}`, class: "chart", tabindex: 0, role: "application", "aria-label": `${kind} by epoch. Left and right move the marker.` },
      frame, ...lines, bar, top, middle, text(LEFT - 6, TOP + HEIGHT + 4, "0"), text(LEFT, TOP + HEIGHT + 14, kind, "start"), end);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * WIDTH;
      this.#read(this.frames.reduce((best, frame, at) => (Math.abs(this.across(frame.epoch) - x) < Math.abs(this.across(this.frames[best].epoch) - x) ? at : best), 0));
    });
    svg.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!turn || !this.frames.length) return;
      this.#read(Math.min(this.frames.length - 1, Math.max(0, (this.at ?? 0) + turn)));
      event.preventDefault();
    });
    return { svg, lines, bar, top, middle, end };
  }

  #mark(at) {
    this.at = at;
    const frame = this.frames[at];
    for (const { bar } of Object.values(this.charts)) {
      bar.setAttribute("d", frame ? `M${this.across(frame.epoch).toFixed(1)} ${TOP}v${HEIGHT}` : "");
    }
  }

  #read(at) {
    const frame = this.frames[at];
    if (!frame) return;
    this.#mark(at);
    this.reading.textContent = `epoch ${count(frame.epoch)}: loss ${frame.loss.toFixed(4)} training, ${frame.testLoss.toFixed(4)} held out; ` +
      `accuracy ${percent(frame.accuracy)} training, ${percent(frame.testAccuracy)} held out`;
  }
}

export class Run {
  // `points` as in `Sandbox`; `entered` is called when the sandbox must be shown, `changed` after each
  // change of it.
  constructor({ state, points, entered, changed }) {
    Object.assign(this, { entered, changed });
    this.sandbox = new Sandbox({
      settings: () => state,
      points,
      slow: () => calm.matches,
      changed: () => {
        this.#mark();
        changed();
      },
      ended: (reason, code) => {
        announce(reason);
        if (UNFINISHED.includes(code)) showNotice(reason);
      },
      failed: (error) => {
        showNotice(error.message);
        announce("Training has stopped.");
        changed();
      },
    });
    this.curves = new Curves($("curves"), $("reading"));
    $("train").addEventListener("click", () => reportErrors(() => this.play()));
    $("step").addEventListener("click", () => reportErrors(() => this.step()));
    $("reset").addEventListener("click", () => reportErrors(() => this.restart("Reset to the untrained network.")));
    $("rewind").addEventListener("input", ({ target }) => this.sandbox.rewind(Number(target.value)));
    $("rewind").addEventListener("change", () => this.sandbox.inspect());
  }

  // Creates a network if there is no network yet.
  async ensureNetwork() {
    if (!this.sandbox.frame) await this.sandbox.reset();
  }

  async play() {
    const { sandbox } = this;
    if (sandbox.running) {
      sandbox.pause();
      announce(`Paused at epoch ${count(sandbox.frame?.epoch ?? 0)}.`);
      this.changed();
      if (sandbox.frame) await sandbox.inspect();
      return;
    }
    this.entered();
    showNotice("");
    await sandbox.train();
  }

  async step() {
    this.entered();
    await this.sandbox.step();
    if (this.sandbox.frame) announce(`Epoch ${count(this.sandbox.frame.epoch)}.`);
  }

  async restart(message) {
    this.entered();
    await this.sandbox.reset();
    if (this.sandbox.frame) announce(message);
  }

  // Continues with the new value of a setting, or restarts if it needs another network.
  async applySetting(id) {
    if (RESETTING.includes(id)) await this.restart("This setting needs a new network: training restarts.");
    else await this.sandbox.applySettings();
  }

  // Updates the run after a change of the test points.
  async retest() {
    if (this.sandbox.running) this.sandbox.applySettings();
    else if (this.sandbox.frame) await this.sandbox.inspect();
  }

  show() {
    const { sandbox } = this;
    const { frame } = sandbox;
    $("train").textContent = sandbox.running ? "Pause" : "Train";
    $("step").disabled = sandbox.running !== null;
    $("epoch").textContent = count(frame?.epoch ?? 0);
    $("train-accuracy").textContent = frame ? percent(frame.accuracy) : "–";
    $("test-accuracy").textContent = frame ? percent(frame.testAccuracy) : "–";
    Object.assign($("rewind"), { max: Math.max(0, sandbox.frames.length - 1), value: sandbox.at, disabled: sandbox.frames.length < 2 });
    $("rewind").setAttribute("aria-valuetext", `epoch ${frame?.epoch ?? 0}`);
    this.curves.show(sandbox.frames, sandbox.at);
    this.#mark();
    if (sandbox.running && frame?.epoch) announce(`Epoch ${count(frame.epoch)}, accuracy ${percent(frame.testAccuracy)} on held-out points.`);
  }

  // Set at once and not with the next rendering, because tests of the page wait for it.
  #mark() {
    Object.assign(document.documentElement.dataset, { epoch: this.sandbox.frame?.epoch ?? "", running: String(this.sandbox.running !== null) });
  }
}
