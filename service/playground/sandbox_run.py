"""A sandbox network while it is trained: the core's own loop, a pass at a time.

Each pass draws its order from the seed and its own number. So a run that was stopped and goes on,
from any frame, is bit for bit the run that never stopped.
"""

import time
from dataclasses import dataclass

import numpy as np

from quadnet.nn.network import Network
from quadnet.nn.optimizers import Optimizer, OptimizerSettings
from quadnet.nn.training import MiniBatches, Penalty, train
from quadnet.types import FloatArray, IntArray
from service.playground.sandbox_request import Points, Recipe, cells

LARGEST_WEIGHT = 1e4
"""Beyond it a network has exploded: on points within ±1 nothing is learnt there."""


@dataclass(frozen=True)
class Judgement:
    """What a network makes of points: their mean loss, the share that is right, the answers.

    `answers` are columns, in the order of the quadrants.
    """

    loss: float
    accuracy: float
    answers: IntArray


class Sandbox:
    """One run.

    Parameters
    ----------
    recipe : Recipe
        Its network is trained in place.

    Attributes
    ----------
    epoch, updates : int
        How far it has come.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.network = recipe.network
        self.epoch, self.updates = recipe.epoch, recipe.updates
        self.optimizer = self._optimizer()
        if len(recipe.moments):
            self.optimizer.restore(recipe.moments, recipe.updates)
        self._bits = np.random.PCG64()
        self._batches = MiniBatches(
            self.network,
            recipe.train.X,
            recipe.train.Y,
            optimizer=self.optimizer,
            batch_size=recipe.batch_size,
            penalty=Penalty(recipe.solver.penalty_strength(recipe.alpha), per_sample=True),
            dropout=recipe.dropout,
            dropout_rng=np.random.Generator(self._bits),
        )

    @property
    def exploded(self) -> bool:
        """Whether a weight is not finite any more, or absurdly large."""
        return not bool(np.abs(self.network.parameters.flat).max() < LARGEST_WEIGHT)

    def advance(self, epoch: int, seconds: float) -> None:
        """Train up to this pass, or until the network explodes or the seconds are over."""
        end = time.perf_counter() + seconds
        with np.errstate(all="ignore"):
            while self.epoch < epoch and not self.exploded:
                seed = [self.recipe.seed, self.epoch]
                self._bits.state = np.random.PCG64(seed).state
                one = next(train(self._batches, shuffle=True, rng=np.random.RandomState(seed)))
                self.epoch += 1
                self.updates += one.updates
                if time.perf_counter() > end:
                    return

    def _optimizer(self) -> Optimizer:
        recipe = self.recipe
        settings = OptimizerSettings(recipe.learning_rate, momentum=recipe.momentum, nesterov=False)
        return recipe.solver.make_optimizer(self.network.parameters, settings, alpha=recipe.alpha)


def judge(network: Network, points: Points) -> Judgement:
    """Return what the network makes of the points."""
    if not len(points.X):
        return Judgement(0.0, 0.0, np.empty(0, np.intp))
    with np.errstate(all="ignore"):
        logits = network.logits(points.X).T
        answers = logits.argmax(axis=0)
        network.loss.link(logits)
        loss = float(network.loss.values(logits, points.Y.T.astype(float)).mean())
    right = points.Y[np.arange(len(answers)), answers]
    return Judgement(loss, float(right.mean()), answers)


def decision_map(network: Network, side: int) -> bytes:
    """Return each cell's four probabilities, a byte each, row by row from the top left."""
    if not side:
        return b""
    P = probabilities(network, cells(side))
    return np.rint(P * 255).astype(np.uint8).tobytes()


def probabilities(network: Network, X: FloatArray) -> FloatArray:
    """Return the probabilities, of shape (n, 4); all are equal where the arithmetic overflowed."""
    with np.errstate(all="ignore"):
        P = network.probabilities(X)
    return np.where(np.isfinite(P).all(axis=1, keepdims=True), P, 0.25)
