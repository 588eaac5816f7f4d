// A run in the sandbox: the buttons that it goes by, how far it is, and its curves.

import { count, guarded, notice, percent, say } from "./header.js";
import { element } from "./plane.js";
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

// Loss and accuracy over the passes, for the training points and those held out.
class Curves {
  constructor(root, reading) {
    Object.assign(this, { root, reading, frames: [], at: null, empty: true });
    this.charts = Object.fromEntries(Object.keys(LINES).map((kind) => [kind, this.#chart(kind)]));
    root.append(...Object.values(this.charts).map((chart) => chart.svg));
  }

  // `frames` have an epoch and the four numbers; a bar marks the one at `at`.
  show(frames, at) {
    this.frames = frames;
    if (!frames.length) this.reading.textContent = "Nothing is trained yet.";
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
      // A scale of nothing would be one of zeros.
      const [high, middle] = kind === "accuracy" ? ["100 %", "50 %"] : frames.length ? [tick(top), tick(top / 2)] : ["", ""];
      chart.top.textContent = high;
      chart.middle.textContent = middle;
      chart.end.textContent = frames.length ? `pass ${count(last)}` : "pass";
    }
    // What is read stays where it is until there is more, or another frame is on show.
    const given = `${frames.length} ${at}`;
    this.#mark(given === this.given ? this.at : at);
    this.given = given;
  }

  #chart(kind) {
    const lines = LINES[kind].map(([, line]) => element("path", { class: `curve ${line}` }));
    const text = (x, y, content, anchor = "end") => element("text", { x, y, "text-anchor": anchor }, content);
    const [top, middle, end] = [text(LEFT - 6, TOP + 4, ""), text(LEFT - 6, TOP + HEIGHT / 2 + 4, ""), text(WIDTH - 8, TOP + HEIGHT + 14, "")];
    const bar = element("path", { class: "mark" });
    const frame = element("path", { class: "axis", d: `M${LEFT} ${TOP}V${TOP + HEIGHT}H${WIDTH - 8}M${LEFT} ${TOP + HEIGHT / 2}H${WIDTH - 8}M${LEFT} ${TOP}H${WIDTH - 8}` });
    const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + TOP + 18}`, class: "chart", tabindex: 0, role: "application", "aria-label": `${kind} by pass. Left and right read it.` },
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
    this.reading.textContent = `pass ${count(frame.epoch)}: loss ${frame.loss.toFixed(4)} training, ${frame.testLoss.toFixed(4)} held out; ` +
      `right ${percent(frame.accuracy)} and ${percent(frame.testAccuracy)}`;
  }
}

export class Run {
  // `points` as the sandbox wants them; `entered` is told that the sandbox is to be on show, `changed`
  // that there is something else to be seen of it.
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
        say(reason);
        if (UNFINISHED.includes(code)) notice(reason);
      },
      failed: (error) => {
        notice(error.message);
        say("Training has stopped.");
        changed();
      },
    });
    this.curves = new Curves($("curves"), $("reading"));
    $("train").addEventListener("click", () => guarded(() => this.play()));
    $("step").addEventListener("click", () => guarded(() => this.step()));
    $("reset").addEventListener("click", () => guarded(() => this.anew("Reset: the same start, untrained.")));
    $("rewind").addEventListener("input", ({ target }) => this.sandbox.rewind(Number(target.value)));
    $("rewind").addEventListener("change", () => this.sandbox.inspect());
  }

  // Lets there be a network.
  async begin() {
    if (!this.sandbox.frame) await this.sandbox.fresh();
  }

  async play() {
    const { sandbox } = this;
    if (sandbox.running) {
      sandbox.pause();
      say(`Paused at pass ${count(sandbox.frame?.epoch ?? 0)}.`);
      this.changed();
      if (sandbox.frame) await sandbox.inspect();
      return;
    }
    this.entered();
    notice("");
    await sandbox.train();
  }

  async step() {
    this.entered();
    await this.sandbox.step();
    if (this.sandbox.frame) say(`Pass ${count(this.sandbox.frame.epoch)}.`);
  }

  async anew(why) {
    this.entered();
    await this.sandbox.fresh();
    if (this.sandbox.frame) say(why);
  }

  // Goes on with another value of this setting, or begins anew if that needs another network.
  async adopt(id) {
    if (RESETTING.includes(id)) await this.anew("That takes another network: it begins anew.");
    else await this.sandbox.retune();
  }

  // The points that are tested are others.
  async test() {
    if (this.sandbox.running) this.sandbox.retune();
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
    $("rewind").setAttribute("aria-valuetext", `pass ${frame?.epoch ?? 0}`);
    this.curves.show(sandbox.frames, sandbox.at);
    this.#mark();
    if (sandbox.running && frame?.epoch) say(`Pass ${count(frame.epoch)}, accuracy ${percent(frame.testAccuracy)} on held-out points.`);
  }

  // At once, and not with the next picture: whoever watches the page from outside goes by it.
  #mark() {
    Object.assign(document.documentElement.dataset, { epoch: this.sandbox.frame?.epoch ?? "", running: String(this.sandbox.running !== null) });
  }
}
