"""Rows of a user's file, with the inputs that a version's encoder makes of their columns."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from pipeline.config.table_data import (
    CategoryColumn,
    ColumnOptions,
    DateColumn,
    NumberColumn,
    TableData,
)
from pipeline.data.columns.column_conversion import convert_column
from pipeline.data.columns.table_files import make_read_settings
from pipeline.data.files.chunks import Chunk, ColumnChunk, Fault, Position
from pipeline.data.files.raw_source import open_rows
from pipeline.data.files.source import Kind
from quadnet.registry.manifest import Manifest
from quadnet.tables.columns import Column, take_table_rows
from quadnet.tables.encoder import TableEncoder
from quadnet.types import BoolArray

_OPTIONS: dict[str, ColumnOptions] = {
    "number": NumberColumn(kind="number"),
    "category": CategoryColumn(kind="category"),
    "date": DateColumn(kind="date"),
}


class EncodedSource:
    """A file of any format that is open to be read; its columns become inputs of a network.

    Columns are matched by name, whatever their order, and others are ignored.

    Parameters
    ----------
    path : path
    manifest : Manifest
        Of the version; it may have the settings that its table was read with.
    encoder : TableEncoder
    chunk_bytes : int

    Attributes
    ----------
    unknown : Counter of str
        For each column, the number of cells with a category that did not occur in training.
    """

    def __init__(
        self, path: Path, manifest: Manifest, encoder: TableEncoder, *, chunk_bytes: int
    ) -> None:
        data = _find_table_data(manifest)
        self._options = _find_options(encoder, data)
        self._numbers = [name for name, o in self._options.items() if o.kind == "number"]
        self._encoder = encoder
        self.file = open_rows(path, make_read_settings(data), chunk_bytes=chunk_bytes)
        self.columns = (*self.file.columns, *self.file.unusable)
        self.unit, self.schema, self.n_bytes = self.file.unit, self.file.schema, self.file.n_bytes
        self.decimal, self.delimiter = self.file.decimal, self.file.settings.delimiter
        self.types, self.in_dictionary = self.file.types, self.file.in_dictionary
        self.kind: Kind = "csv" if self.types is None else "parquet"
        self.unknown: Counter[str] = Counter()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def chunks(self, at: Position | None = None) -> Iterator[Chunk[Any]]:
        """Yield the rows from this position on, with X as the network takes it.

        Raises
        ------
        InvalidInput
            If a column is missing or cannot be read, or the file is damaged.
        """
        names = self._encoder.input_names
        for chunk in self.file.chunks(names, at, numbers=self._numbers):
            table: dict[str, Column] = {}
            problems: dict[int, tuple[str, str]] = {}
            for name in names:
                found = convert_column(chunk.columns[name], self._options[name], self.file.decimal)
                table[name] = found.values
                for row in found.bad.tolist():
                    problems.setdefault(row, (name, found.describe(row)))
            rows, faults = chunk.rows, chunk.faults
            if problems:
                rows, good, new = _sort_out(chunk, problems)
                table = take_table_rows(table, good)
                faults = sorted([*faults, *new], key=lambda fault: fault.place)
            self.unknown.update(self._encoder.count_unknown(table))
            X = self._encoder.transform(table)
            yield Chunk(rows, X, [], faults, chunk.end, chunk.bytes_done)


def _find_table_data(manifest: Manifest) -> TableData | None:
    """Return the section `data` of the run that made the version; None if it had no table."""
    try:
        return TableData.model_validate(manifest.config.get("data"))
    except ValidationError:
        return None


def _find_options(encoder: TableEncoder, data: TableData | None) -> Mapping[str, ColumnOptions]:
    """Return how each of the encoder's columns is read; formats of dates are the run's."""
    known = {} if data is None else data.columns
    return {
        column.name: known[column.name]
        if column.name in known and known[column.name].kind == column.kind
        else _OPTIONS[column.kind]
        for column in encoder.columns
    }


def _sort_out(
    chunk: ColumnChunk[Any, Column], problems: Mapping[int, tuple[str, str]]
) -> tuple[Any, BoolArray, list[Fault]]:
    """Return the good rows, a mask of them, and the faults of the others."""
    if not isinstance(chunk.rows, list):
        from pipeline.data.files.arrow.parquet import sort_out

        return sort_out(chunk.rows, problems, chunk.places)
    good = np.ones(len(chunk.rows), np.bool_)
    good[list(problems)] = False
    faults = [
        Fault(int(chunk.places[row]), column, description, chunk.rows[row])
        for row, (column, description) in sorted(problems.items())
    ]
    rows = [row for row, is_good in zip(chunk.rows, good.tolist(), strict=True) if is_good]
    return rows, good, faults
