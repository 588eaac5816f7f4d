"""Chunks of a user's file: the rows that can be used, and the faults of the others."""

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from quadnet.errors import FileUnusable, InvalidInput, Violation, listing
from quadnet.name_display import suggest_name
from quadnet.tables.columns import Column
from quadnet.types import FloatArray, IntArray

Rows = TypeVar("Rows")
AnyColumn = TypeVar("AnyColumn", bound=Column)

Position = Mapping[str, int]
"""The position in the file at which a chunk begins or ends, as numbers that JSON can hold."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one row cannot be used.

    `place` is the line of a CSV file, counted as in an editor, or the row of a Parquet file. Both
    start at 1. `text` is the row's unchanged content.
    """

    place: int
    column: str | None
    description: str
    text: bytes = b""


@dataclass(frozen=True)
class Chunk(Generic[Rows]):
    """Some consecutive rows of a file.

    `rows` are the good rows, unchanged. X, of shape (n_good_rows, n_features), are their features.
    If labels were requested, `labels` are their labels and `places` their lines or rows in the
    file. `faults` describe the bad rows. `end` is the position of the next chunk, and `bytes_done`
    the approximate number of bytes before it.
    """

    rows: Rows
    X: FloatArray
    labels: list[str]
    faults: list[Fault]
    end: Position
    bytes_done: int
    places: IntArray | None = None


@dataclass(frozen=True)
class ColumnChunk(Generic[Rows, AnyColumn]):
    """Some consecutive rows of a file, with columns of any kind.

    `rows` are the good rows of the file `path`, unchanged. `columns` are their values by column
    name, and `places`, of shape (n_good_rows,), their lines or rows in the file. The rest is as in
    `Chunk`.
    """

    path: Path
    rows: Rows
    columns: dict[str, AnyColumn]
    places: IntArray
    faults: list[Fault]
    end: Position
    bytes_done: int


def make_rows_error(path: Path, unit: str, faults: Sequence[Fault], total: int = 0) -> InvalidInput:
    """Return the error that lists the faults of the file's rows, in the file's order."""
    violations = [
        Violation(f"{path}, {unit} {fault.place}{_in(fault.column)}", fault.description)
        for fault in faults[: InvalidInput.MAX_VIOLATIONS]
    ]
    return InvalidInput(violations, total or len(faults))


def make_file_error(path: Path, column: str | None, description: str) -> InvalidInput:
    """Return the error about the file as a whole, or about one of its columns."""
    return InvalidInput([Violation(f"{path}{_in(column)}", description)])


def _in(column: str | None) -> str:
    return "" if column is None else f", column {column}"


def find_columns(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return the index of each of the wanted columns.

    Raises
    ------
    InvalidInput
        If a column is missing, or a name occurs twice.
    """
    places: dict[str, int] = {}
    for i, name in enumerate(columns):
        # Several columns may lack a name, unless the empty name is wanted.
        if name in places and (name or name in wanted):
            problem = "expected each column once, got this one twice: rename one of them"
            raise make_file_error(path, repr(name), problem)
        places[name] = i
    for name in wanted:
        if name not in places:
            problem = f"expected such a column, found only: {listing(columns)}"
            hint = suggest_name(name, columns)
            raise make_file_error(path, name, f"{problem}.{hint}" if hint else problem)
    return [places[name] for name in wanted]


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, which can be read from any position.

    Raises
    ------
    FileUnusable
        If it cannot be read, or is not a regular file.
    """
    try:
        # Before opening: to open a pipe would block until it has a writer.
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb")
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}.") from error
    kind = "a directory" if stat.S_ISDIR(mode) else "a device or a pipe"
    raise FileUnusable(f"{path} cannot be read: it is {kind}. Name a file.")
