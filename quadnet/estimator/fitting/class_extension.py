"""Classes that appear later: outputs for them are added to a network that is trained in parts."""

import copy
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from quadnet.estimator.columns.encoding import find_encoder
from quadnet.estimator.fitted_state import array_attributes, network_attributes
from quadnet.estimator.targets.labels import Labels
from quadnet.nn.initializers import Initializer
from quadnet.nn.layers.dense import Dense
from quadnet.nn.network import Network
from quadnet.nn.optimizers import optimizer_from_dict, optimizer_to_dict
from quadnet.types import FloatArray, IntArray


def extend_classes(
    estimator: Any,
    network: Network,
    classes: NDArray[np.generic],
    initializer: Initializer,
    loss: str,
) -> dict[str, Any]:
    """Return the attributes of a fitted classifier with outputs for more classes.

    The outputs of known classes keep their weights and the optimizer's moments; weights of the new
    ones are drawn. With two classes before, the logit z of the second becomes the logits -z/2 and
    z/2: the probabilities of the two stay in the same ratio.

    Parameters
    ----------
    estimator : estimator
        Unchanged.
    network : Network
        Its network.
    classes : ndarray of shape (n_classes,)
        Sorted, with all that are known.
    initializer : Initializer
    loss : str
        The estimator's parameter.
    """
    before: Labels = estimator._labels  # noqa: SLF001
    labels = Labels(classes, multilabel=False)
    output = network.layers[-1]
    assert isinstance(output, Dense)
    extended = Network(
        [*network.layers[:-1], Dense(labels.n_outputs, bias=output.bias)],
        network.input_shape,
        loss=labels.choose_loss(loss),
        dtype=network.parameters.flat.dtype,
    )
    rng = copy.deepcopy(getattr(estimator, "_random_state", None)) or RandomState()
    drawn = extended.parameters.arrays[-1]
    extended.layers[-1].initialize(drawn, extended.shapes[-2], initializer, rng)
    columns, factors = _map_outputs(before, labels, is_softmax=extended.loss.link_name == "softmax")
    _copy_outputs(network.parameters.arrays, extended.parameters.arrays, columns, factors)
    attributes = {
        **network_attributes(extended, labels, find_encoder(estimator)),
        **array_attributes(extended),
        "_random_state": rng,
        "_penalty_buffers": None,
    }
    if (history := getattr(estimator, "_history", None)) is not None:
        # The best weights, if there are any, have too few outputs.
        history = history.copy_for_fit(early_stopping=history.early_stopping)
        attributes["_history"] = history
    if (optimizer := getattr(estimator, "_optimizer", None)) is not None:
        state = optimizer_to_dict(optimizer)
        rows = state["moments"].reshape(-1, len(network.parameters.flat))
        moments = np.zeros((len(rows), len(extended.parameters.flat)), rows.dtype)
        for i, (old, new) in enumerate(zip(rows, moments, strict=True)):
            arrays = network.parameters.like(np.ascontiguousarray(old)).arrays
            # The first moments follow the sign of an output. The second ones are of squares.
            signs = np.sign(factors) if i == 0 else np.abs(np.sign(factors))
            _copy_outputs(arrays, extended.parameters.like(new).arrays, columns, signs)
        attributes["_optimizer"] = optimizer_from_dict(state | {"moments": moments.reshape(-1)})
    return attributes


def _map_outputs(
    before: Labels, labels: Labels, *, is_softmax: bool
) -> tuple[IntArray, FloatArray]:
    """Return the old output that each new output continues, or -1, and its factor."""
    places = np.searchsorted(labels.classes, before.classes)
    if labels.n_outputs == 1:  # a second class after the only one, or before it
        return np.zeros(1, np.intp), np.array([1.0 if places[0] == 0 else -1.0])
    columns, factors = np.full(labels.n_outputs, -1), np.ones(labels.n_outputs)
    if before.n_outputs > 1:
        columns[places] = np.arange(len(places))
    else:
        columns[places] = 0
        half = 0.5 if is_softmax else 1.0
        factors[places] = np.array([-half, half])[: len(places)]
    return columns, factors


def _copy_outputs(before: Any, after: Any, columns: IntArray, factors: FloatArray) -> None:
    """Copy all layers' arrays, and of the last one the columns of known outputs."""
    *hidden, last = before
    for old, new in zip(hidden, after, strict=False):
        for name, array in new.items():
            array[...] = old[name]
    known = columns >= 0
    for name, array in after[-1].items():
        array[..., known] = last[name][..., columns[known]] * factors[known]
