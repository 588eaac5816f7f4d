"""What is fitted beside the network becomes part of it: the served model is one network.

A scaler goes into the first layer, since W'(x - m)/s is affine in x; a temperature into the last,
since softmax and sigmoids see only z / T.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from pipeline.datasets import Dataset
from quadnet.network import Network
from quadnet.predictor import Predictor
from quadnet.types import FloatArray

_LIMIT = 100.0
"""No temperature is above this, or below its inverse."""


def fold_scaler(predictor: Predictor, mean: FloatArray, scale: FloatArray) -> Predictor:
    """Return a predictor that takes x where this one takes (x - mean) / scale.

    Parameters
    ----------
    predictor : Predictor
    mean, scale : ndarray of shape (n_features,)
    """
    weights, biases = _parameters(predictor)
    weights[0] /= scale[:, np.newaxis]
    biases[0] -= mean @ weights[0]
    # The first layer has biases now, whether or not it was trained with some.
    return _rebuilt(predictor, weights, biases, bias=True)


def fold_temperature(predictor: Predictor, temperature: float) -> Predictor:
    """Return a predictor whose logits are this one's, divided by the temperature."""
    weights, biases = _parameters(predictor)
    weights[-1] /= temperature
    biases[-1] /= temperature
    return _rebuilt(predictor, weights, biases, bias=predictor.network.parameters.bias)


def fit_temperature(predictor: Predictor, part: Dataset) -> float:
    """Return the temperature that makes the part's log loss smallest (Guo et al., 2017).

    As in Platt, 1999, the targets are not 1 and 0: of n rows that are all answered rightly the
    next is so with probability (n + 1) / (n + 2). Otherwise a part without a mistake would make
    every answer certain.
    """
    network = predictor.network
    with np.errstate(all="ignore"):
        Z = network.logits(part.X.astype(predictor.dtype)).astype(np.float64)
    # A row whose values overflow in the network says nothing about any temperature.
    finite = np.isfinite(Z).all(axis=1)
    Z, y = Z[finite], part.y[finite]
    if not len(Z):
        return 1.0
    n_rows, n_classes = len(Z), len(predictor.classes)
    doubt = 1.0 / (n_rows + 2.0)
    targets = np.full((n_rows, n_classes), doubt / (n_classes - 1))
    targets[np.arange(n_rows), np.searchsorted(predictor.classes, y)] = 1.0 - doubt

    def loss(log_temperature: float) -> float:
        log_P = network.loss.log_probabilities((Z / np.exp(log_temperature)).T).T
        return -float((targets * log_P).sum()) / n_rows

    bounds = (-np.log(_LIMIT), np.log(_LIMIT))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _parameters(predictor: Predictor) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return copies of the weights and biases, in float64."""
    parameters = predictor.network.parameters
    return (
        [W.astype(np.float64) for W in parameters.weights],
        [b.astype(np.float64) for b in parameters.biases],
    )


def _rebuilt(
    predictor: Predictor, weights: list[FloatArray], biases: list[FloatArray], *, bias: bool
) -> Predictor:
    old = predictor.network
    network = Network(
        old.layer_sizes,
        activations=old.activation_names,
        loss=old.loss_name,
        bias=bias,
        dtype=predictor.dtype,
    )
    network.parameters.adopt(weights, biases)
    return Predictor(network, predictor.classes)
