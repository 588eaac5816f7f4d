"""A network's parameters as one flat vector, with one matrix per layer.

A layer's biases are the last row of its matrix, below its weights: with a 1 appended to the
layer's input, the whole affine map is one matrix product, and so is the gradient of weights and
biases together. An optimizer is a handful of ufuncs on `flat`, whatever the depth.
"""

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from quadnet.types import FloatArray


class Parameters:
    """Weights and biases of a fully connected network.

    Parameters
    ----------
    layer_sizes : sequence of int
        Units per layer, from the inputs to the outputs; at least two entries.
    bias : bool, default=True
        Without biases the matrices hold weights only; `biases` are zeros that are not trained.
    dtype : dtype, default=float64
    storage : ndarray of shape (n_parameters,), optional
        The array to use as `flat`, with its contents; by default new zeros.

    Attributes
    ----------
    flat : ndarray of shape (n_parameters,)
    matrices : tuple of ndarray, each of shape (fan_in + 1, fan_out), or (fan_in, fan_out)
        Views of `flat`, which training reads and writes.
    weights : list of ndarray, each of shape (fan_in, fan_out)
    biases : list of ndarray, each of shape (fan_out,)
        Views of the matrices, which predicting reads; a caller may replace them.
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        bias: bool = True,
        dtype: DTypeLike = np.float64,
        storage: FloatArray | None = None,
    ) -> None:
        self.layer_sizes = tuple(layer_sizes)
        self.bias = bias
        shapes = [(fan_in + bias, fan_out) for fan_in, fan_out in pairwise(self.layer_sizes)]
        ends = np.cumsum([rows * columns for rows, columns in shapes]).tolist()
        self.flat: FloatArray = np.zeros(ends[-1], dtype) if storage is None else storage
        self.matrices: tuple[FloatArray, ...] = tuple(
            self.flat[end - rows * columns : end].reshape(rows, columns)
            for end, (rows, columns) in zip(ends, shapes, strict=True)
        )
        self.weights: list[FloatArray] = [M[:-1] if bias else M for M in self.matrices]
        self.biases: list[FloatArray] = [
            M[-1] if bias else np.zeros(M.shape[1], M.dtype) for M in self.matrices
        ]

    def check_shapes(self, weights: Sequence[FloatArray], biases: Sequence[FloatArray]) -> None:
        """Raise ValueError if these arrays cannot be this network's weights and biases."""
        for what, ours, theirs in (
            ("weights", self.weights, weights),
            ("biases", self.biases, biases),
        ):
            expected, given = [a.shape for a in ours], [np.shape(a) for a in theirs]
            if given != expected:
                raise ValueError(f"expected {what} of shapes {expected}, got {given}")
        if not self.bias and any(np.any(b) for b in biases):
            raise ValueError(
                "expected biases of 0, because the network has no biases, got other values"
            )

    def assign(self, weights: Sequence[FloatArray], biases: Sequence[FloatArray]) -> None:
        """Copy the values of these arrays; raise ValueError if they do not fit."""
        self.check_shapes(weights, biases)
        for W, b, new_W, new_b in zip(self.weights, self.biases, weights, biases, strict=True):
            W[:], b[:] = new_W, new_b

    def weights_only(self, value: float) -> FloatArray:
        """Return a vector like `flat`: the value for every weight, 0 for every bias."""
        mask = self.like()
        for W in mask.weights:
            W[:] = value
        return mask.flat

    def freeze(self) -> None:
        """Make every array read-only."""
        for array in (self.flat, *self.matrices, *self.weights, *self.biases):
            array.setflags(write=False)

    def __deepcopy__(self, memo: dict[int, object]) -> "Parameters":
        # The default would copy each view separately: copies do not alias `flat`.
        copied = self.like()
        copied.assign(self.weights, self.biases)
        return copied

    def __getstate__(self) -> dict[str, object]:
        packed = copy.deepcopy(self).flat
        return {"layer_sizes": self.layer_sizes, "bias": self.bias, "storage": packed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A pickle holds `flat` alone, because pickled views load as separate arrays. It is copied,
        # because joblib may pass a read-only memory map.
        state["storage"] = state["storage"].copy()
        self.__init__(**state)  # type: ignore[misc]

    def like(self, storage: FloatArray | None = None) -> "Parameters":
        """Return parameters of the same shapes on `storage`, or on zeros, such as a gradient."""
        return Parameters(self.layer_sizes, bias=self.bias, dtype=self.flat.dtype, storage=storage)
