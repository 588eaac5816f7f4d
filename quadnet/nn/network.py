"""The network: shapes and parameters, and the forward pass. Arrays in, arrays out.

Nothing here keeps scratch, so any number of threads may share one network. Training's buffers
live in a `quadnet.nn.backpropagation.Workspace`, which belongs to whoever trains.
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
        Units a layer, from the inputs to the outputs, such as ``(2, 6, 4)``.
    activations : sequence of str
        One name from `ACTIVATIONS` a hidden layer.
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
        assert len(activations) == len(layer_sizes) - 2, "one activation a hidden layer"
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

    def in_double(self) -> "Network":
        """Return a network of the same shape and weights in float64."""
        double = Network(
            self.layer_sizes,
            activations=self.activation_names,
            loss=self.loss_name,
            bias=self.parameters.bias,
        )
        double.parameters.adopt(self.parameters.weights, self.parameters.biases)
        return double

    def predicting_from(self, weights: list[FloatArray], biases: list[FloatArray]) -> "Network":
        """Return a network that is this one but for the lists that it predicts from."""
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
        # Names and numbers alone: a pickle then depends on no function or class in here.
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
        """Yield each layer's values, (n_rows, n_units): the hidden ones' activations, the logits.

        The logits are the caller's to change.
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
        # The method takes half the time of the operator for a row, and sparse matrices have it.
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
        # Over whole rows in memory a softmax takes a seventh of the time, copying included.
        Z = np.ascontiguousarray(self.logits(X).T)
        return np.ascontiguousarray(self.loss.probabilities(Z).T)

    def probabilities_by_class(self, X: FloatArray) -> FloatArray:
        """Return the same, each class's in one row, from a dense X.

        Computed with a unit's values in one row as well. With few features, thousands of rows take
        a third less time that way; with hundreds of them in float32, a tenth more.
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
        """Return the logarithms of the probabilities.

        Where a probability is too small for a float, its logarithm comes from the logits; so it is
        finite for finite logits.
        """
        Z = self.logits(X).T
        exact = self.loss.log_probabilities(Z)
        P = self.loss.probabilities(Z)
        # Elsewhere the plain logarithm, for the sake of ties: two probabilities that are both 1 in
        # floats have logarithms that are both 0, so that the likeliest class is the same by both.
        np.log(P, out=exact, where=np.finfo(P.dtype).tiny < P)
        return exact.T
