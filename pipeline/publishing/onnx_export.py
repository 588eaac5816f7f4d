"""Export a published version to an ONNX file for other runtimes.

The graph computes what `Network`, `Loss` and `choose_labels` compute; `onnx_layers` has the
operators of the layers. A file is written only after its predictions have passed the version's
self-test.
"""

import contextlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.publishing.onnx_layers import Graph, add_logistic, add_network
from quadnet import __version__
from quadnet.errors import ErrorKind, FileUnusable, OutputExists, Unsupported
from quadnet.registry import atomic_files
from quadnet.registry.version_files import Model

# isort: split
# After `onnx_layers`, which reports a missing onnx.
import onnx
from onnx.reference import ReferenceEvaluator

# The lowest opset in which the operators in use have their present form: ReduceSum takes its axes
# as an input since then. Every runtime since the end of 2020 reads it.
OPSET, IR_VERSION = 13, 7

ATOL = 1e-6
"""Largest difference between the file's probabilities and the version's own.

A version in float32 allows more: rounding alone makes 5e-6 for large logits and close classes.
"""


def _softmax(graph: Graph, Z: str) -> str:
    return graph.add("Softmax", Z, axis=1)


def _shares(graph: Graph, Z: str) -> str:
    P = add_logistic(graph, Z)
    axes = graph.keep("class_axis", np.array([1]))
    return graph.add("Div", P, graph.add("ReduceSum", P, axes, keepdims=1))


_PROBABILITIES: dict[str, Callable[[Graph, str], str]] = {
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
    graph = Graph(predictor.dtype)
    try:
        values = add_network(graph, network, "x")
    except Unsupported as error:
        manifest = model.manifest
        raise Unsupported(
            f"{manifest.model} version {manifest.version} was not exported: {error}"
        ) from error
    if len(classes) == 1:
        probabilities = _softmax(graph, values)  # of one logit: always 1
    elif len(classes) == 2:
        # At a logit of 0 both are equal, and ArgMax takes the first, as `choose_labels` does.
        values = graph.add("Concat", graph.add("Neg", values), values, axis=1)
        probabilities = add_logistic(graph, values)
    else:
        probabilities = _PROBABILITIES[network.loss_name](graph, values)
    graph.add("Identity", probabilities, output="probabilities")
    # By the logits, which still differ where two probabilities both round to 1.
    winners = graph.add("ArgMax", values, axis=1, keepdims=0)
    graph.add("Gather", graph.keep("classes", np.array(classes, object)), winners, output="label")
    return _make_document(model, graph, classes).SerializeToString(deterministic=True)


def _make_document(model: Model, graph: Graph, classes: list[str]) -> onnx.ModelProto:
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
            initializer=graph.initializers,
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
        If the network has a layer without ONNX operators, or the file's predictions differ from the
        version's.
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
