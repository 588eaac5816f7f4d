// The page, put together: what is asked of the servers when, and who shows the answers.

import { Curves } from "./curves.js";
import { Diagram } from "./network.js";
import { cellAt, paint, Plane } from "./plane.js";
import { key, Probe } from "./probe.js";
import { isAway, last } from "./rpc.js";
import { PRESETS, RESETTING, Sandbox } from "./sandbox.js";
import { Served } from "./served.js";
import { defaults, Form, format, parse } from "./settings.js";
import { NAMES, scattered, spoken, truthOf } from "./teams.js";

const POLL_MILLISECONDS = 1000;
const LONGEST_PAUSE = 5000;
const ADDRESS_MILLISECONDS = 100;
const STATUS_MILLISECONDS = 2000;
const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const state = defaults();
const own = [];
let staleSince = null;

// ---- words

let spokenAt = 0;
let waiting = 0;

// At most one message in two seconds, the newest: a screen reader reads each to its end.
function say(text) {
  clearTimeout(waiting);
  const pause = Math.max(0, spokenAt + STATUS_MILLISECONDS - performance.now());
  waiting = setTimeout(() => {
    spokenAt = performance.now();
    $("status").textContent = text;
  }, pause);
}

function notice(text) {
  $("notice-text").textContent = text;
  $("notice").hidden = !text;
}

// All but all is not said to be all.
const percent = (value) => `${(value < 1 ? Math.min(99.9, 100 * value) : 100).toFixed(1)} %`;
const count = (value) => value.toLocaleString("en");

// ---- what is asked

const truth = () => truthOf(state.view === "sandbox" ? state.data : "quadrants");
const tested = (view = state.view) => [...scattered(state.classified, state.draw, view === "sandbox" ? state.data : "quadrants"), ...own];

const served = new Served({ state, points: () => tested("served") });

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    if (isAway(error)) stale(error.message);
    else if (error.code) notice(error.message);
    else throw error;
  }
}

async function refreshServed() {
  await served.refresh();
  await showServed();
}

async function showServed() {
  document.body.classList.toggle("other-model", !served.planar);
  $("digits").hidden = served.planar;
  if (!served.planar) await showOther();
  render();
}

// A model of other inputs: of digits one is drawn, and the page has no map.
let digits = null;

async function showOther() {
  const { Digits } = await import("./digits.js");
  digits ??= new Digits($("digits"), (features) => guarded(async () => {
    if (served.planar) return;
    await served.explain(features);
    render();
  }));
  digits.show(served.detail.features);
  if (state.view !== "served") setView("served");
}

// ---- the sandbox

const sandbox = new Sandbox({
  settings: () => state,
  points: () => ({ own, tested: tested("sandbox") }),
  slow: () => calm.matches,
  changed: () => {
    markRun();
    schedule();
  },
  ended: (reason) => {
    say(reason);
    if (/explode|limit/.test(reason)) notice(reason);
  },
  failed: (error) => {
    notice(error.message);
    say("Training has stopped.");
    schedule();
  },
});

async function ensureSandbox() {
  if (!sandbox.frame) await sandbox.fresh();
}

async function play() {
  if (sandbox.running) {
    sandbox.pause();
    say(`Paused at pass ${count(sandbox.frame?.epoch ?? 0)}.`);
    render();
    if (sandbox.frame) await sandbox.inspect();
    return;
  }
  setView("sandbox");
  notice("");
  await sandbox.train();
}

async function anew(why) {
  setView("sandbox");
  await sandbox.fresh();
  if (why && sandbox.frame) say(why);
}

// ---- showing

let scheduled = false;

// The newest frame once a screen refresh: what came between is not drawn.
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    render();
  });
}

function subject() {
  if (state.view === "sandbox") {
    const frame = sandbox.shown;
    if (!frame) return null;
    return { layers: frame.state.layers, map: frame.map, side: frame.side, scale: 255, classes: NAMES };
  }
  return served.detail && { layers: served.detail.layers, map: served.map, side: served.side, scale: 1, classes: served.detail.classes };
}

// Points with their answers. Generated again only when something that they depend on has changed.
const sandboxPoints = { key: "", points: [] };

function shownPoints() {
  if (state.view !== "sandbox") return served.points;
  const id = [state.classified, state.draw, state.data, own.length, own.at(-1)?.x].join();
  if (id !== sandboxPoints.key) Object.assign(sandboxPoints, { key: id, points: tested("sandbox").map((point) => ({ ...point })) });
  const answers = sandbox.shown?.answers ?? [];
  sandboxPoints.points.forEach((point, at) => (point.answer = answers[at]));
  return sandboxPoints.points;
}

function render() {
  renderMap();
  renderNetwork();
  renderProbe();
  renderRun();
  renderShown();
}

let painted = null;

function renderMap(force = false) {
  const current = subject();
  if (!current?.map || !(served.planar || state.view === "sandbox")) return;
  const signature = [current.map, state.view];
  if (force || painted?.some((value, at) => value !== signature[at]) !== false) {
    paint(plane.canvas, current.map, current.side, { scale: current.scale, certain: $("certain").checked });
    painted = signature;
  }
  const points = shownPoints();
  plane.setPoints(points);
  const answered = points.filter((point) => point.answer);
  const hits = answered.filter((point) => point.answer === point.label).length;
  $("hits").textContent = count(hits);
  $("misses").textContent = count(answered.length - hits);
  $("accuracy").textContent = answered.length ? percent(hits / answered.length) : "–";
  renderUnder();
}

let cursor = null;

// What is under the cursor, live: also when it rests and the network changes.
function renderUnder() {
  const current = subject();
  if (!cursor || !current?.map) return void ($("under").textContent = "");
  const [x, y] = cursor;
  const at = 4 * cellAt(current.side, x, y);
  const four = Array.from(current.map.slice(at, at + 4), (value) => value / current.scale);
  const winner = four.indexOf(Math.max(...four));
  $("under").textContent = `under the cursor, (${x.toFixed(2)}, ${y.toFixed(2)}): ${spoken(NAMES[winner])} ${four[winner].toFixed(3)}`;
}

function renderNetwork() {
  const current = subject();
  if (!current) return;
  const sandboxed = state.view === "sandbox";
  diagram.show(current.layers, { inputs: sandboxed ? ["x", "y"] : served.inputs, classes: current.classes, editable: sandboxed });
}

function renderProbe() {
  if (state.view === "sandbox") {
    const { trace } = sandbox;
    if (trace) probe.show(trace, { features: trace.at, inputs: ["x", "y"], right: truth()(...trace.at) });
    sandbox.probe(state.probe);
  } else if (served.trace) {
    const { features, inputs, planar } = served;
    probe.show(served.trace, { features, inputs, right: planar ? truth()(...features) : undefined });
  }
}

// At once, and not with the next picture: whoever watches the page from outside goes by it.
function markRun() {
  Object.assign(document.documentElement.dataset, { epoch: sandbox.frame?.epoch ?? "", running: String(sandbox.running !== null) });
}

function renderRun() {
  const { frame } = sandbox;
  $("train").textContent = sandbox.running ? "Pause" : "Train";
  $("step").disabled = sandbox.running !== null;
  $("epoch").textContent = count(frame?.epoch ?? 0);
  $("train-accuracy").textContent = frame ? percent(frame.accuracy) : "–";
  $("test-accuracy").textContent = frame ? percent(frame.testAccuracy) : "–";
  Object.assign($("rewind"), { max: Math.max(0, sandbox.frames.length - 1), value: sandbox.at, disabled: sandbox.frames.length < 2 });
  $("rewind").setAttribute("aria-valuetext", `pass ${frame?.epoch ?? 0}`);
  curves.show(sandbox.frames, sandbox.at);
  markRun();
  if (sandbox.running && frame?.epoch) say(`Pass ${count(frame.epoch)}, accuracy ${percent(frame.testAccuracy)} on held-out points.`);
}

function renderShown() {
  const shape = (layers) => [layers[0].inputs, ...layers.map((layer) => layer.units)].join("-");
  if (state.view === "sandbox") {
    $("shown").textContent = sandbox.frame
      ? `Your sandbox, ${shape(sandbox.frame.state.layers)}, pass ${count(sandbox.frame.epoch)}. It is never served.` : "Your sandbox.";
  } else if (state.view === "compare") {
    $("shown").textContent = "Two published versions, asked for the same cells.";
  } else if (served.detail) {
    const { model, metrics } = served.detail;
    $("shown").textContent = `${model.name} version ${model.version}, ${shape(served.detail.layers)}, ${percent(metrics.accuracy)} right on its sealed test part.` +
      (served.planar ? " Hatched: what belongs there." : "");
  }
  $("map-title").textContent = state.view === "served" && served.detail && !served.planar ? "Drawing" : "Decision map";
  $("own").textContent = count(own.length);
}

function renderSelects() {
  const options = (select, values, chosen) => {
    const texts = values.map(([value, text]) => `${value}:${text}`).join("|");
    if (select.dataset.texts !== texts) {
      select.dataset.texts = texts;
      select.replaceChildren(...values.map(([value, text]) => new Option(text, value)));
    }
    if (select.value !== String(chosen)) select.value = chosen;
  };
  options($("model"), served.models.map((model) => [model.name, model.name]), served.detail.model.name);
  const [versions, aliases] = [served.versions(), served.aliases()];
  const called = (version) => Object.keys(aliases).filter((alias) => aliases[alias] === version.version);
  const each = versions.toReversed().map((version) => [version.version, [`v${version.version}`, ...called(version), ...(version.state === "STATE_FAILED" ? ["failing"] : [])].join(", ")]);
  options($("version"), [[0, "served"], ...each], state.version);
  for (const id of ["first", "second"]) {
    if (state[id] && !versions.some((version) => Number(version.version) === state[id])) {
      notice(`${served.detail.model.name} has no version ${state[id]} to compare: another is shown instead.`);
      state[id] = 0;
    }
    options($(id), each, state[id] || versions.at(id === "first" ? 0 : -1)?.version);
  }
}

// ---- the server, watched

function stale(reason) {
  if (!staleSince) staleSince = new Date();
  $("stale").textContent = `${reason} What is shown is from before ${staleSince.toLocaleTimeString()}; asking again.`;
  $("stale").hidden = false;
  document.body.classList.add("stale");
  $("serving").textContent = "away";
}

async function look() {
  const first = !served.detail;
  if (await served.look({ again: staleSince !== null })) await showServed();
  staleSince = null;
  $("stale").hidden = true;
  document.body.classList.remove("stale");
  const { model } = served.detail;
  $("serving").textContent = `${state.version ? "showing" : "serving"} v${model.version} · sha ${model.digest.slice(0, 7)}${served.latency && ` · ${served.latency}`}`;
  $("badge").title = served.failure;
  $("badge").classList.toggle("failing", served.failure !== "");
  document.documentElement.dataset.version = model.version;
  renderSelects();
  if (first && state.view === "compare") await showCompared();
}

// The address, or somebody who has tidied up since, may name what there is not.
async function lookOrFallBack() {
  try {
    await look();
  } catch (error) {
    if (error.code !== "not_found" || !(state.model || state.version)) throw error;
    Object.assign(state, { model: "", version: 0, first: 0, second: 0 });
    remember();
    await look();
    notice(`${error.message} What is served is shown instead.`);
  }
}

async function watch() {
  for (let pause = POLL_MILLISECONDS; ;) {
    // Who does not look needs no news.
    if (!document.hidden) await guarded(lookOrFallBack);
    if (served.detail) document.documentElement.dataset.ready = "";
    pause = staleSince ? Math.min(1.5 * pause, LONGEST_PAUSE) : POLL_MILLISECONDS;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

// ---- controls

const plane = new Plane($("plane"), {
  painting: () => document.querySelector("[name=paint]:checked").value,
  moved: (x, y) => moveProbe([x, y]),
  dropped: (x, y) => drop(x, y),
  over: (...at) => {
    cursor = at.length ? at : null;
    renderUnder();
  },
});
const probe = new Probe({ sentence: $("sentence"), bars: $("bars"), trace: $("trace") });
const curves = new Curves($("curves"), $("reading"));
const diagram = new Diagram({
  root: $("diagram"), table: $("weights"), picked: $("picked"),
  edited: (...change) => sandbox.edit(...change),
});

let remembering = 0;

// A moment later, once: browsers take no more than so many changes of the address, and a drag makes
// sixty a second.
function remember() {
  clearTimeout(remembering);
  remembering = setTimeout(() => history.replaceState(null, "", format(state)), ADDRESS_MILLISECONDS);
}

function moveProbe(at) {
  state.probe = at;
  plane.setProbe(...at);
  [$("probe-x").value, $("probe-y").value] = at;
  remember();
  comparison?.probe(at);
  if (state.view === "sandbox") sandbox.probe(at);
  if (served.planar) {
    guarded(async () => {
      await served.follow();
      renderProbe();
    });
  }
}

async function drop(x, y) {
  const label = document.querySelector("[name=paint]:checked").value || truth()(x || 0.01, y || 0.01);
  own.push({ x, y, label });
  await pointsChanged(`A ${spoken(label)} point at (${x.toFixed(2)}, ${y.toFixed(2)}).`);
}

// Points to classify, or points of one's own, are others now.
async function pointsChanged(words = "") {
  remember();
  if (words) say(words);
  await guarded(async () => {
    if (sandbox.running) sandbox.retune();
    else if (sandbox.frame) await sandbox.inspect();
    if (served.planar) await served.classify();
  });
  render();
}

function setView(view) {
  state.view = view;
  document.querySelector(`[name=view][value=${view}]`).checked = true;
  document.body.dataset.view = view;
  $("single").hidden = view === "compare";
  $("compare").hidden = view !== "compare";
  showTruth();
  remember();
  // Before anything has answered there is nothing to compare: then `look` comes back to it.
  if (view === "compare" && served.detail) guarded(showCompared);
  render();
}

function showTruth() {
  plane.setTruth(truth(), { named: state.view !== "sandbox" || !["rings", "spiral"].includes(state.data) });
}

let comparison = null;

async function showCompared() {
  const { Comparison } = await import("./compare.js");
  comparison ??= new Comparison($("compared"), $("disagreement"), (at) => moveProbe(at));
  await comparison.show(served.detail.model.name, [$("first").value, $("second").value].map(Number), state.probe);
}

const form = new Form({
  state,
  refused: notice,
  changed: (id) => {
    notice("");
    remember();
    if (id === "classified") return pointsChanged();
    showTruth();
    return guarded(() => (RESETTING.includes(id) ? anew("That takes another network: it begins anew.") : sandbox.retune()));
  },
});

$("preset").addEventListener("change", ({ target }) => {
  if (!target.value) return;
  Object.assign(state, PRESETS[target.value]);
  form.fill();
  guarded(() => anew(`${target.selectedOptions[0].text}: a new network, untrained.`));
});
$("train").addEventListener("click", () => guarded(play));
$("step").addEventListener("click", () => guarded(async () => {
  setView("sandbox");
  await sandbox.step();
  if (sandbox.frame) say(`Pass ${count(sandbox.frame.epoch)}.`);
}));
$("reset").addEventListener("click", () => guarded(() => anew("Reset: the same start, untrained.")));
$("reseed").addEventListener("click", () => form.set("seed", String(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000)));
$("visualize").addEventListener("click", () => {
  $("network-card").scrollIntoView({ behavior: calm.matches ? "auto" : "smooth" });
  (diagram.svg ?? $("network-card")).focus({ preventScroll: true });
});
$("rewind").addEventListener("input", ({ target }) => sandbox.rewind(Number(target.value)));
$("rewind").addEventListener("change", () => sandbox.inspect());
$("classify").addEventListener("click", () => {
  state.draw = (state.draw + 1) % 2 ** 32;
  pointsChanged("New points, classified.");
});
$("clear-own").addEventListener("click", () => {
  own.length = 0;
  pointsChanged("Your points are removed.");
});
for (const radio of document.querySelectorAll("[name=view]")) {
  radio.addEventListener("change", () => {
    setView(radio.value);
    if (radio.value === "sandbox") guarded(ensureSandbox);
  });
}
for (const id of ["first", "second"]) {
  $(id).addEventListener("change", ({ target }) => {
    state[id] = Number(target.value);
    remember();
    guarded(showCompared);
  });
}
$("model").addEventListener("change", ({ target }) => {
  Object.assign(state, { model: target.value, version: 0, first: 0, second: 0 });
  remember();
  guarded(refreshServed);
});
$("version").addEventListener("change", ({ target }) => {
  state.version = Number(target.value);
  remember();
  guarded(async () => {
    await refreshServed();
    await look();
  });
});
for (const [id, at] of [["probe-x", 0], ["probe-y", 1]]) {
  $(id).addEventListener("input", ({ target }) => {
    const value = Number(target.value);
    if (target.value === "" || !(value >= -1 && value <= 1)) return target.setAttribute("aria-invalid", "true");
    target.removeAttribute("aria-invalid");
    moveProbe(state.probe.with(at, value));
  });
}
$("shade").addEventListener("change", ({ target }) => plane.show("shade", target.checked));
$("dots").addEventListener("change", ({ target }) => plane.show("dots", target.checked));
$("certain").addEventListener("change", () => renderMap(true));
// Not by its link: the address holds the state.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("plane").focus();
});
$("dismiss").addEventListener("click", () => notice(""));
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.target.closest("input, select, textarea, button, summary, label, a")) return;
  event.preventDefault();
  guarded(play);
});

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").value = theme;
  painted = null;
  render();
  comparison?.repaint();
}
$("theme").addEventListener("change", ({ target }) => {
  localStorage.setItem("theme", target.value);
  setTheme(target.value);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme($("theme").value));

// What few visits need is fetched when it is asked for.
const context = () => ({ state, own, served, sandbox, subject, link: new URL(format(state), location.href).href, points: shownPoints, calls: last, notice, say, truth: truth(), pointsChanged });
for (const id of ["copy-link", "save-svg", "save-png", "save-weights", "copy-curl", "copy-python", "save-csv", "load-csv"]) {
  $(id).addEventListener(id === "load-csv" ? "change" : "click", (event) => guarded(async () => {
    const actions = await import("./save.js");
    await actions.run(id, context(), event);
  }));
}

for (const placeholder of document.querySelectorAll("svg.key[data-team]")) placeholder.replaceWith(key(placeholder.dataset.team));
for (const line of document.querySelectorAll("svg.line")) {
  line.setAttribute("viewBox", "0 0 30 10");
  line.setAttribute("aria-hidden", "true");
  line.innerHTML = `<path class="${line.dataset.sign ? `edge ${line.dataset.sign}` : `curve ${line.dataset.line}`}" d="M0 5H30"></path>`;
}

function adopt() {
  const { state: given, wrong } = parse(location.hash);
  Object.assign(state, given);
  notice(wrong && `The address says what cannot be used here (${wrong}): the usual is shown instead.`);
  form.fill();
  plane.setProbe(...state.probe);
  [$("probe-x").value, $("probe-y").value] = state.probe;
  setView(state.view);
  if (state.view === "sandbox") guarded(ensureSandbox);
}

addEventListener("hashchange", () => {
  clearTimeout(remembering);
  adopt();
  guarded(refreshServed);
});

let theme = localStorage.getItem("theme");
if (!["light", "dark"].includes(theme)) theme = "";
document.documentElement.dataset.theme = theme;
$("theme").value = theme;
adopt();
watch();
