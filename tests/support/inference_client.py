"""Calls of `inference.GRPCInferenceService`, and models of any shape.

`conftest` has fixtures for the server and the models that most tests share.
"""

import numpy as np
from google.protobuf import message_factory

from quadnet.model_names import CHAMPION
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry import alias_changes
from service.stubs.inference.v2 import inference_pb2 as pb
from tests.support.exact_models import publish, record

SERVICE = "inference.GRPCInferenceService"

MAX_ROWS = 30_000
"""The limit of the shared server, in rows."""

DIGITS = [str(digit) for digit in range(10)]

Input = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor

DTYPES = {
    "FP32": "<f4",
    "FP64": "<f8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
}
FIELDS = {
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
}
_OUTPUT_DTYPES = DTYPES | {"BOOL": "?"}
_OUTPUT_FIELDS = FIELDS | {"BOOL": "bool_contents", "BYTES": "bytes_contents"}


class InferenceStub:
    """The methods of the service."""

    def __init__(self, channel):
        for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
            request, response = map(
                message_factory.GetMessageClass, (method.input_type, method.output_type)
            )
            call = channel.unary_unary(
                f"/{SERVICE}/{method.name}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )
            setattr(self, method.name, call)


def raw(X, datatype="FP64", model="quadrants", **fields):
    """Return a request with these rows as raw contents."""
    X = np.asarray(X, DTYPES[datatype])
    return pb.ModelInferRequest(
        model_name=model,
        inputs=[Input(name="x", datatype=datatype, shape=X.shape)],
        raw_input_contents=[X.tobytes()],
        **fields,
    )


def typed(X, datatype="FP64", model="quadrants", **fields):
    """Return a request with these rows as typed contents."""
    X = np.asarray(X, DTYPES[datatype])
    contents = pb.InferTensorContents(**{FIELDS[datatype]: X.ravel().tolist()})
    return pb.ModelInferRequest(
        model_name=model,
        inputs=[Input(name="x", datatype=datatype, shape=X.shape, contents=contents)],
        **fields,
    )


def with_contents(request, **contents):
    request.inputs[0].contents.MergeFrom(pb.InferTensorContents(**contents))
    return request


def with_parameter(tensor, name, **value):
    tensor.parameters[name].MergeFrom(pb.InferParameter(**value))
    return tensor


def classified(name="probabilities", **value):
    return [with_parameter(Output(name=name), "classification", **value)]


def outputs(response):
    """Return the response's outputs, by name and in order, as arrays."""
    assert len(response.raw_output_contents) in (0, len(response.outputs))
    found = {}
    for i, output in enumerate(response.outputs):
        if response.raw_output_contents:
            assert not output.HasField("contents")
            content = response.raw_output_contents[i]
            if output.datatype == "BYTES":
                values = list(elements(content))
            else:
                values = np.frombuffer(content, _OUTPUT_DTYPES[output.datatype])
        else:
            field = _OUTPUT_FIELDS[output.datatype]
            values = list(getattr(output.contents, field))
            assert [each.name for each, _ in output.contents.ListFields()] in ([], [field])
        dtype = object if output.datatype == "BYTES" else _OUTPUT_DTYPES[output.datatype]
        found[output.name] = np.array(values, dtype).reshape(output.shape)
    return found


def elements(content):
    """Yield the elements of a raw BYTES tensor."""
    while content:
        size = int.from_bytes(content[:4], "little")
        assert len(content) >= 4 + size
        yield content[4 : 4 + size]
        content = content[4 + size :]


def publish_network(registry, name, layer_sizes, classes, dtype="float64"):
    """Publish a network of this shape with random weights, and return its predictor."""
    network = Network.dense(
        layer_sizes,
        activations=["tanh"] * (len(layer_sizes) - 2),
        loss="sigmoid_cross_entropy" if layer_sizes[-1] == 1 else "softmax_cross_entropy",
        dtype=dtype,
    )
    rng = np.random.default_rng(7)
    for W in network.parameters.weights:
        W[:] = rng.normal(size=W.shape)
    predictor = Predictor(network, classes)
    n_features = layer_sizes[0]
    inputs = rng.normal(size=(5, n_features))
    published = registry.publish(name, predictor, record(predictor, n_features), inputs)
    alias_changes.set_aliases(
        registry, name, {CHAMPION: published.manifest.version}, reason="to be called"
    )
    return predictor


def publish_models(registry):
    """Publish two versions of quadrants, and models of other shapes; return their predictors."""
    publish(registry, scale=3.0)
    publish(registry, scale=5.0, alias="candidate")
    return {
        "digits": publish_network(registry, "digits", (64, 20, 10), DIGITS, "float32"),
        "irises": publish_network(registry, "irises", (4, 8, 3), ["setosa", "", "Ünicode"]),
        "binary": publish_network(registry, "binary", (3, 1), ["no", "yes"]),
    }
