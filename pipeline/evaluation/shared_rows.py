"""Rows that two versions both predict, drawn within the ranges that they were trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quadnet.errors import NotComparable, listing
from quadnet.registry.version_files import Model
from quadnet.tables.column_encoders import (
    CategoryEncoder,
    ColumnEncoder,
    DateEncoder,
    NumberEncoder,
)
from quadnet.tables.columns import Column, Table, Texts
from quadnet.tables.encoder import TableEncoder
from quadnet.types import FloatArray

CELLS = 400
"""Cells along each side of the plane: 160,000 answers of each version."""

_ROWS = 10_000
_GAPS = 0.05
"""The share of missing values in a drawn column that had gaps in training."""

Range = tuple[float, float]


@dataclass(frozen=True)
class SharedRows:
    """Rows of two versions, as inputs of their networks.

    Parameters
    ----------
    inputs : tuple of two ndarrays, each of shape (n_rows, n_features)
        The columns of each are in the order of its version's features.
    where : str
        A description of the rows.
    plane : tuple of two ranges, optional
        Of the two columns, if the rows are the points of a plane, the highest y first.
    """

    inputs: tuple[FloatArray, FloatArray]
    where: str
    plane: tuple[Range, Range] | None = None


def choose_rows(a: Model, b: Model) -> SharedRows:
    """Return rows for both versions.

    Raises
    ------
    NotComparable
        If the versions have different columns.
    """
    if a.encoder is not None and b.encoder is not None:
        return _draw_encoded(a, b, (a.encoder, b.encoder))
    _check_names(a, b, [model.manifest.columns for model in (a, b)])
    if a.encoder is not None or b.encoder is not None:
        raise NotComparable(
            "The versions cannot be compared, because only one of "
            f"{a.name} and {b.name} encodes the columns of a table."
        )
    return _draw_numbers(a, b)


def _draw_numbers(a: Model, b: Model) -> SharedRows:
    place = {name: i for i, name in enumerate(a.manifest.columns)}
    # For each column of b, its index among the columns of a.
    order = [place[name] for name in b.manifest.columns]
    low, high = _find_ranges(a, b, order)
    if len(low) == 2:
        steps = (np.arange(CELLS) + 0.5) / CELLS
        x, y = (low[i] * (1.0 - steps) + high[i] * steps for i in (0, 1))
        X = np.stack(np.meshgrid(x, y[::-1]), axis=-1).reshape(-1, 2)
        ranges = [(float(low[i]), float(high[i])) for i in (0, 1)]
        where = f"{len(X):,} points of the plane"
        return SharedRows((X, X[:, order]), where, (ranges[0], ranges[1]))
    # Not `uniform`, whose high - low may overflow.
    share = np.random.default_rng(0).random((_ROWS, len(low)))
    X = low * (1.0 - share) + high * share
    X = np.vstack([a.selftest_inputs, b.selftest_inputs[:, np.argsort(order)], X])
    where = f"{len(X):,} rows, most of them at random within the ranges seen in training"
    return SharedRows((X, X[:, order]), where)


def _draw_encoded(a: Model, b: Model, encoders: tuple[TableEncoder, TableEncoder]) -> SharedRows:
    """Draw the columns of a table: each version encodes them by its own statistics."""
    _check_names(a, b, [list(encoder.input_names) for encoder in encoders])
    others = {column.name: column for column in encoders[1].columns}
    rng = np.random.default_rng(0)
    table: Table = {
        column.name: _draw_column(a, b, (column, others[column.name]), rng)
        for column in encoders[0].columns
    }
    inputs = (encoders[0].transform(table), encoders[1].transform(table))
    return SharedRows(inputs, f"{_ROWS:,} rows at random within the ranges seen in training")


def _draw_column(
    a: Model, b: Model, pair: tuple[ColumnEncoder, ColumnEncoder], rng: np.random.Generator
) -> Column:
    if pair[0].kind != pair[1].kind:
        raise NotComparable(
            f"The versions cannot be compared, because the column {pair[0].name!r} is of the kind "
            f"{pair[0].kind} in {a.name}, and {pair[1].kind} in {b.name}."
        )
    categories = [each for each in pair if isinstance(each, CategoryEncoder)]
    if categories:
        values = dict.fromkeys(name for each in categories for name in each.categories + each.rare)
        # One more choice than values: a gap, unless a version refuses gaps.
        first = 0 if any(each.gaps == "refused" for each in categories) else -1
        return Texts(rng.integers(first, len(values), _ROWS), tuple(values))
    share, is_gap = rng.random(_ROWS), rng.random(_ROWS) < _GAPS
    dates = [each for each in pair if isinstance(each, DateEncoder)]
    if dates:
        days = _find_days(dates)
        drawn = np.array(days[0] + share * (days[1] - days[0]), "datetime64[D]")
        moments = drawn.astype("datetime64[us]")
        moments[is_gap & any(each.indicator for each in dates)] = np.datetime64("NaT")
        return moments
    numbers = [each for each in pair if isinstance(each, NumberEncoder)]
    low, high = min(each.low for each in numbers), max(each.high for each in numbers)
    column: FloatArray = low * (1.0 - share) + high * share
    column[is_gap & any(each.indicator for each in numbers)] = np.nan
    return column


def _find_days(encoders: Sequence[DateEncoder]) -> Range:
    """Return the range of the dates in days since 1970, about as seen in training."""
    ranges = [
        (part.centre - 2.0 * part.scale, part.centre + 2.0 * part.scale)
        for encoder in encoders
        for part in encoder.parts
        if part.part == "elapsed"
    ]
    # Without days elapsed, the other parts are all within some years.
    low, high = zip(*(ranges or [(18_000.0, 20_000.0)]), strict=True)
    return min(low), max(high)


def _check_names(a: Model, b: Model, names: Sequence[Sequence[str]]) -> None:
    if sorted(names[0]) != sorted(names[1]):
        raise NotComparable(
            f"The versions cannot be compared, because they have different features: "
            f"{a.name} has {listing(names[0])}, and {b.name} has {listing(names[1])}."
        )


def _find_ranges(a: Model, b: Model, order: list[int]) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and the highest training value of each feature, over both versions."""
    one, other = (
        np.array([(f.min, f.max) for f in model.manifest.signature.features]) for model in (a, b)
    )
    both = np.stack([one, other[np.argsort(order)]])  # (2 models, n_features, 2)
    return both[:, :, 0].min(axis=0), both[:, :, 1].max(axis=0)
