"""Optimizers: one in-place step on a flat parameter vector.

They know nothing of networks. All state is as flat as the parameters, so a step is a handful of
ufuncs whatever the depth.
"""

from typing import Protocol

import numpy as np

from quadnet.types import FloatArray


class Optimizer(Protocol):
    """What training asks of an optimizer."""

    learning_rate: float

    def step(self, theta: FloatArray, gradient: FloatArray) -> None:
        """Move theta (flat, in place) against its gradient (same shape, may be overwritten)."""


class SGD:
    """Stochastic gradient descent with classical or Nesterov momentum.

    v <- momentum * v - learning_rate * g;  theta <- theta + v, or, after Nesterov,
    theta + momentum * v - learning_rate * g  (Sutskever et al., 2013).
    """

    def __init__(
        self,
        theta: FloatArray,
        *,
        learning_rate: float,
        momentum: float = 0.9,
        nesterov: bool = True,
    ) -> None:
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self._velocity = np.zeros_like(theta)

    def step(self, theta: FloatArray, gradient: FloatArray) -> None:
        gradient *= self.learning_rate
        if not self.momentum:
            theta -= gradient
            return
        velocity = self._velocity
        velocity *= self.momentum
        velocity -= gradient
        if self.nesterov:
            theta -= gradient
            # `gradient` is done with: it becomes the scratch that holds momentum * v.
            np.multiply(velocity, self.momentum, out=gradient)
            theta += gradient
        else:
            theta += velocity


class Adam:
    """Adam (Kingma and Ba, 2014, algorithm 1, in the bias-corrected-rate form of section 2)."""

    def __init__(
        self,
        theta: FloatArray,
        *,
        learning_rate: float,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.learning_rate = learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self._t = 0
        self._m = np.zeros_like(theta)
        self._v = np.zeros_like(theta)
        self._scratch = np.empty_like(theta)

    def step(self, theta: FloatArray, gradient: FloatArray) -> None:
        m, v, scratch = self._m, self._v, self._scratch
        self._t += 1
        np.multiply(gradient, 1.0 - self.beta_1, out=scratch)
        m *= self.beta_1
        m += scratch
        gradient *= gradient
        gradient *= 1.0 - self.beta_2
        v *= self.beta_2
        v += gradient
        np.sqrt(v, out=scratch)
        scratch += self.epsilon
        np.divide(m, scratch, out=scratch)
        bias_correction = (1.0 - self.beta_2**self._t) ** 0.5 / (1.0 - self.beta_1**self._t)
        scratch *= self.learning_rate * bias_correction
        theta -= scratch
