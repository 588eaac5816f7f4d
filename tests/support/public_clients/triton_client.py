"""A client program of an environment without this project: tritonclient, over gRPC or HTTP.

Reads requests as JSON from the standard input, and prints the answers as JSON: see
`tests/service/inference_v2/test_public_clients.py`. The kind is "grpc", "http" or "http json".
"""

import json
import sys

import numpy as np

kind, address = sys.argv[1:]
if kind == "grpc":
    import tritonclient.grpc as triton
else:
    import tritonclient.http as triton
client = triton.InferenceServerClient(address)
in_json = {"binary_data": False} if kind == "http json" else {}
answers = []
for request in json.load(sys.stdin):
    inputs = []
    for name, datatype, values in request["inputs"]:
        missing = np.nan if datatype.startswith("FP") else ""
        dtype = {"FP64": np.float64, "INT64": np.int64}.get(datatype, object)
        array = np.array([missing if value is None else value for value in values], dtype)
        tensor = triton.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, **in_json)
        inputs.append(tensor)
    outputs = None
    if in_json:
        described = client.get_model_metadata(request["model"])
        outputs = [
            triton.InferRequestedOutput(each["name"], **in_json) for each in described["outputs"]
        ]
    answer = client.infer(request["model"], inputs, outputs=outputs)
    response = answer.get_response()
    named = response["outputs"] if isinstance(response, dict) else response.outputs
    found = {}
    for each in named:
        name = each["name"] if isinstance(each, dict) else each.name
        values = answer.as_numpy(name)
        if values.dtype == object:
            values = np.array(
                [v.decode() if isinstance(v, bytes) else v for v in values.ravel()]
            ).reshape(values.shape)
        found[name] = {"dtype": values.dtype.name, "values": values.tolist()}
    answers.append(found)
print(json.dumps(answers))
