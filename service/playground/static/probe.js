// The trace of one point through a network: every term, bias, sum and activation from the server.

import { formatNumber, formatShape, isDense, layerName, paintArray, unitName } from "./network.js";
import { COLOURS, SHAPES, teamText } from "./teams.js";
import { svgElement } from "./plane.js";

// Units with more terms than this show only the sum of their terms.
const MOST_TERMS = 10;

function htmlElement(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function teamIcon(name) {
  const svg = svgElement("svg", { viewBox: "-10 -10 20 20", class: "key", "aria-hidden": "true" });
  if (name in COLOURS) svg.append(svgElement("path", { d: SHAPES[name](0, 0, 6), class: `dots ${COLOURS[name]}` }));
  return svg;
}

const cell = (value, role) => htmlElement("td", { "data-value": value, "data-role": role }, formatNumber(value));

export class Probe {
  // `fields` are the inputs for x and y; `moved` is called with both values.
  constructor({ fields, sentence, bars, trace, moved }) {
    Object.assign(this, { fields, sentence, bars, trace, at: [0, 0] });
    fields.forEach((field, axis) => field.addEventListener("input", () => {
      const value = Number(field.value);
      if (field.value === "" || !(value >= -1 && value <= 1)) return field.setAttribute("aria-invalid", "true");
      moved(this.at.with(axis, value));
    }));
  }

  move(at) {
    this.at = at;
    this.fields.forEach((field, axis) => {
      // A field with the same number is not changed: in "-0" the user may be about to type more.
      if (field.value === "" || Number(field.value) !== at[axis]) field.value = at[axis];
      field.removeAttribute("aria-invalid");
    });
  }

  // `right` is the correct class, if it is known; `detail` describes the version, unless it is a sandbox.
  show(answer, { features, inputs, right, detail }) {
    const { layers, classes, probabilities } = answer;
    const predicted = answer.value !== undefined ? this.#showNumber(answer, detail) : detail?.task === "multilabel" ? this.#showLabels(answer) : this.#showClass(answer, right);
    const unknown = (answer.unknownCategories ?? []).map((name) => ` The text of ${name} did not occur in training.`);
    this.sentence.append(...unknown);
    if (answer.value === undefined) this.#showBars(classes, probabilities);
    const values = features.map((value, at) => `${inputs[at] ?? at + 1} ${formatNumber(value)}`).slice(0, MOST_TERMS);
    this.trace.replaceChildren(
      htmlElement("p", { class: "note" }, `inputs: ${values.join(", ")}${features.length > MOST_TERMS ? ` and ${features.length - MOST_TERMS} more` : ""}`),
      ...layers.map((layer, at) => (isDense(layer) ? this.#table(layers, layer, at, inputs, predicted) : valuesFigure(layer, at))));
  }

  // Each of these shows the prediction, and returns the names of the network's outputs.
  #showClass({ classes, probabilities, label }, right) {
    const ranked = probabilities.map((value, at) => ({ value, name: classes[at] })).sort((a, b) => b.value - a.value);
    const margin = ranked[0].value - (ranked[1]?.value ?? 0);
    const verdict = right === undefined || !label ? "" : label === right ? " A hit." : ` A miss: it lies in ${teamText(right)}.`;
    const called = label in COLOURS ? teamText(label) : label;
    this.sentence.replaceChildren(teamIcon(label), label
      ? ` ${called}, certainty ${ranked[0].value.toFixed(3)}, margin ${margin.toFixed(3)}.${verdict}`
      : " No answer: the network overflows at this point.");
    this.sentence.dataset.label = label;
    return classes;
  }

  #showLabels({ classes, labels }) {
    this.sentence.replaceChildren(labels.length ? `${labels.join(", ")}.` : "No label applies.");
    this.sentence.dataset.label = labels.join();
    return classes;
  }

  #showNumber({ value, quantiles }, { target, quantiles: levels }) {
    const name = target?.name ?? "value";
    this.sentence.replaceChildren(Number.isFinite(Number(value)) ? `${name}: ${formatNumber(value)}.` : "No answer: the network overflows at this point.");
    this.sentence.dataset.label = value;
    this.bars.dataset.classes = "";
    this.bars.replaceChildren(...quantiles.map((quantile, at) => htmlElement("p", { class: "certainty" },
      htmlElement("span", {}, `quantile ${levels[at]}`), htmlElement("output", { "data-value": quantile }, formatNumber(quantile)))));
    return levels.length ? levels.map((level) => `${name} ${level}`) : [name];
  }

  #showBars(classes, probabilities) {
    if (this.bars.children.length !== classes.length || this.bars.dataset.classes !== classes.join()) {
      this.bars.dataset.classes = classes.join();
      this.bars.replaceChildren(...classes.map((name) => htmlElement("p", { class: "certainty" }, teamIcon(name),
        htmlElement("span", {}, COLOURS[name] ? `${COLOURS[name]} ${name}` : name), htmlElement("meter", { min: 0, max: 1, "aria-label": `certainty of ${name}` }), htmlElement("output", {}))));
    }
    probabilities.forEach((value, at) => {
      const row = this.bars.children[at];
      row.querySelector("meter").value = value;
      row.querySelector("output").textContent = value.toFixed(3);
      row.querySelector("output").dataset.value = value;
    });
  }

  #table(layers, { activation, units }, at, inputs, classes) {
    const counts = layers.map((layer) => ({ units: layer.units.length }));
    const n = units[0].terms.length;
    const table = htmlElement("table", { class: "trace" });
    const last = at === layers.length - 1;
    table.createCaption().textContent = last ? `outputs = ${activation}(sum)` : `hidden layer ${at + 1} = ${activation}(sum)`;
    const shown = n <= MOST_TERMS ? n : 0;
    const from = (unit) => unitName(counts, at - 1, unit, inputs, classes).replace("hidden ", "h");
    const heads = shown ? Array.from({ length: n }, (_, unit) => from(unit)) : [`${n} terms`];
    const row = table.createTHead().insertRow();
    row.append(htmlElement("td", {}));
    for (const text of [...heads, "bias", "sum", last ? "output" : "value"]) row.append(htmlElement("th", { scope: "col" }, text));
    const body = table.createTBody();
    // For a wide layer, only the most active units are shown.
    const order = units.map((unit, index) => ({ unit, index }));
    if (order.length > 64) order.sort((a, b) => Math.abs(b.unit.activation) - Math.abs(a.unit.activation)).splice(16);
    for (const { unit, index } of order) {
      const line = body.insertRow();
      line.append(htmlElement("th", { scope: "row" }, unitName(counts, at, index, inputs, classes).replace("hidden ", "h")));
      if (shown) line.append(...unit.terms.map((term) => cell(term, "term")));
      else line.append(cell(unit.terms.reduce((a, b) => a + b, 0), "term"));
      line.append(cell(unit.bias, "bias"), cell(unit.preActivation, "sum"), cell(unit.activation, "activation"));
    }
    if (order.length < units.length) body.insertRow().append(htmlElement("td", { colspan: 5 }, `and ${units.length - order.length} more units, nearer to 0`));
    return table;
  }
}

// The values of a layer that is not dense, such as the maps of a convolution.
function valuesFigure(layer, at) {
  const { shape, activations } = layer;
  const [least, most] = activations.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const canvas = htmlElement("canvas", {});
  paintArray(canvas, shape, activations);
  const caption = `${layerName(layer, at)}: ${formatShape(shape)} values from ${formatNumber(least)} to ${formatNumber(most)}`;
  return htmlElement("figure", {}, htmlElement("figcaption", {}, caption), canvas);
}
