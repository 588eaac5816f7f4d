"""Early stopping: the rows that it holds out, and the network's loss and score on them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from quadnet.estimator.sample_weights import check_any_weight
from quadnet.estimator.targets.labels import Labels
from quadnet.estimator.targets.numbers import Numbers
from quadnet.estimator.targets.target_rows import TargetRows
from quadnet.estimator.training_config import TrainingConfig
from quadnet.nn.network import Network
from quadnet.types import BoolArray, FloatArray, IntArray

_ROWS_AT_A_TIME = 8192
"""Bounds the memory for the outputs of many rows and many classes."""


@dataclass(frozen=True)
class Validation:
    """Rows that are not trained on, and the score of a network on them."""

    rows: TargetRows
    score: Callable[[Network], float]


def compute_loss(network: Network, rows: TargetRows) -> float:
    """Return the mean loss, without penalty."""

    def losses(X: Any, targets: BoolArray | FloatArray) -> FloatArray:
        P = network.outputs(X).T
        return network.loss.values(P, targets.T.astype(P.dtype))

    return _average(losses, rows) / network.loss_divisor


def compute_accuracy(network: Network, rows: TargetRows) -> float:
    """Return the share of rows whose label, or whole set of labels, is predicted."""
    labels = rows.encoding
    assert isinstance(labels, Labels)

    def correct(X: Any, targets: BoolArray | FloatArray) -> BoolArray:
        predicted = labels.encode(labels.decode(network.logits(X)))
        return np.asarray((predicted == targets).all(axis=1))

    return _average(correct, rows)


def compute_r2(network: Network, rows: TargetRows) -> float:
    """Return R squared, the mean over the columns of y; NaN for predictions that are not finite."""
    numbers = rows.encoding
    assert isinstance(numbers, Numbers)
    predicted = numbers.decode(network.outputs(rows.X))
    if not np.isfinite(predicted).all():
        return float("nan")
    # Of numbers that are scaled it is the same.
    expected = numbers.decode(numbers.encode(rows.y))
    return float(r2_score(expected, predicted, sample_weight=rows.weights))


def _average(
    of_rows: Callable[[Any, BoolArray | FloatArray], NDArray[Any]], rows: TargetRows
) -> float:
    parts = (
        slice(start, start + _ROWS_AT_A_TIME) for start in range(0, rows.n_rows, _ROWS_AT_A_TIME)
    )
    values = [of_rows(rows.X[part], rows.targets[part]) for part in parts]
    return float(np.average(np.concatenate(values), weights=rows.weights))


def hold_out_rows(
    config: TrainingConfig, rows: TargetRows, rng: RandomState
) -> tuple[TargetRows, TargetRows]:
    """Return the rows to train on and the rows to hold out, drawn as scikit-learn's MLP does.

    Rows are drawn one by one, stratified when there are two classes. With any other `scoring` than
    'accuracy', which scikit-learn's MLP lacks, they are also stratified when there are more, if
    there are enough rows of each class.

    Rows with groups are drawn as by scikit-learn's `GroupShuffleSplit`: a group is held out as a
    whole, and classes are not stratified.

    Copies of a row are not kept together: a split by distinct (row, label) pairs would put all
    copies of a row with one label on one side, and so falsify how probable that label is on the
    other side.

    Raises
    ------
    ValueError
        If fewer than two rows would be held out, or a class of two has a single row, or no group
        is left to train on, or all rows of one side have weight 0.
    """
    fraction = config.validation_fraction
    if not fraction:
        raise ValueError("validation_fraction must be above 0 to hold out rows. Got 0.")
    if rows.groups is not None:
        train, held_out = _split_groups(fraction, rows.groups, rng)
    else:
        encoding = rows.encoding
        stratified = isinstance(encoding, Labels) and _is_stratified(config, rows.y, encoding)
        train, held_out = train_test_split(
            np.arange(rows.n_rows),
            test_size=fraction,
            random_state=rng,
            stratify=rows.y if stratified else None,
        )
    if len(held_out) < 2:
        raise ValueError(
            f"The validation set is too small: validation_fraction={fraction} of {rows.n_rows} "
            "rows. Increase 'validation_fraction' or the size of your dataset."
        )
    remaining, held = rows.take(train), rows.take(held_out)
    if remaining.weights is not None and held.weights is not None:
        check_any_weight(remaining.weights, "sample_weight of the rows left to train on")
        check_any_weight(held.weights, "sample_weight of the rows held out")
    return remaining, held


def _split_groups(fraction: float, groups: IntArray, rng: RandomState) -> tuple[IntArray, IntArray]:
    """Return the rows to train on, and those of the groups to hold out."""
    n_groups = int(groups.max()) + 1
    if math.ceil(fraction * n_groups) >= n_groups:  # rounded as GroupShuffleSplit does
        raise ValueError(
            f"validation_fraction={fraction} of {n_groups} groups leaves no group to train on. "
            "Lower validation_fraction."
        )
    splitter = GroupShuffleSplit(1, test_size=fraction, random_state=rng)
    train, held_out = next(splitter.split(groups, groups=groups))
    return train, held_out


def _is_stratified(config: TrainingConfig, y: Any, labels: Labels) -> bool:
    """Whether the rows of each class are split separately.

    Raises
    ------
    ValueError
        If a class of two has a single row.
    """
    if labels.multilabel:
        return False
    if labels.n_outputs > 1:
        return config.scoring != "accuracy" and _can_stratify(y, config.validation_fraction)
    present, counts = np.unique(y, return_counts=True)
    if counts.min() < 2:
        raise ValueError(
            "The least populated class in y has only 1 sample, which is too few to be both "
            f"trained on and held out. It is {present[counts.argmin()].item()!r}."
        )
    return True


def _can_stratify(y: Any, fraction: float) -> bool:
    """Whether every class has two rows, and both sides have room for a row of every class."""
    counts = np.unique(y, return_counts=True)[1]
    n_held = math.ceil(fraction * len(y))  # rounded as train_test_split does
    return bool(counts.min() >= 2) and len(counts) <= min(n_held, len(y) - n_held)
