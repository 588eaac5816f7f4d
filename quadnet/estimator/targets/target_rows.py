"""Validated rows with their targets and weights."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from quadnet.estimator.columns.scaling import ColumnScaler
from quadnet.estimator.targets.encoding import TargetEncoding
from quadnet.estimator.targets.labels import Labels
from quadnet.tables.encoder import TableEncoder
from quadnet.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class TargetRows:
    """Validated rows with their y and their weights.

    Parameters
    ----------
    X : ndarray or SciPy CSR matrix of shape (n_rows, n_in)
    y : array-like of shape (n_rows,) or (n_rows, n_columns)
    encoding : TargetEncoding
        For a classifier the classes of the problem, of which y may lack some.
    weights : ndarray of shape (n_rows,) or None
        None if all rows weigh the same.
    scaler : ColumnScaler or None
        The map that made X of the caller's columns.
    smoothing : float, default=0.0
        The classifier's `label_smoothing`.
    groups : ndarray of int, shape (n_rows,), or None
        The number of each row's group; rows of a group are held out together.
    encoder : TableEncoder or None
        The encoder that made numbers of the caller's columns, before the scaler.
    """

    X: Any
    y: Any
    encoding: TargetEncoding
    weights: FloatArray | None
    scaler: ColumnScaler | None = None
    smoothing: float = 0.0
    groups: IntArray | None = None
    encoder: TableEncoder | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    @cached_property
    def targets(self) -> BoolArray | FloatArray:
        """The network's target for each row and output."""
        return self.encoding.encode(self.y)

    def measured(self) -> "TargetRows":
        """Return the rows with an encoding that has the means and deviations that it needs."""
        encoding = self.encoding.measured(self.y, self.weights)
        return self if encoding is self.encoding else replace(self, encoding=encoding)

    @cached_property
    def training_targets(self) -> BoolArray | FloatArray:
        """The targets that training approaches: `targets`, smoothed."""
        if not self.smoothing:
            return self.targets
        assert isinstance(self.encoding, Labels)
        return self.encoding.smooth(self.targets, self.smoothing).astype(self.X.dtype)

    def take(self, rows: IntArray) -> "TargetRows":
        """Return the rows of these indices."""
        weights = None if self.weights is None else self.weights[rows]
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, X=self.X[rows], y=self.y[rows], weights=weights, groups=groups)
