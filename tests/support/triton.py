"""Call a server with the public tritonclient, in an environment that has it.

    python triton.py sync|asyncio ADDRESS

Reads rows from standard input and prints the results, as JSON. It imports nothing of Quadnet.
"""

import asyncio
import base64
import inspect
import json
import sys

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

DATATYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64"}


async def answer(value):
    """Return the value, awaited if it is from the asyncio client."""
    return await value if inspect.isawaitable(value) else value


def tensor(X):
    asked = triton.InferInput("x", list(X.shape), DATATYPES[X.dtype.name])
    asked.set_data_from_numpy(X)
    return [asked]


def shown(result):
    """Return each output's shape, and its values or their bytes."""
    found = {}
    for output in result.get_response().outputs:
        array = result.as_numpy(output.name)
        values = (
            [value.decode() for value in array.ravel().tolist()]
            if array.dtype == object
            else base64.b64encode(array.tobytes()).decode()
        )
        found[output.name] = {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "values": values,
        }
    return found


async def refusal(call):
    try:
        await answer(call())
    except InferenceServerException as error:
        return [error.status(), error.message()]
    raise AssertionError("not refused")


async def calls(client, rows):
    """Yield the name and the answer of each call."""
    points = np.array(rows["points"])
    digits = np.array(rows["digits"], np.float32)
    yield "live", await answer(client.is_server_live())
    yield "ready", await answer(client.is_server_ready())
    yield "model ready", await answer(client.is_model_ready("digits"))
    server = await answer(client.get_server_metadata(as_json=True))
    yield "server", server
    yield "model", await answer(client.get_model_metadata("digits", as_json=True))

    async def infer(model, X, **options):
        return await answer(client.infer(model, tensor(X), **options))

    for dtype in ("float64", "float32"):
        yield f"infer {dtype}", shown(await infer("quadrants", points.astype(dtype)))
    big = np.tile(points, (rows["repeat"], 1)).astype(np.float32)
    yield "big batch", shown(await infer("quadrants", big))
    yield "zero rows", shown(await infer("quadrants", points[:0]))
    one = await infer("quadrants", points[:1], model_version="candidate", request_id="7")
    yield "alias", [one.get_response().model_version, one.get_response().id]
    classes = [
        triton.InferRequestedOutput("label"),
        triton.InferRequestedOutput("probabilities", class_count=2),
    ]
    yield "class_count", shown(await infer("quadrants", points[:3], outputs=classes))
    label = [triton.InferRequestedOutput("label")]
    yield "digits", shown(await infer("digits", digits, outputs=label))

    yield "wrong shape", await refusal(lambda: client.infer("quadrants", tensor(digits)))
    yield (
        "wrong version",
        await refusal(lambda: client.infer("quadrants", tensor(points), model_version="9")),
    )
    yield "wrong model", await refusal(lambda: client.get_model_metadata("nothing"))
    yield "config", await answer(client.get_model_config("digits", as_json=True))
    yield "unimplemented", await refusal(lambda: client.get_trace_settings("quadrants"))
    yield "index", await answer(client.get_model_repository_index(as_json=True))
    yield (
        "statistics",
        await answer(client.get_inference_statistics("digits", as_json=True)),
    )


async def main():
    kind, address = sys.argv[1:]
    client = (triton if kind == "sync" else triton_aio).InferenceServerClient(address)
    rows = json.load(sys.stdin)
    print(json.dumps({name: value async for name, value in calls(client, rows)}))
    await answer(client.close())


if __name__ == "__main__":
    asyncio.run(main())
