"""Optimizers: one in-place step on a flat parameter vector.

They know nothing of networks. All state is as flat as the parameters, so a step is a handful of
ufuncs whatever the depth.
"""

from typing import Any, Protocol, Self

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

    def successor(self) -> Self:
        """Return an optimizer that continues from here and leaves this one's moments as they are.

        Both share their scratch arrays, `gradient` among them: from now on use only one of them.
        """

    def step(self, theta: FloatArray) -> None:
        """Move theta (flat, in place) against `gradient`, which may be overwritten."""


class _Moments:
    """What SGD and Adam remember: one array, and a second one for a successor to write into."""

    _array: FloatArray
    _spare: FloatArray | None = None
    _keeps = False
    """Whether the array is the predecessor's too, and so the next step writes into the spare."""

    @property
    def moments(self) -> FloatArray:
        return self._array.reshape(-1)

    def successor(self) -> Self:
        # Copying the moments first would take as long as the step itself.
        other: Self = object.__new__(type(self))
        vars(other).update(vars(self))
        other._keeps = True
        return other

    def _next(self) -> tuple[FloatArray, FloatArray]:
        """Return the moments as they are and the array for the next ones, which may be the same."""
        if not self._keeps:
            return self._array, self._array
        now = self._array
        following = np.empty_like(now) if self._spare is None else self._spare
        self._array, self._spare, self._keeps = following, now, False
        return now, following

    def _own(self) -> FloatArray:
        """Return the moments, to be overwritten all at once."""
        return self._next()[1]


class SGD(_Moments):
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
        self._array = np.zeros(theta.shape, theta.dtype)

    def go_on(self, moments: FloatArray, updates: int) -> None:
        self._own()[:] = moments

    def step(self, theta: FloatArray) -> None:
        gradient = self.gradient
        gradient *= self.learning_rate
        if not self.momentum:
            theta -= gradient
            return
        before, velocity = self._next()
        if self.nesterov:
            np.subtract(before, gradient, out=velocity)
            velocity *= self.momentum
            theta += velocity
            theta -= gradient
        else:
            np.multiply(before, self.momentum, out=velocity)
            velocity -= gradient
            theta += velocity

    def __getstate__(self) -> dict[str, Any]:
        names = ("learning_rate", "momentum", "nesterov", "decay")
        return {name: getattr(self, name) for name in names} | {"moments": self.moments.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        moments, decay = state.pop("moments"), state.pop("decay")
        self.__init__(moments, **state)  # type: ignore[misc]
        self.decay = decay
        self.go_on(moments, 0)


class Adam(_Moments):
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
        # np.zeros, unlike zeros_like, takes no time for what is never read.
        self._array = np.zeros((2, len(theta)), theta.dtype)
        # Gradient and squared gradient lie side by side, as the moments do, so that both moments
        # are updated by the same two ufuncs.
        self._powers: FloatArray = np.zeros((2, len(theta)), theta.dtype)
        self.gradient: FloatArray = self._powers[0]
        self._squares: FloatArray = self._powers[1]
        self._scratch = np.empty_like(self.gradient)
        self._betas: FloatArray = np.array([[beta_1], [beta_2]], dtype=theta.dtype)

    def go_on(self, moments: FloatArray, updates: int) -> None:
        self._own().reshape(-1)[:] = moments
        self._t = updates

    def step(self, theta: FloatArray) -> None:
        self._t += 1
        # The moments are kept without their factors 1 - beta, which are put into `rate` and
        # `epsilon`: m / (1 - beta_1) <- beta_1 m / (1 - beta_1) + g, likewise v.
        spread = (1.0 - self.beta_2) ** 0.5
        correction = (1.0 - self.beta_2**self._t) ** 0.5 / (1.0 - self.beta_1**self._t)
        rate = self.learning_rate * correction * (1.0 - self.beta_1) / spread

        gradient, scratch = self.gradient, self._scratch
        before, moments = self._next()
        np.multiply(gradient, gradient, out=self._squares)
        np.multiply(before, self._betas, out=moments)
        moments += self._powers
        m, v = moments
        np.sqrt(v, out=scratch)
        scratch += self.epsilon / spread
        np.divide(m, scratch, out=scratch)
        scratch *= rate
        if self.decay is not None:
            np.multiply(theta, self.decay, out=gradient)
            gradient *= self.learning_rate
            theta -= gradient
        theta -= scratch

    def __getstate__(self) -> dict[str, Any]:
        names = ("learning_rate", "beta_1", "beta_2", "epsilon", "decay")
        state = {name: getattr(self, name) for name in names}
        return state | {"moments": self.moments.copy(), "updates": self._t}

    def __setstate__(self, state: dict[str, Any]) -> None:
        moments, updates = state.pop("moments"), state.pop("updates")
        self.__init__(moments[: len(moments) // 2], **state)  # type: ignore[misc]
        self.go_on(moments, updates)


_KINDS: dict[str, type[SGD] | type[Adam]] = {"sgd": SGD, "adam": Adam}


def to_dict(optimizer: Optimizer) -> dict[str, Any]:
    """Return an optimizer as numbers and an array, without the decay, which each call sets."""
    assert isinstance(optimizer, (SGD, Adam))
    kind = next(name for name, known in _KINDS.items() if type(optimizer) is known)
    return {"kind": kind} | optimizer.__getstate__() | {"decay": None}


def from_dict(values: dict[str, Any]) -> Optimizer:
    """Return the optimizer that `to_dict` was called on."""
    kind = _KINDS[values["kind"]]
    optimizer = kind.__new__(kind)
    optimizer.__setstate__({name: value for name, value in values.items() if name != "kind"})
    return optimizer
