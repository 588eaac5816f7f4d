"""Several networks of one architecture, whose predictions are averaged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from quadnet.nn.layers.layer import (
    Arrays,
    ArraySpec,
    Layer,
    LayerStep,
    Shape,
    StepContext,
    UnfitInput,
)
from quadnet.nn.layers.settings import check_count
from quadnet.nn.layers.stack import find_shapes, make_layers, name_layer
from quadnet.nn.losses.of_classes import LOSSES
from quadnet.nn.losses.of_numbers import IDENTITY_LOSSES
from quadnet.types import FloatArray

AVERAGED_LOSSES = (*IDENTITY_LOSSES, "poisson")
"""The losses of numbers that are averaged. The mean of quantiles is no quantile."""


@dataclass(frozen=True, repr=False)
class Ensemble(Layer):
    """The logits of the mean of several networks' probabilities, or of the numbers they predict.

    Trained networks are joined into this layer: it is not trained itself.

    Parameters
    ----------
    layers : sequence of layers
        Those of each network; the last one computes its logits.
    count : int
        Number of networks.
    loss : str
        Each network's loss, a name from `LOSSES` or `AVERAGED_LOSSES`, which makes probabilities
        or numbers of its logits.

    Notes
    -----
    Input of any shape, output (n_outputs,). With one output, and for each label of a multilabel
    problem, the logit is log p - log(1 - p) of the mean p; for several classes it is log p, so that
    its softmax is the mean. Of numbers, the logits are their mean, or with the loss 'poisson' the
    logarithm of their mean. Its arrays are those of the networks' layers, with the numbers of the
    network and of the layer, such as ``2.0.weights``.

    Examples
    --------
    >>> from quadnet.layers import Dense, Ensemble
    >>> Ensemble([Dense(4), "relu", Dense(3)], 5, "softmax_cross_entropy")
    Ensemble([Dense(4), 'relu', Dense(3)], 5, 'softmax_cross_entropy')
    """

    layers: Sequence[Any]
    count: int
    loss: str

    __module__ = "quadnet.layers"
    kind: ClassVar[str] = "ensemble"

    def __post_init__(self) -> None:
        if not isinstance(self.layers, (list, tuple)) or not self.layers:
            raise ValueError(f"Ensemble: layers must be a list of layers. Got {self.layers!r}.")
        check_count(self, "count")
        names = (*LOSSES, *AVERAGED_LOSSES)
        if not isinstance(self.loss, str) or self.loss not in names:
            raise ValueError(
                f"Ensemble: loss must be one of {', '.join(names)}. Got {self.loss!r}."
            )
        object.__setattr__(self, "layers", make_layers(self.layers, "Ensemble: layers"))

    def __repr__(self) -> str:
        """Return the layer with a list, in which activations have their names."""
        layers = ", ".join(map(name_layer, self.layers))
        return f"Ensemble([{layers}], {self.count}, {self.loss!r})"

    def output_shape(self, input_shape: Shape) -> Shape:
        try:
            output = find_shapes(self.layers, input_shape)[-1]
        except ValueError as error:
            raise UnfitInput(f"layers that fit each other: {error}") from None
        if len(output) != 1:
            raise UnfitInput(f"layers that end with one row of logits; these make {output}")
        return output

    def array_specs(self, input_shape: Shape) -> dict[str, ArraySpec]:
        shapes = find_shapes(self.layers, input_shape)
        return {
            f"{i}.{j}.{name}": spec
            for i in range(self.count)
            for j, (layer, shape) in enumerate(zip(self.layers, shapes, strict=False))
            for name, spec in layer.array_specs(shape).items()
        }

    def arrays_by_layer(self, arrays: Arrays) -> Iterator[list[dict[str, FloatArray]]]:
        """Yield the arrays of each network's layers."""
        for i in range(self.count):
            inner: list[dict[str, FloatArray]] = [{} for _ in self.layers]
            for name, array in arrays.items():
                network, layer, own = name.split(".", 2)
                if int(network) == i:
                    inner[int(layer)][own] = array
            yield inner

    def apply(self, arrays: Arrays, A: FloatArray) -> FloatArray:
        logits = []
        for inner in self.arrays_by_layer(arrays):
            Z = A
            for layer, own in zip(self.layers, inner, strict=True):
                Z = layer.apply(own, Z)
            logits.append(Z)
        return self._average(logits)

    def _average(self, logits: Sequence[FloatArray]) -> FloatArray:
        """Return the logits of the mean, from each network's of shape (n_outputs, n_examples)."""
        if self.loss in IDENTITY_LOSSES:
            mean: FloatArray = np.mean(logits, axis=0)
            return mean
        if self.loss == "poisson":
            return _log_mean(logits)
        loss = LOSSES[self.loss]()
        # By logarithms: the logits are finite where a probability underflows.
        if loss.multilabel or len(logits[0]) == 1:
            difference: FloatArray = _log_mean([-np.logaddexp(0, -Z) for Z in logits])
            difference -= _log_mean([-np.logaddexp(0, Z) for Z in logits])
            return difference
        return _log_mean([loss.log_probabilities(Z) for Z in logits])

    def make_step(self, context: StepContext) -> LayerStep:
        raise ValueError(
            "An Ensemble cannot be trained, nor can its gradient be computed: train its networks, "
            "and join them."
        )

    def for_predicting(self) -> "Ensemble":
        # Networks are joined without the layers that only training needs.
        return self

    def widest(self, input_shape: Shape) -> int:
        shapes = find_shapes(self.layers, input_shape)
        pairs = zip(self.layers, shapes, strict=False)
        inside: list[int] = [layer.widest(shape) for layer, shape in pairs]
        return max(self.count * shapes[-1][0], *inside)

    def multiply_adds(self, input_shape: Shape) -> int:
        pairs = zip(self.layers, find_shapes(self.layers, input_shape), strict=False)
        inside: int = sum(layer.multiply_adds(shape) for layer, shape in pairs)
        return self.count * inside

    def nanoseconds(self, input_shape: Shape) -> float:
        pairs = zip(self.layers, find_shapes(self.layers, input_shape), strict=False)
        inside: float = sum(layer.nanoseconds(shape) for layer, shape in pairs)
        return self.count * inside


def _log_mean(logarithms: Sequence[FloatArray]) -> FloatArray:
    mean: FloatArray = np.logaddexp.reduce(np.stack(logarithms), axis=0)
    mean -= np.log(len(logarithms))
    return mean
