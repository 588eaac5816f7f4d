"""The network for an estimator's configuration and rows, and its starting weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import RandomState

from quadnet.estimator.hyperparameters import check_output_shape
from quadnet.estimator.targets.target_rows import TargetRows
from quadnet.estimator.training_config import TrainingConfig
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.stack import find_shapes
from quadnet.nn.network import Network
from quadnet.types import FloatArray


@dataclass(frozen=True, slots=True)
class StartingWeights:
    """The arrays that training continues from: trained, or set by the caller.

    Parameters
    ----------
    coefs, intercepts : sequence of ndarray
        Those of dense layers.
    arrays : sequence of mapping of str to ndarray, optional
        Those of layers of any kind, in place of `coefs` and `intercepts`.
    """

    coefs: Sequence[FloatArray] = ()
    intercepts: Sequence[FloatArray] = ()
    arrays: Sequence[Mapping[str, FloatArray]] | None = None

    @property
    def dtype(self) -> type[np.floating]:
        """The type that training continues in."""
        if self.arrays is None:
            first = next(iter(self.coefs), None)
        else:
            first = next((array for each in self.arrays for array in each.values()), None)
        return np.float32 if np.asarray(first).dtype == np.float32 else np.float64

    def copy_to(self, network: Network) -> None:
        """Copy the values to a network; raise ValueError if they do not fit."""
        parameters = network.parameters
        if self.arrays is None:
            if not network.has_dense_arrays:
                raise ValueError("expected the arrays of all layers, got those of dense layers")
            parameters.assign(self.coefs, self.intercepts)
        else:
            parameters.check_arrays(self.arrays)
            parameters.copy_from(self.arrays)


def find_starting_weights(estimator: Any) -> StartingWeights | None:
    """Return the estimator's arrays, or None without arrays.

    Raises
    ------
    ValueError
        If it has only one of `coefs_` and `intercepts_`.
    """
    if hasattr(estimator, "parameters_"):
        return StartingWeights(arrays=estimator.parameters_)
    names = ("coefs_", "intercepts_")
    present = [name for name in names if hasattr(estimator, name)]
    if len(present) == 1:
        raise ValueError(
            f"coefs_ and intercepts_ must both be set, or neither of them. Got only {present[0]}."
        )
    return StartingWeights(estimator.coefs_, estimator.intercepts_) if present else None


def build_network(
    config: TrainingConfig,
    rows: TargetRows,
    starting: StartingWeights | None,
    rng: RandomState,
) -> Network:
    """Return a network for rows and targets like these, with drawn or given weights.

    Raises
    ------
    ValueError
        If the starting weights do not fit the configuration, or the user's `init` returns arrays
        that do not fit.
    """
    shape = config.input_shape or (rows.X.shape[1],)
    output = Dense(rows.encoding.n_outputs, bias=config.fit_intercept)
    try:
        network = Network(
            [*config.hidden_layers, output],
            shape,
            loss=rows.encoding.choose_loss(config.loss),
            loss_settings=rows.encoding.loss_settings,
            dtype=rows.X.dtype,
        )
    except ValueError:
        # The output layer is not in the caller's list, so its number would mean nothing there.
        check_output_shape(find_shapes(config.hidden_layers, shape)[-1])
        raise
    if starting is None:
        network.initialize(config.initializer, rng)
        return network
    try:
        starting.copy_to(network)
    except ValueError as error:
        raise ValueError(
            f"Cannot continue training: {_names(starting)} are those of another architecture than "
            f"the parameters: {error}. Set the layers and fit_intercept to their previous values, "
            "or warm_start=False."
        ) from None
    return network


def _names(starting: StartingWeights) -> str:
    return "coefs_ and intercepts_" if starting.arrays is None else "parameters_"
