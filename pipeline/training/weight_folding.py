"""Fold the scaler and the temperature into the weights, so that the served model is one network.

The scaler is folded into the first layer, because W'(x - m)/s is affine in x; where it cannot be
exactly, it becomes a layer. The temperature is folded into the last layer, because softmax and
sigmoid only see z / T. Batch normalization is folded into its neighbours.
"""

from collections.abc import Iterator
from math import prod

import numpy as np
from numpy.typing import DTypeLike
from scipy.optimize import minimize_scalar
from sklearn.preprocessing import StandardScaler

from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.targets import NumberTarget
from pipeline.wording import Sentence, UserText, join_names
from quadnet.errors import UnsuitableData, shorten
from quadnet.estimator.hyperparameters import find_input_shape
from quadnet.nn.layers import affine_folding
from quadnet.nn.layers.affine_folding import (
    LayerState,
    find_coarse_features,
    fold_affine_layers,
    make_network,
    read_states,
)
from quadnet.nn.layers.layer import Shape
from quadnet.nn.predictor import AnyPredictor, Predictor
from quadnet.types import FloatArray

_LIMIT = 100.0
"""Largest temperature; the smallest is its inverse."""


def describe_lost_digits(config: RunConfig, train: Dataset) -> Iterator[Sentence]:
    """Yield warnings about columns for which the run's floating-point type is too coarse.

    Raises
    ------
    UnsuitableData
        If the values are too large to be scaled, or the numbers to predict to be measured.
    """
    yield from _describe_lost_target(config, train)
    with np.errstate(all="ignore"):
        mean, deviation = train.X.mean(axis=0), train.X.std(axis=0)
    if config.scale and not np.isfinite(deviation).all():
        name = train.features[int(np.flatnonzero(~np.isfinite(deviation))[0])]
        raise UnsuitableData(
            f"The values of column {shorten(name)} are too large to be scaled: their variance is "
            "beyond the largest float64. Divide them by a constant."
        )
    shape = find_input_shape({"layers": None, "input_shape": None} | config.network)
    if config.scale and shape is not None and len(shape) > 1:
        mean, deviation = _pool_channels(mean, deviation, shape)
    # As in the scaler: a constant feature is not divided.
    scale = np.where(deviation > 0, deviation, 1.0)
    coarse = find_coarse_features(mean, scale, config.dtype)
    if not config.scale:
        coarse &= deviation > 0
    if not coarse.any():
        return
    names = join_names([UserText(train.features[i]) for i in np.flatnonzero(coarse)])
    digits = f"{config.dtype} has too few digits for the values of "
    if config.dtype == "float32" and config.scale:
        yield (digits, *names, ": the network is trained in float32 and published in float64.")
    elif config.dtype == "float32":
        yield (digits, *names, ': set scale = true, or dtype = "float64".')
    else:
        yield (digits, *names, ": subtract a constant, such as their mean, from them.")


def _describe_lost_target(config: RunConfig, train: Dataset) -> Iterator[Sentence]:
    """Yield a warning if the floating-point type is too coarse for the numbers to predict."""
    if not isinstance(train.target, NumberTarget):
        return
    values = train.target.values
    with np.errstate(all="ignore"):
        mean, deviation = values.mean(keepdims=True), values.std(keepdims=True)
    if not np.isfinite(deviation).all():
        raise UnsuitableData(
            "The numbers to predict are too large: their variance is beyond the largest float64. "
            "Divide them by a constant."
        )
    if find_coarse_features(mean, np.where(deviation > 0, deviation, 1.0), config.dtype).any():
        advice = "subtract a constant, such as their mean, from them"
        if config.dtype == "float32":
            advice = 'set dtype = "float64"'
        yield (f"{config.dtype} has too few digits for the numbers to predict: {advice}.",)


def _pool_channels(
    mean: FloatArray, deviation: FloatArray, input_shape: Shape
) -> tuple[FloatArray, FloatArray]:
    """Return for each value the mean and deviation of all values of its channel."""
    means, deviations = (each.reshape(input_shape[0], -1) for each in (mean, deviation))
    pooled = means.mean(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        variance = (deviations**2 + (means - pooled) ** 2).mean(axis=1, keepdims=True)
    found = (np.broadcast_to(each, means.shape) for each in (pooled, np.sqrt(variance)))
    mean, deviation = (each.reshape(-1) for each in found)
    return mean, deviation


def fit_scaler(X: FloatArray, input_shape: Shape | None) -> StandardScaler:
    """Return a scaler that gives each feature a mean of 0 and a variance of 1.

    All values of a picture's channel have one mean and one variance, as is usual: those of single
    pixels would amplify the noise of pixels at the border, and no convolution could absorb them.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
    input_shape : tuple of int or None
        The shape of a row, with the channels first if it has several axes.
    """
    if input_shape is None or len(input_shape) == 1:
        return StandardScaler().fit(X)
    n_channels, *axes = input_shape
    values = X.reshape(len(X), n_channels, -1).swapaxes(1, 2).reshape(-1, n_channels)
    scaler = StandardScaler().fit(values)
    for name in ("mean_", "var_", "scale_"):
        setattr(scaler, name, np.repeat(getattr(scaler, name), prod(axes)))
    scaler.n_features_in_ = X.shape[1]
    return scaler


def fold_scaler(
    predictor: AnyPredictor,
    mean: FloatArray,
    scale: FloatArray,
    *,
    dtype: DTypeLike | None = None,
) -> AnyPredictor:
    """Return a predictor that for x computes what this one computes for (x - mean) / scale.

    Parameters
    ----------
    predictor : Predictor or RegressionPredictor
    mean, scale : ndarray of shape (n_features,)
    dtype : dtype, optional
        Type of the new predictor; by default this one's.

    Raises
    ------
    ValueError
        If they differ within a channel, and the first layers cannot absorb that.
    """
    folded = affine_folding.fold_scaler(predictor.network, mean, scale, dtype=dtype)
    return predictor.with_network(folded)


def fold_temperature(predictor: Predictor, temperature: float) -> Predictor:
    """Return a predictor whose logits are this one's, divided by the temperature."""
    *states, output = read_states(predictor.network)
    divided = {name: array / temperature for name, array in output.arrays.items()}
    states.append(LayerState(output.layer, divided))
    return predictor.with_network(make_network(states, predictor.network, predictor.dtype))


def fold_normalization(predictor: AnyPredictor) -> AnyPredictor:
    """Return a predictor that computes the same, without layers that a neighbour can absorb.

    Batch normalization is such a layer where a dense layer or a convolution is next to it.
    """
    network = predictor.network
    states = fold_affine_layers(read_states(network), network.input_shape)
    return predictor.with_network(make_network(states, network, predictor.dtype))


def fit_temperature(predictor: Predictor, part: Dataset) -> float:
    """Return the temperature that minimises the part's log loss (Guo et al., 2017).

    As in Platt, 1999, the targets are not 1 and 0: after n rows that are all predicted correctly,
    the next one is correct with probability (n + 1) / (n + 2). With targets of 1 and 0, a part
    without a mistake would make every prediction certain.
    """
    network = predictor.network
    with np.errstate(all="ignore"):
        Z = network.logits(part.X.astype(predictor.dtype)).astype(np.float64)
    # A row whose values overflow in the network has no log loss at any temperature.
    finite = np.isfinite(Z).all(axis=1)
    Z, codes = Z[finite], part.class_target.indices(predictor.classes)[finite]
    if not len(Z):
        return 1.0
    n_rows, n_classes = len(Z), len(predictor.classes)
    doubt = 1.0 / (n_rows + 2.0)
    targets = np.full((n_rows, n_classes), doubt / (n_classes - 1))
    targets[np.arange(n_rows), codes] = 1.0 - doubt

    def loss(log_temperature: float) -> float:
        log_P = network.loss.log_probabilities((Z / np.exp(log_temperature)).T).T
        return -float((targets * log_P).sum()) / n_rows

    bounds = (-np.log(_LIMIT), np.log(_LIMIT))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))
