"""Find out whether label columns have classes, numbers or several labels to predict."""

from collections.abc import Sequence

import numpy as np

from pipeline.data.columns.kinds import MOSTLY
from pipeline.data.parsing.dates import find_date_formats
from pipeline.data.parsing.numbers import parse_numbers
from quadnet.errors import ConfigurationError
from quadnet.tables.columns import Column, Texts, find_missing, is_dates
from quadnet.types import Task

_MOST_CODES = 20
"""Whole numbers with at most this many values are classes, such as ratings."""


def find_task(columns: Sequence[Column], decimal: str) -> tuple[Task, str]:
    """Return the task for these label columns, and why.

    Parameters
    ----------
    columns : sequence of Column
        As they were read. Several are several labels.
    decimal : str
        The decimal separator of numbers in texts.

    Raises
    ------
    ConfigurationError
        If the column has dates.
    """
    if len(columns) > 1:
        return "multilabel", f"{len(columns)} columns of 0 and 1"
    (column,) = columns
    if is_dates(column) or (isinstance(column, Texts) and find_date_formats(column)):
        raise ConfigurationError(
            "The label is a column of dates: expected classes or numbers. If each date is a class, "
            'set task = "classification".'
        )
    numbers = parse_numbers(column, decimal)  # type: ignore[arg-type]  # no dates any more
    values = np.unique(numbers.values[~np.isnan(numbers.values)])
    n_present = np.count_nonzero(~find_missing(column))
    is_mostly = len(values) > _MOST_CODES and len(numbers.bad) <= (1.0 - MOSTLY) * n_present
    if len(numbers.bad) and isinstance(column, Texts) and not is_mostly:
        return "classification", f"{np.count_nonzero(column.count()):,} classes"
    if (values != np.rint(values)).any():
        return "regression", f"{len(values):,} different numbers"
    if len(values) <= _MOST_CODES:
        return "classification", f"{len(values):,} classes, which are whole numbers"
    return "regression", f"{len(values):,} different whole numbers"
