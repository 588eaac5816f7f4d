"""What a fitted network computes for the user: probabilities, logits, activations."""

from typing import Any

import numpy as np
from scipy.optimize import approx_fprime

from quadnet.estimator.sample_weights import validate_sample_weight
from quadnet.estimator.targets.labels import Labels
from quadnet.estimator.targets.target_rows import TargetRows
from quadnet.nn.layers.layer import Arrays
from quadnet.nn.lbfgs import Objective
from quadnet.nn.network import Network
from quadnet.types import FloatArray


def select_network(network: Network, estimator: Any) -> Network:
    """Return the network, or one that predicts from the arrays that the caller has set.

    A new network is returned, so that predictions in other threads finish with the one they have.

    Raises
    ------
    ValueError
        If the arrays do not have the network's shapes.
    """
    if "parameters_" in vars(estimator):
        return _select_by_layer(network, estimator.parameters_)
    coefs, intercepts = estimator.coefs_, estimator.intercepts_
    parameters = network.parameters
    if parameters.has_these(coefs, intercepts):
        return network
    try:
        parameters.check_shapes(coefs, intercepts)
    except ValueError as error:
        raise ValueError(f"coefs_ and intercepts_ do not fit the network: {error}.") from None
    given = iter(zip(coefs, intercepts, strict=True))
    return network.with_arrays(
        [_replace(arrays, *next(given)) if arrays else {} for arrays in parameters.arrays]
    )


def _select_by_layer(network: Network, arrays: list[dict[str, FloatArray]]) -> Network:
    # The caller may have replaced an array in a dictionary, which is the network's own.
    try:
        network.parameters.check_arrays(arrays)
    except ValueError as error:
        raise ValueError(f"parameters_ do not fit the network: {error}.") from None
    return network if arrays is network.parameters.arrays else network.with_arrays(arrays)


def _replace(arrays: Arrays, weights: FloatArray, biases: FloatArray) -> dict[str, FloatArray]:
    return {"weights": weights} | ({"biases": biases} if "biases" in arrays else {})


def predict_probabilities(network: Network, labels: Labels, X: Any) -> FloatArray:
    """Return the probabilities, with one column per class."""
    probabilities = network.probabilities(X)
    if _has_one_class(labels):
        return np.ones_like(probabilities[:, :1])
    return probabilities


def predict_log_probabilities(network: Network, labels: Labels, X: Any) -> FloatArray:
    """Return the logarithms of the probabilities, with one column per class."""
    logarithms = network.log_probabilities(X)
    if _has_one_class(labels):
        return np.zeros_like(logarithms[:, :1])
    return logarithms


def _has_one_class(labels: Labels) -> bool:
    # The network then has an output for a second class, which does not exist.
    return len(labels.classes) == 1 and not labels.multilabel


def decision_values(network: Network, labels: Labels, X: Any) -> FloatArray:
    """Return the logits, for two classes as one array of shape (n_rows,)."""
    Z = network.logits(X)
    return Z[:, 0] if Z.shape[1] == 1 and not labels.multilabel else Z


def layer_activations(network: Network, X: Any) -> list[FloatArray]:
    """Return the activations of every hidden layer, and the outputs."""
    # A flattened row is the caller's own array, and the last values are overwritten.
    values = [
        np.array(A) if isinstance(X, np.ndarray) and np.may_share_memory(A, X) else A
        for A in network.values(X)
    ]
    network.loss.link(values[-1].T)
    return values


def largest_gradient_error(
    network: Network, rows: TargetRows, *, sample_weight: Any, alpha: float
) -> float:
    """Return the largest error of a partial derivative, divided by the largest derivative."""
    double = network.to_float64()
    objective = Objective(
        double,
        rows.X,
        rows.training_targets,
        weights=validate_sample_weight(sample_weight, rows.X.astype(np.float64), "sample_weight"),
        alpha=alpha,
    )
    theta = double.parameters.flat.copy()
    _, gradient = objective(theta)
    # The mean of the differences to either side is the central one, whose error is of order
    # h**2 instead of h.
    numeric = np.mean(
        [approx_fprime(theta, lambda theta: objective(theta)[0], h) for h in (1e-5, -1e-5)],
        axis=0,
    )
    # Running means have no gradient, although a mini-batch of one row depends on them.
    error = abs(gradient - numeric)[double.parameters.trained_only()]
    return float(error.max() / max(abs(gradient).max(), 1e-12))
