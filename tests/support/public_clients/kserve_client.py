"""A client program of an environment without this project: kserve, over gRPC or REST.

Reads requests as JSON from the standard input, and prints the answers as JSON: see
`tests/service/inference_v2/test_public_clients.py`. The kind is "grpc", "rest" or "rest binary".
"""

import asyncio
import json
import sys

import kserve
import numpy as np
from kserve.inference_client import RESTConfig

kind, address = sys.argv[1:]


def make_input(name, datatype, values):
    shape = list(np.shape(values))
    tensor = kserve.InferInput(name, shape, datatype)
    if kind == "rest":
        # JSON has null for what is missing.
        tensor.data = np.ravel(np.array(values, object)).tolist()
        return tensor
    missing = np.nan if datatype.startswith("FP") else ""
    dtype = {"FP64": np.float64, "INT64": np.int64}.get(datatype, object)
    array = np.array([missing if value is None else value for value in values], dtype)
    tensor.set_data_from_numpy(array, binary_data=True)
    return tensor


async def main():
    if kind == "grpc":
        client = kserve.InferenceGRPCClient(address)
    else:
        client = kserve.InferenceRESTClient(RESTConfig(protocol="v2"))
    answers = []
    for request in json.load(sys.stdin):
        inputs = [make_input(*each) for each in request["inputs"]]
        infer = kserve.InferRequest(model_name=request["model"], infer_inputs=inputs)
        if kind == "grpc":
            answer = await client.infer(infer)
        else:
            answer = await client.infer(f"http://{address}", infer, model_name=request["model"])
        found = {}
        for each in answer.outputs:
            values = each.as_numpy()
            if values.dtype == object:
                values = np.array(
                    [v.decode() if isinstance(v, bytes) else v for v in values.ravel()]
                ).reshape(values.shape)
            found[each.name] = {"dtype": values.dtype.name, "values": values.tolist()}
        answers.append(found)
    await client.close()
    print(json.dumps(answers))


asyncio.run(main())
