"""How what is said of a version is written: numbers, names, and tables of them.

Cells, and names within a sentence, may be of any characters, because users choose them: whoever
shows them escapes them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quadnet.errors import shorten

DASH = "\N{EN DASH}"
"""From one number to another; alone, where there is nothing to measure."""

_MOST_DIGITS = 3
_MOST_NAMES = 5
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


class UserText(str):
    """A user's own text within a sentence of ours."""

    __slots__ = ()


Sentence = tuple[str, ...]


@dataclass(frozen=True)
class TextTable:
    """Rows of text under a caption; the first column says what a row is of."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: tuple[int, ...] = ()
    """Which columns hold numbers."""


def escape_invisible(text: str) -> str:
    r"""Return the text with what would not show, such as a newline, as an escape, such as \n.

    So are marks that turn the direction of reading around, and halves of characters; but not what
    joins letters in several scripts.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode() for c in text
    )


def to_plain_text(sentence: Sentence) -> str:
    """Return the sentence for a terminal, with users' texts in quotes."""
    return "".join(shorten(part) if isinstance(part, UserText) else part for part in sentence)


def format_percent(share: float | None) -> str:
    """Return the share in percent, which is 100 only if it is all, and 0 only if it is nothing."""
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
    """Return the number with the digits that matter to a reader."""
    return f"{value:.4g}"


def confidence_interval(share: float, rows: int) -> tuple[float, float]:
    """Return where the share lies with a confidence of 95%, measured on so many distinct rows.

    Copies of a row are no further measurements. After Wilson, 1927, which holds for few rows and
    for shares near 0 and 1 too.
    """
    z2 = 1.96**2
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * rows)) / rows) / (1 + z2 / rows)
    low = 0.0 if share == 0.0 else middle - half
    high = 1.0 if share == 1.0 else middle + half
    return low, high


def join_names(names: list[UserText]) -> Sentence:
    """Return the names with commas between; of many, the first ones and how many more."""
    shown = names[:_MOST_NAMES]
    words: list[str] = [shown[0]]
    for name in shown[1:]:
        words += [", ", name]
    more = len(names) - len(shown)
    return (*words, f" and {more:,} more") if more else tuple(words)


def format_count(n: int, what: str) -> str:
    """Return the number and the noun, in the plural if it must be."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"
