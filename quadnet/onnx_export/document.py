"""A network as an ONNX model: probabilities and labels, or numbers and quantiles."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.nn.network import Network
from quadnet.nn.predictor import find_middle
from quadnet.onnx_export.column_inputs import describe_columns
from quadnet.onnx_export.column_operators import ML_DOMAIN, ML_OPSET, add_encoder, make_inputs
from quadnet.onnx_export.layer_operators import ACTIVATIONS, Graph, add_logistic, add_network
from quadnet.tables.encoder import TableEncoder

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


def add_numbers(
    graph: Graph, network: Network, n_columns: int | None, x: str, *, value: str = "value"
) -> list[str]:
    """Add the numbers of each row of `x`; return the names of the values of each quantile.

    `value` has the shape (rows,) or, with columns, (rows, n_columns).

    Raises
    ------
    Unsupported
        If a kind of layer has no row in `LAYER_OPERATORS`.
    """
    settings = network.loss_settings
    quantiles = _add_quantiles(graph, network, add_network(graph, network, x))
    middle = quantiles[find_middle(settings.get("quantiles", ()))]
    if n_columns is None:
        graph.add("Reshape", middle, graph.keep_integers(-1), output=value)
    else:
        graph.add("Identity", middle, output=value)
    return quantiles


def _add_quantiles(graph: Graph, network: Network, Z: str) -> list[str]:
    """Add the link from the logits Z: a value of shape (rows, n_targets) for each quantile."""
    if network.loss.link_name == "exp":
        return [graph.add("Exp", Z)]
    if network.loss.link_name != "quantiles":
        return [Z]
    scales = graph.keep("scales", np.array(network.loss_settings["scales"], graph.dtype))
    n_targets = len(network.loss_settings["scales"])
    values: list[str] = []
    for first in range(0, network.n_outputs, n_targets):
        outputs = graph.keep_integers(*range(first, first + n_targets))
        part = graph.add("Gather", Z, outputs, axis=1)
        if values:
            step = ACTIVATIONS["softplus"](graph, graph.add("Div", part, scales))
            part = graph.add("Add", graph.add("Mul", step, scales), values[-1])
        values.append(part)
    return values


def make_number_document(
    network: Network,
    n_columns: int | None,
    *,
    name: str,
    description: str,
    metadata: Mapping[str, str],
    encoder: TableEncoder | None = None,
) -> onnx.ModelProto:
    """Return a network that predicts numbers as an ONNX model.

    Parameters
    ----------
    network : Network
    n_columns : int or None
        Columns of y; None if y is one number for each row.
    name, description : str
        What the graph is called, and what it computes.
    metadata : mapping of str to str
    encoder : TableEncoder, optional
        Makes the network's rows of a table: see `make_document`.

    Returns
    -------
    onnx.ModelProto
        The input ``x`` has shape (rows, n_features) and the network's dtype. The output ``value``
        has shape (rows,) or (rows, n_columns). With quantiles there is the output ``quantiles``,
        with one more axis.

    Raises
    ------
    Unsupported
        If a kind of layer or of column has no operators.
    """
    graph, inputs, rows = _begin_graph(network, encoder)
    values = add_numbers(graph, network, n_columns, rows)
    columns = () if n_columns is None else (n_columns,)
    outputs: list[tuple[str, Any, Sequence[str | int]]] = [
        ("value", graph.dtype, ("rows", *columns))
    ]
    if len(values) > 1:
        last = graph.keep_integers(0, *columns, 1)
        parts = [graph.add("Reshape", each, last) for each in values]
        graph.add("Concat", *parts, axis=len(columns) + 1, output="quantiles")
        outputs.append(("quantiles", graph.dtype, ("rows", *columns, len(values))))
    return _make_document(
        graph,
        inputs,
        outputs,
        name=name,
        description=description,
        metadata=metadata,
        encoder=encoder,
    )


def make_document(
    network: Network,
    classes: NDArray[Any],
    *,
    name: str,
    description: str,
    metadata: Mapping[str, str],
    encoder: TableEncoder | None = None,
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
    encoder : TableEncoder, optional
        Makes the network's rows of a table. The model then has an input for each column, of shape
        (rows, 1), in place of ``x``, and in its metadata "columns", the result of
        `describe_columns`. `make_feed` returns a table as such inputs.

    Returns
    -------
    onnx.ModelProto
        The input ``x`` has shape (rows, n_features) and the network's dtype. The outputs are
        ``probabilities``, of shape (rows, n_classes) and the same dtype, and ``label``.

    Raises
    ------
    Unsupported
        If a kind of layer or of column has no operators.
    """
    graph, inputs, rows = _begin_graph(network, encoder)
    add_answers(graph, network, classes, rows)
    labels: tuple[str, Any, list[str | int]] = ("label", classes.dtype, ["rows"])
    if network.loss.multilabel:
        labels = ("label", np.dtype(np.int64), ["rows", len(classes)])
    return _make_document(
        graph,
        inputs,
        [("probabilities", graph.dtype, ["rows", len(classes)]), labels],
        name=name,
        description=description,
        metadata=metadata,
        encoder=encoder,
    )


def _begin_graph(
    network: Network, encoder: TableEncoder | None
) -> tuple[Graph, list[onnx.ValueInfoProto], str]:
    """Return a graph, its inputs, and the name of the rows that the network takes."""
    dtype = network.parameters.flat.dtype
    if encoder is None:
        return Graph(dtype), [_describe_value("x", dtype, ["rows", network.n_features])], "x"
    inputs = make_inputs(encoder)
    graph = Graph(dtype, [each.name for each in inputs])
    return graph, inputs, add_encoder(graph, encoder)


def _make_document(
    graph: Graph,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[tuple[str, Any, Sequence[str | int]]],
    *,
    name: str,
    description: str,
    metadata: Mapping[str, str],
    encoder: TableEncoder | None,
) -> onnx.ModelProto:
    opsets, columns = [onnx.helper.make_opsetid("", OPSET)], {}
    if encoder is not None:
        opsets.append(onnx.helper.make_opsetid(ML_DOMAIN, ML_OPSET))
        columns = {"columns": describe_columns(encoder)}
    document = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            name,
            inputs,
            [_describe_value(*output) for output in outputs],
            initializer=graph.initializers,
        ),
        opset_imports=opsets,
        ir_version=IR_VERSION,
        producer_name="quadnet",
        producer_version=version("quadnet"),
        doc_string=description,
    )
    onnx.helper.set_model_props(document, {**metadata, **columns})
    return document


def _describe_value(name: str, dtype: Any, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    return onnx.helper.make_tensor_value_info(name, kind, shape)
