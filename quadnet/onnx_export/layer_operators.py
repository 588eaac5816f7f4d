"""The layers of a network as operators of ONNX: a table by the layer's kind.

Only operators that onnxruntime computes in float32 and in float64 are used, so that a version
answers the same in its own type. ONNX has an Elu, a Softplus and a Gelu, but onnxruntime computes
them in float32 only; activations are made of elementary operators. It has no convolution and no
average pooling in float64 either: there, patches are gathered by slices, and multiplied.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import Unsupported
from quadnet.extras import missing_extra
from quadnet.nn.activations import LEAK
from quadnet.nn.layers.layer import Arrays, Shape
from quadnet.nn.layers.stack import find_shapes
from quadnet.nn.layers.windows import Windows
from quadnet.nn.losses.of_classes import LOSSES
from quadnet.nn.losses.of_numbers import IDENTITY_LOSSES
from quadnet.nn.network import Network
from quadnet.types import FloatArray

try:
    import onnx
except ImportError as error:
    raise missing_extra("Writing an ONNX file", "onnx", cause=error) from error

_LARGEST_EXPONENT = {"float32": 88.0, "float64": 709.0}


class Graph:
    """The nodes and constants of a graph whose values are of one floating-point type.

    Parameters
    ----------
    dtype : dtype
    inputs : collection of str
        Names that the caller has for inputs, and that no other value gets.
    """

    def __init__(self, dtype: np.dtype[np.floating], inputs: Collection[str] = ()) -> None:
        self.dtype = dtype
        self._inputs = frozenset(inputs)
        self.nodes: list[onnx.NodeProto] = []
        self._parameters: dict[str, onnx.TensorProto] = {}
        self._constants: dict[str, onnx.TensorProto] = {}

    @property
    def initializers(self) -> list[onnx.TensorProto]:
        """The network's arrays, and then the other constants."""
        return [*self._parameters.values(), *self._constants.values()]

    def add(
        self, operator: str, *inputs: str | float, output: str | None = None, **attributes: Any
    ) -> str:
        """Add a node; each input is a value's name or a number. Return the output's name."""
        output = output or self._free_name(f"{operator.lower()}_{len(self.nodes)}")
        names = [value if isinstance(value, str) else self._number(value) for value in inputs]
        self.nodes.append(
            onnx.helper.make_node(operator, names, [output], name=output, **attributes)
        )
        return output

    def keep(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant array; return its name, which begins with this one."""
        name = self._free_name(name)
        self._constants[name] = onnx.numpy_helper.from_array(array, name)
        return name

    def keep_parameter(self, name: str, array: FloatArray) -> str:
        """Add an array of the network; return its name, which begins with this one."""
        name = self._free_name(name)
        content = np.ascontiguousarray(array, self.dtype)
        self._parameters[name] = onnx.numpy_helper.from_array(content, name)
        return name

    def keep_integers(self, *values: int) -> str:
        """Add a constant list of integers; return its name."""
        return self.keep(f"integers_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def reshape(self, values: str, shape: Shape) -> str:
        """Add a new shape for the values of each row."""
        # In a shape of ONNX, 0 means as many as before, here the rows.
        return self.add("Reshape", values, self.keep_integers(0, *shape))

    def _free_name(self, name: str) -> str:
        while name in self._inputs:
            name += "_"  # with which no name of ours ends
        return name

    def _number(self, value: float) -> str:
        return self.keep(f"number_{value!r}", np.array(value, self.dtype))


def add_logistic(graph: Graph, z: str) -> str:
    """Add the logistic function, as exact far below 0 as the link function of the losses.

    The operator Sigmoid is not exact: in float32 onnxruntime's never goes below 1e-8.
    """
    largest = _LARGEST_EXPONENT[graph.dtype.name]
    exponential = graph.add("Exp", graph.add("Min", graph.add("Neg", z), largest))
    return graph.add("Div", 1.0, graph.add("Add", exponential, 1.0))


def _elu(graph: Graph, z: str) -> str:
    # With t = tanh(z / 2), exp(z) - 1 is 2 t / (1 - t), which loses no digits near 0.
    t = graph.add("Tanh", graph.add("Mul", graph.add("Min", z, 0.0), 0.5))
    below = graph.add("Div", graph.add("Mul", t, 2.0), graph.add("Sub", 1.0, t))
    return graph.add("Max", z, below)


def _softplus(graph: Graph, z: str) -> str:
    # max(z, 0) + log(1 + u), with u = exp(-|z|). For small u the sum 1 + u rounds u away. The
    # rounding error divided by the sum corrects the logarithm.
    u = graph.add("Exp", graph.add("Neg", graph.add("Abs", z)))
    total = graph.add("Add", u, 1.0)
    lost = graph.add("Sub", u, graph.add("Sub", total, 1.0))
    logarithm = graph.add("Add", graph.add("Log", total), graph.add("Div", lost, total))
    return graph.add("Add", graph.add("Relu", z), logarithm)


def _silu(graph: Graph, z: str) -> str:
    return graph.add("Mul", z, _gate(graph, z))


def _gelu(graph: Graph, z: str) -> str:
    # (1 + tanh(u)) / 2 is logistic(2 u).
    scale, cube = 2.0 * np.sqrt(2.0 / np.pi).item(), 0.044715
    slope = graph.add("Mul", graph.add("Mul", z, z), scale * cube)
    u = graph.add("Mul", graph.add("Add", slope, scale), z)
    return graph.add("Mul", z, _gate(graph, u))


def _gate(graph: Graph, z: str) -> str:
    """Add the logistic function in a form that is exactly 0 or 1 far from 0.

    The result may be multiplied by values such as 1e30.
    """
    exponential = graph.add("Exp", z)
    return graph.add("Sub", 1.0, graph.add("Div", 1.0, graph.add("Add", exponential, 1.0)))


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda _, z: z,
    "logistic": lambda graph, z: graph.add("Sigmoid", z),
    "tanh": lambda graph, z: graph.add("Tanh", z),
    "relu": lambda graph, z: graph.add("Relu", z),
    "leaky_relu": lambda graph, z: graph.add("Max", z, graph.add("Mul", z, LEAK)),
    "elu": _elu,
    "gelu": _gelu,
    "silu": _silu,
    "softplus": _softplus,
}


@dataclass(frozen=True)
class LayerNode:
    """One layer of the network that is exported.

    Parameters
    ----------
    layer : Layer
    input_shape : tuple of int
    arrays : dict of str to ndarray
    number : int
        The number that the arrays' names in the file end with, as in "weights.0".
    place : str
        The layer's place in the network, such as "layers[3]".
    prefix : str, default=""
        What the arrays' names in the file begin with.
    """

    layer: Any
    input_shape: Shape
    arrays: Arrays
    number: int
    place: str
    prefix: str = ""

    def keep(self, graph: Graph, **arrays: FloatArray) -> list[str]:
        """Add these arrays, by the names that the layer has for them; return those in the file."""
        return [
            graph.keep_parameter(f"{self.prefix}{name}.{self.number}", array)
            for name, array in arrays.items()
        ]


def _dense(graph: Graph, node: LayerNode, values: str) -> str:
    return graph.add("Gemm", values, *node.keep(graph, **node.arrays))


def _activation(graph: Graph, node: LayerNode, values: str) -> str:
    return ACTIVATIONS[node.layer.function](graph, values)


def _convolution(graph: Graph, node: LayerNode, values: str) -> str:
    windows: Windows = node.layer.windows(node.input_shape)
    lengths = zip(windows.padded, windows.picture, windows.before, strict=True)
    after = [padded - picture - before for padded, picture, before in lengths]
    if graph.dtype == np.float32:
        names, pads = node.keep(graph, **node.arrays), [*windows.before, *after]
        return graph.add("Conv", values, *names, pads=pads, strides=list(windows.stride))
    if windows.is_padded:
        pads = [0, 0, *windows.before, 0, 0, *after]
        values = graph.add("Pad", values, graph.keep_integers(*pads))
    # All channels of the first place in each window, of the second one, and so on: the matrix has
    # its columns in the same order.
    places = [
        _take_steps(graph, windows, values, (row, column), axes=(0, 1))
        for row in range(windows.size[0])
        for column in range(windows.size[1])
    ]
    weights = node.arrays["weights"]
    matrix = weights.transpose(2, 3, 1, 0).reshape(-1, len(weights))
    patches = graph.reshape(
        graph.add("Concat", *places, axis=1), (len(matrix), prod(windows.counts))
    )
    # One patch per row of a matrix: for a stack of matrices onnxruntime 1.20 fails where X has no
    # rows, or fuses the transposition into an operator that it has in float32 only.
    rows = graph.add("Transpose", patches, perm=[0, 2, 1])
    rows = graph.add("Reshape", rows, graph.keep_integers(-1, len(matrix)))
    kept = {"weights": matrix} | {k: v for k, v in node.arrays.items() if k == "biases"}
    values = graph.add("Gemm", rows, *node.keep(graph, **kept))
    shape = graph.keep_integers(-1, prod(windows.counts), len(weights))
    values = graph.add("Transpose", graph.add("Reshape", values, shape), perm=[0, 2, 1])
    return graph.reshape(values, (len(weights), *windows.counts))


def _max_pool(graph: Graph, node: LayerNode, values: str) -> str:
    windows: Windows = node.layer.windows(node.input_shape)
    size, stride = list(windows.size), list(windows.stride)
    return graph.add("MaxPool", values, kernel_shape=size, strides=stride)


def _average_pool(graph: Graph, node: LayerNode, values: str) -> str:
    windows: Windows = node.layer.windows(node.input_shape)
    if graph.dtype == np.float32:
        size, stride = list(windows.size), list(windows.stride)
        return graph.add("AveragePool", values, kernel_shape=size, strides=stride)
    # The sum of each window's rows, and then of the columns of these sums.
    for axis in range(2):
        places = [
            _take_steps(graph, windows, values, (start,), axes=(axis,))
            for start in range(windows.size[axis])
        ]
        values = graph.add("Sum", *places)
    return graph.add("Div", values, float(prod(windows.size)))


def _take_steps(
    graph: Graph, windows: Windows, values: str, starts: Sequence[int], axes: Sequence[int]
) -> str:
    """Add the values at one place of every window, along the axes 0 (down) and 1 (across)."""
    ends = [
        start + (windows.counts[axis] - 1) * windows.stride[axis] + 1
        for start, axis in zip(starts, axes, strict=True)
    ]
    steps = [windows.stride[axis] for axis in axes]
    lists = (starts, ends, [2 + axis for axis in axes], steps)
    return graph.add("Slice", values, *(graph.keep_integers(*numbers) for numbers in lists))


def _global_average_pool(graph: Graph, node: LayerNode, values: str) -> str:
    return graph.add("ReduceMean", values, axes=[2, 3], keepdims=0)


def _flatten(graph: Graph, node: LayerNode, values: str) -> str:
    return graph.reshape(values, (prod(node.input_shape),))


def _batch_norm(graph: Graph, node: LayerNode, values: str) -> str:
    # Not the operator BatchNormalization: its epsilon is a float32, and the evaluator that checks
    # the file computes it as in training in this opset.
    shape = (-1, *(1,) * (len(node.input_shape) - 1))
    factor, summand = (array.reshape(shape) for array in node.layer.affine(node.arrays))
    names = node.keep(graph, scale=factor, shift=summand)
    return graph.add("Add", graph.add("Mul", values, names[0]), names[1])


def _layer_norm(graph: Graph, node: LayerNode, values: str) -> str:
    axes = list(range(1, 1 + len(node.input_shape)))
    mean = graph.add("ReduceMean", values, axes=axes, keepdims=1)
    centred = graph.add("Sub", values, mean)
    squares = graph.add("Mul", centred, centred)
    variance = graph.add("ReduceMean", squares, axes=axes, keepdims=1)
    deviation = graph.add("Sqrt", graph.add("Add", variance, node.layer.epsilon))
    scale, shift = node.keep(graph, **node.arrays)
    scaled = graph.add("Mul", graph.add("Div", centred, deviation), scale)
    return graph.add("Add", scaled, shift)


def _residual(graph: Graph, node: LayerNode, values: str) -> str:
    layers, inner = node.layer.layers, values
    shapes = find_shapes(layers, node.input_shape)
    for i, (layer, shape) in enumerate(zip(layers, shapes, strict=False)):
        prefix = f"{i}."
        arrays = {
            name.removeprefix(prefix): array
            for name, array in node.arrays.items()
            if name.startswith(prefix)
        }
        place = f"{node.place}.layers[{i}]"
        step = LayerNode(layer, shape, arrays, node.number, place, f"{node.prefix}{prefix}")
        inner = _add_layer(graph, step, inner)
    return graph.add("Add", values, inner)


def _ensemble(graph: Graph, node: LayerNode, values: str) -> str:
    layer, (n_outputs,) = node.layer, node.layer.output_shape(node.input_shape)
    shapes = find_shapes(layer.layers, node.input_shape)
    logits = []
    for i, arrays in enumerate(layer.arrays_by_layer(node.arrays)):
        inner = values
        for j, (each, shape) in enumerate(zip(layer.layers, shapes, strict=False)):
            place = f"{node.place}.layers[{j}]"
            prefix = f"{node.prefix}{i}.{j}."
            step = LayerNode(each, shape, arrays[j], node.number, place, prefix)
            inner = _add_layer(graph, step, inner)
        logits.append(inner)
    if layer.loss in IDENTITY_LOSSES:
        total = logits[0]
        for each in logits[1:]:  # onnxruntime has Mean for float32 alone
            total = graph.add("Add", total, each)
        return graph.add("Mul", total, 1.0 / len(logits))
    if layer.loss == "poisson":
        return _log_mean(graph, logits)
    loss = LOSSES[layer.loss]
    if not loss.multilabel and n_outputs > 1:
        return _log_mean(graph, [_log_shares(graph, loss.link_name, Z) for Z in logits])
    negated = [graph.add("Neg", Z) for Z in logits]
    yes = _log_mean(
        graph, [_log_logistic(graph, Z, minus) for Z, minus in zip(logits, negated, strict=True)]
    )
    no = _log_mean(
        graph, [_log_logistic(graph, minus, Z) for Z, minus in zip(logits, negated, strict=True)]
    )
    return graph.add("Sub", yes, no)


def _log_shares(graph: Graph, link_name: str, logits: str) -> str:
    """Add the logarithms of the probabilities of several classes."""
    if link_name == "logistic":
        logits = _log_logistic(graph, logits, graph.add("Neg", logits))
    largest = graph.add("ReduceMax", logits, axes=[1], keepdims=1)
    shifted = graph.add("Sub", logits, largest)
    total = _add_sum(graph, graph.add("Exp", shifted))
    return graph.add("Sub", shifted, graph.add("Log", total))


def _add_sum(graph: Graph, values: str) -> str:
    return graph.add("ReduceSum", values, graph.keep_integers(1), keepdims=1)


def _log_logistic(graph: Graph, logits: str, negated: str) -> str:
    """Add min(z, 0) - log(1 + exp(-|z|)), which is finite for every z."""
    small = graph.add("Exp", graph.add("Min", logits, negated))
    rest = graph.add("Log", graph.add("Add", small, 1.0))
    return graph.add("Sub", graph.add("Min", logits, 0.0), rest)


def _log_mean(graph: Graph, logarithms: Sequence[str]) -> str:
    """Add the logarithm of the mean of numbers, from their logarithms."""
    largest = logarithms[0]
    for other in logarithms[1:]:
        largest = graph.add("Max", largest, other)
    terms = [graph.add("Exp", graph.add("Sub", each, largest)) for each in logarithms]
    mean = graph.add("Div", graph.add("Sum", *terms), float(len(terms)))
    return graph.add("Add", graph.add("Log", mean), largest)


LayerOperators = Callable[[Graph, LayerNode, str], str]
"""Adds a layer's operators to a graph: from the name of its input to that of its output.

Both have the rows as their first axis, and then the axes of the layer's shapes.
"""

LAYER_OPERATORS: dict[str, LayerOperators] = {
    "dense": _dense,
    "activation": _activation,
    "conv2d": _convolution,
    "max_pool2d": _max_pool,
    "average_pool2d": _average_pool,
    "global_average_pool2d": _global_average_pool,
    "flatten": _flatten,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "residual": _residual,
    "ensemble": _ensemble,
}
"""By the kind of a layer; a predictor has no dropout."""


def add_network(graph: Graph, network: Network, values: str) -> str:
    """Add the network's operators, from rows of shape (n_features,) to the logits.

    Raises
    ------
    Unsupported
        If a kind of layer has no row in `LAYER_OPERATORS`.
    """
    if len(network.input_shape) > 1:
        values = graph.reshape(values, network.input_shape)
    number, arrays = 0, network.parameters.arrays
    for i, (layer, shape) in enumerate(zip(network.layers, network.shapes, strict=False)):
        node = LayerNode(layer, shape, arrays[i], number, f"layers[{i}]")
        values, number = _add_layer(graph, node, values), number + bool(arrays[i])
    return values


def _add_layer(graph: Graph, node: LayerNode, values: str) -> str:
    kind = node.layer.kind
    if kind not in LAYER_OPERATORS:
        raise Unsupported(
            f"{node.place} is of the kind {kind!r}, for which no ONNX operators are known. Known "
            f"kinds are {', '.join(LAYER_OPERATORS)}. Add a function for {kind!r} to "
            "quadnet.onnx_export.layer_operators.LAYER_OPERATORS."
        )
    return LAYER_OPERATORS[kind](graph, node, values)
