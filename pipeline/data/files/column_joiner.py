"""Join the pieces of a column, and find the missing values among its texts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from pipeline.data.files.chunks import AnyColumn
from quadnet.tables.columns import Column, DateArray, Texts, column_kind
from quadnet.types import FloatArray, IntArray


class ColumnJoiner:
    """Joins consecutive pieces of a column, all of one kind."""

    def __init__(self) -> None:
        self._texts = TextsJoiner()
        self._arrays: list[FloatArray | DateArray] = []

    @property
    def kind(self) -> str | None:
        """The kind of the column; None before its first piece."""
        if self._arrays:
            return column_kind(self._arrays[0])
        return "category" if self._texts.n_pieces else None

    @property
    def n_texts(self) -> int:
        """The number of distinct texts so far; 0 for numbers and dates."""
        return self._texts.n_values

    def add(self, column: Column) -> None:
        """Add the next piece."""
        if isinstance(column, Texts):
            self._texts.add(column)
        else:
            self._arrays.append(column)

    def join(self) -> Column:
        """Return the whole column."""
        if not self._arrays:
            return self._texts.join()
        return cast("Column", np.concatenate(self._arrays))


@dataclass
class TextsJoiner:
    """Joins consecutive pieces of a column of texts."""

    _places: dict[str, int] = field(default_factory=dict)
    _pieces: list[IntArray] = field(default_factory=list)

    @property
    def n_values(self) -> int:
        """The number of distinct texts so far."""
        return len(self._places)

    @property
    def n_pieces(self) -> int:
        """The number of pieces so far."""
        return len(self._pieces)

    def add(self, texts: Texts) -> None:
        """Add the next piece."""
        places = self._places
        codes = [places.setdefault(value, len(places)) for value in texts.values]
        self._pieces.append(np.array([*codes, -1], np.intp)[texts.codes])

    def join(self) -> Texts:
        """Return the whole column."""
        codes = np.concatenate(self._pieces) if self._pieces else np.empty(0, np.intp)
        return Texts(codes, tuple(self._places))


def join_columns(pieces: Sequence[AnyColumn]) -> AnyColumn:
    """Return consecutive pieces of a column, at least one and all of one kind, as one."""
    if len(pieces) == 1:
        return pieces[0]
    joiner = ColumnJoiner()
    for piece in pieces:
        joiner.add(piece)
    return cast("AnyColumn", joiner.join())


def make_missing(kind: str, n_rows: int) -> Column:
    """Return a column of a kind that has no values."""
    if kind == "category":
        return Texts(np.full(n_rows, -1, np.intp), ())
    return np.full(n_rows, np.nan) if kind == "number" else np.full(n_rows, "NaT", "M8[us]")


def clean_texts(texts: Texts, missing: Collection[str], *, strip: bool) -> Texts:
    """Return the texts with the words for missing values as missing.

    Parameters
    ----------
    texts : Texts
    missing : collection of str
        Words without spaces around them.
    strip : bool
        Whether spaces around the other texts are removed.
    """
    places: dict[str, int] = {}
    codes = []
    for value in texts.values:
        word = value.strip()
        if word in missing:
            codes.append(-1)
        else:
            codes.append(places.setdefault(word if strip else value, len(places)))
    return Texts(np.array([*codes, -1], np.intp)[texts.codes], tuple(places))
