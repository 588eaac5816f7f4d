"""The network: a list of layers, their parameters, and the forward pass. Arrays in, arrays out.

A network holds no scratch arrays, so any number of threads may share it. The buffers of training
belong to the trainer: see `quadnet.nn.backpropagation.Workspace`.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import DTypeLike

from quadnet.nn.initializers import Initializer
from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.ensemble import Ensemble
from quadnet.nn.layers.kinds import layer_from_spec
from quadnet.nn.layers.layer import Layer, Shape
from quadnet.nn.layers.stack import find_blocks, find_shapes, make_dense_layers
from quadnet.nn.losses.table import make_loss
from quadnet.nn.parameters import Parameters
from quadnet.types import FloatArray

_BLOCK_BYTES = 2**22
"""About how many bytes the values of one layer take when predicting: as much as fits in a cache."""


class Network:
    """Layers, one after the other, and a loss.

    Inputs X are of shape (n_rows, n_features), dense or a SciPy sparse matrix; the values of each
    row are those of an array of the input's shape, in C order.

    Parameters
    ----------
    layers : sequence of Layer
        The last one is dense, and computes the logits.
    input_shape : tuple of int
        The shape of one example, such as ``(2,)`` or ``(1, 28, 28)``.
    loss : str
        A name from `LOSSES` or `REGRESSION_LOSSES`: the output layer's link and loss.
    loss_settings : mapping of str to object, optional
        The loss's own settings, such as quantiles: numbers and lists of them.
    dtype : dtype, default=float64

    Attributes
    ----------
    shapes : tuple of tuple of int
        The shape of the input, and of each layer's output.
    parameters : Parameters
    has_dense_arrays : bool
        Whether only dense layers have arrays.
    loss_divisor : int
        Users see the loss of a row divided by it.

    Raises
    ------
    ValueError
        If a layer does not fit the output of the layer below. The message names it.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        input_shape: Shape,
        *,
        loss: str,
        loss_settings: Mapping[str, Any] | None = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.layers, self.input_shape = tuple(layers), tuple(input_shape)
        self.loss_name, self.loss_settings = loss, dict(loss_settings or {})
        self.loss = make_loss(loss, self.loss_settings)
        self.shapes = find_shapes(self.layers, self.input_shape)
        specs = [
            layer.array_specs(shape) for layer, shape in zip(self.layers, self.shapes, strict=False)
        ]
        self.parameters = Parameters(specs, dtype=dtype)
        self._describe_shape()

    def _describe_shape(self) -> None:
        """Set what follows from the layers, and would cost too much to find at each call."""
        self.n_features, self.n_outputs = prod(self.input_shape), prod(self.shapes[-1])
        self.loss_divisor = self.n_outputs if self.loss.averages_outputs else 1
        with_arrays = zip(self.layers, self.parameters.specs, strict=True)
        self.has_dense_arrays = all(
            isinstance(layer, Dense) for layer, specs in with_arrays if specs
        )
        self._starts_dense = isinstance(self.layers[0], Dense)
        self._apply_to_rows = [layer.apply_to_rows for layer in self.layers]
        self.is_flat = all(len(shape) == 1 for shape in self.shapes)

    @cached_property
    def widest(self) -> int:
        """How many values of one row the largest array holds when predicting."""
        pairs = zip(self.layers, self.shapes, strict=False)
        return max(layer.widest(shape) for layer, shape in pairs)

    @cached_property
    def nanoseconds(self) -> float:
        """About how long one of many rows takes when predicting, on one core."""
        pairs = zip(self.layers, self.shapes, strict=False)
        return 10.0 + sum(layer.nanoseconds(shape) for layer, shape in pairs)

    @classmethod
    def dense(
        cls,
        layer_sizes: Sequence[int],
        *,
        activations: Sequence[str],
        loss: str,
        bias: bool = True,
        dropout: float = 0.0,
        dtype: DTypeLike = np.float64,
    ) -> "Network":
        """Return a network of dense layers.

        Parameters
        ----------
        layer_sizes : sequence of int
            Units per layer, from the inputs to the outputs, such as ``(2, 6, 4)``.
        activations : sequence of str
            One name from `ACTIVATIONS` per hidden layer.
        loss : str
        bias : bool, default=True
        dropout : float, default=0.0
            The rate of dropout after each hidden layer.
        dtype : dtype, default=float64
        """
        layers = make_dense_layers(layer_sizes, activations, bias=bias, dropout=dropout)
        return cls(layers, (layer_sizes[0],), loss=loss, dtype=dtype)

    def initialize(self, initializer: Initializer, rng: RandomState) -> None:
        """Draw every layer's starting values, from the inputs to the outputs."""
        for layer, arrays, shape in zip(
            self.layers, self.parameters.arrays, self.shapes, strict=False
        ):
            layer.initialize(arrays, shape, initializer, rng)

    def to_float64(self) -> "Network":
        """Return a copy in float64."""
        return self._with(self.parameters.astype(np.float64))

    def with_loss_settings(self, settings: Mapping[str, Any]) -> "Network":
        """Return a network that shares the parameters, and whose loss has these settings."""
        other = self._with(self.parameters)
        other.loss_settings = dict(settings)
        other.loss = make_loss(self.loss_name, other.loss_settings)
        return other

    def with_arrays(self, arrays: list[dict[str, FloatArray]]) -> "Network":
        """Return a network that predicts from these very arrays, and is otherwise this network."""
        parameters = self.parameters.like(self.parameters.flat)
        parameters.arrays = arrays
        return self._with(parameters)

    def for_predicting(self) -> "Network":
        """Return a copy without what only training needs, such as dropout."""
        kept, arrays = [], []
        for layer, specs, named in zip(
            self.layers, self.parameters.specs, self.parameters.arrays, strict=True
        ):
            predicting = layer.for_predicting()
            if predicting is not None:
                kept.append(predicting)
                arrays.append([named[name] for name in specs])
        network = Network(
            kept,
            self.input_shape,
            loss=self.loss_name,
            loss_settings=self.loss_settings,
            dtype=self.parameters.flat.dtype,
        )
        # In order, because a layer that is left out changes the numbers in names, as "1.weights".
        network.parameters.copy_from(
            [
                dict(zip(specs, values, strict=True))
                for specs, values in zip(network.parameters.specs, arrays, strict=True)
            ]
        )
        return network

    def _with(self, parameters: Parameters) -> "Network":
        other = object.__new__(type(self))
        vars(other).update(vars(self), parameters=parameters)
        return other

    def __deepcopy__(self, memo: dict[int, object]) -> "Network":
        return self._with(copy.deepcopy(self.parameters, memo))

    def __getstate__(self) -> dict[str, Any]:
        # Only names and numbers, so that a pickle depends on no function or class of this module.
        state = {
            "layers": [layer.to_spec() for layer in self.layers],
            "input_shape": list(self.input_shape),
            "loss": self.loss_name,
            "parameters": copy.deepcopy(self.parameters).flat,
        }
        return state | ({"loss_settings": self.loss_settings} if self.loss_settings else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        flat = state["parameters"]
        if "layer_sizes" in state:  # of releases before 0.3
            sizes, names = state["layer_sizes"], state["activations"]
            layers = make_dense_layers(sizes, names, bias=state["bias"])
            shape = (sizes[0],)
        else:
            layers = [layer_from_spec(spec) for spec in state["layers"]]
            shape = tuple(state["input_shape"])
        settings = state.get("loss_settings")
        self.__init__(  # type: ignore[misc]
            layers, shape, loss=state["loss"], loss_settings=settings, dtype=flat.dtype
        )
        self.parameters.flat[:] = flat

    def values(self, X: FloatArray) -> Iterator[FloatArray]:
        """Yield the values of each block, (n_rows, *shape), from the first to the logits.

        A block is a layer with its activation: see `find_blocks`. The caller may overwrite the
        logits.
        """
        ends = {block.stop - 1 for block in find_blocks(self.layers)}
        by_row = self._computes_by_row(X)
        A: Any = X if by_row else self._as_examples(X)
        for i, (layer, arrays) in enumerate(zip(self.layers, self.parameters.arrays, strict=True)):
            A = layer.apply_to_rows(arrays, A) if by_row else layer.apply(arrays, A)
            if i in ends:
                yield A if by_row else np.moveaxis(A, -1, 0)

    def logits(self, X: FloatArray) -> FloatArray:
        """Return the output layer's values before its link, of shape (n_rows, n_outputs)."""
        if self._computes_by_row(X):
            A: Any = X
            # Without `strict`, which would take a fortieth of the time for one row.
            for apply, arrays in zip(self._apply_to_rows, self.parameters.arrays):  # noqa: B905
                A = apply(arrays, A)
            return A  # type: ignore[no-any-return]
        rows = max(1, _BLOCK_BYTES // (self.widest * self.parameters.flat.itemsize))
        if X.shape[0] <= rows:
            return self._apply(self._as_examples(X)).T
        starts = range(0, X.shape[0], rows)
        blocks = [self._apply(self._as_examples(X[start : start + rows])) for start in starts]
        return np.concatenate(blocks, axis=1).T

    def _computes_by_row(self, X: Any) -> bool:
        """Whether each layer computes rows of X, and not an array with the examples last."""
        return self.is_flat and (self._starts_dense or isinstance(X, np.ndarray))

    def _apply(self, A: FloatArray) -> FloatArray:
        """Return the logits, (n_outputs, n_rows), for A of shape (*input_shape, n_rows)."""
        for layer, arrays in zip(self.layers, self.parameters.arrays, strict=True):
            A = layer.apply(arrays, A)
        return A

    def _as_examples(self, X: Any) -> FloatArray:
        """Return the rows of X, dense or sparse, as an array of shape (*input_shape, n_rows).

        Raises
        ------
        ValueError
            If a row has another number of values.
        """
        dense = X if isinstance(X, np.ndarray) else X.toarray()
        if dense.ndim < 2 or prod(dense.shape[1:]) != self.n_features:
            raise ValueError(f"expected rows of {self.n_features} values, got {dense.shape}")
        rows = dense.reshape(len(dense), self.n_features)
        return np.ascontiguousarray(rows.T).reshape(*self.input_shape, len(rows))

    def outputs(self, X: FloatArray) -> FloatArray:
        """Return the output layer's values, of shape (n_rows, n_outputs)."""
        Z = self.logits(X)
        self.loss.link(Z.T)
        return Z

    def probabilities(self, X: FloatArray) -> FloatArray:
        """Return class probabilities, of shape (n_rows, n_classes), as the loss defines them."""
        Z = self.logits(X)
        if len(Z) == 1:  # as a vector: a matrix with one column takes NumPy a fifth longer
            return self.loss.probabilities(Z[0])[np.newaxis]
        # A softmax over whole rows in memory takes a seventh of the time, with the copies.
        return np.ascontiguousarray(self.loss.probabilities(np.ascontiguousarray(Z.T)).T)

    def probabilities_by_class(self, X: FloatArray) -> FloatArray:
        """Return class probabilities of shape (n_classes, n_rows), for a dense X.

        Every layer is computed with one unit per row. With few features, thousands of examples
        take a third less time than by `probabilities`; with hundreds of features in float32, a
        tenth more.
        """
        if not self.is_flat:
            return self.loss.probabilities(np.ascontiguousarray(self.logits(X).T))
        return self.loss.probabilities(self._apply(X.T))

    def log_probabilities(self, X: FloatArray) -> FloatArray:
        """Return the logarithms of the probabilities, of shape (n_rows, n_classes).

        They are finite for finite logits: where a probability underflows, its logarithm is computed
        from the logits.
        """
        Z = self.logits(X).T
        exact = self.loss.log_probabilities(Z)
        P = self.loss.probabilities(Z)
        # Elsewhere it is the logarithm of the probability, so that ties are the same by both: two
        # probabilities that round to 1 have logarithms of 0.
        np.log(P, out=exact, where=np.finfo(P.dtype).tiny < P)
        return exact.T

    def __str__(self) -> str:
        """Return the sizes of dense layers, such as 2-6-4, or the layers' names."""
        if self.is_flat and all(isinstance(layer, (Dense, Activation)) for layer in self.layers):
            dense = (layer for layer in self.layers if isinstance(layer, Dense))
            return "-".join(map(str, (self.n_features, *(layer.units for layer in dense))))
        shape = "x".join(map(str, self.input_shape))
        return " - ".join([shape, *map(_name_of, self.layers)])


def _name_of(layer: Layer) -> str:
    if isinstance(layer, Ensemble):
        return f"ensemble of {layer.count}"
    return layer.function if isinstance(layer, Activation) else layer.kind
