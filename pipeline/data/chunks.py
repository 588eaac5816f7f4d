"""A part of a user's file in memory: rows that can be used, and what is wrong with the others."""

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from quadnet.errors import FileUnusable, InvalidInput, Violation, listing
from quadnet.types import FloatArray, IntArray

Rows = TypeVar("Rows")

Position = Mapping[str, int]
"""Where in its file a chunk begins or ends, in numbers that can be written down."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one row cannot be used.

    `place` is a CSV file's line, as an editor counts them, or a Parquet file's row, from 1; `text`
    is the row as it stands.
    """

    place: int
    column: str | None
    description: str
    text: bytes = b""


@dataclass(frozen=True)
class Chunk(Generic[Rows]):
    """Some rows of a file, one after the other.

    `rows` are the good ones as they stand, X (n_good_rows, n_features) their features, `labels`
    their labels and `places` their lines or rows in the file if labels were asked for, `end` where
    the next chunk begins, and `bytes_done` about how much of the file lies before that.
    """

    rows: Rows
    X: FloatArray
    labels: list[str]
    faults: list[Fault]
    end: Position
    bytes_done: int
    places: IntArray | None = None


def make_rows_error(path: Path, unit: str, faults: Sequence[Fault], total: int = 0) -> InvalidInput:
    """Return the error that says what is wrong with the file's rows, the first fault first."""
    violations = [
        Violation(f"{path}, {unit} {fault.place}{_in(fault.column)}", fault.description)
        for fault in faults[: InvalidInput.MAX_VIOLATIONS]
    ]
    return InvalidInput(violations, total or len(faults))


def make_file_error(path: Path, column: str | None, description: str) -> InvalidInput:
    """Return the error that says what is wrong with the file, or one of its columns, as a whole."""
    return InvalidInput([Violation(f"{path}{_in(column)}", description)])


def _in(column: str | None) -> str:
    return "" if column is None else f", column {column}"


def find_columns(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return where each of the wanted columns stands.

    Raises
    ------
    InvalidInput
        If one is not there, or a name is there twice.
    """
    places: dict[str, int] = {}
    for i, name in enumerate(columns):
        # Columns without a name are not to be told apart, and need not be.
        if name in places and (name or name in wanted):
            raise make_file_error(path, repr(name), "expected each column once, got this one twice")
        places[name] = i
    for name in wanted:
        if name not in places:
            there = listing(columns)
            raise make_file_error(
                path, name, f"expected such a column, got none; those there are: {there}"
            )
    return [places[name] for name in wanted]


def open_regular(path: Path) -> BinaryIO:
    """Open a file that can be read from any place in it.

    Raises
    ------
    FileUnusable
        If it cannot be read, or is no file of that kind.
    """
    try:
        # Asked first: opening a pipe would wait for its writer.
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb")
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}.") from error
    kind = "a directory" if stat.S_ISDIR(mode) else "a device or a pipe"
    raise FileUnusable(f"{path} cannot be read: it is {kind}. Name a file.")
