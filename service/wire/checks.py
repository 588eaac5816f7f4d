"""Checks that both APIs share: finite numbers in requests, and a limit on the size of answers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import InvalidInput, Violation

MAX_POINTS = "max_points"
"""The fact in an error, and in its ErrorInfo's metadata, that is the server's limit of points."""


def check_finite_numbers(numbers: NDArray[Any], path: Callable[..., str]) -> None:
    """Accept an array if every number in it is finite.

    Parameters
    ----------
    numbers : ndarray
    path : callable
        Takes an index, one integer per axis; returns the path of that number in the request.

    Raises
    ------
    InvalidInput
        If the array holds NaN or infinity; names the first such numbers.
    """
    flat = numbers.ravel()
    # A square sum is finite only if every number is, and takes a quarter of the time.
    if math.isfinite(flat.dot(flat)):
        return
    wrong = np.argwhere(~np.isfinite(numbers))
    if not len(wrong):
        return
    violations = [
        Violation(path(*index), f"expected a finite number, got {numbers[tuple(index)]}")
        for index in wrong[: InvalidInput.MAX_VIOLATIONS].tolist()
    ]
    raise InvalidInput(violations, total=len(wrong))


def check_answer_size(
    n_bytes: int, limit: int, *, field: str, instead: str, at_least: bool = False
) -> None:
    """Accept an answer of at most `limit` bytes.

    gRPC's own refusal is RESOURCE_EXHAUSTED, which clients retry: the answer would be computed
    again each time.

    Parameters
    ----------
    n_bytes : int
        The answer's size.
    limit : int
    field : str
        The request's field that makes the answer large.
    instead : str
        What to do.
    at_least : bool, default=False
        Whether `n_bytes` is a lower bound, known before the answer is computed.

    Raises
    ------
    InvalidInput
        If the answer is larger.
    """
    if n_bytes > limit:
        found = f"{n_bytes} or more" if at_least else str(n_bytes)
        raise InvalidInput(
            [
                Violation(
                    field, f"expected an answer of at most {limit} bytes, got {found}; {instead}"
                )
            ]
        )
