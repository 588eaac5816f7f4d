"""The network: shapes and parameters, and the forward pass. Arrays in, arrays out.

A network holds no scratch arrays, so any number of threads may share it. The buffers of training
belong to the trainer: see `quadnet.nn.backpropagation.Workspace`.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import DTypeLike

from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.initializers import Initializer
from quadnet.nn.losses import LOSSES
from quadnet.nn.parameters import Parameters
from quadnet.types import FloatArray


class Network:
    """A fully connected network.

    Inputs X are of shape (n_rows, n_in), dense or a SciPy sparse matrix.

    Parameters
    ----------
    layer_sizes : sequence of int
        Units per layer, from the inputs to the outputs, such as ``(2, 6, 4)``.
    activations : sequence of str
        One name from `ACTIVATIONS` per hidden layer.
    loss : str
        A name from `LOSSES`: the output layer's link and loss.
    bias : bool, default=True
    dtype : dtype, default=float64

    Attributes
    ----------
    parameters : Parameters
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activations: Sequence[str],
        loss: str,
        bias: bool = True,
        dtype: DTypeLike = np.float64,
    ) -> None:
        assert len(activations) == len(layer_sizes) - 2, "one activation per hidden layer"
        self.layer_sizes = tuple(layer_sizes)
        self.activation_names = tuple(activations)
        self.loss_name = loss
        self.activations = [ACTIVATIONS[name] for name in activations]
        self.loss = LOSSES[loss]()
        self.parameters = Parameters(layer_sizes, bias=bias, dtype=dtype)

    def initialize(self, initializer: Initializer, rng: RandomState) -> None:
        """Draw every layer's weights and biases, from the inputs to the outputs."""
        for W, b in zip(self.parameters.weights, self.parameters.biases, strict=True):
            drawn_W, drawn_b = initializer(rng, *W.shape)
            W[:] = drawn_W
            if self.parameters.bias:
                b[:] = drawn_b

    def to_float64(self) -> "Network":
        """Return a copy in float64."""
        double = Network(
            self.layer_sizes,
            activations=self.activation_names,
            loss=self.loss_name,
            bias=self.parameters.bias,
        )
        double.parameters.assign(self.parameters.weights, self.parameters.biases)
        return double

    def with_lists(self, weights: list[FloatArray], biases: list[FloatArray]) -> "Network":
        """Return a network that predicts from these very lists, and is otherwise this network."""
        parameters = self.parameters.like(self.parameters.flat)
        parameters.weights, parameters.biases = weights, biases
        return self._with(parameters)

    def _with(self, parameters: Parameters) -> "Network":
        other = object.__new__(type(self))
        vars(other).update(vars(self), parameters=parameters)
        return other

    def __deepcopy__(self, memo: dict[int, object]) -> "Network":
        return self._with(copy.deepcopy(self.parameters, memo))

    def __getstate__(self) -> dict[str, Any]:
        # Only names and numbers, so that a pickle depends on no function or class of this module.
        return {
            "layer_sizes": list(self.layer_sizes),
            "activations": list(self.activation_names),
            "loss": self.loss_name,
            "bias": self.parameters.bias,
            "parameters": copy.deepcopy(self.parameters).flat,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        flat = state.pop("parameters")
        self.__init__(dtype=flat.dtype, **state)  # type: ignore[misc]
        self.parameters.flat[:] = flat

    def layers(self, X: FloatArray) -> Iterator[FloatArray]:
        """Yield each layer's values, (n_rows, n_units): hidden activations, then the logits.

        The caller may overwrite the logits.
        """
        for i, activation in enumerate(self.activations):
            X = activation.forward(self._affine(i, X))
            yield X
        yield self._affine(len(self.activations), X)

    def logits(self, X: FloatArray) -> FloatArray:
        """Return the output layer's values before its link, of shape (n_rows, n_outputs)."""
        for i, activation in enumerate(self.activations):
            Z = self._affine(i, X)
            X = activation.forward(Z, Z if activation.in_place else None)
        return self._affine(len(self.activations), X)

    def _affine(self, i: int, X: FloatArray) -> FloatArray:
        # For one row the method takes half the time of `@`; sparse matrices have it too.
        Z: FloatArray = X.dot(self.parameters.weights[i])
        Z += self.parameters.biases[i]
        return Z

    def outputs(self, X: FloatArray) -> FloatArray:
        """Return the output layer's values, of shape (n_rows, n_outputs)."""
        Z = self.logits(X)
        self.loss.link(Z.T)
        return Z

    def probabilities(self, X: FloatArray) -> FloatArray:
        """Return class probabilities, of shape (n_rows, n_classes), as the loss defines them."""
        # A softmax over whole rows in memory takes a seventh of the time, with the copies.
        Z = np.ascontiguousarray(self.logits(X).T)
        return np.ascontiguousarray(self.loss.probabilities(Z).T)

    def probabilities_by_class(self, X: FloatArray) -> FloatArray:
        """Return class probabilities of shape (n_classes, n_rows), for a dense X.

        Every layer is computed with one unit per row. With few features, thousands of examples
        take a third less time than by `probabilities`; with hundreds of features in float32, a
        tenth more.
        """
        A = X.T
        for i, activation in enumerate(self.activations):
            Z = self._affine_by_unit(i, A)
            A = activation.forward(Z, Z if activation.in_place else None)
        return self.loss.probabilities(self._affine_by_unit(len(self.activations), A))

    def _affine_by_unit(self, i: int, A: FloatArray) -> FloatArray:
        Z: FloatArray = self.parameters.weights[i].T.dot(A)
        Z += self.parameters.biases[i][:, np.newaxis]
        return Z

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
