// The four teams: names, colours, shapes and true regions. Also points of the plane.

export const NAMES = ["I", "II", "III", "IV"];
export const COLOURS = { I: "purple", II: "green", III: "blue", IV: "red" };
export const wireName = (name) => `QUADRANT_${name}`;
export const nameFromWire = (value) => value.replace("QUADRANT_", "");
export const teamText = (name) => (name in COLOURS ? `${COLOURS[name]} (${name})` : "no answer");

const fixed = (number) => number.toFixed(4);

// A shape per team, so that teams do not differ by colour alone: paths around (x, y), with y down.
export const SHAPES = {
  I: (x, y, r) => `M${fixed(x)} ${fixed(y - 1.3 * r)}l${fixed(1.3 * r)} ${fixed(1.3 * r)}l${fixed(-1.3 * r)} ${fixed(1.3 * r)}l${fixed(-1.3 * r)} ${fixed(-1.3 * r)}z`,
  II: (x, y, r) => `M${fixed(x)} ${fixed(y - 1.2 * r)}l${fixed(1.2 * r)} ${fixed(2.1 * r)}h${fixed(-2.4 * r)}z`,
  III: (x, y, r) => `M${fixed(x - r)} ${fixed(y)}a${fixed(r)} ${fixed(r)} 0 1 0 ${fixed(2 * r)} 0a${fixed(r)} ${fixed(r)} 0 1 0 ${fixed(-2 * r)} 0z`,
  IV: (x, y, r) => `M${fixed(x - r)} ${fixed(y - r)}h${fixed(2 * r)}v${fixed(2 * r)}h${fixed(-2 * r)}z`,
};
export const cross = (x, y, r) =>
  `M${fixed(x - r)} ${fixed(y - r)}l${fixed(2 * r)} ${fixed(2 * r)}m0 ${fixed(-2 * r)}l${fixed(-2 * r)} ${fixed(2 * r)}`;

const quadrant = (x, y) => (y > 0 ? (x > 0 ? "I" : "II") : x > 0 ? "IV" : "III");
const TURN = Math.PI / 2;

// The true team of each point, by kind of data.
const TRUTH = {
  rings: (x, y) => NAMES[Math.min(3, Math.floor(Math.hypot(x, y) / 0.3))],
  spiral: (x, y) => {
    const angle = Math.atan2(y, x) + 2.5 * Math.hypot(x, y);
    return NAMES[((Math.floor(angle / TURN) % 4) + 4) % 4];
  },
};
export const trueTeam = (data) => TRUTH[data] ?? quadrant;

// A small random generator: the same seed gives the same points on every machine.
export function makeRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomPoints(n, seed, data) {
  const draw = makeRandom(seed);
  const truth = trueTeam(data);
  return Array.from({ length: n }, () => {
    // Never on an axis, where there is no correct answer.
    const [x, y] = [2 * draw() - 1 || 0.5, 2 * draw() - 1 || 0.5];
    return { x, y, label: truth(x, y) };
  });
}

export function makeTrainingPoints({ data, points, seed, noise }, own) {
  let chosen = [];
  if (data === "centres") {
    chosen = [[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]].map(([x, y]) => ({ x, y, label: quadrant(x, y) }));
  } else if (data !== "own") {
    // The seed is changed, so that the points differ from the points to classify with the same seed.
    chosen = randomPoints(points, seed ^ 0x9e3779b9, data);
  }
  const draw = makeRandom(seed ^ 0x51ed270b);
  for (const point of chosen) {
    const wrong = draw() * 100 < noise;
    const turn = 1 + Math.floor(draw() * 3);
    if (wrong) point.label = NAMES[(NAMES.indexOf(point.label) + turn) % 4];
  }
  return [...chosen, ...own];
}

export const pointColumns = (points) => ({ x: points.map((p) => p.x), y: points.map((p) => p.y) });

// The centre of each cell, row by row from the top left.
export function cellCentres(side) {
  const x = [];
  const y = [];
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      x.push((2 * column + 1) / side - 1);
      y.push(1 - (2 * row + 1) / side);
    }
  }
  return { x, y };
}
