// A grid to draw on for models whose inputs are the pixels of a square picture.

// Number of steps from the palest to the darkest value.
const SHADES = 16;

// `shape` is that of the network's input, such as 1, 28, 28.
export function isPicture(features, shape = []) {
  const side = Math.sqrt(features.length);
  const pixels = shape.length === 3 ? Number(shape[0]) === 1 && shape[1] === shape[2] : features.every((feature) => feature.name.startsWith("pixel"));
  return pixels && Number.isInteger(side) && side > 3;
}

export class Digits {
  // `drawn` is called with the values of all pixels.
  constructor(root, drawn) {
    Object.assign(this, { root, drawn, names: "" });
  }

  show(features) {
    const names = features.map((feature) => feature.name).join();
    if (names === this.names) return this.#changed();
    Object.assign(this, { names, features, side: Math.sqrt(features.length) });
    this.palest = Math.min(...features.map((feature) => feature.min));
    this.range = Math.max(...features.map((feature) => feature.max)) - this.palest || 1;
    this.darkest = this.palest + this.range;
    this.values = features.map(() => this.palest);
    this.#grid();
    this.#changed();
  }

  #changed() {
    clearTimeout(this.waiting);
    // A stroke changes many pixels: the call is made when the pen rests for a moment.
    this.waiting = setTimeout(() => this.drawn([...this.values]), 60);
  }

  #grid() {
    const { side } = this;
    const title = document.createElement("p");
    title.className = "note";
    title.textContent = "Draw a picture; the served network classifies it. Arrow keys move the pen, Space or Enter draws, Delete clears a pixel.";
    const grid = document.createElement("div");
    grid.id = "drawing";
    grid.tabIndex = 0;
    grid.setAttribute("role", "application");
    grid.setAttribute("aria-label", `Drawing grid of ${side} by ${side} pixels. Arrow keys move, Space draws, Delete clears.`);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    canvas.setAttribute("aria-hidden", "true");
    const pen = document.createElement("div");
    pen.className = "pen";
    grid.append(canvas, pen);
    const where = document.createElement("p");
    where.className = "note";
    where.setAttribute("aria-live", "polite");
    const clear = document.createElement("button");
    clear.type = "button";
    clear.textContent = "Clear";
    Object.assign(this, { canvas, pen, where, at: [Math.floor(side / 2), Math.floor(side / 2)] });
    clear.addEventListener("click", () => {
      this.values.fill(this.palest);
      this.#paint();
      this.#changed();
    });
    const draw = (event) => {
      const box = canvas.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * side - 0.5;
      const y = ((event.clientY - box.top) / box.height) * side - 0.5;
      this.#stroke(x, y);
    };
    grid.addEventListener("pointerdown", (event) => {
      grid.focus({ preventScroll: true });
      grid.setPointerCapture(event.pointerId);
      draw(event);
      event.preventDefault();
    });
    grid.addEventListener("pointermove", (event) => event.buttons && draw(event));
    grid.addEventListener("keydown", (event) => this.#key(event));
    this.root.replaceChildren(title, grid, where, clear);
    this.#paint();
  }

  // A pen as wide as the scans' was: dark in the middle, paler to the sides.
  #stroke(x, y) {
    const { side } = this;
    for (let row = 0; row < side; row++) {
      for (let column = 0; column < side; column++) {
        const ink = Math.min(1, Math.max(0, 1.15 - Math.hypot(column - x, row - y)));
        const at = row * side + column;
        this.values[at] = Math.max(this.values[at], this.palest + (Math.round(SHADES * ink) / SHADES) * this.range);
      }
    }
    this.#paint();
    this.#changed();
  }

  #key(event) {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
    const clip = (t) => Math.min(this.side - 1, Math.max(0, t));
    const index = this.at[1] * this.side + this.at[0];
    if (dx !== undefined) this.at = [clip(this.at[0] + dx), clip(this.at[1] + dy)];
    else if (event.key === " " || event.key === "Enter") this.values[index] = this.darkest;
    else if (event.key === "Delete" || event.key === "Backspace") this.values[index] = this.palest;
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.#paint();
    if (dx === undefined) this.#changed();
    this.where.textContent = `row ${this.at[1] + 1}, column ${this.at[0] + 1}: ${this.values[this.at[1] * this.side + this.at[0]]} of ${this.darkest}`;
  }

  #paint() {
    const image = new ImageData(this.side, this.side);
    this.values.forEach((value, at) => {
      image.data.fill(255 - ((value - this.palest) / this.range) * 255, 4 * at, 4 * at + 3);
      image.data[4 * at + 3] = 255;
    });
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    const share = 100 / this.side;
    Object.assign(this.pen.style, { left: `${this.at[0] * share}%`, top: `${this.at[1] * share}%`, width: `${share}%`, height: `${share}%` });
  }
}
