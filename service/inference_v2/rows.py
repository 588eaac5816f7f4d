"""The rows of a request, of which a slice at a time becomes the inputs of a network."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from quadnet.tables.columns import Table, table_length, take_table_rows
from quadnet.tables.encoder import TableEncoder
from quadnet.types import FloatArray


class Rows(ABC):
    """The rows of a request.

    Attributes
    ----------
    nanoseconds : float
        About how long it takes to make the network's inputs of all rows.
    unknown_categories : mapping of str to int
        By column, in how many rows there is a category that did not occur in training.
    """

    nanoseconds: float = 0.0
    unknown_categories: Mapping[str, int] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, rows: slice) -> FloatArray:
        """Return the network's inputs for these rows, of any real dtype."""


class MatrixRows(Rows):
    """Rows that are the network's inputs themselves.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
    """

    def __init__(self, X: NDArray[Any]) -> None:
        self._X = X

    def __len__(self) -> int:
        return len(self._X)

    def take(self, rows: slice) -> FloatArray:
        """Return a view."""
        return self._X[rows]


class TableRows(Rows):
    """Rows of named columns, which the encoder of a version makes inputs of.

    Parameters
    ----------
    encoder : TableEncoder
    table : mapping of str to Column
        The encoder's columns, checked by `TableEncoder.check_values`.
    unknown_categories : mapping of str to int
    nanoseconds : float
    """

    def __init__(
        self,
        encoder: TableEncoder,
        table: Table,
        unknown_categories: Mapping[str, int],
        nanoseconds: float,
    ) -> None:
        self._encoder, self._table, self._n_rows = encoder, table, table_length(table)
        self.unknown_categories, self.nanoseconds = unknown_categories, nanoseconds

    def __len__(self) -> int:
        return self._n_rows

    def take(self, rows: slice) -> FloatArray:
        """Return the encoded columns."""
        return self._encoder.transform(take_table_rows(self._table, rows))
