// The diagram of the network: a line per weight, and each bias below its neuron. Also a table. Large
// networks, and networks with layers that are not dense, are shown as a picture per array.

import { svgElement } from "./plane.js";
import { COLOURS, SHAPES } from "./teams.js";

// Networks with more weights are shown as pictures, with one pixel per weight, instead of lines.
const MOST_LINES = 1000;
const MOST_CELLS = 3000;

const THINNEST = 0.6;
const THICKEST = 6;

// Arrays are shown in this width at most, and each number as a square of at most so many pixels.
const MOST_WIDTH = 640;
const MOST_CELL = 12;
const VECTOR_ROW = 64;

export const formatNumber = (number) => {
  // In JSON, numbers that are not finite are texts.
  const value = Number(number);
  const size = Math.abs(value);
  const text = size >= 1e5 || (size && size < 1e-3) ? value.toExponential(1) : value.toFixed(size >= 100 ? 0 : 2);
  return text.replace("-", "−");
};

export const unitName = (layers, layer, unit, inputs, classes) => {
  if (layer < 0) return inputs[unit] ?? `input ${unit + 1}`;
  if (layer === layers.length - 1) return classes[unit];
  return layers.length > 2 ? `hidden ${layer + 1}.${unit + 1}` : `hidden ${unit + 1}`;
};

// A server before 0.3 names no kind: all of its layers are dense.
export const isDense = ({ kind }) => !kind || kind === "dense";
const allDense = (layers) => layers.every(isDense);

export const formatShape = (shape) => shape.join(" x ");

// The sizes of dense layers, such as 2-6-4, or the shapes of all layers.
export const formatNetwork = (layers) => (allDense(layers)
  ? [layers[0].inputs, ...layers.map((layer) => layer.units)].join("-")
  : [layers[0].inputShape, ...layers.map((layer) => layer.outputShape)].map(formatShape).join(" → "));

export const layerName = ({ kind, activation }, at) => [`layer ${at + 1}`, kind, ...(activation === "identity" || activation === kind ? [] : [activation])].join(", ");

const countParameters = (layer) => (isDense(layer) ? layer.weights.length + layer.biases.length : layer.arrays.reduce((n, { values }) => n + values.length, 0));

export class Diagram {
  // `edited` is called with a layer, its part ("weights" or "biases"), an index and the new number.
  constructor({ root, table, picked, edited }) {
    Object.assign(this, { root, table, picked, edited, shape: "", at: 0 });
    table.closest("details").addEventListener("toggle", () => this.#fillTable());
    table.addEventListener("change", ({ target }) => {
      const value = Number(target.value);
      const { layer, part, index } = target.dataset;
      if (target.value !== "" && Number.isFinite(value)) this.edited(Number(layer), part, Number(index), value);
      else target.value = this.layers[layer][part][index];
    });
  }

  // Scrolls to the diagram and focuses it.
  focusDiagram() {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.root.closest(".card").scrollIntoView({ behavior: calm ? "auto" : "smooth" });
    this.svg?.focus({ preventScroll: true });
  }

  show(layers, { inputs, classes, editable }) {
    Object.assign(this, { layers, inputs, classes, editable });
    const shape = JSON.stringify([layers.map((l) => [l.inputs, l.units, l.activation, l.kind, l.settings, l.inputShape, l.outputShape]), inputs, classes, editable]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.#build();
    }
    this.#update();
    this.#fillTable();
  }

  get #lines() {
    return allDense(this.layers) && this.layers.reduce((n, layer) => n + layer.weights.length, 0) <= MOST_LINES;
  }

  #build() {
    this.parts = [];
    this.at = 0;
    this.picked.textContent = "";
    this.table.replaceChildren();
    if (this.#lines) this.#buildLines();
    else this.#buildPictures();
  }

  #buildLines() {
    const sizes = [this.layers[0].inputs, ...this.layers.map((layer) => layer.units)].map(Number);
    const tallest = Math.max(...sizes);
    const gap = tallest > 16 ? 34 : 54;
    const height = Math.max(tallest * gap + 24, 240);
    // As wide as there is room, but not so narrow that labels overlap.
    const across = Math.min(260, Math.max(84, (this.root.clientWidth - 150) / (sizes.length - 1)));
    const width = (sizes.length - 1) * across + 150;
    const place = (column, unit) => [44 + column * across, height / 2 + (unit - (sizes[column] - 1) / 2) * gap - 6];
    const edges = svgElement("g", { class: "edges" });
    const nodes = svgElement("g", { class: "nodes" });
    this.layers.forEach((layer, at) => {
      const units = Number(layer.units);
      layer.weights.forEach((_, index) => {
        const [x1, y1] = place(at, Math.floor(index / units));
        const [x2, y2] = place(at + 1, index % units);
        const line = svgElement("line", { x1, y1, x2, y2, class: "edge" });
        const hit = svgElement("line", { x1, y1, x2, y2, class: "hit" });
        edges.append(line, hit);
        this.#part({ layer: at, part: "weights", index, line }, hit);
      });
    });
    sizes.forEach((size, column) => {
      for (let unit = 0; unit < size; unit++) {
        const [x, y] = place(column, unit);
        nodes.append(...this.#node(column - 1, unit, x, y));
      }
    });
    this.svg = svgElement("svg", {
      viewBox: `0 0 ${width} ${height}`, width, height, tabindex: 0, role: "application",
      "aria-label": "Network. Left and right select a weight or a bias; in the sandbox, up and down change it and Enter opens a field for it.",
    }, edges, nodes);
    this.svg.addEventListener("keydown", (event) => this.#key(event));
    this.svg.addEventListener("focus", () => this.#pick(this.at));
    this.root.replaceChildren(this.svg);
  }

  #node(layer, unit, x, y) {
    const name = unitName(this.layers, layer, unit, this.inputs, this.classes);
    const last = layer === this.layers.length - 1;
    const made = [svgElement("circle", { cx: x, cy: y, r: 13, class: last ? "node output" : "node" })];
    if (last && name in COLOURS) made.push(svgElement("path", { d: SHAPES[name](x, y, 6), class: `dots ${COLOURS[name]}` }));
    const label = last ? (COLOURS[name] ? `${COLOURS[name]} ${name}` : name) : layer < 0 ? name : String(unit + 1);
    const position = last ? { x: x + 20, y: y + 4 } : layer < 0 ? { x: x - 20, y: y + 4, "text-anchor": "end" } : { x, y: y + 4, "text-anchor": "middle" };
    made.push(svgElement("text", position, label));
    if (layer >= 0) {
      const bias = svgElement("text", { x, y: y + 25, "text-anchor": "middle", class: "bias" });
      made.push(bias);
      this.#part({ layer, part: "biases", index: unit, text: bias }, bias);
    }
    return made;
  }

  #part(part, target) {
    const at = this.parts.push(part) - 1;
    target.addEventListener("pointerenter", () => this.#pick(at));
    target.addEventListener("click", () => {
      this.#pick(at);
      this.#type();
    });
  }

  #buildPictures() {
    this.svg = null;
    this.pictures = this.layers.map((layer) => (isDense(layer) ? [layer] : layer.arrays).map(() => document.createElement("canvas")));
    const boxes = !allDense(this.layers);
    this.root.replaceChildren(...this.layers.map((layer, at) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.textContent = boxes ? boxCaption(layer, at) : denseCaption(layer, at);
      figure.className = boxes ? "box" : "";
      figure.append(...(boxes ? [caption, ...this.pictures[at]] : [...this.pictures[at], caption]));
      return figure;
    }));
  }

  #update() {
    if (!this.#lines) {
      this.layers.forEach((layer, at) => {
        if (isDense(layer)) paintWeights(this.pictures[at][0], layer, { scaled: !allDense(this.layers) });
        else layer.arrays.forEach(({ shape, values }, which) => paintArray(this.pictures[at][which], shape, values));
      });
      return;
    }
    const largest = Math.max(1e-9, ...this.layers.flatMap((layer) => layer.weights.map(Math.abs)));
    for (const { layer, part, index, line, text } of this.parts) {
      const value = this.layers[layer][part][index];
      if (line) {
        line.setAttribute("class", value < 0 ? "edge minus" : "edge plus");
        line.setAttribute("stroke-width", (THINNEST + ((THICKEST - THINNEST) * Math.abs(value)) / largest).toFixed(3));
        line.dataset.value = value;
      } else {
        text.textContent = `b ${formatNumber(value)}`;
        text.dataset.value = value;
      }
    }
    if (this.picked.textContent) this.#pick(this.at);
  }

  #pick(at) {
    const part = this.parts[at];
    if (!part) return;
    for (const { line, text } of [this.parts[this.at], part]) (line ?? text).classList.remove("picked");
    this.at = at;
    (part.line ?? part.text).classList.add("picked");
    this.picked.textContent = `${this.#called(part)} = ${this.layers[part.layer][part.part][part.index].toPrecision(6).replace("-", "−")}`;
  }

  #called({ layer, part, index }) {
    const units = Number(this.layers[layer].units);
    const unit = unitName(this.layers, layer, part === "biases" ? index : index % units, this.inputs, this.classes);
    if (part === "biases") return `bias of ${unit}`;
    return `weight from ${unitName(this.layers, layer - 1, Math.floor(index / units), this.inputs, this.classes)} to ${unit}`;
  }

  #key(event) {
    const { layer, part, index } = this.parts[this.at];
    const turn = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const change = { ArrowUp: 0.1, ArrowDown: -0.1 }[event.key];
    if (turn) this.#pick((this.at + turn + this.parts.length) % this.parts.length);
    else if (change && this.editable) this.edited(layer, part, index, this.layers[layer][part][index] + change);
    else if (event.key === "Enter") this.#type();
    else return;
    event.preventDefault();
  }

  // Opens the table at the selected number.
  #type() {
    if (!this.editable) return;
    const { layer, part, index } = this.parts[this.at];
    this.table.closest("details").open = true;
    this.#fillTable();
    this.table.querySelector(`[data-layer="${layer}"][data-part="${part}"][data-index="${index}"]`)?.focus();
  }

  #fillTable() {
    if (!this.layers || !this.table.closest("details").open) return;
    if (!this.table.children.length) this.#buildTable();
    for (const cell of this.table.querySelectorAll("[data-index]")) {
      const value = this.layers[cell.dataset.layer][cell.dataset.part][cell.dataset.index];
      if (cell.tagName !== "INPUT") cell.textContent = formatNumber(value);
      else if (cell !== document.activeElement) cell.value = Number(value.toPrecision(6));
      else cell.placeholder = formatNumber(value);
    }
  }

  #buildTable() {
    if (!allDense(this.layers)) this.table.append(listLayers(this.layers));
    const dense = this.layers.filter(isDense);
    const cells = dense.reduce((n, layer) => n + countParameters(layer), 0);
    if (cells > MOST_CELLS) {
      const note = document.createElement("p");
      note.textContent = `The table would have ${cells.toLocaleString("en")} numbers, which is too many. Save them as .json below.`;
      this.table.append(note);
    } else this.table.append(...dense.map((layer) => this.#layerTable(layer, this.layers.indexOf(layer))));
  }

  #layerTable(layer, at) {
    const table = document.createElement("table");
    const caption = table.createCaption();
    caption.textContent = at === this.layers.length - 1 ? `outputs, ${layer.activation}` : `hidden layer ${at + 1}, ${layer.activation}`;
    const head = table.createTHead().insertRow();
    const units = Number(layer.units);
    const heading = (row, text, scope) => {
      const cell = document.createElement("th");
      cell.scope = scope;
      cell.textContent = text;
      row.append(cell);
    };
    heading(head, "from \\ to", "col");
    for (let unit = 0; unit < units; unit++) heading(head, unitName(this.layers, at, unit, this.inputs, this.classes), "col");
    const body = table.createTBody();
    for (let from = 0; from <= Number(layer.inputs); from++) {
      const bias = from === Number(layer.inputs);
      const row = body.insertRow();
      heading(row, bias ? "bias" : unitName(this.layers, at - 1, from, this.inputs, this.classes), "row");
      for (let unit = 0; unit < units; unit++) {
        const cell = row.insertCell();
        const holder = this.editable ? document.createElement("input") : cell;
        const part = { layer: at, part: bias ? "biases" : "weights", index: bias ? unit : from * units + unit };
        Object.assign(holder.dataset, part);
        if (this.editable) {
          Object.assign(holder, { type: "number", step: "0.1", ariaLabel: this.#called(part) });
          cell.append(holder);
        }
      }
    }
    return table;
  }
}

function denseCaption({ activation, inputs, units }, at) {
  const lying = Number(inputs) > Number(units);
  return `layer ${at + 1}, ${activation}: ${units} units ${lying ? "below each other" : "side by side"}, for each its ${inputs} weights and its bias last`;
}

function boxCaption(layer, at) {
  const arrays = isDense(layer) ? [["weights", [layer.inputs, layer.units]], ["biases", [layer.units]]] : layer.arrays.map(({ name, shape }) => [name, shape]);
  const listed = arrays.map(([name, shape]) => `${name} ${formatShape(shape)}`).join(", ");
  const parameters = listed ? `${countParameters(layer).toLocaleString("en")} parameters: ${listed}` : "no parameters";
  return `${layerName(layer, at)}: ${formatShape(layer.inputShape)} → ${formatShape(layer.outputShape)}, ${parameters}`;
}

function listLayers(layers) {
  const table = document.createElement("table");
  table.className = "layers";
  table.createCaption().textContent = "layers";
  const addRow = (section, tag, texts) => {
    const row = section.insertRow();
    for (const text of texts) row.append(Object.assign(document.createElement(tag), { textContent: text }));
  };
  addRow(table.createTHead(), "th", ["layer", "kind", "input", "output", "parameters", "activation", "settings"]);
  const body = table.createTBody();
  layers.forEach((layer, at) => addRow(body, "td", [
    at + 1, layer.kind, formatShape(layer.inputShape), formatShape(layer.outputShape),
    countParameters(layer).toLocaleString("en"), layer.activation, layer.settings.replaceAll('"', ""),
  ]));
  return table;
}

// One pixel per weight; the bias of each unit comes last. The picture is rotated so that its longer
// side is horizontal.
function paintWeights(canvas, { inputs, units, weights, biases }, { scaled }) {
  const [rows, columns] = [Number(inputs) + 1, Number(units)];
  const lying = rows > columns;
  [canvas.width, canvas.height] = lying ? [rows, columns] : [columns, rows];
  if (scaled) scaleCanvas(canvas);
  paintPixels(canvas, [...weights, ...biases], (at) => (lying ? (at % columns) * rows + Math.floor(at / columns) : at));
}

// An array as pictures of its last two axes: kernels in a row for each filter, maps in rows of at
// least eight. An array with one axis is one picture.
export function paintArray(canvas, shape, values) {
  const sizes = shape.map(Number);
  const n = values.length;
  const [height, width] = sizes.length > 1 ? sizes.slice(-2) : [Math.ceil(n / VECTOR_ROW), Math.min(n, VECTOR_ROW)];
  const count = n / (height * width);
  const across = sizes.length === 4 && sizes[1] > 1 ? sizes[1] : Math.min(Math.ceil(count), Math.max(8, Math.ceil(Math.sqrt(count))));
  canvas.width = across * (width + 1) - 1;
  canvas.height = Math.ceil(count / across) * (height + 1) - 1;
  scaleCanvas(canvas);
  paintPixels(canvas, values, (at) => {
    const picture = Math.floor(at / (height * width));
    const row = Math.floor(picture / across) * (height + 1) + Math.floor((at % (height * width)) / width);
    return row * canvas.width + (picture % across) * (width + 1) + (at % width);
  });
}

// Shows each number as a square of the same size.
function scaleCanvas(canvas) {
  canvas.className = "scaled";
  canvas.style.width = `${canvas.width * Math.min(MOST_CELL, Math.max(1, Math.floor(MOST_WIDTH / canvas.width)))}px`;
}

// Blue above 0 and orange below, stronger for larger values. `place` gives the pixel of a value.
function paintPixels(canvas, values, place) {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => [1, 3, 5].map((at) => parseInt(style.getPropertyValue(name).trim().slice(at, at + 2), 16));
  const [paper, plus, minus] = [rgb("--paper"), rgb("--plus"), rgb("--minus")];
  const largest = values.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 1e-9);
  const image = new ImageData(canvas.width, canvas.height);
  values.forEach((value, at) => {
    const pixel = 4 * place(at);
    const strength = Math.sqrt(Math.abs(value) / largest);
    const full = value < 0 ? minus : plus;
    for (let k = 0; k < 3; k++) image.data[pixel + k] = paper[k] + (full[k] - paper[k]) * strength;
    image.data[pixel + 3] = 255;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
