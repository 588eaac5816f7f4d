"""Reads the rows of a CSV file one after the other, each with its line and its text."""

import csv
import io
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from quadnet.errors import FileUnusable, InvalidInput, Violation, shorten
from quadnet.tables.missing_words import MISSING_WORDS

STANDARD_INPUT = Path("-")

DELIMITERS = ",;\t"

# Spreadsheets write a byte-order mark before the name of the first column.
_ENCODING = "utf-8-sig"


class CsvRow(NamedTuple):
    """One row: the line on which it ends, its text without the line's end, and its cells."""

    line: int
    text: str
    cells: list[str]


@dataclass(frozen=True)
class CsvFile:
    """An open CSV file with a header.

    Attributes
    ----------
    name : str
        The name of the file for messages.
    delimiter : str
        A comma, a semicolon or a tab: the one that occurs most in the header.
    header : str
        The text of the header.
    columns : list of str
        The names in the header.
    rows : iterator of CsvRow
        The rows after the header; blank lines are left out. It raises InvalidInput at a row with
        another number of cells than the header's, and FileUnusable if the file cannot be read.
    """

    name: str
    delimiter: str
    header: str
    columns: list[str]
    rows: Iterator[CsvRow]

    def make_error(
        self, description: str, *, line: int | None = None, column: str | None = None
    ) -> InvalidInput:
        """Return the error of a place in the file."""
        where = self.name
        where += "" if line is None else f", line {line}"
        where += "" if column is None else f", column {column}"
        return InvalidInput([Violation(where, description)])


@contextmanager
def open_csv(path: Path) -> Iterator[CsvFile]:
    """Open a CSV file in UTF-8; the path ``-`` is the standard input.

    Raises
    ------
    FileUnusable
        If the file cannot be read.
    InvalidInput
        If it is not a CSV file in UTF-8, has no header, or two columns have the same name.
    """
    name = "standard input" if path == STANDARD_INPUT else str(path)
    with ExitStack() as stack:
        # Not around the caller's block, whose errors have other causes.
        with _name_errors(name):
            lines = _RecordedLines(stack.enter_context(_open_text(path)))
            delimiter = _find_delimiter(lines.peek())
            reader = csv.reader(lines, delimiter=delimiter)
            columns = next(reader, [])
        rows = _read_rows(reader, lines, name, len(columns))
        file = CsvFile(name, delimiter, lines.take(), columns, rows)
        for column in columns:
            if columns.count(column) > 1:
                raise file.make_error(f"expected distinct columns, got {shorten(column)} twice")
        yield file


def _read_rows(reader: Any, lines: "_RecordedLines", name: str, n_cells: int) -> Iterator[CsvRow]:
    with _name_errors(name):
        for cells in reader:
            row = CsvRow(reader.line_num, lines.take(), cells)
            if cells and len(cells) != n_cells:
                raise InvalidInput(
                    [
                        Violation(
                            f"{name}, line {row.line}",
                            f"expected {n_cells} cells, got {len(cells)}",
                        )
                    ]
                )
            if cells:
                yield row


def clean_cell(text: str) -> str | None:
    """Return the text without the spaces around it; None for a word that means missing."""
    text = text.strip()
    return None if text in MISSING_WORDS else text


def parse_number(text: str) -> float:
    """Return the finite number in a text; raise ValueError with a description otherwise."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # As in tables to train on: "1_0" is a number for Python alone.
    if not math.isfinite(value) or "_" in text or not text.isascii():
        raise ValueError(f"expected a number, got {shorten(text)}")
    return value


class _RecordedLines:
    """The lines of a file, which remembers those that the csv module has consumed."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._first: str | None = None
        self._taken: list[str] = []

    def peek(self) -> str:
        """Return the first line, before any is consumed."""
        self._first = self._text.readline()
        return self._first

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._first or next(self._text)
        self._first = None
        self._taken.append(line)
        return line

    def take(self) -> str:
        """Return the lines since the last time, without the end of the last one."""
        text = "".join(self._taken).rstrip("\r\n")
        self._taken.clear()
        return text


def _find_delimiter(header: str) -> str:
    return max(DELIMITERS, key=header.count)


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    if path != STANDARD_INPUT:
        with path.open(encoding=_ENCODING, newline="") as text:
            yield text
        return
    text = io.TextIOWrapper(sys.stdin.buffer, encoding=_ENCODING, newline="")
    try:
        yield text
    finally:
        text.detach()  # not closed: the process owns its standard input


@contextmanager
def _name_errors(name: str) -> Iterator[None]:
    """Raise the errors of reading as ours, with the name of the file."""
    try:
        yield
    except OSError as error:
        raise FileUnusable(f"{name} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(
            [
                Violation(
                    name,
                    f"expected a CSV file in UTF-8, got another ({error}). `quadnet score` reads "
                    "Parquet, compressed files and other encodings",
                )
            ]
        ) from error
