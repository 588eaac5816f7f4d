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
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.data.files.chunks import (
    Chunk,
    ColumnChunk,
    Fault,
    Position,
    find_columns,
    make_rows_error,
    open_regular,
)
from pipeline.data.files.csv.chunk_builder import ChunkBuilder
from pipeline.data.files.csv.columns import NumberFormat, choose_parser, choose_text_parser
from pipeline.data.files.csv.kept_cells import AnyCells, NumericCells, TextCells
from pipeline.data.files.csv.records import UNCLOSED, find_open_quote, find_problem, read_records
from quadnet.errors import FileUnusable
from quadnet.tables.columns import Texts
from quadnet.types import FloatArray

_MARK = b"\xef\xbb\xbf"


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

        def make_cells() -> NumericCells:
            return NumericCells(wanted, label_at, self._parse)

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

        def make_cells(names: Collection[str] = numbers) -> TextCells:
            columns = frozenset(i for i in wanted if self.columns[i] in names)
            return TextCells(wanted, self.delimiter, NumberFormat(columns, decimal, missing), parse)

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
        self, at: Position | None, make_cells: Callable[[], AnyCells], *, places: bool
    ) -> Iterator[tuple["ChunkBuilder", AnyCells, Position]]:
        """Yield the rows of each chunk, what became of their cells, and the chunk's end."""
        position = at or self.start
        offset, line = position["offset"], position["line"]
        while data := self._read(offset):
            final = offset + len(data) >= self.n_bytes
            kept = make_cells()
            part = ChunkBuilder(self.columns, self.delimiter, line, kept, places=places)
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

    def _refuse_endless(self, part: "ChunkBuilder", data: bytes, offset: int) -> None:
        """Refuse the chunk's first line, because its row does not end in the chunk."""
        # A quote may have been opened by mistake: only its line is bad, whatever follows.
        length = data.find(b"\n", find_open_quote(data)) + 1
        problem = UNCLOSED
        if not length:
            length = len(data)
            problem = f"expected a row of at most {self._chunk_bytes:,} bytes, got a longer one"
        ended = data[length - 1 : length] == b"\n"
        while not ended and (more := self._read(offset + length)):
            ended = b"\n" in more
            length += more.find(b"\n") + 1 or len(more)
        n_lines = data[:length].count(b"\n") + int(ended and data[length - 1 : length] != b"\n")
        lines_before = max(0, n_lines - 1) if problem == UNCLOSED else 0
        part.refuse(data[:length], None, problem, lines_before=lines_before)
        part.advance(length, n_lines)


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]
