// The map of the plane: the answers of a network, the true regions, the points and the probe; its
// options, and clicks on it.

import { count, percent } from "./header.js";
import { COLOURS, cross, NAMES, SHAPES, teamText } from "./teams.js";

const SVG = "http://www.w3.org/2000/svg";
const RADIUS = 0.0235;
const $ = (id) => document.getElementById(id);

export function svgElement(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes ?? {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function rgb(variable) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
}

// The colours of the theme as numbers, for bitmaps.
export const palette = () => ({ paper: rgb("--paper"), teams: NAMES.map((name) => rgb(`--${COLOURS[name]}`)) });

// Paints cells of four certainties each, from the top left: in the colour of the most probable team,
// paler if it is less certain.
export function paintMap(canvas, certainties, side, { scale = 1, certain = true } = {}) {
  const { paper, teams } = palette();
  canvas.width = canvas.height = side;
  const image = new ImageData(side, side);
  for (let cell = 0; cell < side * side; cell++) {
    let winner = 0;
    for (let k = 1; k < 4; k++) if (certainties[4 * cell + k] > certainties[4 * cell + winner]) winner = k;
    const sure = (certainties[4 * cell + winner] / scale - 0.25) / 0.75;
    const strength = certain ? 0.1 + 0.38 * sure : 0.4;
    for (let k = 0; k < 3; k++) image.data[4 * cell + k] = paper[k] + (teams[winner][k] - paper[k]) * strength;
    image.data[4 * cell + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// The index of the cell that has this point.
export function cellAt(side, x, y) {
  const within = (t) => Math.min(side - 1, Math.max(0, Math.floor(((t + 1) / 2) * side)));
  return within(-y) * side + within(x);
}

// The team whose points a click adds; "" if a click moves the probe.
const painting = () => document.querySelector("[name=paint]:checked").value;

export class Plane {
  // `moved` is called with the new position of the probe, `dropped` with a new point and its team.
  constructor(root, { moved, dropped }) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.svg = root.querySelector("svg");
    this.probe = [0, 0];
    this.cursor = null;
    this.map = null;
    this.shapes = new WeakMap();
    this.written = {};
    this.svg.append(this.#patterns(), ...this.#layers());
    $("certain").addEventListener("change", () => this.repaint());
    $("shade").addEventListener("change", ({ target }) => (this.shading.style.display = target.checked ? "" : "none"));
    $("dots").addEventListener("change", ({ target }) => (this.pointsLayer.style.display = target.checked ? "" : "none"));
    root.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const at = this.#at(event);
      root.focus({ preventScroll: true });
      if (painting()) dropped(...at, painting());
      else {
        root.setPointerCapture(event.pointerId);
        moved(...at);
      }
      event.preventDefault();
    });
    root.addEventListener("pointermove", (event) => {
      this.cursor = this.#at(event);
      this.#showUnderCursor();
      if (event.buttons && !painting()) moved(...this.cursor);
    });
    root.addEventListener("pointerleave", () => {
      this.cursor = null;
      this.#showUnderCursor();
    });
    root.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.25 : 0.05;
      const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [];
      if (dx !== undefined) {
        const clip = (t) => Math.round(Math.min(1, Math.max(-1, t)) * 1e6) / 1e6;
        moved(clip(this.probe[0] + dx * step), clip(this.probe[1] + dy * step));
      } else if (event.key === "Enter") dropped(...this.probe, painting());
      else return;
      event.preventDefault();
    });
  }

  // The cells are certainties times `scale`. The same map is not painted again.
  setMap(map, side, scale) {
    const known = map === this.map;
    Object.assign(this, { map, side, scale });
    if (!known) this.repaint();
    this.#showUnderCursor();
  }

  repaint() {
    if (this.map) paintMap(this.canvas, this.map, this.side, { scale: this.scale, certain: $("certain").checked });
  }

  // Shows the answer under the cursor, also when the network changes while the cursor rests.
  #showUnderCursor() {
    if (!this.cursor || !this.map) return void ($("under").textContent = "");
    const [x, y] = this.cursor;
    const at = 4 * cellAt(this.side, x, y);
    const four = Array.from(this.map.slice(at, at + 4), (value) => value / this.scale);
    const winner = four.indexOf(Math.max(...four));
    $("under").textContent = `under the cursor, (${x.toFixed(2)}, ${y.toFixed(2)}): ${teamText(NAMES[winner])} ${four[winner].toFixed(3)}`;
  }

  // `named`: whether each region has a corner, in which its name is shown.
  setTruth(truth, { named }) {
    this.names.style.display = named ? "" : "none";
    const side = 80;
    const runs = Object.fromEntries(NAMES.map((name) => [name, ""]));
    for (let row = 0; row < side; row++) {
      let start = 0;
      let name = null;
      for (let column = 0; column <= side; column++) {
        const here = column < side ? truth((2 * column + 1) / side - 1, 1 - (2 * row + 1) / side) : null;
        if (here === name) continue;
        if (name) runs[name] += `M${(2 * start) / side - 1} ${(2 * row) / side - 1}h${(2 * (column - start)) / side}v${2 / side}h${(-2 * (column - start)) / side}z`;
        [start, name] = [column, here];
      }
    }
    for (const name of NAMES) this.regions[name].setAttribute("d", runs[name]);
  }

  // Points have the correct `label`, and an `answer` if it is known.
  setPoints(points) {
    const drawn = Object.fromEntries([...NAMES, "none", "missed"].map((name) => [name, []]));
    for (const point of points) {
      const { answer, label } = point;
      drawn[answer ?? "none"].push(this.#shape(point, answer ?? label));
      if (answer && answer !== label) drawn.missed.push(this.#shape(point, "missed"));
    }
    const [answered, misses] = [points.length - drawn.none.length, drawn.missed.length];
    $("hits").textContent = count(answered - misses);
    $("misses").textContent = count(misses);
    $("accuracy").textContent = answered ? percent((answered - misses) / answered) : "–";
    this.missed.dataset.count = misses;
    for (const [name, parts] of Object.entries(drawn)) {
      const d = parts.join("");
      // Unchanged paths are not set: the browser would paint them again, fifteen times a second.
      if (this.written[name] !== d) (name === "missed" ? this.missed : this.dots[name]).setAttribute("d", d);
      this.written[name] = d;
    }
  }

  #shape(point, kind) {
    if (!this.shapes.has(point)) this.shapes.set(point, {});
    const { x, y } = point;
    return (this.shapes.get(point)[kind] ??= kind === "missed" ? cross(x, -y, 1.5 * RADIUS) : SHAPES[kind](x, -y, RADIUS));
  }

  setProbe(x, y) {
    this.probe = [x, y];
    this.marker.setAttribute("transform", `translate(${x} ${-y})`);
  }

  #at(event) {
    const box = this.svg.getBoundingClientRect();
    const clip = (t) => Math.round(Math.min(1, Math.max(-1, t)) * 1e4) / 1e4;
    return [clip((2 * (event.clientX - box.left)) / box.width - 1), clip(1 - (2 * (event.clientY - box.top)) / box.height)];
  }

  // Hatching in the colour of the true region: it stands out over an answer of another colour.
  #patterns() {
    const turns = { I: 45, II: 135, III: 45, IV: 135 };
    return svgElement("defs", {}, ...NAMES.map((name) =>
      svgElement("pattern", { id: `hatch-${name}`, width: 0.05, height: 0.05, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${turns[name]})` },
        svgElement("line", { x1: 0, x2: 0, y1: 0, y2: 0.05, class: `hatch ${COLOURS[name]}` }))));
  }

  #layers() {
    const path = (name, kind) => svgElement("path", { class: `${kind} ${COLOURS[name] ?? name}` });
    this.regions = Object.fromEntries(NAMES.map((name) => [name, svgElement("path", { fill: `url(#hatch-${name})` })]));
    this.shading = svgElement("g", {}, ...Object.values(this.regions));
    this.dots = Object.fromEntries([...NAMES, "none"].map((name) => [name, path(name, "dots")]));
    this.missed = svgElement("path", { class: "missed" });
    this.pointsLayer = svgElement("g", {}, ...Object.values(this.dots), this.missed);
    this.marker = svgElement("g", { class: "probe" }, svgElement("circle", { r: 0.045 }), svgElement("path", { d: "M-.09 0h.06M.03 0h.06M0-.09v.06M0 .03v.06" }));
    const axes = svgElement("path", { class: "axes", d: "M-1 0H1M0-1V1" });
    const corners = { I: [0.97, -0.92], II: [-0.97, -0.92], III: [-0.97, 0.97], IV: [0.97, 0.97] };
    this.names = svgElement("g", { class: "names" }, ...NAMES.map((name) => {
      const [x, y] = corners[name];
      return svgElement("text", { x, y, "text-anchor": x > 0 ? "end" : "start" }, `${COLOURS[name]} ${name}`);
    }));
    return [this.shading, axes, this.pointsLayer, this.names, this.marker];
  }
}
