// Two versions side by side, and the cells in which they disagree.

import { cellAt, svgElement, paintMap, palette } from "./plane.js";
import { call } from "./server.js";
import { cellCentres, NAMES, teamText } from "./teams.js";

const SIDE = 64;

const winner = (four) => four.indexOf(Math.max(...four));

export class Comparison {
  // `moved` is called with the new position of the probe, `chosen` with the version of a select.
  constructor({ root, words, selects, moved, chosen }) {
    Object.assign(this, { words, selects, maps: [], at: [0, 0] });
    for (const select of selects) select.addEventListener("change", () => chosen({ [select.id]: Number(select.value) }));
    this.panels = ["first", "second", "where they disagree"].map((title) => this.#panel(title, moved));
    root.append(...this.panels.map((panel) => panel.figure));
  }

  async show(name, at) {
    const versions = this.selects.map((select) => Number(select.value));
    const cells = cellCentres(SIDE);
    const answers = await Promise.all(versions.map((version) => call("Classify", { model: { name, version }, ...cells, allCertainties: true }, { quiet: true })));
    this.versions = versions;
    this.maps = answers.map((answer) => answer.allCertainties);
    this.repaint();
    this.probe(at);
  }

  repaint() {
    if (!this.maps.length) return;
    this.maps.forEach((map, which) => {
      paintMap(this.panels[which].canvas, map, SIDE);
      this.panels[which].caption.textContent = `version ${this.versions[which]}`;
    });
    const cells = SIDE * SIDE;
    const { paper, teams } = palette();
    const image = new ImageData(SIDE, SIDE);
    let different = 0;
    for (let cell = 0; cell < cells; cell++) {
      const [a, b] = this.maps.map((map) => winner(map.slice(4 * cell, 4 * cell + 4)));
      if (a !== b) different += 1;
      // Cells with equal answers are almost blank; the others have the colour of the second version.
      const strength = a === b ? 0.12 : 1;
      for (let k = 0; k < 3; k++) image.data[4 * cell + k] = paper[k] + (teams[b][k] - paper[k]) * strength;
      image.data[4 * cell + 3] = 255;
    }
    this.panels[2].canvas.width = this.panels[2].canvas.height = SIDE;
    this.panels[2].canvas.getContext("2d").putImageData(image, 0, 0);
    this.different = different;
    this.words.dataset.cells = different;
  }

  probe([x, y]) {
    this.at = [x, y];
    for (const { marker } of this.panels) marker.setAttribute("transform", `translate(${x} ${-y})`);
    if (!this.maps.length) return;
    const cell = 4 * cellAt(SIDE, x, y);
    const answers = this.maps.map((map, which) => {
      const four = map.slice(cell, cell + 4);
      return `version ${this.versions[which]} gives ${teamText(NAMES[winner(four)])}, certainty ${Math.max(...four).toFixed(3)}`;
    });
    const share = (100 * this.different) / (SIDE * SIDE);
    this.words.textContent = `The versions disagree in ${this.different.toLocaleString("en")} of ${(SIDE * SIDE).toLocaleString("en")} cells, ` +
      `${share.toFixed(2)} %. At (${x.toFixed(2)}, ${y.toFixed(2)}): ${answers.join("; ")}.`;
  }

  #panel(title, moved) {
    const figure = document.createElement("figure");
    const frame = document.createElement("div");
    frame.className = "plane";
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    const marker = svgElement("g", { class: "probe" }, svgElement("circle", { r: 0.06 }));
    const svg = svgElement("svg", { viewBox: "-1 -1 2 2", "aria-hidden": "true" }, svgElement("path", { class: "axes", d: "M-1 0H1M0-1V1" }), marker);
    const caption = document.createElement("figcaption");
    caption.textContent = title;
    frame.append(canvas, svg);
    frame.tabIndex = 0;
    frame.setAttribute("role", "application");
    frame.setAttribute("aria-label", `Map: ${title}. Arrow keys move the shared probe.`);
    const clip = (t) => Math.round(Math.min(1, Math.max(-1, t)) * 1e4) / 1e4;
    frame.addEventListener("pointerdown", (event) => {
      const box = svg.getBoundingClientRect();
      moved([clip((2 * (event.clientX - box.left)) / box.width - 1), clip(1 - (2 * (event.clientY - box.top)) / box.height)]);
    });
    frame.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.25 : 0.05;
      const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [];
      if (dx === undefined) return;
      moved([clip(this.at[0] + dx * step), clip(this.at[1] + dy * step)]);
      event.preventDefault();
    });
    figure.append(frame, caption);
    return { figure, canvas, marker, caption };
  }
}
