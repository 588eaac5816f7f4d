"""The rules for cells of a user's file, shared by CSV and Parquet, training and scoring.

A number is text that Python's `float` accepts, with or without spaces around it. It must be finite,
in ASCII, and without underscores. A label is any text that is not blank and has at most
`LONGEST_LABEL` characters: a longer one usually means that a closing quote is missing.
"""

import math
from collections.abc import Sequence

from quadnet.errors import shorten

LONGEST_LABEL = 256


class BadCell(Exception):
    """A cell is not a number or not a label.

    Parameters
    ----------
    message : str
        What was expected and what was found.
    index : int
        The index of the cell among those that were parsed together.
    """

    def __init__(self, message: str, index: int = 0) -> None:
        super().__init__(message)
        self.index = index


def parse_numbers(texts: Sequence[str]) -> list[float]:
    """Return the cells' numbers, exact to the last bit; raise BadCell at a cell without one."""
    try:
        values = list(map(float, texts))
    except ValueError:
        values = []
    together = "".join(texts)
    if values and "_" not in together and together.isascii() and all(map(math.isfinite, values)):
        return values
    return [_number(text, index) for index, text in enumerate(texts)]


def describe_non_number(value: float | None) -> str:
    """Return what is wrong with a value that is not a finite number; None is a null."""
    if value is None:
        return "expected a number, got a null"
    return f"expected a finite number, got {value}"


def parse_label(value: object) -> str:
    """Return the cell's label; raise BadCell if the cell is not a label."""
    if value is None:
        raise BadCell("expected a label, got a null")
    text = str(value)
    if not text.strip():
        raise BadCell("expected a label, got an empty cell")
    if "\0" in text:
        raise BadCell(f"expected a label without NUL bytes, got {shorten(text)}")
    if len(text) > LONGEST_LABEL:
        lines = text.count("\n")
        hint = f", over {lines + 1:,} lines: is a closing quote missing?" if lines else ""
        raise BadCell(
            f"expected a label of at most {LONGEST_LABEL} characters, got {len(text):,}{hint}"
        )
    return text


def _number(text: str, index: int) -> float:
    if not text.strip():
        raise BadCell("expected a number, got an empty cell", index)
    try:
        value = float(text)
    except ValueError:
        value = None
    if value is None or "_" in text or not text.isascii():
        raise BadCell(f"expected a number, got {shorten(text)}", index)
    if not math.isfinite(value):
        raise BadCell(f"expected a finite number, got {shorten(text)}", index)
    return value
