"""Numbers that are none: found, and named by where they stand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import InvalidInput, Violation


def check_finite(X: NDArray[Any], path: Callable[[int, int], str]) -> None:
    """Accept X, of shape (n_rows, n_columns), if every number is finite.

    `path` names the number in a row and a column, as the caller of the service knows it.

    Raises
    ------
    InvalidInput
        If some are not; the first of them are named.
    """
    flat = X.ravel()
    # A square sum is finite only if every number is, and takes a quarter of the time.
    if math.isfinite(flat.dot(flat)):
        return
    rows, columns = np.nonzero(~np.isfinite(X))
    if not len(rows):
        return
    shown = slice(InvalidInput.MAX_VIOLATIONS)
    violations = [
        Violation(path(row, column), f"expected a finite number, got {X[row, column]}")
        for row, column in zip(rows[shown].tolist(), columns[shown].tolist(), strict=True)
    ]
    raise InvalidInput(violations, total=len(rows))
