"""Fold the scaler and the temperature into the weights, so that the served model is one network.

The scaler is folded into the first layer, because W'(x - m)/s is affine in x. The temperature is
folded into the last layer, because softmax and sigmoid only see z / T.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike
from scipy.optimize import minimize_scalar

from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.wording import Sentence, UserText, join_names
from quadnet.errors import UnsuitableData, shorten
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.types import BoolArray, FloatArray

_COARSE = 1e-4
"""Largest rounding error of a feature, in its standard deviations."""

_LIMIT = 100.0
"""Largest temperature; the smallest is its inverse."""


def find_coarse_features(mean: FloatArray, scale: FloatArray, dtype: DTypeLike) -> BoolArray:
    """Return which features vary too little for the precision of a floating-point type.

    A time stamp in seconds is around 1.7e9, where the values of float32 are 128 apart. Folded in
    that type, x W / scale and mean W / scale are two large numbers, and their difference keeps
    hardly a correct digit. Features whose values or inverse scale overflow the type count too.

    Parameters
    ----------
    mean, scale : ndarray of shape (n_features,)
    dtype : dtype
    """
    kind = np.finfo(np.dtype(dtype))
    with np.errstate(all="ignore"):
        far = np.abs(mean) / scale * float(kind.eps) > _COARSE
        largest = float(kind.max) ** 0.75
        unbounded = (np.maximum(np.abs(mean), scale) > largest) | (scale < 1.0 / largest)
    found: BoolArray = far | unbounded
    return found


def describe_lost_digits(config: RunConfig, train: Dataset) -> Iterator[Sentence]:
    """Yield a warning about features for which the run's floating-point type is too coarse.

    Raises
    ------
    UnsuitableData
        If the values are too large to be scaled.
    """
    with np.errstate(all="ignore"):
        mean, deviation = train.X.mean(axis=0), train.X.std(axis=0)
    if config.scale and not np.isfinite(deviation).all():
        name = train.features[int(np.flatnonzero(~np.isfinite(deviation))[0])]
        raise UnsuitableData(
            f"The values of column {shorten(name)} are too large to be scaled: their variance is "
            "beyond the largest float64. Divide them by a constant."
        )
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


def fold_scaler(
    predictor: Predictor,
    mean: FloatArray,
    scale: FloatArray,
    *,
    dtype: DTypeLike | None = None,
) -> Predictor:
    """Return a predictor that for x computes what this one computes for (x - mean) / scale.

    Parameters
    ----------
    predictor : Predictor
    mean, scale : ndarray of shape (n_features,)
    dtype : dtype, optional
        Type of the new predictor; by default this one's.
    """
    weights, biases = _copy_parameters(predictor)
    weights[0] /= scale[:, np.newaxis]
    biases[0] -= mean @ weights[0]
    # The first layer has biases now, even if it was trained without.
    return _rebuild_predictor(predictor, weights, biases, bias=True, dtype=dtype)


def fold_temperature(predictor: Predictor, temperature: float) -> Predictor:
    """Return a predictor whose logits are this one's, divided by the temperature."""
    weights, biases = _copy_parameters(predictor)
    weights[-1] /= temperature
    biases[-1] /= temperature
    return _rebuild_predictor(predictor, weights, biases, bias=predictor.network.has_biases)


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
    Z, codes = Z[finite], part.indices(predictor.classes)[finite]
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


def _copy_parameters(predictor: Predictor) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return copies of the weights and biases, in float64."""
    parameters = predictor.network.parameters
    return (
        [W.astype(np.float64) for W in parameters.weights],
        [b.astype(np.float64) for b in parameters.biases],
    )


def _rebuild_predictor(
    predictor: Predictor,
    weights: list[FloatArray],
    biases: list[FloatArray],
    *,
    bias: bool,
    dtype: DTypeLike | None = None,
) -> Predictor:
    old = predictor.network
    network = Network.dense(
        old.layer_sizes,
        activations=old.activation_names,
        loss=old.loss_name,
        bias=bias,
        dtype=predictor.dtype if dtype is None else dtype,
    )
    network.parameters.assign(weights, biases)
    return Predictor(network, predictor.classes)
