"""A network's numbers as one flat vector, with one view a layer.

Weights come first and biases last, so that weight decay touches one contiguous slice and an
optimizer is a handful of ufuncs on `flat`, whatever the depth. Gradients have the same shape.
"""

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
        Units a layer, from the inputs to the outputs; at least two entries.
    bias : bool, default=True
        Without biases `flat` ends after the weights; `biases` are zeros that nothing trains.
    dtype : dtype, default=float64

    Attributes
    ----------
    flat : ndarray of shape (n_parameters,)
    flat_weights : ndarray
        The slice of `flat` that holds every weight and no bias.
    weights : list of ndarray, each of shape (fan_in, fan_out)
    biases : list of ndarray, each of shape (fan_out,)
    """

    def __init__(
        self, layer_sizes: Sequence[int], *, bias: bool = True, dtype: DTypeLike = np.float64
    ) -> None:
        self.layer_sizes = tuple(layer_sizes)
        self.bias = bias
        shapes = list(pairwise(self.layer_sizes))
        n_weights = sum(fan_in * fan_out for fan_in, fan_out in shapes)
        n_biases = sum(self.layer_sizes[1:])

        storage: FloatArray = np.zeros(n_weights + n_biases, dtype=dtype)
        self.flat = storage if bias else storage[:n_weights]
        self.flat_weights = storage[:n_weights]
        self.weights: list[FloatArray] = []
        self.biases: list[FloatArray] = []
        start, bias_start = 0, n_weights
        for fan_in, fan_out in shapes:
            stop, bias_stop = start + fan_in * fan_out, bias_start + fan_out
            self.weights.append(storage[start:stop].reshape(fan_in, fan_out))
            self.biases.append(storage[bias_start:bias_stop])
            start, bias_start = stop, bias_stop

    def freeze(self) -> None:
        """Make every array read-only."""
        for array in (self.flat, self.flat_weights, *self.weights, *self.biases):
            array.setflags(write=False)

    def __deepcopy__(self, memo: dict[int, object]) -> "Parameters":
        # Copied one by one, views would become arrays of their own and no longer alias `flat`.
        copied = self.like()
        copied.flat[:] = self.flat
        return copied

    def __getstate__(self) -> dict[str, object]:
        return {"layer_sizes": self.layer_sizes, "bias": self.bias, "flat": self.flat}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Pickled views come back as copies: only `flat` is stored, and the views are made anew.
        flat = state["flat"]
        self.__init__(state["layer_sizes"], bias=state["bias"], dtype=flat.dtype)  # type: ignore[misc]
        self.flat[:] = flat

    def like(self) -> "Parameters":
        """Return zeros of the same shape: a gradient."""
        return Parameters(self.layer_sizes, bias=self.bias, dtype=self.flat.dtype)
