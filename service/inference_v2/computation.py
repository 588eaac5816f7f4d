"""One batch of `inference.ModelInfer`: computed a slice at a time, and written as its response."""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.registry.version_files import Model
from quadnet.types import BoolArray, FloatArray
from service.inference_v2.outputs import Output
from service.rpc.compute_thread import ComputeThread, rows_per_millisecond
from service.stubs.inference.v2 import inference_pb2 as pb
from service.wire import packed_arrays

_Response = pb.ModelInferResponse
_Tensor = _Response.InferOutputTensor
_ID = _Response.ID_FIELD_NUMBER
_OUTPUTS = _Response.OUTPUTS_FIELD_NUMBER
_RAW = _Response.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
_CONTENTS = _Tensor.CONTENTS_FIELD_NUMBER


class Batch:
    """Rows to answer.

    Parameters
    ----------
    model : Model
    X : ndarray of shape (n_rows, n_features)
        Of any real dtype.
    outputs : sequence of Output
    """

    def __init__(self, model: Model, X: NDArray[Any], outputs: Sequence[Output]) -> None:
        self._model = model
        self._X = X
        self._outputs = outputs
        # What each slice gave, as it travels.
        self._values: list[list[bytes]] = [[] for _ in outputs]
        # The probabilities that are still to be written.
        self._kept: list[FloatArray] = []

    async def run(self, compute_thread: ComputeThread) -> None:
        """Compute in the slices of Classify, so that the numbers are the same, and write."""
        layer_sizes = self._model.predictor.network.layer_sizes
        await compute_thread.run_in_slices(
            len(self._X), rows_per_millisecond(layer_sizes), self._compute
        )
        for output, values in zip(self._outputs, self._values, strict=True):
            if output.most_rows is not None:
                P = np.concatenate(self._kept)
                await compute_thread.run_in_slices(
                    len(P), output.most_rows, partial(_write, output, values, P)
                )

    def _compute(self, rows: slice) -> None:
        # By class, as Classify computes them: the same numbers, to the last bit.
        P = np.ascontiguousarray(self._model.predictor.probabilities_by_class(self._X[rows]).T)
        unknown: BoolArray | None = None
        flat = P.ravel()
        # Numbers near the largest double overflow on the way, and end as NaN.
        if math.isnan(flat.dot(flat)):
            # Nothing can be said there: every class is as likely, and none is named.
            unknown = np.isnan(P.min(axis=1))
            P = np.where(unknown[:, np.newaxis], P.dtype.type(1 / P.shape[1]), P)
        for output, values in zip(self._outputs, self._values, strict=True):
            if output.most_rows is None:
                values.append(output.write(P, unknown))
            else:
                self._kept.append(P)

    def encode(self, request_id: str, *, raw: bool) -> bytes:
        """Return the ModelInferResponse."""
        manifest = self._model.manifest
        n_rows = len(self._X)
        tensors = tuple(
            (output.name, output.datatype, (n_rows, *output.row_shape)) for output in self._outputs
        )
        parts = [packed_arrays.write(_ID, request_id.encode())]
        if raw:
            parts.append(_without_values(manifest.model, manifest.version, tensors))
            parts.extend(packed_arrays.write_one(_RAW, b"".join(slices)) for slices in self._values)
            return b"".join(parts)
        parts.append(_without_values(manifest.model, manifest.version, ()))
        for output, tensor, slices in zip(self._outputs, tensors, self._values, strict=True):
            contents = packed_arrays.write_one(_CONTENTS, output.typed(b"".join(slices)))
            parts.append(
                packed_arrays.write_one(_OUTPUTS, _tensor(*tensor).SerializeToString() + contents)
            )
        return b"".join(parts)


def _write(output: Output, values: list[bytes], P: FloatArray, rows: slice) -> None:
    values.append(output.write(P[rows], None))


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> _Tensor:
    return _Tensor(name=name, datatype=datatype, shape=shape)


@lru_cache(maxsize=256)
def _without_values(
    model: str, version: int, tensors: tuple[tuple[str, str, tuple[int, ...]], ...]
) -> bytes:
    """Return the ModelInferResponse of this version, with these outputs and nothing in them."""
    outputs = [_tensor(*each) for each in tensors]
    response = _Response(model_name=model, model_version=str(version), outputs=outputs)
    return response.SerializeToString()
