"""Read a Parquet file in chunks of rows; raises MissingExtra without pyarrow."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.data.files import cells
from pipeline.data.files.cells import describe_non_number, parse_label
from pipeline.data.files.chunks import (
    Chunk,
    Fault,
    Position,
    find_columns,
    make_file_error,
    open_regular,
)
from quadnet.errors import listing, shorten
from quadnet.extras import missing_extra
from quadnet.types import BoolArray, FloatArray, IntArray

try:
    import pyarrow as pa
    from pyarrow import parquet

    from pipeline.data.files.arrow.arrays import to_array, to_floats
    from pipeline.data.files.arrow.columns import find_row_labels, is_text
except ImportError as error:
    raise missing_extra("Reading or writing a Parquet file", "parquet", cause=error) from error

# A chunk is several batches, and ends with the batch that makes it this long or this large. The
# file does not tell in advance how large its rows are in memory.
_BATCH_ROWS, MOST_ROWS = 8192, 131_072
CHUNKS_TOGETHER = 8

# Arrow reads a page's header from 16 KiB, and older releases fail if the buffer is smaller.
_LEAST_BUFFER = 2**15


Piece = tuple[pa.Table, int, Position, int]
"""Rows, the number of the first one, the position after the last one, and the bytes before it."""


class ParquetSource:
    """A Parquet file that is open to be read.

    Parameters
    ----------
    path : path
    chunk_bytes : int
        A sixteenth of the memory that is used at a time.
    content : binary file, optional
        The content, if it is not that of the file at this path.

    Attributes
    ----------
    n_bytes : int
        The size of the content.
    schema : bytes
        The columns' names and types, and the number of rows of each row group.
    columns : tuple of str
    types : pyarrow.Schema
    index : tuple of str
        The columns that pandas stored as row labels.
    in_dictionary : list of str
        The columns for which dictionary encoding is worthwhile.

    Raises
    ------
    FileUnusable
        If the file cannot be read.
    InvalidInput
        If it is not a Parquet file.
    """

    unit: str = "row"

    def __init__(self, path: Path, *, chunk_bytes: int, content: BinaryIO | None = None) -> None:
        self.path, self._most_bytes = path, CHUNKS_TOGETHER * chunk_bytes
        with open_regular(path) if content is None else nullcontext(content) as file:
            self.n_bytes = os.fstat(file.fileno()).st_size
            # By its path, pyarrow reads a file faster than through an object of Python.
            where = path if content is None else content
            with refuse_damage(self.path, "Parquet"):
                metadata = parquet.read_metadata(where)
                # All columns are read at the same time, each through its own buffer.
                buffer_bytes = max(_LEAST_BUFFER, self._most_bytes // max(1, metadata.num_columns))
                self._file = parquet.ParquetFile(
                    where,
                    metadata=metadata,
                    buffer_size=buffer_bytes,
                    pre_buffer=False,
                    # In nanoseconds, years after 2262 would become others.
                    coerce_int96_timestamp_unit="us",
                )
                self.types = self._file.schema_arrow
                self.columns = tuple(self.types.names)
                self.index = find_row_labels(self.types)
        # The row groups are part of the schema: a position is a row group and a row in it.
        lengths = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self.schema = self.types.serialize().to_pybytes() + json.dumps(lengths).encode()
        leaves = [metadata.schema.column(i) for i in range(metadata.num_columns)]
        self.in_dictionary = [
            leaf.path for leaf in leaves if leaf.physical_type not in {"DOUBLE", "FLOAT"}
        ]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def chunks(
        self,
        features: Sequence[str],
        at: Position | None = None,
        *,
        label: str | None = None,
        with_places: bool = False,
    ) -> Iterator[Chunk[pa.Table]]:
        """Yield the rows from this position on, in the file's order.

        The end of a chunk depends only on the file and on the chunk's start. If `label` names a
        column, a row with a blank label is a bad row.

        Raises
        ------
        InvalidInput
            If a column is missing or has the wrong type, or the file is damaged.
        """
        wanted = find_columns(self.path, self.columns, features)
        self._check_types(features, label)
        for table, place, end, bytes_done in self.pieces(at):
            chunk = _Columns(table, features, wanted, place)
            labels = [] if label is None else chunk.labels(label)
            rows, X, faults = chunk.sorted_out()
            places = chunk.places() if with_places or label is not None else None
            yield Chunk(rows, X, labels, faults, end, bytes_done, places)

    def pieces(self, at: Position | None = None) -> Iterator[Piece]:
        """Yield all rows from this position on, in the file's order.

        The end of a piece depends only on the file and on the piece's start.

        Raises
        ------
        InvalidInput
            If the file is damaged.
        """
        metadata = self._file.metadata
        lengths = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        begin = at or {"group": 0, "row": 0}
        if lengths and not (
            0 <= begin["group"] < len(lengths) and 0 <= begin["row"] <= lengths[begin["group"]]
        ):
            raise make_file_error(
                self.path,
                None,
                f"expected row {begin['row']} in row group {begin['group']}, got row groups of "
                f"{listing([f'{length:,}' for length in lengths])} rows",
            )
        for group in range(begin["group"], len(lengths)):
            before = sum(lengths[:group])
            row = begin["row"] if group == begin["group"] else 0
            for table in self._tables(group, row):
                place = before + row + 1
                row += len(table)
                bytes_done = self.n_bytes * (before + row) // metadata.num_rows
                yield table, place, {"group": group, "row": row}, bytes_done
            if row != lengths[group]:
                raise make_file_error(
                    self.path,
                    None,
                    f"expected {lengths[group]:,} rows in row group {group}, got {row:,}",
                )

    def _tables(self, group: int, skipped: int) -> Iterator[pa.Table]:
        """Yield a row group's rows after the first `skipped` ones, one chunk at a time."""
        metadata = self._file.metadata.row_group(group)
        width = sum(map(_width, self.types.types))
        if metadata.num_rows:
            width = max(width, metadata.total_byte_size // metadata.num_rows)
        n = max(1, min(_BATCH_ROWS, self._most_bytes // max(1, width)))
        batches = self._file.iter_batches(n, row_groups=[group], use_threads=False)
        held: list[pa.RecordBatch] = []
        n_rows = n_bytes = 0
        while True:
            with refuse_damage(self.path, "Parquet"):
                batch = next(batches, None)
            if batch is None:
                break
            if skipped and skipped >= len(batch):
                skipped -= len(batch)
                continue
            # The position may lie inside a batch, if another release of pyarrow or Quadnet wrote
            # it.
            batch = batch.slice(skipped)
            skipped = 0
            held.append(batch)
            n_rows, n_bytes = n_rows + len(batch), n_bytes + batch.nbytes
            if n_rows >= MOST_ROWS or n_bytes >= self._most_bytes:
                yield pa.Table.from_batches(held)
                held, n_rows, n_bytes = [], 0, 0
        if held:
            yield pa.Table.from_batches(held)

    def _check_types(self, features: Sequence[str], label: str | None) -> None:
        for name in features:
            kind = self.types.field(name).type
            if not (_is_whole(kind) or pa.types.is_floating(kind)):
                raise make_file_error(
                    self.path, name, f"expected numbers, got values of type {kind}"
                )
        if label is not None:
            kind = self.types.field(label).type
            values = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not (_is_whole(values) or is_text(values)):
                raise make_file_error(
                    self.path, label, f"expected text or integers, got values of type {kind}"
                )


class _Columns:
    """A chunk's rows and the faults among them; `place` is the number of the first row."""

    def __init__(
        self, table: pa.Table, features: Sequence[str], wanted: Sequence[int], place: int
    ) -> None:
        self._table, self._place = table, place
        self._X = np.empty((len(table), len(wanted)))
        self._faults: dict[int, tuple[str, str]] = {}
        for j, (name, i) in enumerate(zip(features, wanted, strict=True)):
            # An integer beyond 2**53 becomes the nearest float, and a null becomes NaN.
            column = table.column(i)
            self._X[:, j] = to_floats(column)
            for row in np.flatnonzero(~np.isfinite(self._X[:, j])).tolist():
                self._faults.setdefault(row, (name, describe_non_number(column[row].as_py())))

    def labels(self, name: str) -> list[str]:
        """Return the labels of the good rows; a row without a label becomes a bad row."""
        labels = {}
        for row, value in enumerate(self._table.column(name).to_pylist()):
            try:
                labels[row] = parse_label(_decode_label(value))
            except cells.BadCell as error:
                self._faults.setdefault(row, (name, str(error)))
        return [text for row, text in labels.items() if row not in self._faults]

    def places(self) -> IntArray:
        """Return the numbers of the good rows in the file."""
        numbers = np.arange(self._place, self._place + len(self._X))
        return np.delete(numbers, list(self._faults))

    def sorted_out(self) -> tuple[pa.Table, FloatArray, list[Fault]]:
        """Return the good rows, their features, and the faults of the others."""
        numbers = np.arange(self._place, self._place + len(self._X))
        rows, good, faults = sort_out(self._table, self._faults, numbers)
        return rows, self._X[good] if faults else self._X, faults


@contextmanager
def refuse_damage(path: Path, format_: str) -> Iterator[None]:
    """Turn pyarrow's errors, and those of names that are not UTF-8, into InvalidInput."""
    try:
        yield
    except (OSError, MemoryError, ValueError, pa.ArrowException) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise make_file_error(path, None, f"expected a whole {format_} file ({reason})") from error


def sort_out(
    table: pa.Table, problems: Mapping[int, tuple[str, str]], places: IntArray
) -> tuple[pa.Table, BoolArray, list[Fault]]:
    """Return the good rows, their mask, and the faults of the others.

    Parameters
    ----------
    table : pyarrow.Table
    problems : mapping
        The column and the description of what is wrong with a row, by its index.
    places : ndarray of int, shape (n_rows,)
        The number of each row in the file.
    """
    good = np.ones(len(table), np.bool_)
    faults = []
    for row, (column, description) in sorted(problems.items()):
        good[row] = False
        values = {
            name: _to_python(table.column(i), row) for i, name in enumerate(table.column_names)
        }
        text = json.dumps(values, default=str, ensure_ascii=False).encode()
        faults.append(Fault(int(places[row]), column, description, text))
    return _take_rows(table, good) if faults else table, good, faults


def _is_whole(kind: pa.DataType) -> bool:
    whole: bool = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    return whole


def _decode_label(value: object) -> object:
    """Return a label as text; raise BadCell if it is bytes that are not UTF-8."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise cells.BadCell(f"expected a label in UTF-8, got {shorten(repr(value))}") from None


def _to_python(column: pa.ChunkedArray, row: int) -> object:
    try:
        return column[row].as_py()
    except ValueError:
        # A date with nanoseconds or a year above 9999, or text that is not UTF-8.
        return f"a value of type {column.type}"


def _take_rows(table: pa.Table, chosen: BoolArray) -> pa.Table:
    """Return the chosen rows of the table."""
    places = np.flatnonzero(chosen)
    try:
        return table.take(to_array(places))
    except pa.ArrowNotImplementedError:
        # pyarrow cannot take rows of some types, such as string views, but can slice them.
        runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
        cut = [table.slice(int(run[0]), len(run)) for run in runs if len(run)]
        return pa.concat_tables(cut) if cut else table.slice(0, 0)


def _width(kind: pa.DataType) -> int:
    """Return how many bytes a value takes in memory; 0 if its type does not tell."""
    try:
        bits: int = kind.bit_width
    except ValueError:
        return 0
    return max(1, bits // 8)
