"""Read a whole file of any supported format into raw columns."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.files.chunks import Fault, make_file_error, make_rows_error
from pipeline.data.files.column_joiner import ColumnJoiner
from pipeline.data.files.raw_source import RawSource, open_rows
from pipeline.data.files.read_settings import ReadSettings
from pipeline.wording import Sentence
from quadnet.errors import InvalidInput
from quadnet.tables.columns import Column
from quadnet.types import IntArray

_CHUNK_BYTES = 2**23


@dataclass(frozen=True)
class RawTable:
    """All rows of a file.

    A column of a CSV file has texts. In a column with very many distinct values, all of them
    numbers, it has these numbers.

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
        return _collect_chunks(source)


def _collect_chunks(source: RawSource) -> RawTable:
    joiners = {name: ColumnJoiner() for name in source.columns}
    places: list[IntArray] = []
    faults: list[Fault] = []
    n_faults = 0
    for chunk in source.chunks(source.columns):
        places.append(chunk.places)
        n_faults += len(chunk.faults)
        faults += chunk.faults[: InvalidInput.MAX_VIOLATIONS - len(faults)]
        for name, column in chunk.columns.items():
            joiners[name].add(column)
    if faults:
        raise make_rows_error(source.path, source.unit, faults, n_faults)
    n_rows = sum(map(len, places))
    if not n_rows:
        raise make_file_error(source.path, None, "expected rows, got 0")
    return RawTable(
        {name: joiner.join() for name, joiner in joiners.items()},
        np.concatenate(places),
        source.unit,
        source.index,
        source.unusable,
        source.decimal,
        f"{source.description}, {n_rows:,} {'row' if n_rows == 1 else 'rows'}",
        source.notices,
    )
