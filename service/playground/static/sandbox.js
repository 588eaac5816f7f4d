// The sandbox: a network that the server trains for this page, and everything needed to go on.
//
// Between two calls all of it is here, in frames; each can be gone back to, and gone on from.

import { bytes, call, stream } from "./server.js";
import { columns, NAMES, trainingPoints, wire } from "./teams.js";

const MOST_FRAMES = 256;
const SIDE = 64;
const SHARP_SIDE = 160;
const PROBE_MILLISECONDS = 250;
const MOST_PASSES = 1_000_000;

// What another network is needed for; everything else changes while it trains.
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

// How many passes make so many updates.
export function passes({ iterations, batch }, n) {
  return Math.min(MOST_PASSES, Math.ceil(iterations / Math.max(1, Math.ceil(n / batch))));
}

export function trainRequest(settings, own, tested) {
  const points = trainingPoints({ ...settings, points: Math.min(settings.points, 20_000) }, own);
  const test = columns(tested);
  return {
    ...columns(points),
    quadrants: points.map((point) => wire(point.label)),
    testX: test.x,
    testY: test.y,
    testQuadrants: tested.map((point) => wire(point.label)),
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

function decoded(update) {
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
  // `points` gives what is trained beside the data and what is tested; `changed` is told of frames,
  // `ended` why a run is over, in words and as a StopReason, `failed` the error.
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
    const request = trainRequest(this.settings(), own, tested);
    if (this.slow()) request.framesPerSecond = 2;
    return request;
  }

  // Draws a new network by the seed, and shows it untrained.
  async fresh() {
    this.pause();
    this.target = 0;
    await this.#run({ ...this.request(), maxEpochs: 0 }, { anew: true, quietly: true });
  }

  async train() {
    const request = this.request();
    const reached = this.frame?.epoch ?? 0;
    if (!this.frame || reached >= this.target) this.target = reached + passes(this.settings(), request.x.length);
    await this.#run({ ...request, maxEpochs: this.target }, { anew: !this.frame });
  }

  async step() {
    if (this.running) return;
    const next = (this.frame?.epoch ?? 0) + 1;
    await this.#run({ ...this.request(), maxEpochs: next, epochsPerFrame: 1, stopAccuracy: 0 }, { anew: !this.frame, quietly: true });
  }

  pause() {
    this.running?.abort();
    this.running = null;
  }

  // Settings that need no other network: a run goes on with them, from where it is.
  async retune() {
    if (!this.running) return;
    this.pause();
    await this.train();
  }

  rewind(at) {
    this.pause();
    this.at = at;
    this.changed();
  }

  // Puts another number into the network, and shows what it then answers.
  async edit(layer, part, index, value) {
    this.pause();
    const { state } = this.frame;
    const layers = structuredClone(state.layers);
    layers[layer][part][index] = value;
    await this.inspect({ ...state, layers });
  }

  // Asks again what the network answers: after an edit, for other points, or for a finer map.
  async inspect(state = this.frame.state) {
    const frame = this.frame;
    const { tested } = this.points();
    try {
      const answer = await call("Inspect", { layers: state.layers, mapSide: SHARP_SIDE, ...columns(tested) }, { quiet: true });
      const answers = answer.quadrants.map((quadrant) => quadrant.replace("QUADRANT_", ""));
      const right = tested.filter((point, at) => point.label === answers[at]).length;
      if (this.running || this.frame !== frame) return;
      // A frame that is not kept as sharp: 256 of these would be heavy.
      this.sharp = { ...frame, state, map: bytes(answer.decisionMap), side: SHARP_SIDE, answers, testAccuracy: tested.length ? right / tested.length : 0 };
      if (state !== frame.state) this.frames[this.at] = { ...this.sharp, loss: frame.loss };
      this.changed();
    } catch (error) {
      this.failed(error);
    }
  }

  // Follows a point through what is on show, one question at a time: while it trains, the newest
  // network is asked as often as answers come, a few times a second.
  async probe(at) {
    this.probeAt = at;
    if (this.probing) return;
    this.probing = true;
    const told = (known) => known?.of === this.shown.state && known.at === this.probeAt;
    try {
      while (this.shown && !told(this.trace) && !told(this.refused)) {
        const [of, asked] = [this.shown.state, this.probeAt];
        this.refused = { of, at: asked };
        const answer = await call("Inspect", { layers: of.layers, features: asked }, { quiet: true });
        this.trace = { ...answer, of, at: asked };
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

  // What is on show: the frame, or what it looks like closely.
  get shown() {
    const frame = this.frame;
    return frame && this.sharp?.state === frame.state ? this.sharp : frame;
  }

  // What the map and the network are drawn of.
  get subject() {
    const frame = this.shown;
    return frame && { layers: frame.state.layers, map: frame.map, side: frame.side, scale: 255, inputs: ["x", "y"], classes: NAMES };
  }

  async #run(request, { anew = false, quietly = false } = {}) {
    const running = (this.running = new AbortController());
    const from = anew ? undefined : this.frame;
    if (anew) [this.frames, this.at] = [[], -1];
    else {
      // What came after the frame that the run goes on from is another story now.
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
        if (update.state && !repeated) this.#add(decoded(update));
        else if (update.state) this.frames[this.at] = decoded(update);
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
