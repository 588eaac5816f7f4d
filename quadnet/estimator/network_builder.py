"""The network that an estimator's parameters and data ask for, and how its weights begin."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from quadnet.estimator.targets import Labels
from quadnet.nn.initializers import Initializer, find_initializer, make_checked_initializer
from quadnet.nn.losses import LOSS_PARAMETERS
from quadnet.nn.network import Network


def network_for(parameters: dict[str, Any], X: Any, labels: Labels) -> Network:
    """Return a network of zeros for rows like X and these labels, in X's dtype."""
    sizes, activation = parameters["hidden_layer_sizes"], parameters["activation"]
    hidden = [int(sizes)] if isinstance(sizes, Integral) else [int(n) for n in sizes]
    return Network(
        [X.shape[1], *hidden, labels.n_outputs],
        activations=[activation] * len(hidden) if isinstance(activation, str) else activation,
        loss=_loss(parameters["loss"], labels),
        bias=parameters["fit_intercept"],
        dtype=X.dtype,
    )


def _loss(loss: str, labels: Labels) -> str:
    names = LOSS_PARAMETERS[loss]
    if labels.multilabel:
        return names.several_labels
    return names.two_classes if labels.n_outputs == 1 else names.several_classes


def initializer_for(init: str | Initializer, activation: str | Sequence[str]) -> Initializer:
    """Return what draws the starting weights."""
    if callable(init):
        return make_checked_initializer(init)
    names = [activation] if isinstance(activation, str) else list(activation)
    return find_initializer(init, names[0] if names else None)
