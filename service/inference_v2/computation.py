"""Computes one batch of rows slice by slice, and encodes its outputs."""

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np

from quadnet.errors import listing
from quadnet.nn.row_slices import SliceAnswers, compute_answers, direct_rows
from quadnet.registry.version_files import Model
from quadnet.types import FloatArray
from service.inference_v2.answers import InferAnswer, OutputValues
from service.inference_v2.outputs import OutputTensor
from service.inference_v2.rows import Rows
from service.rpc.compute_thread import DIRECT_NANOSECONDS, ComputeThread


class BatchInference:
    """A batch of rows: computed slice by slice, in order, and then encoded.

    Parameters
    ----------
    model : Model
    rows : Rows
    outputs : sequence of OutputTensor
    """

    def __init__(self, model: Model, rows: Rows, outputs: Sequence[OutputTensor]) -> None:
        self._model = model
        self._rows = rows
        self._outputs = outputs
        # The encoded values of each output, slice by slice.
        self._values: list[list[bytes]] = [[] for _ in outputs]
        # The probabilities of the slices, for outputs that are encoded after the computation.
        self._probabilities: list[FloatArray] = []

    async def run(self, compute_thread: ComputeThread) -> None:
        """Compute and encode the outputs, in Classify's slices so that the numbers are equal."""
        n_direct = direct_rows(self._model.predictor.network)
        nanoseconds = self._rows.nanoseconds + sum(
            len(self._rows) * prod(output.row_shape) * output.encoding.nanoseconds_a_number
            for output in self._outputs
        )
        takes_long = nanoseconds > DIRECT_NANOSECONDS
        await compute_thread.run_in_slices(
            len(self._rows), n_direct, self._compute, on_thread=takes_long
        )
        for output, values in zip(self._outputs, self._values, strict=True):
            if output.direct_rows is not None:
                P = np.concatenate(self._probabilities)
                await compute_thread.run_in_slices(
                    len(P), output.direct_rows, partial(_append_rows, output, values, P)
                )

    def _compute(self, rows: slice) -> None:
        answers = compute_answers(self._model.predictor, self._rows.take(rows))
        for output, values in zip(self._outputs, self._values, strict=True):
            if output.direct_rows is None:
                values.append(output.encode_rows(answers))
            else:
                self._probabilities.append(answers.numbers)

    def make_answer(self, request_id: str) -> InferAnswer:
        """Return the answer, once `run` has ended."""
        manifest = self._model.manifest
        outputs = [
            OutputValues(
                output.name,
                output.datatype,
                (len(self._rows), *output.row_shape),
                output.encoding,
                output.encoding.separator.join(slices),
            )
            for output, slices in zip(self._outputs, self._values, strict=True)
        ]
        parameters = {}
        if counts := self._rows.unknown_categories:
            texts = [f"{column}: {count}" for column, count in counts.items()]
            parameters["unknown_categories"] = listing(texts)
        return InferAnswer(request_id, manifest.model, manifest.version, outputs, parameters)


def _append_rows(output: OutputTensor, values: list[bytes], P: FloatArray, rows: slice) -> None:
    values.append(output.encode_rows(SliceAnswers(P[rows])))
