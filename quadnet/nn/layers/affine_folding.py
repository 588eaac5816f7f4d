"""Fold an affine map of values into a neighbouring layer: tables by the layer's kind.

A kind that absorbs a map of its output, or of its input, has a row in `_FOLD_AFTER` or in
`_FOLD_BEFORE`. A kind that is an affine map has one in `_AFFINE_KINDS`. Folding is exact, apart
from rounding; where it would not be, a row returns None.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from quadnet.nn.layers.layer import Shape
from quadnet.nn.layers.normalization import BatchNorm
from quadnet.nn.layers.stack import find_shapes
from quadnet.nn.network import Network
from quadnet.types import BoolArray, FloatArray

_COARSE = 1e-4
"""Largest rounding error of a feature, in its standard deviations."""

_EPSILON = 2.0**-17
"""Of a layer that is inserted: 1 - epsilon + epsilon is exactly 1 in float32, too."""


@dataclass(frozen=True)
class AffineMap:
    """The map x -> (x - mean) / deviation * scale + shift of each value.

    The division stays one: a product with the inverse would round otherwise, and versions of
    earlier releases could not be trained again bit for bit.

    Parameters
    ----------
    mean, deviation, scale, shift : ndarray
        One number for each value of an example, in the example's shape.
    """

    mean: FloatArray
    deviation: FloatArray
    scale: FloatArray
    shift: FloatArray

    @property
    def shape(self) -> Shape:
        """The shape of an example."""
        return self.mean.shape

    def reshape(self, shape: Shape) -> "AffineMap":
        """Return the same map of the same values in another shape."""
        arrays = (self.mean, self.deviation, self.scale, self.shift)
        return AffineMap(*(array.reshape(shape) for array in arrays))

    def by_channel(self) -> "AffineMap | None":
        """Return the map of each channel, of shape (channels,); None if its values differ."""
        n_channels = self.shape[0]
        arrays = [
            array.reshape(n_channels, -1)
            for array in (self.mean, self.deviation, self.scale, self.shift)
        ]
        if any((array != array[:, :1]).any() for array in arrays):
            return None
        return AffineMap(*(array[:, 0] for array in arrays))


@dataclass(frozen=True)
class LayerState:
    """A layer with its arrays in float64."""

    layer: Any
    arrays: Mapping[str, FloatArray]


def find_coarse_features(mean: FloatArray, scale: FloatArray, dtype: DTypeLike) -> BoolArray:
    """Return which features vary too little for the precision of a floating-point type.

    A time stamp in seconds is around 1.7e9, where the values of float32 are 128 apart. Folded in
    that type, x W / scale and mean W / scale are two large numbers, and their difference keeps
    hardly a correct digit. Features whose values or inverse scale overflow the type count too.

    Parameters
    ----------
    mean, scale : ndarray of shape (n_features,)
    dtype : dtype
    """
    kind = np.finfo(np.dtype(dtype))
    with np.errstate(all="ignore"):
        far = np.abs(mean) / scale * float(kind.eps) > _COARSE
        largest = float(kind.max) ** 0.75
        unbounded = (np.maximum(np.abs(mean), scale) > largest) | (scale < 1.0 / largest)
    found: BoolArray = far | unbounded
    return found


def fold_scaler(
    network: Network, mean: FloatArray, scale: FloatArray, *, dtype: DTypeLike | None = None
) -> Network:
    """Return a network that for x computes what this one computes for (x - mean) / scale.

    Parameters
    ----------
    network : Network
    mean, scale : ndarray of shape (n_features,)
    dtype : dtype, optional
        Type of the new network; by default this one's.

    Raises
    ------
    ValueError
        If they differ within a channel, and the first layers cannot absorb that.
    """
    ones, zeros = np.ones_like(mean), np.zeros_like(mean)
    affine = AffineMap(mean, scale, ones, zeros).reshape(network.input_shape)
    states = fold_into_input(read_states(network), affine)
    if states is None:
        raise ValueError(
            f"The first layer, {network.layers[0]!r}, cannot absorb a scaler whose mean or scale "
            "differs within a channel. Expected one mean and one scale for each channel."
        )
    return make_network(states, network, network.parameters.flat.dtype if dtype is None else dtype)


def read_states(network: Network) -> list[LayerState]:
    """Return the network's layers with copies of their arrays."""
    return [
        LayerState(layer, {name: array.astype(np.float64) for name, array in arrays.items()})
        for layer, arrays in zip(network.layers, network.parameters.arrays, strict=True)
    ]


def make_network(
    states: Sequence[LayerState],
    like: Network,
    dtype: DTypeLike,
    *,
    input_shape: Shape | None = None,
) -> Network:
    """Return a network of these layers with the loss of another one, and its input or a new one."""
    layers = [state.layer for state in states]
    network = Network(
        layers,
        like.input_shape if input_shape is None else input_shape,
        loss=like.loss_name,
        loss_settings=like.loss_settings,
        dtype=dtype,
    )
    for arrays, state in zip(network.parameters.arrays, states, strict=True):
        for name, array in arrays.items():
            array[...] = state.arrays[name]
    return network


def fold_into_input(states: Sequence[LayerState], affine: AffineMap) -> list[LayerState] | None:
    """Return layers that for x compute what these compute for the map of x.

    Where no layer can absorb the map, a layer that computes it is put first. The result is None if
    there is no such layer, because the map differs between the values of a channel.
    """
    folded = _fold_before(states, 0, affine)
    channels = affine.by_channel()
    if folded is None and channels is not None:
        inserted = BatchNorm(epsilon=_EPSILON)
        arrays = {
            "scale": channels.scale / channels.deviation,
            "shift": channels.shift,
            "mean": channels.mean,
            "variance": np.full_like(channels.mean, 1.0 - _EPSILON),
        }
        return [LayerState(inserted, arrays), *states]
    return folded


def fold_affine_layers(states: Sequence[LayerState], input_shape: Shape) -> list[LayerState]:
    """Return layers that compute the same, without those that a neighbour can absorb.

    A layer that is an affine map is folded into the layer before it, or else into the one after
    it, where that is exact; else it stays.
    """
    found = [_fold_inside(states[i], shape) for i, shape in _enumerate_inputs(states, input_shape)]
    # Into the layers before, from the first to the last.
    i = 0
    while i < len(found):
        affine = _find_affine(found, i, input_shape)
        folded = None if affine is None else _fold_after(found, i - 1, affine)
        if folded is None:
            i += 1
        else:
            found = [*folded, *found[i + 1 :]]
    # Into the layers after, from the last to the first, so that neighbours do not block each other.
    for i in reversed(range(len(found))):
        affine = _find_affine(found, i, input_shape)
        following = None if affine is None else _fold_before(found, i + 1, affine)
        if following is not None:
            found = [*found[:i], *following]
    return found


def _enumerate_inputs(states: Sequence[LayerState], input_shape: Shape) -> list[tuple[int, Shape]]:
    """Return each layer's place and the shape of its input."""
    shapes = find_shapes([state.layer for state in states], input_shape)
    return list(enumerate(shapes[:-1]))


def _find_affine(states: Sequence[LayerState], i: int, input_shape: Shape) -> AffineMap | None:
    """Return the map that layer i computes, if its kind is an affine map."""
    state = states[i]
    if state.layer.kind not in _AFFINE_KINDS:
        return None
    shape = _enumerate_inputs(states, input_shape)[i][1]
    return _AFFINE_KINDS[state.layer.kind](state, shape)


def _fold_after(states: Sequence[LayerState], i: int, affine: AffineMap) -> list[LayerState] | None:
    """Return the layers up to i, which also map their output; None if that is impossible."""
    if i < 0 or states[i].layer.kind not in _FOLD_AFTER:
        return None
    folded = _FOLD_AFTER[states[i].layer.kind](states[i], affine)
    return None if folded is None else [*states[:i], folded]


def _fold_before(
    states: Sequence[LayerState], i: int, affine: AffineMap
) -> list[LayerState] | None:
    """Return the layers from i on, which also map their input; None if that is impossible."""
    if i >= len(states):
        return None
    kind = states[i].layer.kind
    if kind in _REORDERING_KINDS:
        shape = states[i].layer.output_shape(affine.shape)
        following = _fold_before(states, i + 1, affine.reshape(shape))
        return None if following is None else [states[i], *following]
    folded = _FOLD_BEFORE[kind](states[i], affine) if kind in _FOLD_BEFORE else None
    return None if folded is None else [folded, *states[i + 1 :]]


def _fold_inside(state: LayerState, input_shape: Shape) -> LayerState:
    """Return the layer with the layers inside of it folded into each other."""
    if state.layer.kind not in _STACKS:
        return state
    return _STACKS[state.layer.kind](state, input_shape)


def _dense_after(state: LayerState, affine: AffineMap) -> LayerState:
    factor = affine.scale / affine.deviation
    biases = state.arrays.get("biases", 0.0) - affine.mean
    return LayerState(
        replace(state.layer, bias=True),
        {"weights": state.arrays["weights"] * factor, "biases": biases * factor + affine.shift},
    )


def _dense_before(state: LayerState, affine: AffineMap) -> LayerState:
    weights = state.arrays["weights"]
    biases = state.arrays.get("biases", np.zeros(weights.shape[1])) + affine.shift @ weights
    weights = weights * affine.scale[:, np.newaxis] / affine.deviation[:, np.newaxis]
    return LayerState(
        replace(state.layer, bias=True),
        {"weights": weights, "biases": biases - affine.mean @ weights},
    )


def _convolution_after(state: LayerState, affine: AffineMap) -> LayerState | None:
    channels = affine.by_channel()
    if channels is None:
        return None
    factor = channels.scale / channels.deviation
    biases = state.arrays.get("biases", 0.0) - channels.mean
    weights = state.arrays["weights"] * factor[:, np.newaxis, np.newaxis, np.newaxis]
    return LayerState(
        replace(state.layer, bias=True),
        {"weights": weights, "biases": biases * factor + channels.shift},
    )


def _convolution_before(state: LayerState, affine: AffineMap) -> LayerState | None:
    channels = affine.by_channel()
    if channels is None:
        return None
    factor = channels.scale / channels.deviation
    summand = channels.shift - channels.mean * factor
    # Zeros around a picture are not mapped, so a summand would be wrong at the borders.
    if summand.any() and state.layer.windows(affine.shape).is_padded:
        return None
    weights = state.arrays["weights"]
    biases = state.arrays.get("biases", 0.0) + weights.sum(axis=(2, 3)) @ summand
    return LayerState(
        replace(state.layer, bias=True),
        {"weights": weights * factor[:, np.newaxis, np.newaxis], "biases": biases},
    )


def _batch_norm_before(state: LayerState, affine: AffineMap) -> LayerState | None:
    channels = affine.by_channel()
    if channels is None or not channels.scale.all():
        return None
    # scale' (f x + s - mean) is scale' f (x - (mean - s) / f).
    factor = channels.scale / channels.deviation
    summand = channels.shift - channels.mean * factor
    arrays = {
        **state.arrays,
        "scale": state.arrays["scale"] * factor,
        "mean": (state.arrays["mean"] - summand) / factor,
    }
    return LayerState(state.layer, arrays)


def _batch_norm_map(state: LayerState, shape: Shape) -> AffineMap:
    arrays = {**state.arrays, "variance": np.sqrt(state.arrays["variance"] + state.layer.epsilon)}
    by_channel = (len(arrays["mean"]), *(1,) * (len(shape) - 1))
    return AffineMap(
        *(
            np.broadcast_to(arrays[name].reshape(by_channel), shape)
            for name in ("mean", "variance", "scale", "shift")
        )
    )


def _fold_residual(state: LayerState, input_shape: Shape) -> LayerState:
    inner = []
    for i, layer in enumerate(state.layer.layers):
        prefix = f"{i}."
        arrays = {
            name.removeprefix(prefix): array
            for name, array in state.arrays.items()
            if name.startswith(prefix)
        }
        inner.append(LayerState(layer, arrays))
    folded = fold_affine_layers(inner, input_shape)
    arrays = {
        f"{i}.{name}": array for i, each in enumerate(folded) for name, array in each.arrays.items()
    }
    return LayerState(replace(state.layer, layers=[each.layer for each in folded]), arrays)


Fold = Callable[[LayerState, AffineMap], LayerState | None]

_AFFINE_KINDS: dict[str, Callable[[LayerState, Shape], AffineMap]] = {"batch_norm": _batch_norm_map}
"""Layers that are an affine map, which is then the layer's only effect."""

_FOLD_AFTER: dict[str, Fold] = {"dense": _dense_after, "conv2d": _convolution_after}
"""How a layer absorbs a map of its output."""

_FOLD_BEFORE: dict[str, Fold] = {
    "dense": _dense_before,
    "conv2d": _convolution_before,
    "batch_norm": _batch_norm_before,
}
"""How a layer absorbs a map of its input."""

_REORDERING_KINDS = {"flatten"}
"""Layers that change no value, so that a map of their input is a map of their output."""

_STACKS: dict[str, Callable[[LayerState, Shape], LayerState]] = {"residual": _fold_residual}
"""Layers that have layers inside."""
