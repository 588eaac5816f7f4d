"""Optimizers: one in-place step on a flat parameter vector.

They know nothing of networks. All state is as flat as the parameters, so a step is a handful of
ufuncs whatever the depth.
"""

from typing import Any, Protocol

import numpy as np

from quadnet.types import FloatArray


class Optimizer(Protocol):
    """What training asks of an optimizer: write into `gradient`, then call `step`."""

    learning_rate: float
    gradient: FloatArray
    decay: FloatArray | None

    @property
    def moments(self) -> FloatArray:
        """What it remembers of earlier steps, flat: a view."""

    def go_on(self, moments: FloatArray, updates: int) -> None:
        """Take over the moments that another such optimizer had after so many steps."""

    def step(self, theta: FloatArray) -> None:
        """Move theta (flat, in place) against `gradient`, which may be overwritten."""


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
        self.decay: FloatArray | None = None  # L2 is all the decay that plain descent needs
        self.gradient = np.zeros_like(theta)
        # With Nesterov's, momentum * v is kept: the next step needs that product and not v.
        self._velocity = np.zeros_like(theta)

    @property
    def moments(self) -> FloatArray:
        return self._velocity

    def go_on(self, moments: FloatArray, updates: int) -> None:
        self._velocity[:] = moments

    def step(self, theta: FloatArray) -> None:
        gradient, velocity = self.gradient, self._velocity
        gradient *= self.learning_rate
        if not self.momentum:
            theta -= gradient
        elif self.nesterov:
            velocity -= gradient
            velocity *= self.momentum
            theta += velocity
            theta -= gradient
        else:
            velocity *= self.momentum
            velocity -= gradient
            theta += velocity


class Adam:
    """Adam (Kingma and Ba, 2014, algorithm 1, in the bias-corrected-rate form of section 2).

    With `decay` it is AdamW (Loshchilov and Hutter, 2017): each step also shrinks every parameter
    by the learning rate times its entry of `decay`, untouched by the moments.
    """

    def __init__(
        self,
        theta: FloatArray,
        *,
        learning_rate: float,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        decay: FloatArray | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.decay = decay
        self._t = 0
        self._moments: FloatArray = np.zeros((2, len(theta)), theta.dtype)
        self._make_views()

    def _make_views(self) -> None:
        # Gradient and squared gradient lie side by side, as the moments do, so that both moments
        # are updated by the same two ufuncs.
        self._powers = np.zeros_like(self._moments)
        self.gradient: FloatArray = self._powers[0]
        self._squares: FloatArray = self._powers[1]
        self._m: FloatArray = self._moments[0]
        self._v: FloatArray = self._moments[1]
        self._scratch = np.empty_like(self.gradient)
        self._betas: FloatArray = np.array(
            [[self.beta_1], [self.beta_2]], dtype=self._moments.dtype
        )

    @property
    def moments(self) -> FloatArray:
        return self._moments.reshape(-1)

    def go_on(self, moments: FloatArray, updates: int) -> None:
        self.moments[:] = moments
        self._t = updates

    def step(self, theta: FloatArray) -> None:
        self._t += 1
        # The moments are kept without their factors 1 - beta, which are put into `rate` and
        # `epsilon`: m / (1 - beta_1) <- beta_1 m / (1 - beta_1) + g, likewise v.
        spread = (1.0 - self.beta_2) ** 0.5
        correction = (1.0 - self.beta_2**self._t) ** 0.5 / (1.0 - self.beta_1**self._t)
        rate = self.learning_rate * correction * (1.0 - self.beta_1) / spread

        moments, gradient, scratch = self._moments, self.gradient, self._scratch
        np.multiply(gradient, gradient, out=self._squares)
        moments *= self._betas
        moments += self._powers
        np.sqrt(self._v, out=scratch)
        scratch += self.epsilon / spread
        np.divide(self._m, scratch, out=scratch)
        scratch *= rate
        if self.decay is not None:
            np.multiply(theta, self.decay, out=gradient)
            gradient *= self.learning_rate
            theta -= gradient
        theta -= scratch

    def __getstate__(self) -> dict[str, Any]:
        # The views would come back as arrays of their own.
        state = vars(self).copy()
        for name in ("gradient", "_squares", "_powers", "_m", "_v", "_scratch", "_betas"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._moments = self._moments.copy()  # joblib may hand out a read-only memory map
        self._make_views()
