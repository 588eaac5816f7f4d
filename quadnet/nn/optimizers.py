"""Optimizers: one in-place step on a flat parameter vector.

They know nothing of networks. All state is as flat as the parameters, so a step is a handful of
ufuncs whatever the depth. What changes from step to step, the learning rate and what follows from
it, is computed for many steps at a time, and given to each.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from quadnet.types import FloatArray


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """The numbers that an optimizer starts with; each class reads those it has."""

    learning_rate: float
    momentum: float = 0.9
    nesterov: bool = True
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8


class Optimizer(Protocol):
    """What training needs of an optimizer: write into `gradient`, then call `step`.

    The numbers of the next steps come from `step_sizes`; `count_steps` tells how many were made.
    """

    n_moments: ClassVar[int]
    """Numbers kept for each parameter from one step to the next."""

    learning_rate: float
    gradient: FloatArray
    decay: FloatArray | None

    @classmethod
    def from_settings(cls, theta: FloatArray, settings: OptimizerSettings) -> Self:
        """Return a new optimizer for parameters of this size and dtype."""

    @property
    def moments(self) -> FloatArray:
        """The state that earlier steps have left, as a flat view."""

    def restore(self, moments: FloatArray, updates: int) -> None:
        """Continue from the moments that an optimizer of this class had after `updates` steps."""

    def successor(self) -> Self:
        """Return an optimizer that continues from here and leaves these moments unchanged.

        Both share their scratch arrays, `gradient` among them: after this call, use only one.
        """

    def step_sizes(self, learning_rates: Any, n: int) -> Any:
        """Return the step size of each of the next n steps.

        It is computed from their learning rates: an array, or one number for all of them.
        """

    def step(self, theta: FloatArray, learning_rate: float, step_size: float) -> None:
        """Move theta (flat, in place) against `gradient`, which may be overwritten."""

    def count_steps(self, n: int) -> None:
        """Add to the number of steps that were made."""


class _Moments:
    """The moments of SGD and Adam: one array, and a second one for a successor to write into."""

    _array: FloatArray
    _spare: FloatArray | None = None
    _shared = False
    """Whether the array belongs to a predecessor too, so that the next step writes elsewhere."""

    @property
    def moments(self) -> FloatArray:
        return self._array.reshape(-1)

    def successor(self) -> Self:
        # Copying the moments first would take as long as the step itself.
        other: Self = object.__new__(type(self))
        vars(other).update(vars(self))
        other._shared = True
        return other

    def _advance(self) -> tuple[FloatArray, FloatArray]:
        """Return the present moments and the array for the next ones, which may be the same."""
        if not self._shared:
            return self._array, self._array
        now = self._array
        following = np.empty_like(now) if self._spare is None else self._spare
        self._array, self._spare, self._shared = following, now, False
        return now, following

    def _writable(self) -> FloatArray:
        """Return an array for new moments, all of which must be written."""
        return self._advance()[1]


class SGD(_Moments):
    """Stochastic gradient descent with classical or Nesterov momentum.

    v <- momentum * v - learning_rate * g;  theta <- theta + v, or, after Nesterov,
    theta + momentum * v - learning_rate * g  (Sutskever et al., 2013).
    """

    n_moments: ClassVar[int] = 1

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
        self.decay: FloatArray | None = None  # with plain descent the penalty is the same thing
        self.gradient = np.zeros_like(theta)
        # With Nesterov momentum the array holds momentum * v, which is what the next step needs.
        self._array = np.zeros(theta.shape, theta.dtype)

    @classmethod
    def from_settings(cls, theta: FloatArray, settings: OptimizerSettings) -> Self:
        return cls(
            theta,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
        )

    def restore(self, moments: FloatArray, updates: int) -> None:
        self._writable()[:] = moments

    def step_sizes(self, learning_rates: Any, n: int) -> Any:
        return learning_rates

    def count_steps(self, n: int) -> None:
        """Do nothing: every step is like the first."""

    def step(self, theta: FloatArray, learning_rate: float, step_size: float) -> None:
        gradient = self.gradient
        gradient *= step_size
        if not self.momentum:
            theta -= gradient
            return
        before, velocity = self._advance()
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
        self.restore(moments, 0)


class Adam(_Moments):
    """Adam (Kingma and Ba, 2014, algorithm 1, in the bias-corrected-rate form of section 2).

    With `decay` it is AdamW (Loshchilov and Hutter, 2017): each step also shrinks every parameter
    by the learning rate times its entry of `decay`, independently of the moments.
    """

    n_moments: ClassVar[int] = 2

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
        self._first_correction, self._next_corrections = 0, np.empty(0)
        # np.zeros, unlike zeros_like, leaves pages that are never read unallocated.
        self._array = np.zeros((2, len(theta)), theta.dtype)
        # Gradient and squared gradient are adjacent, as the moments are, so that both moments are
        # updated by the same two ufuncs.
        self._powers: FloatArray = np.zeros((2, len(theta)), theta.dtype)
        self.gradient: FloatArray = self._powers[0]
        self._squares: FloatArray = self._powers[1]
        self._scratch = np.empty_like(self.gradient)
        self._betas: FloatArray = np.array([[beta_1], [beta_2]], dtype=theta.dtype)

    @classmethod
    def from_settings(cls, theta: FloatArray, settings: OptimizerSettings) -> Self:
        return cls(
            theta,
            learning_rate=settings.learning_rate,
            beta_1=settings.beta_1,
            beta_2=settings.beta_2,
            epsilon=settings.epsilon,
        )

    def restore(self, moments: FloatArray, updates: int) -> None:
        self._writable().reshape(-1)[:] = moments
        self._t = updates

    def step_sizes(self, learning_rates: Any, n: int) -> Any:
        # The array holds the moments divided by 1 - beta; step size and `epsilon` make up for it:
        # m / (1 - beta_1) <- beta_1 m / (1 - beta_1) + g, likewise v. That saves two ufuncs.
        spread = (1.0 - self.beta_2) ** 0.5
        return learning_rates * ((1.0 - self.beta_1) / spread) * self._corrections(n)

    def _corrections(self, n: int) -> FloatArray:
        """Return the bias correction of each of the next n steps."""
        # A step alone would take longer for them than for the rest: they are computed in advance.
        i = self._t - self._first_correction
        if not 0 <= i <= i + n <= len(self._next_corrections):
            steps = self._t + 1.0 + np.arange(max(n, 256))
            roots = np.sqrt(1.0 - self.beta_2**steps)
            self._next_corrections = roots / (1.0 - self.beta_1**steps)
            self._first_correction, i = self._t, 0
        return self._next_corrections[i : i + n]

    def count_steps(self, n: int) -> None:
        self._t += n

    def step(self, theta: FloatArray, learning_rate: float, step_size: float) -> None:
        spread = (1.0 - self.beta_2) ** 0.5
        gradient, scratch = self.gradient, self._scratch
        before, moments = self._advance()
        np.multiply(gradient, gradient, out=self._squares)
        np.multiply(before, self._betas, out=moments)
        moments += self._powers
        m, v = moments
        np.sqrt(v, out=scratch)
        scratch += self.epsilon / spread
        np.divide(m, scratch, out=scratch)
        scratch *= step_size
        if self.decay is not None:
            np.multiply(theta, self.decay, out=gradient)
            gradient *= learning_rate
            theta -= gradient
        theta -= scratch

    def __getstate__(self) -> dict[str, Any]:
        names = ("learning_rate", "beta_1", "beta_2", "epsilon", "decay")
        state = {name: getattr(self, name) for name in names}
        return state | {"moments": self.moments.copy(), "updates": self._t}

    def __setstate__(self, state: dict[str, Any]) -> None:
        moments, updates = state.pop("moments"), state.pop("updates")
        self.__init__(moments[: len(moments) // 2], **state)  # type: ignore[misc]
        self.restore(moments, updates)


_CLASSES: dict[str, type[SGD] | type[Adam]] = {"sgd": SGD, "adam": Adam}
"""The names of the classes in stored states; a stored name must load for ever."""


def optimizer_to_dict(optimizer: Optimizer) -> dict[str, Any]:
    """Return an optimizer as numbers and an array, without the decay, which each call sets."""
    assert isinstance(optimizer, (SGD, Adam))
    kind = next(name for name, cls in _CLASSES.items() if type(optimizer) is cls)
    return {"kind": kind} | optimizer.__getstate__() | {"decay": None}


def optimizer_from_dict(values: dict[str, Any]) -> Optimizer:
    """Return the optimizer that `optimizer_to_dict` was called on."""
    cls = _CLASSES[values["kind"]]
    optimizer = cls.__new__(cls)
    optimizer.__setstate__({name: value for name, value in values.items() if name != "kind"})
    return optimizer
