"""Trains a sandbox network with the library's training loop, one epoch at a time.

Each epoch draws its order from the seed and its number. So a run that was stopped and continues
from any frame is bit for bit equal to a run that never stopped.
"""

import time
from dataclasses import dataclass

import numpy as np

from quadnet.nn.network import Network
from quadnet.nn.optimizers import Optimizer, OptimizerSettings
from quadnet.nn.training import MiniBatches, Penalty, train
from quadnet.types import FloatArray, IntArray
from service.playground.sandbox_request import LabelledPoints, SandboxRequest, make_map_cells

LARGEST_WEIGHT = 1e4
"""A network with a larger weight has diverged: on points within ±1 it learns nothing more."""


@dataclass(frozen=True)
class PointsEvaluation:
    """A network's results on points: mean loss, accuracy, and answers.

    `answers` has the index of each point's quadrant, in the order of the quadrants.
    """

    loss: float
    accuracy: float
    answers: IntArray


class SandboxRun:
    """One run.

    Parameters
    ----------
    request : SandboxRequest
        Its network is trained in place.

    Attributes
    ----------
    epoch, updates : int
        Number of finished epochs and updates.
    """

    def __init__(self, request: SandboxRequest) -> None:
        self.request = request
        self.network = request.network
        self.epoch, self.updates = request.epoch, request.updates
        self.optimizer = self._optimizer()
        if len(request.moments):
            self.optimizer.restore(request.moments, request.updates)
        self._bits = np.random.PCG64()
        self._batches = MiniBatches(
            self.network,
            request.train.X,
            request.train.Y,
            optimizer=self.optimizer,
            batch_size=request.batch_size,
            penalty=Penalty(request.solver.penalty_strength(request.alpha), per_sample=True),
            rng=np.random.Generator(self._bits),
        )

    @property
    def diverged(self) -> bool:
        """Whether a weight is not finite or too large."""
        return not bool(np.abs(self.network.parameters.flat).max() < LARGEST_WEIGHT)

    def advance(self, epoch: int, seconds: float) -> None:
        """Train up to this epoch, or until the network diverges or the time is over."""
        end = time.perf_counter() + seconds
        with np.errstate(all="ignore"):
            while self.epoch < epoch and not self.diverged:
                seed = [self.request.seed, self.epoch]
                self._bits.state = np.random.PCG64(seed).state
                one = next(train(self._batches, shuffle=True, rng=np.random.RandomState(seed)))
                self.epoch += 1
                self.updates += one.updates
                if time.perf_counter() > end:
                    return

    def _optimizer(self) -> Optimizer:
        request = self.request
        settings = OptimizerSettings(
            request.learning_rate, momentum=request.momentum, nesterov=False
        )
        return request.solver.make_optimizer(self.network.parameters, settings, alpha=request.alpha)


def evaluate_points(network: Network, points: LabelledPoints) -> PointsEvaluation:
    """Return the network's loss, accuracy and answers on the points."""
    if not len(points.X):
        return PointsEvaluation(0.0, 0.0, np.empty(0, np.intp))
    with np.errstate(all="ignore"):
        logits = network.logits(points.X).T
        answers = logits.argmax(axis=0)
        network.loss.link(logits)
        loss = float(network.loss.values(logits, points.Y.T.astype(float)).mean())
    right = points.Y[np.arange(len(answers)), answers]
    return PointsEvaluation(loss, float(right.mean()), answers)


def make_decision_map(network: Network, side: int) -> bytes:
    """Return the four probabilities of each cell, one byte each, row by row from the top left."""
    if not side:
        return b""
    P = predict_probabilities(network, make_map_cells(side))
    return np.rint(P * 255).astype(np.uint8).tobytes()


def predict_probabilities(network: Network, X: FloatArray) -> FloatArray:
    """Return the probabilities, of shape (n, 4); rows that overflow get equal probabilities."""
    with np.errstate(all="ignore"):
        P = network.probabilities(X)
    return np.where(np.isfinite(P).all(axis=1, keepdims=True), P, 0.25)
