"""The interface of scored output, for CSV and Parquet, and the columns that scoring adds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from quadnet.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class AddedColumns:
    """The columns that scoring adds to the input's.

    `names` are the names of the label, of its certainty and of the version. The label is one of
    `classes`. The version is the same in every row.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    version: int


@dataclass(frozen=True)
class AddedNumbers:
    """The columns of numbers that scoring adds to the input's, and the version.

    `names` are the names of the columns, the version's last. The columns of `whole` hold 0 and 1,
    the others any numbers.
    """

    names: tuple[str, ...]
    whole: frozenset[int]
    version: int


class NumberOutput(Protocol):
    """Encodes rows as the bytes of a file: each row unchanged, followed by columns of numbers."""

    def begin(self) -> bytes:
        """Return the bytes before all rows."""

    def encode(self, rows: Any, values: FloatArray, answered: BoolArray) -> bytes:
        """Return the rows with their numbers, of shape (n_rows, n_columns).

        A row that is not answered has no numbers. All numbers of the others are finite.
        """

    def end(self, read: Callable[[int, int], bytes], n_bytes: int) -> bytes:
        """Return the bytes after all rows, as `Output.end` does."""


class Output(Protocol):
    """Encodes rows as the bytes of a file: each row unchanged, followed by the added columns."""

    def begin(self) -> bytes:
        """Return the bytes before all rows."""

    def encode(self, rows: Any, winners: IntArray, certainties: FloatArray) -> bytes:
        """Return the rows, given the index of each one's class and that class's probability.

        The index of a row without a prediction is -1, and its probability is NaN.
        """

    def end(self, read: Callable[[int, int], bytes], n_bytes: int) -> bytes:
        """Return the bytes after all rows.

        Parameters
        ----------
        read : callable
            Takes an offset and a length, and returns these bytes of the output so far.
        n_bytes : int
            The size of the output so far.
        """
