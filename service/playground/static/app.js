// The page: connects its parts to the servers.
//
// Each part of the page is a module: header, plane (the map), probe, network, run, settings (the
// form of the sandbox). Modules that few visits need are loaded on demand: compare, digits, save.

import { count, reportErrors, Header, isServerAway, showNotice, percent, announce } from "./header.js";
import { Diagram, formatNetwork, formatNumber } from "./network.js";
import { Plane } from "./plane.js";
import { Probe, teamIcon } from "./probe.js";
import { Run } from "./run.js";
import { lastCalls, translateErrors, Served, pollServer } from "./server.js";
import { defaults, Form, formatAddress, readAddress, writeAddress } from "./settings.js";
import { randomPoints, teamText, trueTeam } from "./teams.js";

const $ = (id) => document.getElementById(id);

const state = defaults();
const own = [];

// ---- the parts

const truth = () => trueTeam(state.view === "sandbox" ? state.data : "quadrants");
const makeTestPoints = (view = state.view) => [...randomPoints(state.classified, state.draw, view === "sandbox" ? state.data : "quadrants"), ...own];

const header = new Header({
  state,
  chosen: (choice) => {
    Object.assign(state, choice);
    writeAddress(state);
    reportErrors(async () => {
      await refresh();
      await checkServer();
    });
  },
  themed: () => {
    plane.repaint();
    comparison?.repaint();
    render();
  },
});
const served = new Served({ state, points: () => makeTestPoints("served") });
const plane = new Plane($("plane"), { moved: (x, y) => moveProbe([x, y]), dropped: addPoint });
const probe = new Probe({ fields: [$("probe-x"), $("probe-y")], sentence: $("sentence"), bars: $("bars"), trace: $("trace"), moved: moveProbe });
const run = new Run({
  state,
  points: () => ({ own, tested: makeTestPoints("sandbox") }),
  entered: () => setView("sandbox"),
  changed: scheduleRender,
});
const { sandbox } = run;
const diagram = new Diagram({ root: $("diagram"), table: $("weights"), picked: $("picked"), edited: (...change) => sandbox.edit(...change) });
const form = new Form({
  state,
  refused: showNotice,
  preset: (name) => reportErrors(() => run.restart(`${name}: a new network, untrained.`)),
  changed: (id) => {
    showNotice("");
    writeAddress(state);
    if (id === "classified") return updatePoints();
    showTruth();
    return reportErrors(() => run.applySetting(id));
  },
});

// ---- the server

async function checkServer() {
  const first = !served.detail;
  if (await served.checkForChanges({ again: isServerAway() })) await showServed();
  header.show(served);
  if (first && state.view === "compare") await showCompared();
}

// The address may name a model or version that does not exist, or no longer exists.
async function checkServerOrFallBack() {
  try {
    await checkServer();
  } catch (error) {
    if (error.code !== "not_found" || !(state.model || state.version)) throw error;
    Object.assign(state, { model: "", version: 0, first: 0, second: 0 });
    writeAddress(state);
    await checkServer();
    showNotice(`${error.message} The served version is shown instead.`);
  }
}

async function refresh() {
  await served.refresh();
  await showServed();
}

async function showServed() {
  document.body.classList.toggle("other-model", !served.planar);
  $("digits").hidden = $("columns").hidden = true;
  if (!served.planar) await showOtherModel();
  render();
}

// A model with other inputs has no map: for pictures there is a grid to draw on, else a form.
let digits = null;
let columnForm = null;

async function showOtherModel() {
  const explain = (input) => reportErrors(async () => {
    if (served.planar) return;
    await served.explain(input);
    render();
  });
  const { features, columns, layers } = served.detail;
  const { Digits, isPicture } = await translateErrors(() => import("./digits.js"));
  const { ColumnForm } = await translateErrors(() => import("./columns.js"));
  const drawn = !columns.length && isPicture(features, layers[0].inputShape);
  $("digits").hidden = !drawn;
  $("columns").hidden = drawn;
  if (drawn) {
    digits ??= new Digits($("digits"), (values) => explain({ features: values }));
    digits.show(features);
  } else {
    columnForm ??= new ColumnForm($("columns"), explain);
    columnForm.show(served.detail);
  }
  if (state.view !== "served") setView("served");
}

let comparison = null;

async function showCompared() {
  const { Comparison } = await translateErrors(() => import("./compare.js"));
  comparison ??= new Comparison({ root: $("compared"), words: $("disagreement"), selects: [$("first"), $("second")], moved: moveProbe, chosen: compareVersions });
  await comparison.show(served.detail.model.name, state.probe);
}

function compareVersions(choice) {
  Object.assign(state, choice);
  writeAddress(state);
  reportErrors(showCompared);
}

// ---- showing

let scheduled = false;

// Renders the newest frame once per screen refresh, and skips the frames before it.
function scheduleRender() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    render();
  });
}

const subject = () => (state.view === "sandbox" ? sandbox.subject : served.subject);

// Points with their answers. They are generated again only when the settings of the points change.
const sandboxPoints = { key: "", points: [] };

function visiblePoints() {
  if (state.view !== "sandbox") return served.points;
  const id = [state.classified, state.draw, state.data, own.length, own.at(-1)?.x].join();
  if (id !== sandboxPoints.key) Object.assign(sandboxPoints, { key: id, points: makeTestPoints("sandbox").map((point) => ({ ...point })) });
  const answers = sandbox.shown?.answers ?? [];
  sandboxPoints.points.forEach((point, at) => (point.answer = answers[at]));
  return sandboxPoints.points;
}

function render() {
  const current = subject();
  if (current?.map) {
    plane.setMap(current.map, current.side, current.scale);
    plane.setPoints(visiblePoints());
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
    const { inputs, planar, detail } = served;
    probe.show(served.trace, { features: served.trace.features, inputs, detail, right: planar ? truth()(...state.probe) : undefined });
  }
}

// The metric that describes it best: of numbers, their error.
function formatMetric({ accuracy, rmse }) {
  return rmse === undefined ? `accuracy ${percent(accuracy)}` : `root mean squared error ${formatNumber(rmse)}`;
}

function showWhich() {
  if (state.view === "sandbox") {
    $("shown").textContent = sandbox.frame
      ? `Your sandbox, ${formatNetwork(sandbox.frame.state.layers)}, epoch ${count(sandbox.frame.epoch)}. It is never served.` : "Your sandbox.";
  } else if (state.view === "compare") {
    $("shown").textContent = "Two published versions on the same cells.";
  } else if (served.detail) {
    const { model, metrics } = served.detail;
    $("shown").textContent = `${model.name} version ${model.version}, ${formatNetwork(served.detail.layers)}, ${formatMetric(metrics)} on the sealed test part.` +
      (served.planar ? " Hatching: the true regions." : "");
  }
  $("map-title").textContent = state.view === "served" && served.detail && !served.planar ? ($("digits").hidden ? "Inputs" : "Drawing") : "Decision map";
  $("own").textContent = count(own.length);
}

function showTruth() {
  plane.setTruth(truth(), { named: state.view !== "sandbox" || !["rings", "spiral"].includes(state.data) });
}

// ---- actions

function setView(view) {
  state.view = view;
  document.querySelector(`[name=view][value=${view}]`).checked = true;
  document.body.dataset.view = view;
  $("single").hidden = view === "compare";
  $("compare").hidden = view !== "compare";
  showTruth();
  writeAddress(state);
  // Before the first answer there is nothing to compare; `checkServer` then shows the comparison.
  if (view === "compare" && served.detail) reportErrors(showCompared);
  render();
}

function moveProbe(at) {
  state.probe = at;
  plane.setProbe(...at);
  probe.move(at);
  writeAddress(state);
  comparison?.probe(at);
  if (state.view === "sandbox") sandbox.probe(at);
  if (served.planar) {
    reportErrors(async () => {
      await served.followProbe();
      showTrace();
    });
  }
}

async function addPoint(x, y, team) {
  const label = team || truth()(x || 0.01, y || 0.01);
  own.push({ x, y, label });
  await updatePoints(`A ${teamText(label)} point at (${x.toFixed(2)}, ${y.toFixed(2)}).`);
}

// Updates everything that depends on the points to classify and the user's points.
async function updatePoints(words = "") {
  writeAddress(state);
  if (words) announce(words);
  await reportErrors(async () => {
    await run.retest();
    if (served.planar) await served.classify();
  });
  render();
}

$("classify").addEventListener("click", () => {
  state.draw = (state.draw + 1) % 2 ** 32;
  updatePoints("New points, classified.");
});
$("clear-own").addEventListener("click", () => {
  own.length = 0;
  updatePoints("Your points are removed.");
});
for (const radio of document.querySelectorAll("[name=view]")) {
  radio.addEventListener("change", () => {
    setView(radio.value);
    if (radio.value === "sandbox") reportErrors(() => run.ensureNetwork());
  });
}
$("visualize").addEventListener("click", () => diagram.focusDiagram());
// Not by its link, because the fragment of the address holds the state.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("plane").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.target.closest("input, select, textarea, button, summary, label, a, dialog")) return;
  event.preventDefault();
  reportErrors(() => run.play());
});

const context = () => ({ state, own, served, sandbox, subject, link: new URL(formatAddress(state), location.href).href, points: visiblePoints, calls: lastCalls, showNotice, announce, truth: truth(), updatePoints });
for (const id of ["copy-link", "save-svg", "save-png", "save-weights", "copy-curl", "copy-python", "save-csv", "load-csv"]) {
  $(id).addEventListener(id === "load-csv" ? "change" : "click", (event) => reportErrors(async () => {
    const actions = await translateErrors(() => import("./save.js"));
    await actions.run(id, context(), event);
  }));
}

// ---- start

function applyAddress() {
  const wrong = readAddress(state);
  showNotice(wrong && `The address has invalid settings (${wrong}); their defaults are used instead.`);
  form.fill();
  plane.setProbe(...state.probe);
  probe.move(state.probe);
  setView(state.view);
  if (state.view === "sandbox") reportErrors(() => run.ensureNetwork());
}

addEventListener("hashchange", () => {
  applyAddress();
  reportErrors(refresh);
});

for (const placeholder of document.querySelectorAll("svg.key[data-team]")) placeholder.replaceWith(teamIcon(placeholder.dataset.team));
applyAddress();
pollServer(async () => {
  await reportErrors(checkServerOrFallBack);
  if (served.detail) document.documentElement.dataset.ready = "";
  return !isServerAway();
});
