// The page, put together: what is asked of the servers when, and who shows the answers.
//
// Each part of the page is a module: header, plane (the map), probe, network, run, settings (the
// sandbox's form). What few visits need is fetched when it is asked for: compare, digits, save.

import { count, guarded, Header, isStale, notice, percent, say } from "./header.js";
import { Diagram } from "./network.js";
import { Plane } from "./plane.js";
import { key, Probe } from "./probe.js";
import { Run } from "./run.js";
import { last, reached, Served, watch } from "./server.js";
import { defaults, Form, format, recall, remember } from "./settings.js";
import { scattered, spoken, truthOf } from "./teams.js";

const $ = (id) => document.getElementById(id);

const state = defaults();
const own = [];

// ---- the parts

const truth = () => truthOf(state.view === "sandbox" ? state.data : "quadrants");
const tested = (view = state.view) => [...scattered(state.classified, state.draw, view === "sandbox" ? state.data : "quadrants"), ...own];

const header = new Header({
  state,
  chosen: (choice) => {
    Object.assign(state, choice);
    remember(state);
    guarded(async () => {
      await refresh();
      await look();
    });
  },
  themed: () => {
    plane.repaint();
    comparison?.repaint();
    render();
  },
});
const served = new Served({ state, points: () => tested("served") });
const plane = new Plane($("plane"), { moved: (x, y) => moveProbe([x, y]), dropped: drop });
const probe = new Probe({ fields: [$("probe-x"), $("probe-y")], sentence: $("sentence"), bars: $("bars"), trace: $("trace"), moved: moveProbe });
const run = new Run({
  state,
  points: () => ({ own, tested: tested("sandbox") }),
  entered: () => setView("sandbox"),
  changed: schedule,
});
const { sandbox } = run;
const diagram = new Diagram({ root: $("diagram"), table: $("weights"), picked: $("picked"), edited: (...change) => sandbox.edit(...change) });
const form = new Form({
  state,
  refused: notice,
  preset: (name) => guarded(() => run.anew(`${name}: a new network, untrained.`)),
  changed: (id) => {
    notice("");
    remember(state);
    if (id === "classified") return pointsChanged();
    showTruth();
    return guarded(() => run.adopt(id));
  },
});

// ---- the server

async function look() {
  const first = !served.detail;
  if (await served.look({ again: isStale() })) await showServed();
  header.show(served);
  if (first && state.view === "compare") await showCompared();
}

// The address, or somebody who has tidied up since, may name what there is not.
async function lookOrFallBack() {
  try {
    await look();
  } catch (error) {
    if (error.code !== "not_found" || !(state.model || state.version)) throw error;
    Object.assign(state, { model: "", version: 0, first: 0, second: 0 });
    remember(state);
    await look();
    notice(`${error.message} What is served is shown instead.`);
  }
}

async function refresh() {
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
  const { Digits } = await reached(() => import("./digits.js"));
  digits ??= new Digits($("digits"), (features) => guarded(async () => {
    if (served.planar) return;
    await served.explain(features);
    render();
  }));
  digits.show(served.detail.features);
  if (state.view !== "served") setView("served");
}

let comparison = null;

async function showCompared() {
  const { Comparison } = await reached(() => import("./compare.js"));
  comparison ??= new Comparison({ root: $("compared"), words: $("disagreement"), selects: [$("first"), $("second")], moved: moveProbe, chosen: compareOthers });
  await comparison.show(served.detail.model.name, state.probe);
}

function compareOthers(choice) {
  Object.assign(state, choice);
  remember(state);
  guarded(showCompared);
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

const subject = () => (state.view === "sandbox" ? sandbox.subject : served.subject);

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
  const current = subject();
  if (current?.map) {
    plane.setMap(current.map, current.side, current.scale);
    plane.setPoints(shownPoints());
  }
  if (current) diagram.show(current.layers, { inputs: current.inputs, classes: current.classes, editable: state.view === "sandbox" });
  showTrace();
  run.show();
  showWhich();
}

function showTrace() {
  if (state.view === "sandbox") {
    const { trace } = sandbox;
    if (trace) probe.show(trace, { features: trace.at, inputs: ["x", "y"], right: truth()(...trace.at) });
    sandbox.probe(state.probe);
  } else if (served.trace) {
    const { features, inputs, planar } = served;
    probe.show(served.trace, { features, inputs, right: planar ? truth()(...features) : undefined });
  }
}

function showWhich() {
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

function showTruth() {
  plane.setTruth(truth(), { named: state.view !== "sandbox" || !["rings", "spiral"].includes(state.data) });
}

// ---- what is done

function setView(view) {
  state.view = view;
  document.querySelector(`[name=view][value=${view}]`).checked = true;
  document.body.dataset.view = view;
  $("single").hidden = view === "compare";
  $("compare").hidden = view !== "compare";
  showTruth();
  remember(state);
  // Before anything has answered there is nothing to compare: then `look` comes back to it.
  if (view === "compare" && served.detail) guarded(showCompared);
  render();
}

function moveProbe(at) {
  state.probe = at;
  plane.setProbe(...at);
  probe.move(at);
  remember(state);
  comparison?.probe(at);
  if (state.view === "sandbox") sandbox.probe(at);
  if (served.planar) {
    guarded(async () => {
      await served.follow();
      showTrace();
    });
  }
}

async function drop(x, y, team) {
  const label = team || truth()(x || 0.01, y || 0.01);
  own.push({ x, y, label });
  await pointsChanged(`A ${spoken(label)} point at (${x.toFixed(2)}, ${y.toFixed(2)}).`);
}

// Points to classify, or points of one's own, are others now.
async function pointsChanged(words = "") {
  remember(state);
  if (words) say(words);
  await guarded(async () => {
    await run.test();
    if (served.planar) await served.classify();
  });
  render();
}

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
    if (radio.value === "sandbox") guarded(() => run.begin());
  });
}
$("visualize").addEventListener("click", () => diagram.enter());
// Not by its link: the address holds the state.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("plane").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.target.closest("input, select, textarea, button, summary, label, a, dialog")) return;
  event.preventDefault();
  guarded(() => run.play());
});

const context = () => ({ state, own, served, sandbox, subject, link: new URL(format(state), location.href).href, points: shownPoints, calls: last, notice, say, truth: truth(), pointsChanged });
for (const id of ["copy-link", "save-svg", "save-png", "save-weights", "copy-curl", "copy-python", "save-csv", "load-csv"]) {
  $(id).addEventListener(id === "load-csv" ? "change" : "click", (event) => guarded(async () => {
    const actions = await reached(() => import("./save.js"));
    await actions.run(id, context(), event);
  }));
}

// ---- the beginning

function adopt() {
  const wrong = recall(state);
  notice(wrong && `The address says what cannot be used here (${wrong}): the usual is shown instead.`);
  form.fill();
  plane.setProbe(...state.probe);
  probe.move(state.probe);
  setView(state.view);
  if (state.view === "sandbox") guarded(() => run.begin());
}

addEventListener("hashchange", () => {
  adopt();
  guarded(refresh);
});

for (const placeholder of document.querySelectorAll("svg.key[data-team]")) placeholder.replaceWith(key(placeholder.dataset.team));
adopt();
watch(async () => {
  await guarded(lookOrFallBack);
  if (served.detail) document.documentElement.dataset.ready = "";
  return !isStale();
});
