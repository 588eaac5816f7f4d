"""Read a CSV file in chunks of bytes and keep its rows unchanged.

Most chunks have no fault: pyarrow or NumPy parses their numbers. Of any other chunk, the smallest
suspicious piece goes to the csv module, which reads it row by row and finds each fault. All three
give the same numbers, to the last bit.

A row ends with a line feed outside quotes. A blank line is not a row. Only one chunk is in memory
at a time, so a row that is longer than a chunk is a bad row.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import numpy as np

from pipeline.data.files import cells, csv_records
from pipeline.data.files.cells import parse_label, parse_numbers
from pipeline.data.files.chunks import (
    Chunk,
    ColumnChunk,
    Fault,
    Position,
    find_columns,
    make_rows_error,
    open_regular,
)
from pipeline.data.files.column_joiner import join_columns
from pipeline.data.files.csv_columns import (
    NumberFormat,
    Parser,
    TextParser,
    choose_parser,
    choose_text_parser,
    cut_rows,
)
from pipeline.data.files.csv_records import find_open_quote, find_problem, read_records
from quadnet.errors import FileUnusable
from quadnet.tables.columns import Texts
from quadnet.types import FloatArray

_MARK = b"\xef\xbb\xbf"

# Below this many lines the csv module is as fast as finding out which of them is suspicious.
_FEW_LINES = 128

_AnyCells = TypeVar("_AnyCells", bound="_Cells")


class CsvFile:
    """A CSV file that is open to be read.

    Parameters
    ----------
    path : path
    chunk_bytes : int
        The size of a chunk in memory, which is also the longest row.
    delimiter : str
        The character between two cells.
    header : bool
        Whether the first row has the names of the columns.
    preamble : bytes
        The lines before the first row, without a byte-order mark.
    has_row_labels : bool
        Whether the rows begin with a cell for which the header has no name.
    file : binary file, optional
        The content, as UTF-8, if it is not that of the file at this path.

    Attributes
    ----------
    schema : bytes
        The header: the first row, unchanged, with its byte-order mark if it has one.
    columns : tuple of str
        Without a header, ``column_1``, ``column_2`` and so on.
    index : tuple of str
        Always empty: a CSV file cannot mark columns as row labels.
    decimal : str
        The decimal separator of numbers: always a point.
    start : Position
        The position of the first row.
    n_bytes : int
        The size of the content.

    Raises
    ------
    FileUnusable
        If the file cannot be read.
    InvalidInput
        If it has no header.
    """

    unit: str = "line"
    index: tuple[str, ...] = ()
    decimal: str = "."

    def __init__(
        self,
        path: Path,
        *,
        chunk_bytes: int,
        delimiter: str = ",",
        header: bool = True,
        preamble: bytes = b"",
        has_row_labels: bool = False,
        file: BinaryIO | None = None,
    ) -> None:
        self.path, self._chunk_bytes, self.delimiter = path, chunk_bytes, delimiter
        self._file = open_regular(path) if file is None else file
        try:
            self.n_bytes = os.fstat(self._file.fileno()).st_size
            self._parse = choose_parser(self.n_bytes)
            self.schema, self.columns, self.start = self._read_header(preamble, is_named=header)
            if has_row_labels:
                self.columns = ("", *self.columns)
        except BaseException:
            self.close()
            raise

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
    ) -> Iterator[Chunk[list[bytes]]]:
        """Yield the rows from this position on, in the file's order, without their line ends.

        The end of a chunk depends only on the file and on the chunk's start. If `label` names a
        column, a row with a blank label is a bad row.

        Raises
        ------
        InvalidInput
            If a column is missing.
        FileUnusable
            If the file can no longer be read.
        """
        wanted = find_columns(self.path, self.columns, features)
        label_at = None if label is None else self.columns.index(label)

        def make_cells() -> _NumericCells:
            return _NumericCells(wanted, label_at, self._parse)

        with_places = with_places or label is not None
        for part, kept, end in self._parts(at, make_cells, places=with_places):
            places = np.array(part.places, np.intp) if with_places else None
            yield Chunk(
                part.rows, kept.join(), kept.labels, part.faults, end, end["offset"], places
            )

    def column_chunks(
        self,
        names: Sequence[str],
        at: Position | None = None,
        *,
        numbers: Collection[str] = (),
        decimal: str = ".",
        missing: Collection[str] = (),
    ) -> Iterator[ColumnChunk[list[bytes], Texts | FloatArray]]:
        """Yield the rows as `chunks` does, with the texts of the named columns.

        Any text is accepted, so a row is bad only if it is not CSV with the right number of cells.

        Parameters
        ----------
        names : sequence of str
        at : Position, optional
        numbers : collection of str
            Columns that are read as numbers, which is faster, where all cells of a chunk are
            numbers or words for missing values. Names may be added between two chunks.
        decimal : "." or ","
            The decimal separator of these numbers.
        missing : collection of str
            Words for missing values.
        """
        wanted = find_columns(self.path, self.columns, names)
        parse = choose_text_parser(self.n_bytes)

        def make_cells(names: Collection[str] = numbers) -> _TextCells:
            columns = frozenset(i for i in wanted if self.columns[i] in names)
            return _TextCells(
                wanted, self.delimiter, NumberFormat(columns, decimal, missing), parse
            )

        begin = at or self.start
        for part, kept, end in self._parts(begin, make_cells, places=True):
            joined = kept.join()
            if joined is None:
                texts = partial(make_cells, ())
                part, kept, _ = next(self._parts(begin, texts, places=True))  # noqa: PLW2901
                joined = kept.join()
                assert joined is not None
            places = np.array(part.places, np.intp)
            columns = dict(zip(names, joined, strict=True))
            yield ColumnChunk(
                self.path, part.rows, columns, places, part.faults, end, end["offset"]
            )
            begin = end

    def _parts(
        self, at: Position | None, make_cells: Callable[[], _AnyCells], *, places: bool
    ) -> Iterator[tuple["_ChunkBuilder", _AnyCells, Position]]:
        """Yield the rows of each chunk, what became of their cells, and the chunk's end."""
        position = at or self.start
        offset, line = position["offset"], position["line"]
        while data := self._read(offset):
            final = offset + len(data) >= self.n_bytes
            kept = make_cells()
            part = _ChunkBuilder(self.columns, self.delimiter, line, kept, places=places)
            part.read(data if final else _whole_lines(data), final=final)
            if not part.n_bytes:
                self._refuse_endless(part, data, offset)
            offset, line = offset + part.n_bytes, part.line
            yield part, kept, {"offset": offset, "line": line}

    def _read(self, offset: int) -> bytes:
        try:
            self._file.seek(offset)
            # Not beyond the size at opening: a growing file would never end.
            return self._file.read(min(self._chunk_bytes, self.n_bytes - offset))
        except OSError as error:
            raise FileUnusable(f"{self.path} cannot be read: {error.strerror}.") from error

    def _read_header(
        self, preamble: bytes, *, is_named: bool
    ) -> tuple[bytes, tuple[str, ...], Position]:
        data = self._read(0)
        mark = _MARK if data.startswith(_MARK) else b""
        final = len(data) >= self.n_bytes
        offset, line = len(mark) + len(preamble), 1 + preamble.count(b"\n")
        text = data if final else _whole_lines(data)
        records = read_records(text[offset:], final=final, delimiter=self.delimiter)
        for raw, record in records:
            end = {"offset": offset + len(raw), "line": line + raw.count(b"\n")}
            if problem := find_problem(raw, record):
                break
            if record and is_named:
                names = tuple(name.strip() for name in record)
                return mark + raw.rstrip(b"\r\n"), names, end
            if record:
                names = tuple(f"column_{i}" for i in range(1, len(record) + 1))
                schema = self.delimiter.join(names).encode()
                return schema, names, {"offset": offset, "line": line}
            offset, line = end["offset"], end["line"]
        else:
            expected = "a header" if is_named else "a row"
            line, problem = 1, f"expected {expected}, got nothing"
            if not final:
                problem = f"expected {expected} of at most {self._chunk_bytes:,} bytes, got more"
        raise make_rows_error(self.path, self.unit, [Fault(line, None, problem)])

    def _refuse_endless(self, part: "_ChunkBuilder", data: bytes, offset: int) -> None:
        """Refuse the chunk's first line, because its row does not end in the chunk."""
        # A quote may have been opened by mistake: only its line is bad, whatever follows.
        length = data.find(b"\n", find_open_quote(data)) + 1
        problem = csv_records.UNCLOSED
        if not length:
            length = len(data)
            problem = f"expected a row of at most {self._chunk_bytes:,} bytes, got a longer one"
        ended = data[length - 1 : length] == b"\n"
        while not ended and (more := self._read(offset + length)):
            ended = b"\n" in more
            length += more.find(b"\n") + 1 or len(more)
        n_lines = data[:length].count(b"\n") + int(ended and data[length - 1 : length] != b"\n")
        lines_before = max(0, n_lines - 1) if problem == csv_records.UNCLOSED else 0
        part.refuse(data[:length], None, problem, lines_before=lines_before)
        part.advance(length, n_lines)


class _Cells(Protocol):
    """What becomes of the cells of good rows, in the file's order."""

    def read_regular(self, text: bytes, rows: Sequence[bytes]) -> bool:
        """Add all rows of regular text; return whether all of them are good."""

    def read_record(self, record: Sequence[str]) -> None:
        """Add one row; raise BadCell, with the index of the column, if it is not good."""

    def end_records(self) -> None:
        """End a sequence of calls of `read_record`."""


class _NumericCells:
    """Numbers of the wanted columns, and labels if there is a column of labels."""

    def __init__(self, wanted: Sequence[int], label: int | None, parse: Parser) -> None:
        self._wanted, self._label, self._parse = wanted, label, parse
        self.labels: list[str] = []
        self._pieces: list[FloatArray] = []
        self._values: list[float] = []

    def read_regular(self, text: bytes, rows: Sequence[bytes]) -> bool:
        """Add all rows of regular text; return whether all of them are good."""
        X = self._parse(text, self._wanted)
        if X is None or len(X) != len(rows):
            return False
        if self._label is not None:
            if b'"' in text:
                return False
            labels = [row.split(b",")[self._label].decode() for row in rows]
            if not all(0 < len(name) <= cells.LONGEST_LABEL and name.strip() for name in labels):
                return False
            self.labels += labels
        self._pieces.append(X)
        return True

    def read_record(self, record: Sequence[str]) -> None:
        """Add one row; raise BadCell, with the index of the column, if it is not good."""
        at = self._wanted
        try:
            row = parse_numbers([record[i] for i in at])
            if self._label is not None:
                at = [self._label]
                self.labels.append(parse_label(record[self._label]))
        except cells.BadCell as error:
            error.index = at[error.index]
            raise
        self._values += row

    def end_records(self) -> None:
        """End a sequence of calls of `read_record`."""
        self._pieces.append(np.array(self._values).reshape(-1, len(self._wanted)))
        self._values = []

    def join(self) -> FloatArray:
        """Return the numbers of all rows."""
        return np.concatenate(self._pieces) if self._pieces else np.empty((0, len(self._wanted)))


class _TextCells:
    """Texts or numbers of the wanted columns."""

    def __init__(
        self, wanted: Sequence[int], delimiter: str, numbers: NumberFormat, parse: TextParser
    ) -> None:
        self._wanted, self._delimiter = wanted, delimiter
        self._numbers, self._parse = numbers, parse
        self._pieces: list[list[Texts | FloatArray]] = []
        self._records: list[list[str]] = []

    def read_regular(self, text: bytes, rows: Sequence[bytes]) -> bool:
        """Add all rows of regular text; return whether all of them are good."""
        columns = self._parse(text, self._wanted, self._delimiter, self._numbers)
        if any(len(column) != len(rows) for column in columns):
            return False
        self._pieces.append(columns)
        return True

    def read_record(self, record: Sequence[str]) -> None:
        """Add one row."""
        self._records.append([record[i] for i in self._wanted])

    def end_records(self) -> None:
        """End a sequence of calls of `read_record`."""
        if self._records:
            columns = zip(*self._records, strict=True)
            self._pieces.append([Texts.from_values(column) for column in columns])
            self._records = []

    def join(self) -> list[Texts | FloatArray] | None:
        """Return each wanted column; None if one has texts in some rows and numbers in others."""
        if not self._pieces:
            return [Texts.from_values([]) for _ in self._wanted]
        pieces = list(zip(*self._pieces, strict=True))
        if any(len({isinstance(piece, Texts) for piece in column}) > 1 for column in pieces):
            return None
        return [join_columns(column) for column in pieces]


class _ChunkBuilder:
    """The good rows of some consecutive lines, and the faults of the bad ones."""

    def __init__(
        self, columns: Sequence[str], delimiter: str, line: int, kept: _Cells, *, places: bool
    ) -> None:
        self._columns, self._delimiter, self._cells = columns, delimiter, kept
        self._with_places = places
        self.rows: list[bytes] = []
        self.places: list[int] = []
        self.faults: list[Fault] = []
        self.n_bytes, self.line = 0, line

    def read(self, data: bytes, *, final: bool) -> None:
        """Add the rows of these whole lines, except a last row whose quote is still open."""
        if b'"' in data:
            closed = data if final else _closed(data)
            if not (closed and self._read_at_once(closed)):
                self._read_one_by_one(data, final=final)
        elif data and not self._read_at_once(data):
            middle = data.find(b"\n", len(data) // 2) + 1
            if data.count(b"\n") > _FEW_LINES and 0 < middle < len(data):
                self.read(data[:middle], final=True)
                self.read(data[middle:], final=True)
            else:
                self._read_one_by_one(data, final=True)

    def advance(self, n_bytes: int, n_lines: int) -> None:
        """Count bytes and lines as read."""
        self.n_bytes += n_bytes
        self.line += n_lines

    def refuse(
        self, raw: bytes, column: str | None, problem: str, *, lines_before: int = 0
    ) -> None:
        """Add a fault of the next row, `lines_before` lines after the row's first line."""
        line = self.line + lines_before
        self.faults.append(Fault(line, column, problem, raw.rstrip(b"\r\n")))

    def _read_at_once(self, data: bytes) -> bool:
        """Add all rows if no row is suspicious; return whether they were added."""
        text = data.replace(b"\r\n", b"\n") if b"\r" in data else data
        if b"\r" in text or b"\0" in text or not _is_utf8(text):
            return False
        is_as_read = text is data
        if not text.endswith(b"\n"):
            text += b"\n"
        rows = cut_rows(text, len(self._columns), self._delimiter.encode())
        if rows is None or not (is_as_read or len(rows) == text.count(b"\n")):
            return False
        if not self._cells.read_regular(text, rows):
            return False
        if self._with_places:
            # Regular text has no blank lines, but a row may have several lines.
            lines = [1 + row.count(b"\n") for row in rows] if b'"' in text else [1] * len(rows)
            self.places += accumulate(lines[:-1], initial=self.line)
        self.rows += rows
        self.advance(len(data), data.count(b"\n"))
        return True

    def _read_one_by_one(self, data: bytes, *, final: bool) -> None:
        for raw, record in read_records(data, final=final, delimiter=self._delimiter):
            if problem := find_problem(raw, record):
                inside = raw.rstrip(b"\r\n").count(b"\n") if problem == csv_records.UNCLOSED else 0
                self.refuse(raw, None, problem, lines_before=inside)
            elif record:
                self._read_row(raw, record)
            self.advance(len(raw), raw.count(b"\n"))
        self._cells.end_records()

    def _read_row(self, raw: bytes, record: Sequence[str]) -> None:
        n_columns = len(self._columns)
        if len(record) != n_columns:
            noun = "cell" if n_columns == 1 else "cells"
            lines = raw.rstrip(b"\r\n").count(b"\n") + 1
            hint = f" over {lines:,} lines: is a closing quote missing?" if lines > 1 else ""
            self.refuse(raw, None, f"expected {n_columns} {noun}, got {len(record)}{hint}")
            return
        try:
            self._cells.read_record(record)
        except cells.BadCell as error:
            i = error.index
            lines_before = sum(cell.count("\n") for cell in record[:i])
            self.refuse(raw, self._columns[i], str(error), lines_before=lines_before)
            return
        if self._with_places:
            self.places.append(self.line)
        self.rows.append(raw.rstrip(b"\r\n"))


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def _closed(lines: bytes) -> bytes:
    """Return the lines before the one with a quote that is not closed."""
    if lines.count(b'"') % 2:
        return lines[: lines.rfind(b"\n", 0, lines.rfind(b'"')) + 1]
    return lines


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
