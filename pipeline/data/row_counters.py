"""Columns that only number the rows."""

from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.wording import Sentence, UserText
from quadnet.types import FloatArray

_FEWEST_COUNTED = 10
"""In a table of fewer rows, a column may look like row numbers by chance."""

_ONLY_NUMBERS = (
    " only numbers the rows, so what the network learns from it does not hold for other rows. "
)


def describe_counters(columns: Iterable[tuple[str, FloatArray]], advice: str) -> Iterator[Sentence]:
    """Yield a warning about each column that only numbers the rows.

    If the rows are sorted by label, such a column alone predicts the label.

    Parameters
    ----------
    columns : iterable of (str, ndarray)
        Names of columns, and their numbers. One with gaps is no counter.
    advice : str
        A sentence on how to leave the column out.
    """
    for name, column in columns:
        if len(column) >= _FEWEST_COUNTED and is_counter(column):
            yield "Column ", UserText(name), _ONLY_NUMBERS, advice


def is_counter(column: FloatArray) -> bool:
    """Return whether a column numbers the rows: integers in order, or without a gap."""
    with np.errstate(over="ignore"):  # differences of values near the largest float
        # The first values exclude most columns.
        if not (column[:100] == np.rint(column[:100])).all() or len(column) - 1 > np.ptp(column):
            return False
        if not (column == np.rint(column)).all():
            return False
        steps = np.diff(column)
        in_order = bool((steps > 0).all() or (steps < 0).all())
        return in_order or np.ptp(column) == len(column) - 1 == len(np.unique(column)) - 1
