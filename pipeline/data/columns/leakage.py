"""Find columns that give the target away, and rows that occur more than once.

A column that alone predicts the target is usually made from it: a copy, a code of it, or something
that is known only afterwards. A model with such a column looks better than it will be.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from pipeline.data.datasets import Dataset
from pipeline.data.targets import ClassTarget, LabelsTarget
from pipeline.wording import Sentence, UserText, format_count, format_percent
from quadnet.tables.columns import (
    Column,
    Texts,
    find_missing,
    is_dates,
    is_numbers,
    take_table_rows,
)
from quadnet.types import FloatArray, IntArray

SUSPICIOUS = 0.999
"""A column that alone predicts this share of the target is reported."""

_NOTEWORTHY = 0.01
"""Copies are reported from this share of the rows on."""

_MOST_ROWS, _MOST_COLUMNS = 20_000, 500
"""A column takes some milliseconds, more with more rows."""

_FEWEST_ROWS = 50
_LEAVES = 64

_ADVICE = (
    ". Is it made from the target, or known only after it? Then remove it with data.drop, because "
    "the model will be worse than measured here."
)


def find_leaks(train: Dataset) -> Iterator[Sentence]:
    """Yield a warning about each column of a table that alone predicts the target."""
    target, table = train.target, train.table
    assert table is not None
    if isinstance(target, LabelsTarget) or len(target) < _FEWEST_ROWS:
        return
    is_class = isinstance(target, ClassTarget)
    values: NDArray[Any] = target.codes if isinstance(target, ClassTarget) else target.values
    if not is_class:
        values = _scale(values)  # The square of a very large or small number overflows or is 0.
    if len(values) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(len(values), _MOST_ROWS, replace=False))
        table, values = take_table_rows(table, rows), values[rows]
    if np.ptp(values) == 0 or (is_class and np.bincount(values).max() > 0.99 * len(values)):
        return  # Any column predicts the most frequent class well.
    halves = _halve(values, is_class=is_class)
    for name, column in list(table.items())[:_MOST_COLUMNS]:
        measure = _class_accuracy if is_class else _explained
        share = measure(column, values, halves)
        if share >= SUSPICIOUS:
            what, of = ("is right on", "rows") if is_class else ("explains", "variance")
            measured = f" alone predicts the target: it {what} {format_percent(share)} of the {of}"
            yield "Column ", UserText(name), measured, _ADVICE


def find_copies(train: Dataset) -> Iterator[Sentence]:
    """Yield a warning about rows that repeat others."""
    n_rows, n_distinct = len(train), len(np.unique(train.row_hashes(0)))
    if n_rows - n_distinct > _NOTEWORTHY * n_rows:
        copies = format_count(n_rows - n_distinct, "row")
        text = f"{copies} of the {n_rows:,} to train on repeat the features of another row."
        yield (f"{text} Equal rows stay in one part of the data.",)


Halves = list[tuple[IntArray, IntArray]]
"""Rows to learn from and rows to predict, twice."""


def _halve(values: NDArray[Any], *, is_class: bool) -> Halves:
    """Return halves of the rows, without those of a class that has one row."""
    if not is_class:
        return list(KFold(2, shuffle=True, random_state=0).split(values))
    kept = np.flatnonzero(np.bincount(values)[values] > 1)
    splitter = StratifiedKFold(2, shuffle=True, random_state=0)
    return [(kept[one], kept[other]) for one, other in splitter.split(kept, values[kept])]


def _predict(tree: Any, X: FloatArray, values: NDArray[Any], halves: Halves) -> NDArray[Any]:
    """Return the prediction of each row by a tree that has not learnt it; -1 for the others."""
    predicted = np.full(len(values), -1, values.dtype)
    for one, other in halves:
        predicted[other] = tree.fit(X[one], values[one]).predict(X[other])
    return predicted


def _class_accuracy(column: Column, codes: IntArray, halves: Halves) -> float:
    """Return the accuracy of predicting the class from this column alone."""
    if not isinstance(column, Texts):
        tree = DecisionTreeClassifier(max_leaf_nodes=_LEAVES, random_state=0)
        return float((_predict(tree, _to_matrix(column), codes, halves) == codes).mean())
    # Each row is predicted by the most frequent class of the other rows with its text.
    n_classes = int(codes.max()) + 1
    pairs, pair_of, counts = np.unique(
        (column.codes + 1) * n_classes + codes, return_inverse=True, return_counts=True
    )
    texts = pairs // n_classes
    best = np.zeros(texts.max() + 1, np.intp)
    second = best.copy()
    for text, n in zip(texts.tolist(), counts.tolist(), strict=True):
        if n >= best[text]:
            best[text], second[text] = n, best[text]
        elif n > second[text]:
            second[text] = n
    others = np.where(counts == best[texts], second[texts], best[texts])
    right = (counts >= 2) & (counts - 1 >= others)
    return float(right[pair_of].mean())


def _explained(column: Column, values: FloatArray, halves: Halves) -> float:
    """Return the share of the target's variance that this column alone explains."""
    total = float(((values - values.mean()) ** 2).sum())
    if isinstance(column, Texts):
        # Each row is predicted by the mean of the other rows with its text.
        of, n = column.codes + 1, np.bincount(column.codes + 1)
        sums = np.bincount(of, weights=values)
        others = np.maximum(n[of] - 1, 1)
        predicted = np.where(n[of] > 1, (sums[of] - values) / others, values.mean())
        return 1.0 - float(((values - predicted) ** 2).sum()) / total
    # A tree also finds a column that is a curved function of the target.
    tree = DecisionTreeRegressor(max_leaf_nodes=_LEAVES, random_state=0)
    scaled = _to_matrix(column)
    predicted = _predict(tree, scaled, values, halves)
    curved = 1.0 - float(((values - predicted) ** 2).sum()) / total
    if not is_numbers(column) or np.isnan(column).any():
        return curved
    with np.errstate(all="ignore"):  # 0 / 0, if all values are equal
        linear = float(np.corrcoef(scaled[:, 0], values)[0, 1]) ** 2
    return max(linear, curved) if np.isfinite(linear) else curved


def _to_matrix(column: Column) -> FloatArray:
    """Return the values, scaled, as a matrix of one column; NaN is missing."""
    assert not isinstance(column, Texts)
    missing = find_missing(column)
    numbers = np.where(missing, 0, column.astype(np.int64)) if is_dates(column) else column
    values = numbers.astype(np.float64)
    values[missing] = np.nan
    return (values if missing.all() else _scale(values))[:, None]


def _scale(values: FloatArray) -> FloatArray:
    """Return the values centred, and the largest as 1: a tree computes in float32."""
    halves = values / 2.0  # so that sums and differences of two are finite
    centred = halves - np.nanmedian(halves)
    # Subnormal numbers stay below 1: the reciprocal of one may be infinite.
    scaled: FloatArray = centred / max(np.nanmax(np.abs(centred)), np.finfo(np.float64).tiny)
    return scaled
