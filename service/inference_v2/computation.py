"""Computes one batch of rows slice by slice, and encodes its outputs."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.registry.version_files import Model
from quadnet.types import BoolArray, FloatArray
from service.inference_v2.answers import InferAnswer, OutputValues
from service.inference_v2.outputs import OutputTensor
from service.rpc.compute_thread import ComputeThread, rows_per_millisecond


class BatchInference:
    """A batch of rows: computed slice by slice, in order, and then encoded.

    Parameters
    ----------
    model : Model
    X : ndarray of shape (n_rows, n_features)
        Of any real dtype.
    outputs : sequence of OutputTensor
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

    def make_answer(self, request_id: str) -> InferAnswer:
        """Return the answer, once `run` has ended."""
        manifest = self._model.manifest
        outputs = [
            OutputValues(
                output.name,
                output.datatype,
                (len(self._X), *output.row_shape),
                output.encoding,
                output.encoding.separator.join(slices),
            )
            for output, slices in zip(self._outputs, self._values, strict=True)
        ]
        return InferAnswer(request_id, manifest.model, manifest.version, outputs, {})


def _append_rows(output: OutputTensor, values: list[bytes], P: FloatArray, rows: slice) -> None:
    values.append(output.encode_rows(P[rows], None))
