"""Read a whole file of any supported format into raw columns."""

import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.files.chunks import Fault, make_file_error, make_rows_error
from pipeline.data.files.column_joiner import ColumnJoiner, make_missing
from pipeline.data.files.raw_source import RawSource, open_rows
from pipeline.data.files.read_settings import ReadSettings
from pipeline.data.parsing.numbers import parse_numbers
from pipeline.wording import Sentence
from quadnet.errors import InvalidInput
from quadnet.tables.columns import Column, Texts, column_kind, find_missing
from quadnet.types import IntArray

_CHUNK_BYTES = 2**20

_MOST_TEXTS = 8192
"""The number of distinct texts above which a column of numbers is stored as numbers.

Each text takes 60 bytes and 400 ns; a number takes 8 bytes and 60 ns.
"""

_IDENTIFIER = re.compile(r"0\d+|\d{16,}")
"""An integer that differs from others with the same value in float64, or may do so."""


@dataclass(frozen=True)
class RawTable:
    """All rows of a file.

    A column of a CSV file has texts. One with more than some thousand distinct values, all of which
    are numbers, has these numbers.

    Attributes
    ----------
    columns : dict of str to column
        The columns that have a name and can be read, in the file's order. Numbers of Parquet and
        Arrow may be infinite.
    parts : dict of path to ndarray of int
        For each file, the line of each row, as an editor counts, or its row; both start at 1.
    unit_in_file : str
        The unit of these places: "line" or "row".
    index : tuple of str
        The columns that only label the rows, as pandas stores them in Parquet.
    unusable : dict of str to str
        For each other column that has a name, the type that cannot be read.
    decimal : str
        The decimal separator of numbers in columns of texts: "." or ",".
    settings : ReadSettings
        Those that the file was read with; of a CSV file, with the delimiter that was found.
    description : str
        What was found, for the user, such as "CSV, semicolon, decimal comma, UTF-8, 344 rows".
    notices : tuple of sentences
        Warnings about the file.
    """

    columns: dict[str, Column]
    parts: dict[Path, IntArray]
    unit_in_file: str
    index: tuple[str, ...]
    unusable: dict[str, str]
    decimal: str
    settings: ReadSettings
    description: str
    notices: tuple[Sentence, ...]

    @property
    def places(self) -> IntArray:
        """The place of each row in its file, or in all files together if there are several."""
        if len(self.parts) == 1:
            return next(iter(self.parts.values()))
        return np.arange(1, sum(map(len, self.parts.values())) + 1)

    @property
    def unit(self) -> str:
        """The unit of `places`: "line" or "row"."""
        return self.unit_in_file if len(self.parts) == 1 else "row"

    def locate(self, row: int) -> tuple[Path, int]:
        """Return the file of a row, given by its index, and its place there."""
        for path, places in self.parts.items():
            if row < len(places):
                return path, int(places[row])
            row -= len(places)
        raise IndexError(row)


def read_raw_table(path: Path, settings: ReadSettings | None = None) -> RawTable:
    """Read all rows of a file.

    Parameters
    ----------
    path : path
        A file; ``-`` for the standard input; a pattern of names, such as ``*.csv``; or a directory.
        Several files must have the same columns, in any order.
    settings : ReadSettings, optional
        By default, all settings are detected.

    Returns
    -------
    RawTable

    Raises
    ------
    FileUnusable
        If the file cannot be read, or its format is not supported.
    InvalidInput
        If it is malformed; the message names the line or row.
    ConfigurationError
        If there is no such encoding.
    MissingExtra
        If reading it needs a package that is not installed.
    """
    settings = settings or ReadSettings()
    texts: set[str] = set()
    with closing(open_rows(path, settings, chunk_bytes=_CHUNK_BYTES, same_rows=False)) as source:
        while (table := _read_once(source, texts)) is None:
            pass
        return table


def _read_once(source: RawSource, texts: set[str]) -> RawTable | None:
    """Read the file; return None if it must be read again, because more columns have texts."""
    builders = {name: _ColumnBuilder(is_text=name in texts) for name in source.columns}
    numbers: set[str] = set()
    places: dict[Path, list[IntArray]] = {}
    faulty: dict[Path, list[Fault]] = {}
    n_faults = 0
    for chunk in source.chunks(source.columns, numbers=numbers):
        places.setdefault(chunk.path, []).append(chunk.places)
        if chunk.faults:
            n_faults += len(chunk.faults)
            known = faulty.setdefault(chunk.path, [])
            known += chunk.faults[: InvalidInput.MAX_VIOLATIONS - len(known)]
        for name, column in chunk.columns.items():
            try:
                builders[name].add(column, source.decimal)
            except _OtherKind as error:
                raise make_file_error(chunk.path, name, str(error)) from error
            if builders[name].is_number:
                numbers.add(name)
    if faulty:
        path, faults = next(iter(faulty.items()))
        raise make_rows_error(path, source.unit, faults, n_faults)
    parts = {path: np.concatenate(pieces) for path, pieces in places.items()}
    n_rows = sum(map(len, parts.values()))
    if not n_rows:
        raise make_file_error(source.path, None, "expected rows, got 0")
    if more := {name for name, builder in builders.items() if builder.is_lost}:
        texts |= more
        return None
    return RawTable(
        {name: builder.joiner.join() for name, builder in builders.items()},
        parts,
        source.unit,
        source.index,
        source.unusable,
        source.decimal,
        source.settings,
        f"{source.description}, {n_rows:,} {'row' if n_rows == 1 else 'rows'}",
        source.notices,
    )


class _OtherKind(Exception):
    """A column has another kind in this file than in the files before."""


class _ColumnBuilder:
    """A column to which chunks are added.

    `is_number` means that its texts became numbers. `is_lost` means that it then had a text that is
    not a number, so that its former texts are missing.
    """

    def __init__(self, *, is_text: bool) -> None:
        self._is_text = is_text
        self.joiner = ColumnJoiner()
        self.is_number = self.is_lost = False

    def add(self, column: Column, decimal: str) -> None:
        """Add the rows of the next chunk."""
        if self.is_number and isinstance(column, Texts):
            parsed = parse_numbers(column, decimal)
            self.is_lost |= len(parsed.bad) > 0
            column = parsed.values
        if self.joiner.kind not in {None, column_kind(column)}:
            column = self._match_kind(column)
        self.joiner.add(column)
        if self.joiner.n_texts > _MOST_TEXTS and not (self._is_text or self.is_number):
            self._turn_into_numbers(decimal)

    def _match_kind(self, column: Column) -> Column:
        """Return a column in the kind of the rows before it, if one of both is only missing."""
        kind = column_kind(column)
        if not find_missing(column).all():
            before = self.joiner.join()
            if not find_missing(before).all():
                raise _OtherKind(
                    f"expected values of kind {self.joiner.kind}, as in other files, got {kind}"
                )
            self.joiner = ColumnJoiner()
            self.joiner.add(make_missing(kind, len(before)))
            return column
        assert self.joiner.kind is not None
        return make_missing(self.joiner.kind, len(column))

    def _turn_into_numbers(self, decimal: str) -> None:
        texts = self.joiner.join()
        assert isinstance(texts, Texts)
        self._is_text = any(map(_IDENTIFIER.fullmatch, texts.values))
        if not self._is_text:
            parsed = parse_numbers(texts, decimal)
            self._is_text = len(parsed.bad) > 0
            if not self._is_text:
                self.is_number = True
                self.joiner = ColumnJoiner()
                self.joiner.add(parsed.values)
