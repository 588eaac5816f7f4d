"""The network for an estimator's configuration and rows, and its starting weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import RandomState

from quadnet.estimator.hyperparameters import TrainingConfig
from quadnet.estimator.targets import LabelledRows, Labels
from quadnet.nn.layers.dense import Dense
from quadnet.nn.losses import LOSS_PARAMETERS
from quadnet.nn.network import Network
from quadnet.types import FloatArray


@dataclass(frozen=True, slots=True)
class StartingWeights:
    """The weights and biases that training continues from: trained, or set by the caller."""

    coefs: Sequence[FloatArray]
    intercepts: Sequence[FloatArray]

    @property
    def dtype(self) -> type[np.floating]:
        """The type that training continues in."""
        first = np.asarray(self.coefs[0]).dtype if len(self.coefs) else None
        return np.float32 if first == np.float32 else np.float64


def find_starting_weights(estimator: Any) -> StartingWeights | None:
    """Return the estimator's `coefs_` and `intercepts_`, or None if it has neither.

    Raises
    ------
    ValueError
        If it has only one of the two.
    """
    names = ("coefs_", "intercepts_")
    present = [name for name in names if hasattr(estimator, name)]
    if len(present) == 1:
        raise ValueError(
            f"coefs_ and intercepts_ must both be set, or neither of them. Got only {present[0]}."
        )
    return StartingWeights(estimator.coefs_, estimator.intercepts_) if present else None


def build_network(
    config: TrainingConfig,
    rows: LabelledRows,
    starting: StartingWeights | None,
    rng: RandomState,
) -> Network:
    """Return a network for rows and labels like these, with drawn or given weights.

    Raises
    ------
    ValueError
        If the starting weights do not fit the configuration, or the user's `init` returns arrays
        that do not fit.
    """
    output = Dense(rows.labels.n_outputs, bias=config.fit_intercept)
    network = Network(
        [*config.hidden_layers, output],
        (rows.X.shape[1],),
        loss=_choose_loss(config.loss, rows.labels),
        dtype=rows.X.dtype,
    )
    if starting is None:
        network.initialize(config.initializer, rng)
        return network
    try:
        network.parameters.assign(starting.coefs, starting.intercepts)
    except ValueError as error:
        raise ValueError(
            "Cannot continue training: coefs_ and intercepts_ are those of another architecture "
            f"than the parameters: {error}. Set hidden_layer_sizes and fit_intercept to their "
            "previous values, or warm_start=False."
        ) from None
    return network


def _choose_loss(loss: str, labels: Labels) -> str:
    names = LOSS_PARAMETERS[loss]
    if labels.multilabel:
        return names.several_labels
    return names.two_classes if labels.n_outputs == 1 else names.several_classes
