"""What skl2onnx needs to convert a pipeline that ends in one of our estimators."""

from typing import Any

import numpy as np

from quadnet.errors import Unsupported
from quadnet.extras import missing_extra
from quadnet.onnx_export.document import OPSET, add_answers, add_numbers, as_labels
from quadnet.onnx_export.layer_operators import Graph

try:
    import skl2onnx
except ImportError as error:
    raise missing_extra("Converting a pipeline to ONNX", "onnx", cause=error) from error

# isort: split
# After the report of a missing skl2onnx.
import onnx
from skl2onnx.common.data_types import guess_numpy_type
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)


def register(classifier: type, regressor: type) -> None:
    """Teach skl2onnx to convert these classes of estimators.

    Outputs and the option ``zipmap`` are those that skl2onnx has for scikit-learn's estimators.
    """
    skl2onnx.update_registered_converter(
        classifier,
        f"Quadnet{classifier.__name__}",
        _find_classifier_shapes,
        _convert_classifier,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False]},
    )
    skl2onnx.update_registered_converter(
        regressor,
        f"Quadnet{regressor.__name__}",
        _find_regressor_shapes,
        _convert_regressor,
    )


def _find_classifier_shapes(operator: Any) -> None:
    _refuse_encoder(operator.raw_operator)
    calculate_linear_classifier_output_shapes(operator)


def _find_regressor_shapes(operator: Any) -> None:
    _refuse_encoder(operator.raw_operator)
    calculate_linear_regressor_output_shapes(operator)


def _refuse_encoder(estimator: Any) -> None:
    # Before skl2onnx, which refuses texts and several inputs without advice.
    if getattr(estimator, "encoder_", None) is not None:
        raise Unsupported(
            "A network with categorical_features or missing cannot be converted by skl2onnx, which "
            "passes it one array of numbers. Use its method to_onnx(), or encode the columns "
            "before it, for instance with scikit-learn's ColumnTransformer."
        )


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    predictor = operator.raw_operator.freeze()
    if predictor.network.loss.multilabel:
        raise Unsupported(
            "A classifier with several labels for each row cannot be converted by skl2onnx. Use "
            "its method to_onnx()."
        )
    graph, x = _begin(operator)
    label, probabilities = (output.full_name for output in operator.outputs)
    classes = as_labels(predictor.classes)
    add_answers(graph, predictor.network, classes, x, label=label, probabilities=probabilities)
    _insert(graph, scope, operator, container)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    predictor = operator.raw_operator.freeze()
    graph, x = _begin(operator)
    (value,) = (output.full_name for output in operator.outputs)
    # As scikit-learn's regressors there: one column for a single number.
    add_numbers(graph, predictor.network, predictor.n_columns or 1, x, value=value)
    _insert(graph, scope, operator, container)


def _begin(operator: Any) -> tuple[Graph, str]:
    """Return an empty graph, and the name of its input as floating-point numbers."""
    (given,) = operator.inputs
    dtype = np.dtype(guess_numpy_type(given.type))
    graph = Graph(dtype if dtype in {np.dtype("f4"), np.dtype("f8")} else np.dtype("f4"))
    if graph.dtype == dtype:
        return graph, given.full_name
    kind = onnx.helper.np_dtype_to_tensor_dtype(graph.dtype)
    return graph, graph.add("Cast", given.full_name, to=kind)


def _insert(graph: Graph, scope: Any, operator: Any, container: Any) -> None:
    """Add the graph to that of the pipeline, in which every name is unique."""
    ends = [each.full_name for each in (*operator.inputs, *operator.outputs)]
    names: dict[str, str] = {name: name for name in ends}

    def rename(name: str) -> str:
        if name not in names:
            names[name] = scope.get_unique_variable_name(name)
        return names[name]

    for tensor in graph.initializers:
        tensor.name = rename(tensor.name)
        container.initializers.append(tensor)
    for node in graph.nodes:
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        container.add_node(
            node.op_type,
            [rename(name) for name in node.input],
            [rename(name) for name in node.output],
            name=scope.get_unique_operator_name(node.op_type),
            op_version=OPSET,
            **attributes,
        )
