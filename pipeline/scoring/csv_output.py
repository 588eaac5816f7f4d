"""Write scored rows as CSV, with a few vectorised passes for many rows."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.scoring.output import AddedColumns, AddedNumbers
from quadnet.types import BoolArray, FloatArray, IntArray

_DIGITS = np.array([list(b"%03d" % i) for i in range(1000)], np.uint8)
"""The numbers below 1000, each as three characters."""


class CsvFormat(Protocol):
    """The format of the source: its header, unchanged, and its separators."""

    schema: bytes
    decimal: str

    @property
    def delimiter(self) -> str:
        """The character between two cells."""


class CsvOutput:
    """Encodes scored rows as CSV, with the delimiter and the decimal separator of the source.

    Certainties have 6 decimals, and rows end with a line feed. A row without a prediction has an
    empty label and an empty certainty.
    """

    def __init__(self, source: CsvFormat, added: AddedColumns) -> None:
        separator, self._header = source.delimiter.encode(), _encode_header(source, added.names)
        labels = [encode_cell(name, source.delimiter) for name in added.classes]
        zero, version = b"0%s000000" % _choose_decimal(source).encode(), b"%d\n" % added.version
        endings = [separator.join([b"", label, zero, version]) for label in labels]
        # The last ending is for rows without a prediction, whose class is -1.
        self._endings = np.array([*endings, separator.join([b"", b"", b"", version])])
        # The offset of the certainty in each ending.
        self._certainty = np.array([len(label) + 2 for label in labels], np.intp)

    def begin(self) -> bytes:
        """Return the bytes before all rows."""
        return self._header + b"\n"

    def encode(self, rows: list[bytes], winners: IntArray, certainties: FloatArray) -> bytes:
        """Return the rows, given the index of each one's class and that class's probability.

        The index of a row without a prediction is -1.
        """
        pieces = [b""] * (2 * len(rows))
        pieces[::2] = rows
        pieces[1::2] = self._ends(winners, certainties)
        return b"".join(pieces)

    def end(self, read: Callable[[int, int], bytes], n_bytes: int) -> bytes:
        """Return the bytes after all rows."""
        return b""

    def _ends(self, winners: IntArray, certainties: FloatArray) -> list[bytes]:
        ends = self._endings[winners]
        rows = np.flatnonzero(winners >= 0)
        if len(rows) < len(winners):
            winners, certainties = winners[rows], certainties[rows]
        characters = ends.view(np.uint8).reshape(len(ends), ends.itemsize)
        ones, millionths = np.divmod(_millionths(certainties), 1_000_000)
        thousands, units = np.divmod(millionths, 1000)
        at = self._certainty[winners]
        characters[rows, at] += ones.astype(np.uint8)
        for i in range(3):
            characters[rows, at + 2 + i] = _DIGITS[thousands, i]
            characters[rows, at + 5 + i] = _DIGITS[units, i]
        as_list: list[bytes] = ends.tolist()
        return as_list


class CsvNumberOutput:
    """Encodes rows with columns of numbers as CSV, as `CsvOutput` does.

    Numbers have as many digits as their type needs, and rows end with a line feed. A row without a
    prediction has empty cells.
    """

    def __init__(self, source: CsvFormat, added: AddedNumbers) -> None:
        self._header = _encode_header(source, added.names)
        self._whole, self._n_columns = added.whole, len(added.names) - 1
        self._delimiter, self._decimal = source.delimiter, _choose_decimal(source)
        self._version = b"%s%d\n" % (source.delimiter.encode(), added.version)

    def begin(self) -> bytes:
        """Return the bytes before all rows."""
        return self._header + b"\n"

    def encode(self, rows: list[bytes], values: FloatArray, answered: BoolArray) -> bytes:
        """Return the rows with their numbers, of shape (n_rows, n_columns)."""
        columns = [
            np.where(answered, values[:, j], 0).astype(
                np.int64 if j in self._whole else values.dtype
            )
            for j in range(self._n_columns)
        ]
        # As text: the shortest that reads back as the same number of the type.
        cells = [column.astype(str).tolist() for column in columns]
        lines = [self._delimiter.join(row) for row in zip(*cells, strict=True)]
        if self._decimal != ".":
            lines = [line.replace(".", self._decimal) for line in lines]
        blank = self._delimiter * (self._n_columns - 1)
        for row in np.flatnonzero(~answered).tolist():
            lines[row] = blank
        pieces = [b""] * (4 * len(rows))
        pieces[::4], pieces[1::4] = rows, [self._delimiter.encode()] * len(rows)
        pieces[2::4] = [line.encode() for line in lines]
        pieces[3::4] = [self._version] * len(rows)
        return b"".join(pieces)

    def end(self, read: Callable[[int, int], bytes], n_bytes: int) -> bytes:
        """Return the bytes after all rows."""
        return b""


def encode_cell(text: str, delimiter: str = ",") -> bytes:
    """Return the text as one cell of a CSV row, in quotes if it needs them."""
    line = io.StringIO()
    # The csv module quotes a cell only for characters of the line terminator.
    csv.writer(line, delimiter=delimiter, lineterminator="\r\n").writerow([text, ""])
    return line.getvalue().removesuffix(f"{delimiter}\r\n").encode()


def quote_cell(content: bytes) -> bytes:
    """Return arbitrary bytes as one quoted cell of a CSV row."""
    return b'"' + content.replace(b'"', b'""') + b'"'


def _encode_header(source: CsvFormat, added: Sequence[str]) -> bytes:
    names = [encode_cell(name, source.delimiter) for name in added]
    return source.delimiter.encode().join([source.schema, *names])


def _choose_decimal(source: CsvFormat) -> str:
    """Return the source's decimal separator, or a point if the added cells would need quotes."""
    return "." if source.delimiter == "," else source.decimal


def _millionths(certainties: FloatArray) -> NDArray[np.int64]:
    """Return the certainties in millionths, rounded as by Python's own formatting."""
    scaled = certainties.astype(np.float64) * 1e6
    rounded = np.rint(scaled).astype(np.int64)
    # The product is rounded too, which can change the result halfway between two millionths.
    for i in np.flatnonzero(np.abs(scaled - np.floor(scaled) - 0.5) < 1e-6):
        rounded[i] = int(f"{certainties[i]:.6f}".replace(".", ""))
    return rounded
