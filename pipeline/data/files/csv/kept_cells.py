"""What becomes of the cells of a chunk's good rows: numbers and labels, or texts."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from pipeline.data.files import cells
from pipeline.data.files.cells import parse_label, parse_numbers
from pipeline.data.files.column_joiner import join_columns
from pipeline.data.files.csv.columns import NumberFormat, Parser, TextParser
from quadnet.tables.columns import Texts
from quadnet.types import FloatArray

AnyCells = TypeVar("AnyCells", bound="Cells")


class Cells(Protocol):
    """What becomes of the cells of good rows, in the file's order."""

    def read_regular(self, text: bytes, rows: Sequence[bytes]) -> bool:
        """Add all rows of regular text; return whether all of them are good."""

    def read_record(self, record: Sequence[str]) -> None:
        """Add one row; raise BadCell, with the index of the column, if it is not good."""

    def end_records(self) -> None:
        """End a sequence of calls of `read_record`."""


class NumericCells:
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


class TextCells:
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
