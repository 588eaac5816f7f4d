// Exports: links, pictures, weights, points, and code for the calls that the page made.

import { call, path } from "./server.js";
import { COLOURS, NAMES, teamText } from "./teams.js";

const MOST_SHOWN = 3000;

const RUN = {
  "copy-link": ({ link, announce }) => copy(link, announce, "The link"),
  "save-csv": (context) => download("points.csv", "text/csv", csv(context.points())),
  "load-csv": loadCsv,
  "save-weights": (context) => download("weights.json", "application/json", `${JSON.stringify(weights(context), null, 1)}\n`),
  "save-svg": async (context) => download("quadnet.svg", "image/svg+xml", await picture(context)),
  "save-png": savePng,
  "copy-curl": (context) => show(context, curl),
  "copy-python": (context) => show(context, python),
};

export const run = (id, context, event) => RUN[id](context, event);

function download(name, type, content) {
  const link = document.createElement("a");
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function copy(text, announce, what) {
  const box = document.getElementById("copied");
  document.getElementById("copied-label").hidden = false;
  box.value = text;
  try {
    await navigator.clipboard.writeText(text);
    announce(`${what} is copied.`);
  } catch {
    // Without permission for the clipboard, the user can copy the text by hand.
    box.select();
    announce(`${what} is in the box below.`);
  }
}

// ---- points

const csv = (points) => ["x,y,label,answer", ...points.map(({ x, y, label, answer }) => `${x},${y},${label},${answer ?? ""}`)].join("\n") + "\n";

function team(text) {
  const name = text.trim().replace(/^QUADRANT_/, "");
  return NAMES.find((each) => each === name.toUpperCase() || COLOURS[each] === name.toLowerCase());
}

// Returns the rows of a file. The server checks whether their numbers are finite.
function rows(text, truth) {
  const lines = text.replace(/^\ufeff/, "").split(/\r?\n/).filter((line) => line.trim());
  const head = (lines.shift() ?? "").split(",").map((name) => name.trim().replace(/^"|"$/g, "").toLowerCase());
  const at = Object.fromEntries(["x", "y", "label"].map((name) => [name, head.indexOf(name)]));
  for (const name of ["x", "y"]) {
    if (at[name] < 0) throw new Error(`The file has no column ${name}. Its first line must name the columns x and y; it names: ${head.join(", ").slice(0, 80) || "nothing"}.`);
  }
  const number = (cell) => (cell === undefined || cell.trim() === "" ? NaN : Number(cell.trim().replace(/^"|"$/g, "")));
  return lines.map((line, row) => {
    const cells = line.split(",");
    const [x, y] = [number(cells[at.x]), number(cells[at.y])];
    const given = at.label < 0 ? undefined : cells[at.label]?.trim().replace(/^"|"$/g, "");
    const label = given ? team(given) : truth(x, y);
    if (!label) throw new Error(`Line ${row + 2}, column label: expected I, II, III, IV or a team's colour, got ${JSON.stringify(given.slice(0, 40))}.`);
    return { x, y, label };
  });
}

async function loadCsv(context, { target }) {
  const [file] = target.files;
  if (!file) return;
  try {
    if (file.size > 2 ** 21) throw new Error(`${file.name} has ${file.size.toLocaleString("en")} bytes; at most 2,097,152 are read.`);
    const points = rows(await file.text(), context.truth);
    const text = (value) => (Number.isFinite(value) ? value : String(value));
    // The server checks the points, and its error is shown. Only then are they used.
    const layers = [{ activation: "softmax", inputs: 2, units: 4, weights: Array(8).fill(0), biases: Array(4).fill(0) }];
    await call("Inspect", { layers, x: points.map((p) => text(p.x)), y: points.map((p) => text(p.y)) }, { quiet: true });
    context.own.splice(0, context.own.length, ...points);
    context.showNotice("");
    await context.updatePoints(`${points.length.toLocaleString("en")} points are loaded.`);
  } catch (error) {
    context.showNotice(error.message);
  } finally {
    target.value = "";
  }
}

// ---- weights and pictures

function weights({ state, served, sandbox }) {
  if (state.view !== "sandbox") return served.detail;
  return { classes: NAMES, layers: sandbox.shown?.state.layers ?? [] };
}

// The map, the points, the legend and the version, in one self-contained file.
async function picture({ state, served, sandbox, subject }) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const teams = NAMES.map((name) => COLOURS[name]);
  const canvas = document.getElementById("answers");
  const overlay = document.getElementById("overlay").cloneNode(true);
  overlay.removeAttribute("aria-hidden");
  for (const [name, value] of Object.entries({ x: 20, y: 20, width: 560, height: 560 })) overlay.setAttribute(name, value);
  const title = state.view === "sandbox"
    ? `Sandbox, epoch ${sandbox.frame?.epoch ?? 0}, seed ${state.seed}`
    : `${served.detail.model.name} version ${served.detail.model.version}, ${served.detail.model.digest.slice(0, 12)}`;
  const counts = ["hits", "misses", "accuracy"].map((id) => `${id} ${document.getElementById(id).textContent}`).join(", ");
  const legend = NAMES.map((name, at) => {
    const shape = document.querySelector(`#overlay .dots.${COLOURS[name]}`);
    return shape && `<g transform="translate(${30 + at * 140} 612)"><rect x="-7" y="-7" width="14" height="14" fill="${colour(COLOURS[name])}"/><text x="14" y="5">${teamText(name)}</text></g>`;
  }).join("");
  const large = document.createElement("canvas");
  large.width = large.height = 560;
  large.getContext("2d").drawImage(canvas, 0, 0, 560, 560);
  const rules = [
    `text{font:15px system-ui,sans-serif;fill:${colour("ink")}}`,
    `.names text{font-size:.075px;font-weight:600}`,
    `.axes{stroke:${colour("ink")};stroke-opacity:.5;stroke-width:.004}`,
    `.missed{stroke:${colour("ink")};stroke-width:.012;fill:none}.dots{stroke:${colour("paper")};stroke-width:.008}.dots.none{fill:none;stroke:${colour("ink")}}`,
    `.probe circle,.probe path{fill:none;stroke:${colour("ink")};stroke-width:.012}.hatch{stroke-width:.012;stroke-opacity:.55}`,
    ...teams.map((name) => `.dots.${name}{fill:${colour(name)}}.hatch.${name}{stroke:${colour(name)}}`),
  ].join("");
  const side = subject()?.side ?? 0;
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 600 670" width="600" height="670" role="img">` +
    `<title>${title}</title><desc>Decision map of ${side} by ${side} cells over -1 to 1, y up; ${counts}</desc><style>${rules}</style>` +
    `<rect width="600" height="670" fill="${colour("paper")}"/><image x="20" y="20" width="560" height="560" xlink:href="${large.toDataURL()}" href="${large.toDataURL()}"/>` +
    `${new XMLSerializer().serializeToString(overlay)}${legend}<text x="30" y="645">${title}; ${counts}</text></svg>\n`;
}

async function savePng(context) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(await picture(context))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [1200, 1340];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  download("quadnet.png", "image/png", await new Promise((resolve) => canvas.toBlob(resolve)));
}

// ---- calls

function lastCall({ state, calls }) {
  const method = state.view === "sandbox" && calls.Train ? "Train" : calls.Classify ? "Classify" : "Explain";
  return { method, request: calls[method] };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl({ method, request }) {
  const body = JSON.stringify(request);
  const url = new URL(path(method), location.href.split("#")[0]).href;
  if (method !== "Train") return `curl -s ${quoted(url)} -H 'Content-Type: application/json' -d ${quoted(body)}`;
  // The request of a stream is an envelope: a zero byte, four bytes of length, and the message.
  const length = new TextEncoder().encode(body).length.toString(16).padStart(8, "0").replace(/../g, "\\x$&");
  return `{ printf '\\x00${length}'; printf %s ${quoted(body)}; } |\n  curl -sN ${quoted(url)} -H 'Content-Type: application/connect+json' --data-binary @-`;
}

function python({ method, request }) {
  const url = location.href.split("#")[0];
  const body = JSON.stringify(JSON.stringify(request));
  const head = `import json\nimport urllib.request\n\nrequest = json.loads(${body})\n`;
  if (method !== "Train") {
    return `${head}call = urllib.request.Request(\n    ${JSON.stringify(url + path(method))},\n    json.dumps(request).encode(),\n    {"Content-Type": "application/json"},\n)\n` +
      "with urllib.request.urlopen(call) as answer:\n    print(json.load(answer))\n";
  }
  return `${head.replace("import urllib", "import struct\nimport urllib")}body = json.dumps(request).encode()\ncall = urllib.request.Request(\n    ${JSON.stringify(url + path(method))},\n` +
    `    struct.pack(">BI", 0, len(body)) + body,\n    {"Content-Type": "application/connect+json"},\n)\n` +
    "with urllib.request.urlopen(call) as answer:\n    while head := answer.read(5):\n        flags, length = struct.unpack(\">BI\", head)\n" +
    "        frame = json.loads(answer.read(length))\n        print(frame.get(\"epoch\"), frame.get(\"loss\"))\n";
}

async function show(context, written) {
  const text = written(lastCall(context));
  const note = text.length > MOST_SHOWN ? `The call, ${text.length.toLocaleString("en")} characters,` : "The call";
  await copy(text, context.announce, note);
}
