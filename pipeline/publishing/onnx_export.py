"""Export a published version to an ONNX file for other runtimes.

The only module that needs onnx. The graph computes what `Network`, `Loss` and `choose_labels`
compute, in elementary operators: ONNX has an Elu, a Softplus and a Gelu, but onnxruntime computes
them in float32 only. A file is written only after its predictions have passed the version's
self-test.
"""

import contextlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet import __version__
from quadnet.errors import ErrorKind, FileUnusable, OutputExists, Unsupported
from quadnet.extras import missing_extra
from quadnet.nn.activations import LEAK
from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.dense import Dense
from quadnet.registry import atomic_files, version_files
from quadnet.registry.version_files import Model

try:
    import onnx
    from onnx.reference import ReferenceEvaluator
except ImportError as error:
    raise missing_extra("Writing an ONNX file", "onnx", cause=error) from error

# The lowest opset in which the operators below have their present form: ReduceSum takes its axes
# as an input since then. Every runtime since the end of 2020 reads it.
OPSET, IR_VERSION = 13, 7

ATOL = 1e-6
"""Largest difference between the file's probabilities and the version's own.

A version in float32 allows more: rounding alone makes 5e-6 for large logits and close classes.
"""

_LARGEST_EXPONENT = {"float32": 88.0, "float64": 709.0}


class _Graph:
    """The nodes and constants of a graph whose values are of one floating-point type."""

    def __init__(self, dtype: np.dtype[np.floating]) -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(
        self, operator: str, *inputs: str | float, output: str | None = None, **attributes: Any
    ) -> str:
        """Add a node; each input is a value's name or a number. Return the output's name."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        names = [value if isinstance(value, str) else self._number(value) for value in inputs]
        self.nodes.append(
            onnx.helper.make_node(operator, names, [output], name=output, **attributes)
        )
        return output

    def keep(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant array; return its name."""
        self.constants[name] = onnx.numpy_helper.from_array(array, name)
        return name

    def _number(self, value: float) -> str:
        return self.keep(f"number_{value!r}", np.array(value, self.dtype))


def _logistic(graph: _Graph, z: str) -> str:
    """Add the logistic function, as exact far below 0 as the link function of the losses.

    The operator Sigmoid is not exact: in float32 onnxruntime's never goes below 1e-8.
    """
    largest = _LARGEST_EXPONENT[graph.dtype.name]
    exponential = graph.add("Exp", graph.add("Min", graph.add("Neg", z), largest))
    return graph.add("Div", 1.0, graph.add("Add", exponential, 1.0))


def _elu(graph: _Graph, z: str) -> str:
    # With t = tanh(z / 2), exp(z) - 1 is 2 t / (1 - t), which loses no digits near 0.
    t = graph.add("Tanh", graph.add("Mul", graph.add("Min", z, 0.0), 0.5))
    below = graph.add("Div", graph.add("Mul", t, 2.0), graph.add("Sub", 1.0, t))
    return graph.add("Max", z, below)


def _softplus(graph: _Graph, z: str) -> str:
    # max(z, 0) + log(1 + u), with u = exp(-|z|). For small u the sum 1 + u rounds u away. The
    # rounding error divided by the sum corrects the logarithm.
    u = graph.add("Exp", graph.add("Neg", graph.add("Abs", z)))
    total = graph.add("Add", u, 1.0)
    lost = graph.add("Sub", u, graph.add("Sub", total, 1.0))
    logarithm = graph.add("Add", graph.add("Log", total), graph.add("Div", lost, total))
    return graph.add("Add", graph.add("Relu", z), logarithm)


def _silu(graph: _Graph, z: str) -> str:
    return graph.add("Mul", z, _gate(graph, z))


def _gelu(graph: _Graph, z: str) -> str:
    # (1 + tanh(u)) / 2 is logistic(2 u).
    scale, cube = 2.0 * np.sqrt(2.0 / np.pi).item(), 0.044715
    slope = graph.add("Mul", graph.add("Mul", z, z), scale * cube)
    u = graph.add("Mul", graph.add("Add", slope, scale), z)
    return graph.add("Mul", z, _gate(graph, u))


def _gate(graph: _Graph, z: str) -> str:
    """Add the logistic function in a form that is exactly 0 or 1 far from 0.

    The result may be multiplied by values such as 1e30.
    """
    exponential = graph.add("Exp", z)
    return graph.add("Sub", 1.0, graph.add("Div", 1.0, graph.add("Add", exponential, 1.0)))


_ACTIVATIONS: dict[str, Callable[[_Graph, str], str]] = {
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


def _softmax(graph: _Graph, Z: str) -> str:
    return graph.add("Softmax", Z, axis=1)


def _shares(graph: _Graph, Z: str) -> str:
    P = _logistic(graph, Z)
    axes = graph.keep("class_axis", np.array([1]))
    return graph.add("Div", P, graph.add("ReduceSum", P, axes, keepdims=1))


_PROBABILITIES: dict[str, Callable[[_Graph, str], str]] = {
    "softmax_cross_entropy": _softmax,
    "sigmoid_cross_entropy": _shares,
    "sigmoid_squared_error": _shares,
}
"""By loss: from logits, one per class, to probabilities."""


def to_onnx(model: Model) -> bytes:
    """Return the version as an ONNX model, with the same bytes in each export.

    The input ``x`` has shape (rows, n_features) and the network's dtype. The outputs are
    ``probabilities``, of shape (rows, n_classes) and the same dtype, and ``label``, of shape
    (rows,), the class that `Predictor.predict` returns. The metadata has the names of classes and
    features.
    """
    predictor, network = model.predictor, model.predictor.network
    classes = [str(name) for name in predictor.classes]
    graph = _Graph(predictor.dtype)
    for name, array in version_files.named_tensors(predictor).items():
        graph.keep(name, array)
    values, number = "x", 0
    for layer in network.layers:
        if isinstance(layer, Dense):
            names = [f"weights.{number}", f"biases.{number}"][: 1 + layer.bias]
            values, number = graph.add("Gemm", values, *names), number + 1
        elif isinstance(layer, Activation):
            values = _ACTIVATIONS[layer.function](graph, values)
    if len(classes) == 1:
        probabilities = _softmax(graph, values)  # of one logit: always 1
    elif len(classes) == 2:
        # At a logit of 0 both are equal, and ArgMax takes the first, as `choose_labels` does.
        values = graph.add("Concat", graph.add("Neg", values), values, axis=1)
        probabilities = _logistic(graph, values)
    else:
        probabilities = _PROBABILITIES[network.loss_name](graph, values)
    graph.add("Identity", probabilities, output="probabilities")
    # By the logits, which still differ where two probabilities both round to 1.
    winners = graph.add("ArgMax", values, axis=1, keepdims=0)
    graph.add("Gather", graph.keep("classes", np.array(classes, object)), winners, output="label")
    return _make_document(model, graph, classes).SerializeToString(deterministic=True)


def _make_document(model: Model, graph: _Graph, classes: list[str]) -> onnx.ModelProto:
    """Return the ONNX model of the graph, with its inputs, outputs and metadata."""
    manifest = model.manifest
    features = [feature.name for feature in manifest.signature.features]
    floating = onnx.helper.np_dtype_to_tensor_dtype(graph.dtype)
    value = onnx.helper.make_tensor_value_info
    document = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            manifest.model,
            [value("x", floating, ["rows", len(features)])],
            [
                value("probabilities", floating, ["rows", len(classes)]),
                value("label", onnx.TensorProto.STRING, ["rows"]),
            ],
            initializer=list(graph.constants.values()),
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="quadnet",
        producer_version=__version__,
        model_version=manifest.version,
        doc_string=(
            f"{manifest.model} version {manifest.version}: from x, one row a sample and one column "
            "a feature, to each class's probability and the likeliest class's name. The names of "
            "features and classes, in the columns' order, are in the metadata as JSON."
        ),
    )
    onnx.helper.set_model_props(
        document,
        {
            "model": manifest.model,
            "version": str(manifest.version),
            "manifest_sha256": model.digest,
            "created": manifest.created.isoformat(),
            "quadnet": manifest.lineage.quadnet,
            "features": json.dumps(features, ensure_ascii=False),
            "classes": json.dumps(classes, ensure_ascii=False),
        },
    )
    return document


def export_onnx(model: Model, path: Path, *, overwrite: bool = False) -> None:
    """Write the version to an ONNX file that has passed the version's self-test.

    The file appears complete and flushed to the disk, or not at all.

    Raises
    ------
    OutputExists
        If the file exists and `overwrite` is false.
    FileUnusable
        If the file cannot be written.
    Unsupported
        If the file's predictions differ from the version's.
    """
    try:
        if path.exists() and not overwrite:
            raise OutputExists(f"{path} exists already.", kind=ErrorKind.OUTPUT_EXISTS)
        content = to_onnx(model)
        check_answers(content, model)
        _write_file(path, content)
    except OSError as error:
        raise FileUnusable(f"{path} cannot be written: {error.strerror}.") from error


def check_answers(content: bytes, model: Model) -> None:
    """Check the ONNX model against the standard, and its predictions against the version's.

    Raises
    ------
    Unsupported
        If a prediction for the self-test differs.
    """
    onnx.checker.check_model(content, full_check=True)
    X = model.selftest_inputs
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and 1 over it is 0
        P, labels = map(np.asarray, ReferenceEvaluator(content).run(None, {"x": X}))
    error = np.abs(P - model.predictor.probabilities(X)).max(axis=1)
    expected, manifest = model.predictor.predict(X), model.manifest
    atol = max(ATOL, manifest.selftest_atol)
    wrong = ~(error <= atol) | (labels != expected)
    if wrong.any():
        row = int(wrong.argmax())
        raise Unsupported(
            f"{manifest.model} version {manifest.version} was not exported, because the file "
            f"failed row {row} of the self-test: expected {str(expected[row])!r}, got "
            f"{str(labels[row])!r}; the probabilities differ by {error[row]:.3g}, at most {atol:g} "
            "is allowed."
        )


def _write_file(path: Path, content: bytes) -> None:
    path = atomic_files.resolve_link(path)
    temporary = path.with_name(f"{atomic_files.TEMPORARY_PREFIX}{uuid.uuid4()}")
    try:
        # Not written by `atomic_files`, whose files are read-only: this file belongs to the user.
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            atomic_files.sync_file(file.fileno(), temporary)
        temporary.replace(path)
        atomic_files.sync_renamed(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
