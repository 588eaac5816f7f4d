"""Read a CSV file in chunks of bytes and keep its rows unchanged.

Most chunks have no fault: pyarrow or NumPy parses their numbers. Of any other chunk, the smallest
suspicious piece goes to the csv module, which reads it row by row and finds each fault. All three
give the same numbers, to the last bit.

A row ends with a line feed outside quotes. A blank line is not a row. Only one chunk is in memory
at a time, so a row that is longer than a chunk is a bad row.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.data.files import cells, csv_records
from pipeline.data.files.cells import parse_label, parse_numbers
from pipeline.data.files.chunks import (
    Chunk,
    Fault,
    Position,
    find_columns,
    make_rows_error,
    open_regular,
)
from pipeline.data.files.csv_columns import Parser, choose_parser, cut_rows
from pipeline.data.files.csv_records import find_open_quote, find_problem, read_records
from quadnet.errors import FileUnusable
from quadnet.types import FloatArray

_MARK = b"\xef\xbb\xbf"

# Below this many lines the csv module is as fast as finding out which of them is suspicious.
_FEW_LINES = 128


class CsvFile:
    """A CSV file that is open to be read.

    Parameters
    ----------
    path : path
    chunk_bytes : int
        The size of a chunk in memory, which is also the longest row.

    Attributes
    ----------
    schema : bytes
        The header: the first row, unchanged, with its byte-order mark if it has one.
    columns : tuple of str
    index : tuple of str
        Always empty: a CSV file cannot mark columns as row labels.
    start : Position
        The position of the first row.

    Raises
    ------
    FileUnusable
        If the file cannot be read.
    InvalidInput
        If it has no header.
    """

    unit: str = "line"
    index: tuple[str, ...] = ()

    def __init__(self, path: Path, *, chunk_bytes: int) -> None:
        self.path, self._chunk_bytes = path, chunk_bytes
        self._file = open_regular(path)
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            self._parse = choose_parser(self._size)
            self.schema, self.columns, self.start = self._read_header()
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
        with_places = with_places or label is not None
        position = at or self.start
        offset, line = position["offset"], position["line"]
        while data := self._read(offset):
            final = offset + len(data) >= self._size
            part = _ChunkBuilder(
                self.columns, wanted, label_at, line, self._parse, with_places=with_places
            )
            part.read(data if final else _whole_lines(data), final=final)
            if not part.n_bytes:
                self._refuse_endless(part, data, offset)
            offset, line = offset + part.n_bytes, part.line
            X = np.concatenate(part.X) if part.X else np.empty((0, len(wanted)))
            end = {"offset": offset, "line": line}
            places = np.array(part.places, np.intp) if with_places else None
            yield Chunk(part.rows, X, part.labels, part.faults, end, offset, places)

    def _read(self, offset: int) -> bytes:
        try:
            self._file.seek(offset)
            # Not beyond the size at opening: a growing file would never end.
            return self._file.read(min(self._chunk_bytes, self._size - offset))
        except OSError as error:
            raise FileUnusable(f"{self.path} cannot be read: {error.strerror}.") from error

    def _read_header(self) -> tuple[bytes, tuple[str, ...], Position]:
        data = self._read(0)
        mark = _MARK if data.startswith(_MARK) else b""
        final = len(data) >= self._size
        offset, line = len(mark), 1
        text = data if final else _whole_lines(data)
        for raw, record in read_records(text[len(mark) :], final=final):
            offset, end = offset + len(raw), line + raw.count(b"\n")
            if problem := find_problem(raw, record):
                break
            if record:
                names = tuple(name.strip() for name in record)
                return mark + raw.rstrip(b"\r\n"), names, {"offset": offset, "line": end}
            line = end
        else:
            line, problem = 1, "expected a header, got nothing"
            if not final:
                problem = f"expected a header of at most {self._chunk_bytes:,} bytes, got more"
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


class _ChunkBuilder:
    """The good rows of some consecutive lines, and the faults of the bad ones."""

    def __init__(
        self,
        columns: Sequence[str],
        wanted: Sequence[int],
        label: int | None,
        line: int,
        parse: Parser,
        *,
        with_places: bool,
    ) -> None:
        self._columns, self._wanted, self._label, self._parse = columns, wanted, label, parse
        self._with_places = with_places
        self.rows: list[bytes] = []
        self.labels: list[str] = []
        self.places: list[int] = []
        self.X: list[FloatArray] = []
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
        rows = cut_rows(text, len(self._columns))
        if rows is None or not (is_as_read or len(rows) == text.count(b"\n")):
            return False
        X = self._parse(text, self._wanted)
        if X is None or len(X) != len(rows):
            return False
        if self._with_places:
            if b'"' in text:
                return False
            # Without quotes and blank lines, a row is a line.
            places = range(self.line, self.line + len(rows))
        if self._label is not None:
            labels = [row.split(b",")[self._label].decode() for row in rows]
            if not all(0 < len(name) <= cells.LONGEST_LABEL and name.strip() for name in labels):
                return False
            self.labels += labels
        if self._with_places:
            self.places += places
        self.X.append(X)
        self.rows += rows
        self.advance(len(data), data.count(b"\n"))
        return True

    def _read_one_by_one(self, data: bytes, *, final: bool) -> None:
        values: list[float] = []
        for raw, record in read_records(data, final=final):
            if problem := find_problem(raw, record):
                inside = raw.rstrip(b"\r\n").count(b"\n") if problem == csv_records.UNCLOSED else 0
                self.refuse(raw, None, problem, lines_before=inside)
            elif record:
                self._read_row(raw, record, values)
            self.advance(len(raw), raw.count(b"\n"))
        self.X.append(np.array(values).reshape(-1, len(self._wanted)))

    def _read_row(self, raw: bytes, record: Sequence[str], values: list[float]) -> None:
        n_columns = len(self._columns)
        if len(record) != n_columns:
            noun = "cell" if n_columns == 1 else "cells"
            lines = raw.rstrip(b"\r\n").count(b"\n") + 1
            hint = f" over {lines:,} lines: is a closing quote missing?" if lines > 1 else ""
            self.refuse(raw, None, f"expected {n_columns} {noun}, got {len(record)}{hint}")
            return
        at = self._wanted
        try:
            row = parse_numbers([record[i] for i in at])
            if self._label is not None:
                at = [self._label]
                self.labels.append(parse_label(record[self._label]))
        except cells.BadCell as error:
            i = at[error.index]
            lines_before = sum(cell.count("\n") for cell in record[:i])
            self.refuse(raw, self._columns[i], str(error), lines_before=lines_before)
            return
        values += row
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
