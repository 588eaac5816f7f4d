"""`scale=True`: columns of mean 0 and variance 1, as scikit-learn's StandardScaler makes them."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from quadnet.nn.layers.affine_folding import find_coarse_features, fold_scaler
from quadnet.nn.layers.layer import Shape
from quadnet.nn.network import Network
from quadnet.tables.encoder import TableEncoder
from quadnet.types import FloatArray, IntArray

_ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class ColumnScaler:
    """The map x -> (x - mean) / deviation of each column.

    Parameters
    ----------
    means, deviations : ndarray of float64, shape (n_features,)
        A mean is 0 where the column is not centred.
    """

    means: FloatArray
    deviations: FloatArray

    @classmethod
    def fit(cls, X: Any, weights: FloatArray | None, input_shape: Shape | None) -> "ColumnScaler":
        """Return the scaler of these rows, by scikit-learn's rules for constant columns.

        All values of a picture's channel have one mean and one deviation. Sparse columns, which
        would no longer be sparse, are not centred.

        Parameters
        ----------
        X : ndarray or SciPy CSR matrix of shape (n_rows, n_features)
        weights : ndarray of shape (n_rows,) or None
        input_shape : tuple of int or None
            The shape of a row, with the channels first if it has several axes.

        Raises
        ------
        ValueError
            If the variance of a column is beyond the largest float64.
        """
        dense = isinstance(X, np.ndarray)
        n_channels, n_values = X.shape[1], 1
        if input_shape is not None and len(input_shape) > 1:
            n_channels, n_values = input_shape[0], prod(input_shape[1:])
        values = X if dense else X.astype(np.float64)
        if n_values > 1:
            values = X.reshape(-1, n_channels, n_values) if dense else values.toarray()
            values = values.reshape(-1, n_channels, n_values).swapaxes(1, 2)
            values = values.reshape(-1, n_channels)
            weights = None if weights is None else np.repeat(weights, n_values)
        by_division = not dense and n_values == 1
        with np.errstate(over="ignore", invalid="ignore"):
            scaler = StandardScaler(with_mean=not by_division).fit(values, sample_weight=weights)
        finite = np.isfinite(scaler.scale_)
        if not finite.all():
            what = "channel" if n_values > 1 else "column"
            raise ValueError(
                f"The values of {what} {int(np.argmin(finite))} of X are too large for scale=True: "
                "their variance is beyond the largest float64. Divide them by a constant."
            )
        means = scaler.mean_ if dense else np.zeros(n_channels)
        return cls(np.repeat(means, n_values), np.repeat(scaler.scale_, n_values))

    def transform(self, X: Any) -> Any:
        """Return the scaled rows in the type of X; sparse rows stay sparse if no mean is set.

        Means are subtracted in float64: in float32, 1.7e9 seconds are a multiple of 128, and so
        are their mean and every difference.
        """
        if not isinstance(X, np.ndarray):
            if not self.means.any():
                factors = (1.0 / self.deviations).astype(X.dtype)
                return X.multiply(factors[np.newaxis]).asformat(X.format)
            X = X.toarray()
        scaled = np.empty_like(X, order="C")
        with np.errstate(over="ignore"):
            for start in range(0, len(X), _ROWS_AT_A_TIME):
                rows = slice(start, start + _ROWS_AT_A_TIME)
                scaled[rows] = (X[rows] - self.means) / self.deviations
        return scaled

    def only_for(self, columns: IntArray) -> "ColumnScaler":
        """Return the scaler of these columns, which leaves all others as they are."""
        means, deviations = np.zeros_like(self.means), np.ones_like(self.deviations)
        means[columns], deviations[columns] = self.means[columns], self.deviations[columns]
        return ColumnScaler(means, deviations)

    def fold(self, network: Network) -> Network:
        """Return a network that for raw rows computes what this one computes for scaled rows.

        Where float32 has too few digits for a column, the result is in float64.
        """
        dtype = network.parameters.flat.dtype
        if find_coarse_features(self.means, self.deviations, dtype).any():
            dtype = np.dtype(np.float64)
        return fold_scaler(network, self.means, self.deviations, dtype=dtype)

    def fitted_attributes(self) -> dict[str, Any]:
        """Return the attributes of a fitted estimator that hold the scaler."""
        return {"column_means_": self.means, "column_deviations_": self.deviations}


def find_scaler(estimator: Any) -> ColumnScaler | None:
    """Return the scaler of a fitted estimator; None if it takes the columns as they are."""
    means = getattr(estimator, "column_means_", None)
    return None if means is None else ColumnScaler(means, estimator.column_deviations_)


def choose_scaler(
    estimator: Any,
    X: Any,
    weights: FloatArray | None,
    input_shape: Shape | None,
    *,
    encoder: TableEncoder | None,
    continues: bool,
) -> ColumnScaler | None:
    """Return the scaler of a fit's rows: that of the fit which it continues, or a new one.

    Parameters
    ----------
    estimator : estimator
        With its parameter `scale`.
    X : ndarray or SciPy CSR matrix of shape (n_rows, n_features)
    weights : ndarray of shape (n_rows,) or None
    input_shape : tuple of int or None
    encoder : TableEncoder or None
        What made X of the caller's columns. Its outputs for categories, gaps and dates stay.
    continues : bool
        Whether training continues from the weights of the estimator's last fit.

    Raises
    ------
    ValueError
        If those weights are for scaled columns and `scale` is False, or the other way round.
    """
    if not continues:
        if not estimator.scale:
            return None
        fitted = ColumnScaler.fit(X, weights, input_shape)
        return fitted if encoder is None else fitted.only_for(encoder.number_outputs)
    scaler = find_scaler(estimator)
    if (scaler is not None) != estimator.scale:
        trained = "columns as they are" if scaler is None else "scaled columns"
        raise ValueError(
            f"Cannot continue training: the weights are for {trained}, but scale is "
            f"{estimator.scale}. Set scale={scaler is not None}, or fit a new network."
        )
    return scaler
