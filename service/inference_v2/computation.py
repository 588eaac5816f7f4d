"""Computes one batch of `inference.ModelInfer` slice by slice, and encodes the response."""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.registry.version_files import Model
from quadnet.types import BoolArray, FloatArray
from service.inference_v2.outputs import OutputTensor
from service.rpc.compute_thread import ComputeThread, rows_per_millisecond
from service.stubs.inference.v2 import inference_pb2 as pb
from service.wire.packed_arrays import encode_element, encode_packed_field

_Response = pb.ModelInferResponse
_Tensor = _Response.InferOutputTensor
_ID = _Response.ID_FIELD_NUMBER
_OUTPUTS = _Response.OUTPUTS_FIELD_NUMBER
_RAW = _Response.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
_CONTENTS = _Tensor.CONTENTS_FIELD_NUMBER


class BatchInference:
    """A batch of rows: computed slice by slice, in order, and then encoded.

    Parameters
    ----------
    model : Model
    X : ndarray of shape (n_rows, n_features)
        Of any real dtype.
    outputs : sequence of Output
    """

    def __init__(self, model: Model, X: NDArray[Any], outputs: Sequence[OutputTensor]) -> None:
        self._model = model
        self._X = X
        self._outputs = outputs
        # The encoded values of each output, slice by slice.
        self._values: list[list[bytes]] = [[] for _ in outputs]
        # The probabilities of the slices, for outputs that are encoded after the computation.
        self._probabilities: list[FloatArray] = []

    async def run(self, compute_thread: ComputeThread) -> None:
        """Compute and encode the outputs, in Classify's slices so that the numbers are equal."""
        direct_rows = rows_per_millisecond(self._model.predictor.network)
        await compute_thread.run_in_slices(len(self._X), direct_rows, self._compute)
        for output, values in zip(self._outputs, self._values, strict=True):
            if output.direct_rows is not None:
                P = np.concatenate(self._probabilities)
                await compute_thread.run_in_slices(
                    len(P), output.direct_rows, partial(_append_rows, output, values, P)
                )

    def _compute(self, rows: slice) -> None:
        # By class, as in Classify: the numbers are equal bit for bit.
        P = np.ascontiguousarray(self._model.classifier.probabilities_by_class(self._X[rows]).T)
        unknown: BoolArray | None = None
        flat = P.ravel()
        # Numbers near the largest double overflow in the network, which results in NaN.
        if math.isnan(flat.dot(flat)):
            # Such rows have equal probabilities and no label.
            unknown = np.isnan(P.min(axis=1))
            P = np.where(unknown[:, np.newaxis], P.dtype.type(1 / P.shape[1]), P)
        for output, values in zip(self._outputs, self._values, strict=True):
            if output.direct_rows is None:
                values.append(output.encode_rows(P, unknown))
            else:
                self._probabilities.append(P)

    def encode(self, request_id: str, *, raw: bool) -> bytes:
        """Return the ModelInferResponse."""
        manifest = self._model.manifest
        n_rows = len(self._X)
        tensors = tuple(
            (output.name, output.datatype, (n_rows, *output.row_shape)) for output in self._outputs
        )
        parts = [encode_packed_field(_ID, request_id.encode())]
        if raw:
            parts.append(_encode_without_values(manifest.model, manifest.version, tensors))
            parts.extend(encode_element(_RAW, b"".join(slices)) for slices in self._values)
            return b"".join(parts)
        parts.append(_encode_without_values(manifest.model, manifest.version, ()))
        for output, tensor, slices in zip(self._outputs, tensors, self._values, strict=True):
            contents = encode_element(_CONTENTS, output.wrap_contents(b"".join(slices)))
            parts.append(encode_element(_OUTPUTS, _tensor(*tensor).SerializeToString() + contents))
        return b"".join(parts)


def _append_rows(output: OutputTensor, values: list[bytes], P: FloatArray, rows: slice) -> None:
    values.append(output.encode_rows(P[rows], None))


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> _Tensor:
    return _Tensor(name=name, datatype=datatype, shape=shape)


@lru_cache(maxsize=256)
def _encode_without_values(
    model: str, version: int, tensors: tuple[tuple[str, str, tuple[int, ...]], ...]
) -> bytes:
    """Return a ModelInferResponse of this version, with these outputs and no values."""
    outputs = [_tensor(*each) for each in tensors]
    response = _Response(model_name=model, model_version=str(version), outputs=outputs)
    return response.SerializeToString()
