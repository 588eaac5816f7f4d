"""Columns as input tensors of `inference.ModelInfer`, and its output tensors as arrays."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.tables.columns import Column, Texts, find_missing, is_dates, is_numbers
from quadnet.types import FloatArray
from service.stubs.inference.v2 import inference_pb2 as pb

_DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BOOL": np.dtype("?"),
}
_DATATYPES = {4: "FP32", 8: "FP64"}

_Input = pb.ModelInferRequest.InferInputTensor


@dataclass(frozen=True)
class SentColumn:
    """A tensor's name, datatype and values, of which each call sends some rows.

    Parameters
    ----------
    name, datatype : str
    values : ndarray
        Numbers of shape (n_rows,) or (n_rows, n_columns); of texts the place in `elements`.
    elements : ndarray of bytes, shape (n_texts,), optional
        The distinct texts, encoded.
    """

    name: str
    datatype: str
    values: NDArray[Any]
    elements: NDArray[np.object_] | None = None

    @property
    def row_bytes(self) -> float:
        """The mean number of bytes of a row."""
        n_rows = max(1, len(self.values))
        if self.elements is None:
            return self.values.nbytes / n_rows
        lengths = np.fromiter(map(len, self.elements), np.intp, len(self.elements))
        return float(lengths[self.values].sum()) / n_rows

    def add_to(self, request: pb.ModelInferRequest, rows: slice) -> None:
        """Add these rows to the request as one input with raw contents."""
        values = self.values[rows]
        request.inputs.append(_Input(name=self.name, datatype=self.datatype, shape=values.shape))
        if self.elements is None:
            content = np.ascontiguousarray(values).tobytes()
        else:
            content = b"".join(self.elements[values].tolist())
        request.raw_input_contents.append(content)


def encode_column(name: str, column: Column) -> SentColumn:
    """Return a column as a tensor: numbers as FP64, texts and dates as BYTES, empty for missing.

    Raises
    ------
    UnicodeEncodeError
        If a text cannot be encoded in UTF-8.
    """
    if isinstance(column, Texts):
        texts = [*column.values, ""]
        return SentColumn(name, "BYTES", column.codes, _encode_texts(texts))
    if is_dates(column):
        distinct, places = np.unique(column, return_inverse=True)
        texts = np.datetime_as_string(distinct).tolist()
        codes = np.where(find_missing(column), len(texts), places)
        return SentColumn(name, "BYTES", codes, _encode_texts([*texts, ""]))
    assert is_numbers(column)
    return encode_numbers(name, column)


def encode_numbers(name: str, numbers: FloatArray) -> SentColumn:
    """Return numbers as a tensor of FP32 or FP64."""
    little_endian = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False)
    return SentColumn(name, _DATATYPES[numbers.dtype.itemsize], little_endian)


def decode_outputs(response: pb.ModelInferResponse) -> Mapping[str, NDArray[Any]]:
    """Return the outputs by name, in the shape of each: numbers, truth values, or texts."""
    return {
        tensor.name: _decode_output(tensor, content)
        for tensor, content in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def _encode_texts(texts: list[str]) -> NDArray[np.object_]:
    """Return each text after its length in four bytes, as raw contents have them."""
    elements = np.empty(len(texts), object)
    elements[:] = [struct.pack("<I", len(encoded)) + encoded for encoded in map(str.encode, texts)]
    return elements


def _decode_output(tensor: pb.ModelInferResponse.InferOutputTensor, content: bytes) -> NDArray[Any]:
    shape = tuple(tensor.shape)
    if tensor.datatype in _DTYPES:
        values: NDArray[Any] = np.frombuffer(content, _DTYPES[tensor.datatype])
        # A copy in the machine's byte order, which callers may change.
        return values.astype(values.dtype.newbyteorder("=")).reshape(shape)
    texts, at = [], 0
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at)
        texts.append(content[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return np.array(texts, dtype=np.str_).reshape(shape)
