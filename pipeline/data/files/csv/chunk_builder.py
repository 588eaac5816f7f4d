"""The good rows of some consecutive lines of CSV, and the faults of the bad ones."""

from collections.abc import Sequence
from itertools import accumulate

from pipeline.data.files import cells
from pipeline.data.files.chunks import Fault
from pipeline.data.files.csv.columns import cut_rows
from pipeline.data.files.csv.kept_cells import Cells
from pipeline.data.files.csv.records import UNCLOSED, find_problem, read_records

# Below this many lines the csv module is as fast as finding out which of them is suspicious.
_FEW_LINES = 128


class ChunkBuilder:
    """The good rows of some consecutive lines, and the faults of the bad ones."""

    def __init__(
        self, columns: Sequence[str], delimiter: str, line: int, kept: Cells, *, places: bool
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
                inside = raw.rstrip(b"\r\n").count(b"\n") if problem == UNCLOSED else 0
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
