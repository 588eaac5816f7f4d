"""A network's arrays, each a view of one flat vector.

An optimizer is a handful of ufuncs on `flat`, whatever the layers.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from math import prod
from operator import is_

import numpy as np
from numpy.typing import DTypeLike

from quadnet.nn.layers.layer import ArraySpec, split_arrays
from quadnet.types import BoolArray, FloatArray


class Parameters:
    """The arrays of a network's layers: weights, biases, and what else a layer has.

    Parameters
    ----------
    specs : sequence of mapping of str to ArraySpec
        The arrays of each layer.
    dtype : dtype, default=float64
    storage : ndarray of shape (n_values,), optional
        The array to use as `flat`, with its contents; by default new zeros.

    Attributes
    ----------
    flat : ndarray of shape (n_values,)
    segments : tuple of ndarray
        The part of `flat` of each layer, which training reads and writes.
    arrays : list of dict of str to ndarray
        Each layer's arrays, views of `flat`, which predicting reads; a caller may replace them.
    """

    def __init__(
        self,
        specs: Sequence[Mapping[str, ArraySpec]],
        *,
        dtype: DTypeLike = np.float64,
        storage: FloatArray | None = None,
    ) -> None:
        self.specs = tuple(specs)
        sizes = [sum(prod(spec.shape) for spec in layer.values()) for layer in self.specs]
        self.flat: FloatArray = np.zeros(sum(sizes), dtype) if storage is None else storage
        starts = list(accumulate(sizes, initial=0))
        self.segments: tuple[FloatArray, ...] = tuple(
            self.flat[start:stop] for start, stop in pairwise(starts)
        )
        self.arrays: list[dict[str, FloatArray]] = [
            split_arrays(layer, segment)
            for layer, segment in zip(self.specs, self.segments, strict=True)
        ]

        # The numbers of the dense layers, and what `biases` has for those without them.
        self._dense = [i for i, layer in enumerate(self.specs) if _has_matrix(layer)]
        self._zeros = {
            i: np.zeros(self.specs[i]["weights"].shape[1], self.flat.dtype)
            for i in self._dense
            if "biases" not in self.specs[i]
        }
        self._views = self.arrays
        self._weights_and_biases = (*self.weights, *self.biases)

    @property
    def weights(self) -> list[FloatArray]:
        """The weights of dense layers, from the first layer to the last."""
        return [self.arrays[i]["weights"] for i in self._dense]

    @property
    def biases(self) -> list[FloatArray]:
        """The biases of dense layers, one array for each of `weights`; without biases, zeros."""
        return [
            self._zeros[i] if i in self._zeros else self.arrays[i]["biases"] for i in self._dense
        ]

    def has_these(self, weights: Sequence[FloatArray], biases: Sequence[FloatArray]) -> bool:
        """Whether these are the very arrays in `weights` and `biases`."""
        if not len(weights) == len(biases) == len(self._dense):
            return False
        if self.arrays is self._views:  # a prediction for one row would notice the lists
            ours = self._weights_and_biases
        else:
            ours = (*self.weights, *self.biases)
        return all(map(is_, ours, (*weights, *biases)))

    @property
    def n_trained(self) -> int:
        """Number of values that training updates."""
        return sum(
            prod(spec.shape) for layer in self.specs for spec in layer.values() if spec.is_trained
        )

    def named(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield every array with its name, such as "weights.0", by the layers that have arrays."""
        number = 0
        for arrays in self.arrays:
            for name, array in arrays.items():
                yield f"{name}.{number}", array
            number += bool(arrays)

    def check_shapes(self, weights: Sequence[FloatArray], biases: Sequence[FloatArray]) -> None:
        """Raise ValueError if these arrays cannot be this network's weights and biases."""
        for what, ours, theirs in (
            ("weights", self.weights, weights),
            ("biases", self.biases, biases),
        ):
            expected, given = [a.shape for a in ours], [np.shape(a) for a in theirs]
            if given != expected:
                raise ValueError(f"expected {what} of shapes {expected}, got {given}")
        for i, b in zip(self._dense, biases, strict=True):
            if i in self._zeros and np.any(b):
                raise ValueError(
                    "expected biases of 0, because the network has no biases, got other values"
                )

    def check_arrays(self, arrays: Sequence[Mapping[str, FloatArray]]) -> None:
        """Raise ValueError if these arrays by name, layer by layer, cannot be the network's."""
        if len(arrays) != len(self.specs):
            raise ValueError(f"expected the arrays of {len(self.specs)} layers, got {len(arrays)}")
        for i, (specs, given) in enumerate(zip(self.specs, arrays, strict=True)):
            expected = {name: spec.shape for name, spec in specs.items()}
            shapes = {name: np.shape(array) for name, array in given.items()}
            if shapes != expected:
                raise ValueError(
                    f"expected arrays of shapes {expected} for layer {i}, got {shapes}"
                )

    def assign(self, weights: Sequence[FloatArray], biases: Sequence[FloatArray]) -> None:
        """Copy the values of these arrays; raise ValueError if they do not fit."""
        self.check_shapes(weights, biases)
        for W, b, new_W, new_b in zip(self.weights, self.biases, weights, biases, strict=True):
            W[:], b[:] = new_W, new_b

    def weights_only(self, value: float) -> FloatArray:
        """Return a vector like `flat`: the value where the penalty applies, 0 elsewhere."""
        mask = self.like()
        for specs, arrays in zip(self.specs, mask.arrays, strict=True):
            for name, spec in specs.items():
                if spec.decays:
                    arrays[name][:] = value
        return mask.flat

    def trained_only(self) -> BoolArray:
        """Return whether training updates each value of `flat`."""
        parts = [
            np.full(prod(spec.shape), spec.is_trained)
            for layer in self.specs
            for spec in layer.values()
        ]
        return np.concatenate(parts)

    def freeze(self) -> None:
        """Make every array read-only."""
        views = (array for arrays in self.arrays for array in arrays.values())
        for array in (self.flat, *self.segments, *views):
            array.setflags(write=False)

    def __deepcopy__(self, memo: dict[int, object]) -> "Parameters":
        # The default would copy each view separately: copies do not alias `flat`.
        return self.astype(self.flat.dtype)

    def astype(self, dtype: DTypeLike) -> "Parameters":
        """Return a copy with values of this type."""
        copied = Parameters(self.specs, dtype=dtype)
        copied.copy_from(self.arrays)
        return copied

    def copy_from(self, arrays: Sequence[Mapping[str, FloatArray]]) -> None:
        """Copy the values of each layer's arrays, which must have these names and shapes."""
        for ours, theirs in zip(self.arrays, arrays, strict=True):
            for name, array in ours.items():
                array[...] = theirs[name]

    def like(self, storage: FloatArray | None = None) -> "Parameters":
        """Return arrays of the same shapes on `storage`, or on zeros, such as a gradient."""
        return Parameters(self.specs, dtype=self.flat.dtype, storage=storage)


def _has_matrix(layer: Mapping[str, ArraySpec]) -> bool:
    """Whether these are the arrays of a dense layer."""
    return "weights" in layer and len(layer["weights"].shape) == 2
