"""What skl2onnx needs to convert a pipeline that ends in one of our classifiers."""

from typing import Any

import numpy as np
import onnx
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import guess_numpy_type
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

from quadnet.errors import Unsupported
from quadnet.onnx_export.document import OPSET, add_answers, as_labels
from quadnet.onnx_export.layer_operators import Graph


def register(estimator: type) -> None:
    """Teach skl2onnx to convert this class of classifiers.

    Labels, probabilities and the option ``zipmap`` are those that skl2onnx has for scikit-learn's
    classifiers.
    """
    update_registered_converter(
        estimator,
        f"Quadnet{estimator.__name__}",
        calculate_linear_classifier_output_shapes,
        _convert,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False]},
    )


def _convert(scope: Any, operator: Any, container: Any) -> None:
    predictor = operator.raw_operator.freeze()
    if predictor.network.loss.multilabel:
        raise Unsupported(
            "A classifier with several labels for each row cannot be converted by skl2onnx. Use "
            "its method to_onnx()."
        )
    (given,), (label, probabilities) = operator.inputs, operator.outputs
    dtype = np.dtype(guess_numpy_type(given.type))
    graph = Graph(dtype if dtype in {np.dtype("f4"), np.dtype("f8")} else np.dtype("f4"))
    x = given.full_name
    if graph.dtype != dtype:
        x = graph.add("Cast", x, to=onnx.helper.np_dtype_to_tensor_dtype(graph.dtype))
    classes = as_labels(predictor.classes)
    add_answers(
        graph,
        predictor.network,
        classes,
        x,
        label=label.full_name,
        probabilities=probabilities.full_name,
    )
    # The names inside of a graph are unique in the whole pipeline.
    names: dict[str, str] = {
        name: name for name in (given.full_name, label.full_name, probabilities.full_name)
    }

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
