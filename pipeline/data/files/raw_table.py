"""Read a whole file of any supported format into raw columns."""

import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.files.chunks import Fault, make_file_error, make_rows_error
from pipeline.data.files.column_joiner import ColumnJoiner
from pipeline.data.files.raw_source import RawSource, open_rows
from pipeline.data.files.read_settings import ReadSettings
from pipeline.data.parsing.numbers import parse_numbers
from pipeline.wording import Sentence
from quadnet.errors import InvalidInput
from quadnet.tables.columns import Column, Texts
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
    places : ndarray of int, shape (n_rows,)
        The line of each row in a CSV file, as an editor counts, or its row; both start at 1.
    unit : str
        "line" or "row".
    index : tuple of str
        The columns that only label the rows, as pandas stores them in Parquet.
    unusable : dict of str to str
        For each other column that has a name, the type that cannot be read.
    decimal : str
        The decimal separator of numbers in columns of texts: "." or ",".
    description : str
        What was found, for the user, such as "CSV, semicolon, decimal comma, UTF-8, 344 rows".
    notices : tuple of sentences
        Warnings about the file.
    """

    columns: dict[str, Column]
    places: IntArray
    unit: str
    index: tuple[str, ...]
    unusable: dict[str, str]
    decimal: str
    description: str
    notices: tuple[Sentence, ...]


def read_raw_table(path: Path, settings: ReadSettings | None = None) -> RawTable:
    """Read all rows of a file.

    Parameters
    ----------
    path : path
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
    with closing(open_rows(path, settings or ReadSettings(), chunk_bytes=_CHUNK_BYTES)) as source:
        texts: set[str] = set()
        while (table := _read_once(source, texts)) is None:
            pass
        return table


def _read_once(source: RawSource, texts: set[str]) -> RawTable | None:
    """Read the file; return None if it must be read again, because more columns have texts."""
    builders = {name: _ColumnBuilder(is_text=name in texts) for name in source.columns}
    numbers: set[str] = set()
    places: list[IntArray] = []
    faults: list[Fault] = []
    n_faults = 0
    for chunk in source.chunks(source.columns, numbers=numbers):
        places.append(chunk.places)
        n_faults += len(chunk.faults)
        faults += chunk.faults[: InvalidInput.MAX_VIOLATIONS - len(faults)]
        for name, column in chunk.columns.items():
            builders[name].add(column, source.decimal)
            if builders[name].is_number:
                numbers.add(name)
    if faults:
        raise make_rows_error(source.path, source.unit, faults, n_faults)
    n_rows = sum(map(len, places))
    if not n_rows:
        raise make_file_error(source.path, None, "expected rows, got 0")
    if more := {name for name, builder in builders.items() if builder.is_lost}:
        texts |= more
        return None
    return RawTable(
        {name: builder.joiner.join() for name, builder in builders.items()},
        np.concatenate(places),
        source.unit,
        source.index,
        source.unusable,
        source.decimal,
        f"{source.description}, {n_rows:,} {'row' if n_rows == 1 else 'rows'}",
        source.notices,
    )


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
        self.joiner.add(column)
        if self.joiner.n_texts > _MOST_TEXTS and not (self._is_text or self.is_number):
            self._turn_into_numbers(decimal)

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
