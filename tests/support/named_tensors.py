"""Requests with one input for each column, in each form: raw, typed, JSON, binary."""

import json
from typing import NamedTuple

import numpy as np

from quadnet.tables.columns import Texts
from service.inference_v2.grpc_messages import decode_request
from service.inference_v2.json_bodies import decode_body
from service.stubs.inference.v2 import inference_pb2 as pb
from tests.support.inference_client import DTYPES, FIELDS, Input, elements, outputs

ALL_DTYPES = {**DTYPES, "BOOL": "?"}
ALL_FIELDS = {**FIELDS, "BOOL": "bool_contents", "BYTES": "bytes_contents"}


class Tensor(NamedTuple):
    """One input; texts are `str`, `bytes` or None, numbers an array or a list."""

    name: str
    datatype: str
    values: object
    shape: tuple = None

    @property
    def sizes(self):
        return [len(self.values)] if self.shape is None else list(self.shape)

    def array(self):
        # A datatype that does not exist is sent as FP64.
        return np.asarray(self.values, ALL_DTYPES.get(self.datatype, "<f8"))

    def texts(self):
        return [v if isinstance(v, bytes) else (v or "").encode() for v in self.values]

    def content(self):
        if self.datatype != "BYTES":
            return self.array().tobytes()
        return b"".join(len(text).to_bytes(4, "little") + text for text in self.texts())

    def described(self):
        return {"name": self.name, "datatype": self.datatype, "shape": self.sizes}


def to_tensors(table):
    """Return the tensors of a table: FP64 for numbers, BYTES for texts and dates."""
    return [_to_tensor(name, column) for name, column in table.items()]


def _to_tensor(name, column):
    if isinstance(column, Texts):
        return Tensor(name, "BYTES", column.to_array().tolist())
    if column.dtype.kind == "M":
        texts = np.datetime_as_string(column).tolist()
        return Tensor(name, "BYTES", ["" if text == "NaT" else text for text in texts])
    return Tensor(name, "FP64", column)


def raw_request(tensors, model, **fields):
    return pb.ModelInferRequest(
        model_name=model,
        inputs=[Input(**each.described()) for each in tensors],
        raw_input_contents=[each.content() for each in tensors],
        **fields,
    )


def typed_request(tensors, model, **fields):
    request = pb.ModelInferRequest(model_name=model, **fields)
    for each in tensors:
        values = each.texts() if each.datatype == "BYTES" else each.array().ravel().tolist()
        contents = pb.InferTensorContents(**{ALL_FIELDS[each.datatype]: values})
        request.inputs.append(Input(**each.described(), contents=contents))
    return request


def json_body(tensors, **fields):
    """Return the JSON; NaN is null."""
    inputs = []
    for each in tensors:
        values = list(each.values)
        if each.datatype != "BYTES":
            values = np.asarray(each.values).ravel().tolist()
            values = [None if value != value else value for value in values]  # noqa: PLR0124
        inputs.append({**each.described(), "data": values})
    return json.dumps({"inputs": inputs, **fields}, allow_nan=False).encode()


def binary_body(tensors, **fields):
    """Return the JSON with the values after it, and the length of the JSON."""
    contents = [each.content() for each in tensors]
    inputs = [
        {**each.described(), "parameters": {"binary_data_size": len(content)}}
        for each, content in zip(tensors, contents, strict=True)
    ]
    header = json.dumps({"inputs": inputs, **fields}).encode()
    return header + b"".join(contents), len(header)


def infer(inference, form, tensors, model, version=""):
    """Return the outputs and the parameters of the answer to one of these forms of a request.

    Parameters
    ----------
    inference : InProcessInference
    form : {"raw", "typed", "JSON", "binary"}
    """
    if form in ("raw", "typed"):
        make = raw_request if form == "raw" else typed_request
        content = make(tensors, model, model_version=version).SerializeToString()
        answer = pb.ModelInferResponse.FromString(inference.infer(*decode_request(content)).body)
        values = {name: _to_texts(array) for name, array in outputs(answer).items()}
        return values, {name: each.string_param for name, each in answer.parameters.items()}
    if form == "JSON":
        content, length = json_body(tensors), None
    else:
        content, length = binary_body(tensors, parameters={"binary_data_output": True})
    answer = inference.infer(*decode_body(content, length, model=model, version=version))
    return read_body(answer.body, answer.header_length)


def read_body(body, header_length=None):
    """Return the outputs and the parameters in a REST answer."""
    found = json.loads(body[:header_length])
    rest = b"" if header_length is None else body[header_length:]
    values = {}
    for output in found["outputs"]:
        dtype = object if output["datatype"] == "BYTES" else ALL_DTYPES[output["datatype"]]
        if "data" in output:
            read = np.array(output["data"], dtype)
        else:
            size = output["parameters"]["binary_data_size"]
            content, rest = rest[:size], rest[size:]
            is_text = output["datatype"] == "BYTES"
            read = [*elements(content)] if is_text else np.frombuffer(content, dtype)
            read = _to_texts(np.array(read, dtype))
        values[output["name"]] = read.reshape(output["shape"])
    assert rest == b""
    return values, found.get("parameters", {})


def _to_texts(array):
    if array.dtype != object:
        return array
    decoded = np.empty(array.shape, object)
    decoded.ravel()[:] = [value.decode() for value in array.ravel()]
    return decoded
