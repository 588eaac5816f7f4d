"""Numbers to predict: their checks, their scale, and how the outputs of a network encode them."""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import column_or_1d

from quadnet.nn.network import Network
from quadnet.nn.predictor import arrange_numbers, find_middle
from quadnet.types import FloatArray


@dataclass(frozen=True)
class Numbers:
    """Numbers to predict: one for each row, or several columns of them.

    Parameters
    ----------
    loss : str
        The regressor's parameter.
    n_columns : int or None
        None if y has one dimension.
    quantiles : tuple of float
        Those that are predicted of each column; empty unless the loss is 'quantile'.
    delta : float or None
        Where Huber's loss turns into a line.
    scale : bool
        Whether training is on columns of mean 0 and deviation 1.
    means, deviations : tuple of float
        Of each column, once they are known.
    """

    loss: str
    n_columns: int | None
    quantiles: tuple[float, ...] = ()
    delta: float | None = None
    scale: bool = False
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()

    @property
    def n_targets(self) -> int:
        """Number of columns of y."""
        return 1 if self.n_columns is None else self.n_columns

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the network: one for each quantile of each column."""
        return self.n_targets * max(1, len(self.quantiles))

    @property
    def target_shape(self) -> str:
        """The form that y must have, in words."""
        if self.n_columns is None:
            return "one number for each row"
        return f"{self.n_columns} columns of numbers"

    def matches(self, other: "Numbers") -> bool:
        """Whether both have the same columns."""
        return self.n_columns == other.n_columns

    def check_targets(self, y: NDArray[Any]) -> None:
        """Raise ValueError if the loss is not defined for numbers like these."""
        if self.loss == "poisson" and (y < 0).any():
            row = int(np.argwhere(y < 0)[0][0])
            raise ValueError(
                f"y must not be negative with loss='poisson'. Got {np.min(y[row])} in row {row}."
            )

    def conform(self, y: Any) -> NDArray[Any]:
        """Return a later y as `encode` needs it.

        Raises
        ------
        ValueError
            If it does not hold finite numbers in as many columns.
        """
        numbers = as_numbers(y)
        if self.n_columns is None:
            numbers = column_or_1d(numbers)
        elif numbers.shape[1:] != (self.n_columns,):
            raise ValueError(f"y must have {self.target_shape}. Got the shape {numbers.shape}.")
        check_finite(numbers)
        self.check_targets(numbers)
        return numbers

    def encode(self, y: Any) -> FloatArray:
        """Return the target of each of the network's outputs, of shape (n_rows, n_outputs)."""
        Y = self._as_columns(y)
        if self.means:
            Y = (Y - np.array(self.means)) / np.array(self.deviations)
        return np.tile(Y, (1, len(self.quantiles))) if len(self.quantiles) > 1 else Y

    def _as_columns(self, y: Any) -> FloatArray:
        return np.asarray(y, np.float64).reshape(len(y), self.n_targets)

    def decode(self, P: FloatArray) -> FloatArray:
        """Return the predictions, in the shape of y, from the network's outputs.

        Of several quantiles it is the one nearest to the median.
        """
        middle: FloatArray = self.by_quantile(P)[..., find_middle(self.quantiles)]
        return middle

    def by_quantile(self, P: FloatArray) -> FloatArray:
        """Return the outputs in the shape of y, with a last axis for the quantiles."""
        return arrange_numbers(P, self.n_columns, max(1, len(self.quantiles)))

    def choose_loss(self, loss: str) -> str:
        """Return the network's loss, which has the name of the parameter."""
        return loss

    @property
    def loss_settings(self) -> dict[str, Any]:
        """The settings of the loss that is trained on what `encode` returns."""
        if self.quantiles:
            return {"quantiles": [*self.quantiles], "scales": [1.0] * self.n_targets}
        return {} if self.delta is None else {"delta": self.delta}

    @property
    def unscaled(self) -> "Numbers":
        """The encoding for a network whose outputs have the units of y."""
        return replace(self, scale=False, means=(), deviations=())

    def measured(self, y: Any, weights: FloatArray | None) -> "Numbers":
        """Return the encoding with the means and deviations of y, if it scales and lacks them.

        A column of one value has no deviation, and its size in place of it.
        """
        if not self.scale or self.means:
            return self
        Y = self._as_columns(y)
        if weights is not None:
            Y, weights = Y[weights > 0], weights[weights > 0].astype(np.float64)
        # Sums and squares of the largest numbers would overflow.
        size = np.abs(Y).max(axis=0)
        size[size == 0] = 1.0
        means = size * np.average(Y / size, axis=0, weights=weights)
        varies = Y.max(axis=0) > Y.min(axis=0)
        means[~varies] = Y[0, ~varies]
        halves = 0.5 * Y - 0.5 * means
        spread = np.abs(halves).max(axis=0)
        spread[spread == 0] = 1.0
        squares = np.average((halves / spread) ** 2, axis=0, weights=weights)
        deviations = np.where(varies, 2.0 * spread * np.sqrt(squares), size)
        return replace(self, means=tuple(means.tolist()), deviations=tuple(deviations.tolist()))

    def to_units(self, network: Network) -> Network:
        """Return a trained network whose outputs have the units of y: itself, or a copy.

        Means and deviations become part of the last layer. The steps between quantiles are no
        linear function of it: the loss's own scales multiply them.
        """
        if not self.means:
            return network
        folded = copy.deepcopy(network)
        last, (shift, factor) = folded.parameters.arrays[-1], self._by_output()
        last["weights"] *= factor
        last["biases"][...] = last["biases"] * factor + shift
        if not self.quantiles:
            return folded
        return folded.with_loss_settings(self.loss_settings | {"scales": [*self.deviations]})

    def from_units(self, network: Network) -> None:
        """Undo `to_units`, in place, to continue training."""
        if self.means:
            last, (shift, factor) = network.parameters.arrays[-1], self._by_output()
            last["weights"] /= factor
            last["biases"][...] = (last["biases"] - shift) / factor

    def _by_output(self) -> tuple[FloatArray, FloatArray]:
        """Return what is added to each output, and what it is multiplied by."""
        shift = np.zeros(self.n_outputs)
        shift[: self.n_targets] = self.means  # the other quantiles are steps above the lowest
        return shift, np.tile(self.deviations, max(1, len(self.quantiles)))

    def fitted_attributes(self) -> dict[str, Any]:
        """Return the attributes of a fitted estimator that describe y."""
        return {"_numbers": self}

    def to_dict(self) -> dict[str, Any]:
        """Return numbers, names and lists only."""
        return {k: [*v] if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the encoding that `to_dict` was called on."""
        arguments: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**arguments)


def check_finite(y: NDArray[Any]) -> None:
    """Raise ValueError if y has NaN or infinity."""
    wrong = np.argwhere(~np.isfinite(y))
    if len(wrong):
        raise ValueError(f"y must be finite. Got {y[tuple(wrong[0])]} in row {wrong[0][0]}.")


def as_numbers(y: Any) -> NDArray[Any]:
    """Return y as an array of numbers.

    Raises
    ------
    ValueError
        If it is sparse, or holds text, complex numbers, None or anything else.
    """
    if hasattr(y, "toarray"):
        raise ValueError("y must be a dense array of numbers. Got a sparse one; use y.toarray().")
    given = np.asarray(y)
    if given.dtype.kind in "biuf":
        return given
    if given.dtype.kind == "c":
        raise ValueError("y must be real numbers. Complex data not supported.")
    if given.dtype.kind == "O":
        try:
            numbers = given.astype(np.float64)
        except (TypeError, ValueError):
            pass
        else:
            check_finite(numbers)  # None has become NaN
            return numbers
    first = given.ravel()[:1].tolist()
    raise ValueError(
        f"y must hold numbers. Got values of type {given.dtype}, the first of them "
        f"{first[0] if first else None!r}. For classes use NeuralNetworkClassifier."
    )
