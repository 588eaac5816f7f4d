"""The cells of CSV text, cut and their numbers read in a few passes over all of it."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.data import decimals
from quadnet.types import FloatArray, IntArray

# Hardly any number is written wider; those that are need not be read fast. No less than the margin
# that `decimals` needs.
_WIDEST_NUMBER = _MARGIN = 32

_COMMA, _LINE_FEED, _QUOTE = b',\n"'


@dataclass(frozen=True)
class Cells:
    """Where the cells of some rows lie; `starts` and `ends` are of shape (n_rows, n_columns)."""

    characters: NDArray[np.uint8]
    starts: IntArray
    ends: IntArray

    def rows(self) -> list[bytes]:
        """Return each row as it stands."""
        text = self.characters.tobytes()
        return [
            text[begin:end]
            for begin, end in zip(
                self.starts[:, 0].tolist(), self.ends[:, -1].tolist(), strict=True
            )
        ]

    def numbers(self, wanted: Sequence[int]) -> FloatArray | None:
        """Return the wanted columns, (n_rows, n_wanted); None if a cell is no plain number."""
        # In the text's order, whatever the order of the features.
        order = sorted(wanted)
        starts, ends = self.starts[:, order].ravel(), self.ends[:, order].ravel()
        is_quoted = self.characters[starts] == _QUOTE
        starts, ends = starts + is_quoted, ends - is_quoted
        if not (starts < ends).all():
            return None
        values, unknown = decimals.read(self.characters, starts, ends)
        if unknown.any():
            others = _one_after_the_other(self.characters, starts[unknown], ends[unknown])
            if others is None:
                return None
            values[unknown] = others
        return values.reshape(-1, len(order))[:, np.argsort(np.argsort(wanted))]


def cut(text: bytes, n_columns: int) -> Cells | None:
    """Return the cells of whole rows that end with line feeds; None if anything is unusual."""
    # In front of the first cell there must be something to take for its left margin, which ends
    # as a row does.
    characters = np.frombuffer(b" " * (_MARGIN - 1) + b"\n" + text, np.uint8)
    ends = np.flatnonzero((characters == _COMMA) | (characters == _LINE_FEED))[1:]
    if b'"' in text:
        quotes = np.flatnonzero(characters == _QUOTE)
        if not _are_regular(characters, quotes):
            return None
        # After an odd number of quotes one is open.
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    n_rows, rest = divmod(len(ends), n_columns)
    is_last = characters[ends] == _LINE_FEED
    if rest or np.count_nonzero(is_last) != n_rows or not is_last[n_columns - 1 :: n_columns].all():
        return None
    starts = np.empty_like(ends)
    starts[:1], starts[1:] = _MARGIN, ends[:-1] + 1
    return Cells(characters, starts.reshape(-1, n_columns), ends.reshape(-1, n_columns))


def _are_regular(characters: NDArray[np.uint8], quotes: IntArray) -> bool:
    """Say whether every quote opens or closes a cell, or is one of two that stand for one."""
    if len(quotes) % 2:
        return False
    before, after = characters[quotes[::2] - 1], characters[quotes[1::2] + 1]
    # Two that stand for one close the cell and open it again at once.
    return all(
        ((found == _COMMA) | (found == _LINE_FEED) | (found == _QUOTE)).all()
        for found in (before, after)
    )


def _one_after_the_other(
    characters: NDArray[np.uint8], starts: IntArray, ends: IntArray
) -> FloatArray | None:
    """Return the numbers in these places, in any notation; None if one is no finite number."""
    widest = int((ends - starts).max())
    if widest > _WIDEST_NUMBER:
        return None
    # NumPy finds a number even where there are but spaces: each must end as numbers end.
    lasts = characters[ends - 1]
    if not ((lasts - np.uint8(ord("0")) < 10) | (lasts == ord("."))).all():
        return None
    # Each in a line of its own, flush right, with the comma that ends it: numbers may have spaces
    # before them.
    table = sliding_window_view(characters, widest + 1)[ends - widest]
    table[:, :widest][np.arange(widest) < (widest - (ends - starts))[:, np.newaxis]] = ord(" ")
    table[:, widest] = _COMMA
    with warnings.catch_warnings():
        # Text that is not all numbers is a warning of NumPy's, and will be its error.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            values = np.fromstring(table.tobytes()[:-1], sep=",")
        except (DeprecationWarning, ValueError):
            return None
    return values if len(values) == len(ends) and np.isfinite(values).all() else None
