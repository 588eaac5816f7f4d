"""A network with its classes as an ONNX model: logits, probabilities and labels."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.nn.network import Network
from quadnet.onnx_export.layer_operators import Graph, add_logistic, add_network

# isort: split
# After `layer_operators`, which reports a missing onnx.
import onnx

# The lowest opset in which the operators in use have their present form: ReduceSum takes its axes
# as an input since then. Every runtime since the end of 2020 reads it.
OPSET, IR_VERSION = 13, 7


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
    "multilabel_cross_entropy": add_logistic,
    "multilabel_squared_error": add_logistic,
}
"""By loss: from logits, one per class, to probabilities."""


def as_labels(classes: NDArray[Any]) -> NDArray[Any]:
    """Return class names as ONNX has them: whole numbers, other numbers, or texts."""
    if classes.dtype.kind in "iub":
        return classes.astype(np.int64)
    if classes.dtype.kind == "f":
        return classes
    return np.array([str(name) for name in classes], object)


def add_answers(
    graph: Graph,
    network: Network,
    classes: NDArray[Any],
    x: str,
    *,
    label: str = "label",
    probabilities: str = "probabilities",
) -> None:
    """Add the label and the probabilities of each row of `x`, by the names of the values.

    With several labels for each row, the label is a row of 0 and 1.

    Raises
    ------
    Unsupported
        If a kind of layer has no row in `LAYER_OPERATORS`.
    """
    values = add_network(graph, network, x)
    if network.loss.multilabel:
        shares = add_logistic(graph, values)
        is_on = graph.add("Greater", values, 0.0)
        graph.add("Cast", is_on, output=label, to=onnx.TensorProto.INT64)
        graph.add("Identity", shares, output=probabilities)
        return
    if len(classes) == 1:
        shares = _softmax(graph, values)  # of one logit: always 1
    elif len(classes) == 2:
        # At a logit of 0 both are equal, and ArgMax takes the first, as `choose_labels` does.
        values = graph.add("Concat", graph.add("Neg", values), values, axis=1)
        shares = add_logistic(graph, values)
    else:
        shares = _PROBABILITIES[network.loss_name](graph, values)
    graph.add("Identity", shares, output=probabilities)
    # By the logits, which still differ where two probabilities both round to 1.
    winners = graph.add("ArgMax", values, axis=1, keepdims=0)
    graph.add("Gather", graph.keep("classes", classes), winners, output=label)


def make_document(
    network: Network,
    classes: NDArray[Any],
    *,
    name: str,
    description: str,
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    """Return a network as an ONNX model.

    Parameters
    ----------
    network : Network
    classes : ndarray of shape (n_classes,)
        Texts, as objects, or numbers.
    name, description : str
        What the graph is called, and what it computes.
    metadata : mapping of str to str

    Returns
    -------
    onnx.ModelProto
        The input ``x`` has shape (rows, n_features) and the network's dtype. The outputs are
        ``probabilities``, of shape (rows, n_classes) and the same dtype, and ``label``.

    Raises
    ------
    Unsupported
        If a kind of layer has no row in `LAYER_OPERATORS`.
    """
    graph = Graph(network.parameters.flat.dtype)
    add_answers(graph, network, classes, "x")
    floating = onnx.helper.np_dtype_to_tensor_dtype(graph.dtype)
    value = onnx.helper.make_tensor_value_info
    label = (
        value("label", onnx.TensorProto.INT64, ["rows", len(classes)])
        if network.loss.multilabel
        else value("label", onnx.helper.np_dtype_to_tensor_dtype(classes.dtype), ["rows"])
    )
    document = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            name,
            [value("x", floating, ["rows", network.n_features])],
            [value("probabilities", floating, ["rows", len(classes)]), label],
            initializer=graph.initializers,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="quadnet",
        producer_version=version("quadnet"),
        doc_string=description,
    )
    onnx.helper.set_model_props(document, dict(metadata))
    return document
