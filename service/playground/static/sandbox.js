// The sandbox: a network that the server trains for this page.
//
// Between two calls its whole state is here, in frames. The user can go back to each frame, and
// training can continue from each.

import { bytes, call, stream } from "./server.js";
import { pointColumns, NAMES, makeTrainingPoints, wireName } from "./teams.js";

const MOST_FRAMES = 256;
const SIDE = 64;
const SHARP_SIDE = 160;
const PROBE_MILLISECONDS = 250;
const MOST_PASSES = 1_000_000;

// The settings that need a new network. All others can change during training.
export const RESETTING = ["layers", "biases", "init", "seed", "activation", "loss", "solver", "data"];

export const PRESETS = {
  quadnet: {
    data: "quadrants", points: 500, iterations: 8000, rate: 0.03, layers: [6], activation: "tanh", loss: "log_loss",
    solver: "adam", batch: 32, momentum: 0, init: "auto", alpha: 0, dropout: 0, noise: 0, biases: true, speed: 5,
  },
  article1: {
    data: "centres", points: 4, iterations: 10_000, rate: 0.1, layers: [], activation: "logistic", loss: "squared_error",
    solver: "sgd", batch: 1, momentum: 0, init: "uniform01", alpha: 0, dropout: 0, noise: 0, biases: true, speed: 25,
  },
  article2: {
    data: "quadrants", points: 1000, iterations: 100_000, rate: 0.1, layers: [6], activation: "logistic", loss: "squared_error",
    solver: "sgd", batch: 1, momentum: 0, init: "uniform", alpha: 0, dropout: 0, noise: 0, biases: true, speed: 1,
  },
};

// The number of epochs that have this number of updates.
export function countEpochs({ iterations, batch }, n) {
  return Math.min(MOST_PASSES, Math.ceil(iterations / Math.max(1, Math.ceil(n / batch))));
}

export function makeTrainRequest(settings, own, tested) {
  const points = makeTrainingPoints({ ...settings, points: Math.min(settings.points, 20_000) }, own);
  const test = pointColumns(tested);
  return {
    ...pointColumns(points),
    quadrants: points.map((point) => wireName(point.label)),
    testX: test.x,
    testY: test.y,
    testQuadrants: tested.map((point) => wireName(point.label)),
    hiddenLayerSizes: settings.layers,
    activation: settings.activation,
    loss: settings.loss,
    solver: settings.solver,
    init: settings.init,
    biases: settings.biases,
    learningRate: settings.rate,
    batchSize: settings.batch,
    alpha: settings.alpha,
    momentum: settings.momentum,
    dropout: settings.dropout,
    seed: settings.seed,
    mapSide: SIDE,
    epochsPerFrame: settings.speed,
    stopAccuracy: settings.stop,
  };
}

function decodeUpdate(update) {
  const answers = Array.from(bytes(update.testAnswers), (number) => NAMES[number - 1]);
  return {
    epoch: Number(update.epoch),
    loss: update.loss,
    accuracy: update.accuracy,
    testLoss: update.testLoss,
    testAccuracy: update.testAccuracy,
    state: update.state,
    map: bytes(update.decisionMap),
    side: SIDE,
    answers,
  };
}

export class Sandbox {
  // `points` returns the user's points and the test points. `changed` is called after each frame,
  // `ended` with the reason of the end as a text and as a StopReason, `failed` with an error.
  constructor({ settings, points, changed, ended, failed, slow }) {
    Object.assign(this, { settings, points, changed, ended, failed, slow, frames: [], at: -1, target: 0 });
    this.running = null;
    this.trace = null;
    this.refused = null;
  }

  get frame() {
    return this.frames[this.at];
  }

  request() {
    const { own, tested } = this.points();
    const request = makeTrainRequest(this.settings(), own, tested);
    if (this.slow()) request.framesPerSecond = 2;
    return request;
  }

  // Creates a new network from the seed, untrained.
  async reset() {
    this.pause();
    this.target = 0;
    await this.#run({ ...this.request(), maxEpochs: 0 }, { restart: true, quietly: true });
  }

  async train() {
    const request = this.request();
    const translateErrors = this.frame?.epoch ?? 0;
    if (!this.frame || translateErrors >= this.target) this.target = translateErrors + countEpochs(this.settings(), request.x.length);
    await this.#run({ ...request, maxEpochs: this.target }, { restart: !this.frame });
  }

  async step() {
    if (this.running) return;
    const next = (this.frame?.epoch ?? 0) + 1;
    await this.#run({ ...this.request(), maxEpochs: next, epochsPerFrame: 1, stopAccuracy: 0 }, { restart: !this.frame, quietly: true });
  }

  pause() {
    this.running?.abort();
    this.running = null;
  }

  // Continues a run with changed settings that need no new network.
  async applySettings() {
    if (!this.running) return;
    this.pause();
    await this.train();
  }

  rewind(at) {
    this.pause();
    this.at = at;
    this.changed();
  }

  // Changes one number of the network, and shows its new answers.
  async edit(layer, part, index, value) {
    this.pause();
    const { state } = this.frame;
    const layers = structuredClone(state.layers);
    layers[layer][part][index] = value;
    await this.inspect({ ...state, layers });
  }

  // Updates the answers of the network: after an edit, for other points, or for a finer map.
  async inspect(state = this.frame.state) {
    const frame = this.frame;
    const { tested } = this.points();
    try {
      const answer = await call("Inspect", { layers: state.layers, mapSide: SHARP_SIDE, ...pointColumns(tested) }, { quiet: true });
      const answers = answer.quadrants.map((quadrant) => quadrant.replace("QUADRANT_", ""));
      const right = tested.filter((point, at) => point.label === answers[at]).length;
      if (this.running || this.frame !== frame) return;
      // Only the shown frame has the fine map: 256 of these would need much memory.
      this.sharp = { ...frame, state, map: bytes(answer.decisionMap), side: SHARP_SIDE, answers, testAccuracy: tested.length ? right / tested.length : 0 };
      if (state !== frame.state) this.frames[this.at] = { ...this.sharp, loss: frame.loss };
      this.changed();
    } catch (error) {
      this.failed(error);
    }
  }

  // Traces a point through the shown network, with one call at a time. During training, a few times a
  // second, through the newest network.
  async probe(at) {
    this.probeAt = at;
    if (this.probing) return;
    this.probing = true;
    const isCurrent = (trace) => trace?.of === this.shown.state && trace.at === this.probeAt;
    try {
      while (this.shown && !isCurrent(this.trace) && !isCurrent(this.refused)) {
        const [of, at] = [this.shown.state, this.probeAt];
        this.refused = { of, at };
        const answer = await call("Inspect", { layers: of.layers, features: at }, { quiet: true });
        this.trace = { ...answer, of, at };
        this.refused = null;
        this.changed();
        if (this.running) await new Promise((resolve) => setTimeout(resolve, PROBE_MILLISECONDS));
      }
    } catch (error) {
      this.failed(error);
    } finally {
      this.probing = false;
    }
  }

  // The shown frame, with the fine map if there is one.
  get shown() {
    const frame = this.frame;
    return frame && this.sharp?.state === frame.state ? this.sharp : frame;
  }

  // The data for the map and the diagram.
  get subject() {
    const frame = this.shown;
    return frame && { layers: frame.state.layers, map: frame.map, side: frame.side, scale: 255, inputs: ["x", "y"], classes: NAMES };
  }

  async #run(request, { restart = false, quietly = false } = {}) {
    const running = (this.running = new AbortController());
    const from = restart ? undefined : this.frame;
    if (restart) [this.frames, this.at] = [[], -1];
    else {
      // Later frames than the one that the run continues from are obsolete.
      this.frames = this.frames.slice(0, this.at + 1);
      request.state = from.state;
    }
    this.changed();
    let last;
    try {
      for await (const update of stream("Train", request, running.signal)) {
        if (this.running !== running) return;
        last = update;
        const repeated = from && Number(update.epoch) === from.epoch;
        if (update.state && !repeated) this.#add(decodeUpdate(update));
        else if (update.state) this.frames[this.at] = decodeUpdate(update);
        this.changed();
      }
    } catch (error) {
      if (error.name !== "AbortError" && this.running === running) {
        this.running = null;
        this.failed(error);
      }
      return;
    } finally {
      if (this.running === running) this.running = null;
    }
    this.changed();
    const { stopReason: reason = "", stopReasonCode: code } = last ?? {};
    if (!(quietly && code === "STOP_REASON_MAX_EPOCHS")) this.ended(reason, code);
    if (this.frame) await this.inspect();
  }

  #add(frame) {
    this.frames.push(frame);
    if (this.frames.length > MOST_FRAMES) this.frames = this.frames.filter((_, at) => at % 2 === 0 || at === this.frames.length - 1);
    this.at = this.frames.length - 1;
  }
}
