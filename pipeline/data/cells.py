"""What a cell of a user's file may hold: one rule for CSV and Parquet, training and scoring.

A number is what Python's `float` reads, spaces around it included, but finite, in ASCII, and
without the underscores of program text. A label is any text that is not blank, of at most
`LONGEST_LABEL` characters: a longer one most often means that a closing quote is missing.
"""

import math
from collections.abc import Sequence

from quadnet.errors import shorten

LONGEST_LABEL = 256


class BadCell(Exception):
    """A cell holds something else; the message says what was expected and what came.

    Parameters
    ----------
    message : str
    index : int
        Which of several cells it is.
    """

    def __init__(self, message: str, index: int = 0) -> None:
        super().__init__(message)
        self.index = index


def parse_numbers(texts: Sequence[str]) -> list[float]:
    """Return the numbers that the cells say, to the last bit; raise BadCell at one without."""
    try:
        values = list(map(float, texts))
    except ValueError:
        values = []
    together = "".join(texts)
    if values and "_" not in together and together.isascii() and all(map(math.isfinite, values)):
        return values
    return [_number(text, index) for index, text in enumerate(texts)]


def describe_non_number(value: float | None) -> str:
    """Say what is wrong with a value that is no finite number; None stands for a null."""
    if value is None:
        return "expected a number, got a null"
    return f"expected a finite number, got {value}"


def parse_label(value: object) -> str:
    """Return the class that the cell names; raise BadCell if it names none."""
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
