"""Sentences, numbers, names and tables for reports and messages.

Cells of tables, and names within sentences, may contain any characters, because users choose them.
The code that shows them must escape them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quadnet.errors import shorten

DASH = "\N{EN DASH}"
"""Separates the ends of a range; alone, it means that there is nothing to measure."""

_MOST_DIGITS = 3
_MOST_NAMES = 5


class UserText(str):
    """Text of a user's within a sentence, which must be escaped or quoted."""

    __slots__ = ()


Sentence = tuple[str, ...]


def make_sentence(*parts: str) -> Sentence:
    """Return the sentence of these parts."""
    return parts


@dataclass(frozen=True)
class TextTable:
    """Rows of text under a caption; the first column names the row."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: tuple[int, ...] = ()
    """The indices of the columns with numbers."""


def to_plain_text(sentence: Sentence) -> str:
    """Return the sentence for a terminal, with users' text in quotes."""
    return "".join(shorten(part) if isinstance(part, UserText) else part for part in sentence)


def format_percent(share: float | None) -> str:
    """Return the share in percent: 100% only for exactly 1, and 0% only for exactly 0."""
    if share is None:
        return DASH
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    for digits in range(2, _MOST_DIGITS + 1):
        text = f"{share:.{digits}%}"
        if float(text[:-1]) not in (0.0, 100.0):
            return text
    least = 10.0**-_MOST_DIGITS
    return f"under {least:g}%" if share < 0.5 else f"over {100 - least:.{_MOST_DIGITS}f}%"


def format_number(value: float) -> str:
    """Return the number with 4 significant digits."""
    return f"{value:.4g}"


def format_value(value: float | str | None) -> str:
    """Return a table's value: a number with 4 significant digits, a text, or a dash for a gap."""
    if value is None:
        return DASH
    return value if isinstance(value, str) else format_number(value)


def confidence_interval(share: float, rows: int) -> tuple[float, float]:
    """Return the 95% confidence interval of a share that was measured on `rows` distinct rows.

    Copies of a row count once, because they are not further measurements. By Wilson, 1927, which
    also holds for few rows and for shares near 0 and 1.
    """
    z2 = 1.96**2
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * rows)) / rows) / (1 + z2 / rows)
    low = 0.0 if share == 0.0 else middle - half
    high = 1.0 if share == 1.0 else middle + half
    return low, high


def join_names(names: list[UserText]) -> Sentence:
    """Return the names, separated by commas; of many, the first ones and the number of others."""
    shown = names[:_MOST_NAMES]
    words: list[str] = [shown[0]]
    for name in shown[1:]:
        words += [", ", name]
    more = len(names) - len(shown)
    return (*words, f" and {more:,} more") if more else tuple(words)


def format_count(n: int, what: str) -> str:
    """Return the number and the noun, in the plural unless the number is 1."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"
