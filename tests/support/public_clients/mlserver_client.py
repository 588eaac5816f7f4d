"""A client program of an environment without this project: MLServer's types and codecs.

Reads requests as JSON from the standard input, and prints the answers as JSON: see
`tests/service/inference_v2/test_public_clients.py`. The kind is "grpc" or "rest". MLServer has no
client of its own: its messages are posted as they are.
"""

import json
import math
import sys
import urllib.request

import numpy as np
import pandas as pd
from mlserver import types
from mlserver.codecs import PandasCodec

kind, address = sys.argv[1:]


def make_frame(inputs):
    """Return a data frame; PandasCodec encodes texts of the type object, without gaps."""
    columns = {}
    for name, datatype, values in inputs:
        if datatype == "BYTES":
            texts = ["" if value is None else value for value in values]
            columns[name] = pd.Series(texts, dtype=object)
        else:
            columns[name] = pd.Series(values, dtype={"FP64": float, "INT64": int}[datatype])
    return pd.DataFrame(columns)


def make_request(inputs):
    if len(inputs) == 1 and np.ndim(inputs[0][2]) == 2:
        name, datatype, values = inputs[0]
        from mlserver.codecs import NumpyCodec

        tensor = NumpyCodec.encode_input(name, np.array(values))
        assert tensor.datatype == datatype
        return types.InferenceRequest(inputs=[tensor])
    return PandasCodec.encode_request(make_frame(inputs))


def post(model, request):
    content = request.model_dump_json(exclude_none=True).encode()
    call = urllib.request.Request(
        f"http://{address}/v2/models/{model}/infer",
        content,
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=20) as answer:
        return types.InferenceResponse.model_validate_json(answer.read())


def call_grpc(model, request):
    import grpc
    from mlserver.grpc import dataplane_pb2_grpc
    from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter

    with grpc.insecure_channel(address) as channel:
        stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        for tensor in request.inputs:
            if tensor.datatype == "FP64":
                # MLServer's converter has no null: it raises TypeError.
                tensor.data.root = [math.nan if v is None else v for v in tensor.data.root]
        message = ModelInferRequestConverter.from_types(request, model_name=model)
        return ModelInferResponseConverter.to_types(stub.ModelInfer(message))


answers = []
for request in json.load(sys.stdin):
    call = call_grpc if kind == "grpc" else post
    response = call(request["model"], make_request(request["inputs"]))
    found = {}
    for output in response.outputs:
        values = np.array(
            [v.decode() if isinstance(v, bytes) else v for v in output.data.root]
        ).reshape(output.shape)
        dtype = {"FP32": np.float32, "FP64": np.float64}.get(output.datatype)
        values = values if dtype is None else values.astype(dtype)
        found[output.name] = {"dtype": values.dtype.name, "values": values.tolist()}
    answers.append(found)
print(json.dumps(answers))
