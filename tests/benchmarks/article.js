// The article's network 2 and its own update rule.
//
//     node tests/benchmarks/article.js 10000
//
// Prints, as JSON, the time of training the first network of the process for so many updates, the
// median time after V8 has optimised the code, and the share of points that the last network has
// right.

const HIDDEN = 6;
const OUTPUTS = 4;
const POINTS = 1000;
const LEARNING_RATE = 0.1;
const WARM_UP = 30;
const RUNS = 21;

const sigmoid = (z) => 1 / (1 + Math.exp(-z));
const uniform = () => 2 * Math.random() - 1;
const fill = (length, value) => Array.from({ length }, value);

class Network {
  constructor() {
    this.hiddenWeights = fill(HIDDEN, () => fill(2, uniform));
    this.hiddenBiases = fill(HIDDEN, () => 0);
    this.outputWeights = fill(OUTPUTS, () => fill(HIDDEN, uniform));
    this.outputBiases = fill(OUTPUTS, () => 0);
    this.hidden = fill(HIDDEN, () => 0);
    this.outputs = fill(OUTPUTS, () => 0);
  }

  predict(x, y) {
    for (let j = 0; j < HIDDEN; j++) {
      const weights = this.hiddenWeights[j];
      this.hidden[j] = sigmoid(weights[0] * x + weights[1] * y + this.hiddenBiases[j]);
    }
    for (let k = 0; k < OUTPUTS; k++) {
      let sum = this.outputBiases[k];
      for (let j = 0; j < HIDDEN; j++) sum += this.outputWeights[k][j] * this.hidden[j];
      this.outputs[k] = sigmoid(sum);
    }
    return this.outputs;
  }

  // With the article's four faults: the output biases and the hidden errors use the raw error, the
  // hidden errors read weights that have changed already, and a bias changes once per hidden unit.
  update(x, y, target) {
    const { hidden, outputs, outputWeights, outputBiases } = this;
    this.predict(x, y);
    for (let k = 0; k < OUTPUTS; k++) {
      const error = (k === target ? 1 : 0) - outputs[k];
      const slope = outputs[k] * (1 - outputs[k]);
      for (let j = 0; j < HIDDEN; j++) {
        outputWeights[k][j] += LEARNING_RATE * error * slope * hidden[j];
        outputBiases[k] += LEARNING_RATE * error;
      }
    }
    for (let j = 0; j < HIDDEN; j++) {
      let error = 0;
      for (let k = 0; k < OUTPUTS; k++) {
        error += outputWeights[k][j] * ((k === target ? 1 : 0) - outputs[k]);
      }
      const delta = error * hidden[j] * (1 - hidden[j]);
      this.hiddenWeights[j][0] += LEARNING_RATE * delta * x;
      this.hiddenWeights[j][1] += LEARNING_RATE * delta * y;
      this.hiddenBiases[j] += LEARNING_RATE * delta;
    }
  }
}

function quadrant(x, y) {
  if (x > 0) return y > 0 ? 0 : 3;
  return y > 0 ? 1 : 2;
}

function train(points, updates) {
  const network = new Network();
  for (let i = 0; i < updates; i++) {
    const [x, y] = points[Math.floor(Math.random() * points.length)];
    network.update(x, y, quadrant(x, y));
  }
  return network;
}

function accuracy(network, points) {
  const right = points.filter(([x, y]) => {
    const outputs = network.predict(x, y);
    return outputs.indexOf(Math.max(...outputs)) === quadrant(x, y);
  });
  return right.length / points.length;
}

function main() {
  const updates = Number(process.argv[2]);
  const points = fill(POINTS, () => [uniform(), uniform()]);
  let network;
  const seconds = () => {
    const start = process.hrtime.bigint();
    network = train(points, updates);
    return Number(process.hrtime.bigint() - start) / 1e9;
  };
  const first = seconds();
  for (let i = 0; i < WARM_UP; i++) seconds();
  const times = fill(RUNS, seconds).sort((a, b) => a - b);
  console.log(
    JSON.stringify({ first, optimised: times[RUNS >> 1], accuracy: accuracy(network, points) }),
  );
}

module.exports = { Network, quadrant };
if (require.main === module) main();
