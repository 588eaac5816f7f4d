"""The rows of a request, of which a slice at a time becomes the inputs of a network."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.tables.columns import Column, take_rows
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
    columns : mapping of str to Column or ndarray
        The encoder's columns, checked by `ColumnEncoder.check_values`. Numbers may be of any real
        dtype: a slice at a time becomes float64, because a column in INT8 would need eight times
        the memory of the message.
    n_rows : int
    unknown_categories : mapping of str to int
    nanoseconds : float
    """

    def __init__(
        self,
        encoder: TableEncoder,
        columns: Mapping[str, Column | NDArray[Any]],
        n_rows: int,
        unknown_categories: Mapping[str, int],
        nanoseconds: float,
    ) -> None:
        self._encoder, self._columns, self._n_rows = encoder, columns, n_rows
        self.unknown_categories, self.nanoseconds = unknown_categories, nanoseconds

    def __len__(self) -> int:
        return self._n_rows

    def take(self, rows: slice) -> FloatArray:
        """Return the encoded columns."""
        table = {name: take_rows(column, rows) for name, column in self._columns.items()}
        return self._encoder.transform({name: _to_column(each) for name, each in table.items()})


def _to_column(values: Column | NDArray[Any]) -> Column:
    """Return numbers of any dtype as float64, and other columns as they are."""
    is_numbers = isinstance(values, np.ndarray) and values.dtype.kind in "biuf"
    return np.asarray(values, np.float64) if is_numbers else values
