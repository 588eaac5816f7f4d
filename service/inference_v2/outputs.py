"""The outputs that `inference.ModelInfer` can be asked for, and how each writes its values.

Numbers are an array's own bytes. An element of BYTES is the same few bytes for each class, but for
the probability that may stand in it: the bytes of many rows are joined, not built.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import InvalidInput, Violation, shorten
from quadnet.registry.version_files import Model
from quadnet.types import BoolArray, FloatArray
from service.inference_v2.inputs import refuse_shared_memory
from service.stubs.inference.v2 import inference_pb2 as pb
from service.wire import packed_arrays

PROBABILITIES, LABEL = "probabilities", "label"

CLASSIFICATION = "classification"

DATATYPES = {np.dtype(np.float32): "FP32", np.dtype(np.float64): "FP64"}

_TEXTS_AT_ONCE = 2048
"""How many texts of a probability and a class take about a millisecond."""

_TYPED = {
    "FP32": pb.InferTensorContents.FP32_CONTENTS_FIELD_NUMBER,
    "FP64": pb.InferTensorContents.FP64_CONTENTS_FIELD_NUMBER,
    "BYTES": pb.InferTensorContents.BYTES_CONTENTS_FIELD_NUMBER,
}


class Output(ABC):
    """One output: its name, its datatype, and the shape of a row of it."""

    name: str
    datatype: str
    row_shape: tuple[int, ...]
    most_rows: int | None = None
    """How many rows it writes in about a millisecond, if that takes longer than computing them."""

    @abstractmethod
    def write(self, P: FloatArray, unknown: BoolArray | None) -> bytes:
        """Return the values for these rows of probabilities; of some, nothing may be known."""

    def typed(self, values: bytes) -> bytes:
        """Return the InferTensorContents that hold what was written."""
        return values


class Probabilities(Output):
    """The probability of each class."""

    name = PROBABILITIES

    def __init__(self, model: Model) -> None:
        dtype = model.predictor.dtype
        self.datatype = DATATYPES[dtype]
        self.row_shape = (len(model.manifest.signature.classes),)
        self._dtype = dtype.newbyteorder("<")

    def write(self, P: FloatArray, unknown: BoolArray | None) -> bytes:
        """Return the numbers."""
        return P.astype(self._dtype, copy=False).tobytes()

    def typed(self, values: bytes) -> bytes:
        """Return the packed field of them."""
        return packed_arrays.write(_TYPED[self.datatype], values)


class Label(Output):
    """The name of the likeliest class."""

    name = LABEL
    datatype = "BYTES"
    row_shape = ()

    def __init__(self, model: Model, *, raw: bool) -> None:
        self._elements = _labels(tuple(model.manifest.signature.classes), raw=raw)

    def write(self, P: FloatArray, unknown: BoolArray | None) -> bytes:
        """Return the names; an empty one where nothing is known."""
        winners = P.argmax(axis=1)
        if unknown is not None:
            winners[unknown] = len(self._elements) - 1
        return b"".join(self._elements[winners].tolist())


class LikeliestClasses(Output):
    """So many classes of each row, best first, as texts such as 0.912000:0:I."""

    name = PROBABILITIES
    datatype = "BYTES"

    def __init__(self, model: Model, n: int, *, raw: bool) -> None:
        classes = tuple(model.manifest.signature.classes)
        n = min(n, len(classes))
        self.row_shape = (n,)
        self.most_rows = max(1, _TEXTS_AT_ONCE // n)
        self._heads, self._tails = _around_probabilities(classes, raw=raw)

    def write(self, P: FloatArray, unknown: BoolArray | None) -> bytes:
        """Return the texts."""
        # Stable: of equals the first, as for the label.
        order = np.argsort(-P, axis=1, kind="stable")[:, : self.row_shape[0]]
        best = np.take_along_axis(P, order, axis=1).ravel().tolist()
        columns = order.ravel()
        parts = zip(self._heads[columns], best, self._tails[columns], strict=True)
        return b"".join([b"%b%.6f%b" % each for each in parts])


def asked_for(request: pb.ModelInferRequest, model: Model, *, raw: bool) -> list[Output]:
    """Return the outputs that the request asks for, in its order.

    Raises
    ------
    InvalidInput
        If there is no such output, one is asked for twice, or a parameter of it is wrong.
    """
    if not request.outputs:
        return [Probabilities(model), Label(model, raw=raw)]
    outputs: list[Output] = []
    for i, requested in enumerate(request.outputs):
        name, field = requested.name, f"outputs[{i}]"
        if name not in (PROBABILITIES, LABEL):
            expected = f"expected {PROBABILITIES!r} or {LABEL!r}"
            _refuse(f"{field}.name", f"{expected}, got {shorten(name)}")
        if name in (output.name for output in outputs):
            _refuse(f"{field}.name", f"expected each output once, got {name!r} again")
        n_classes = _class_count(requested, field) if requested.parameters else 0
        if n_classes:
            outputs.append(LikeliestClasses(model, n_classes, raw=raw))
        elif name == LABEL:
            outputs.append(Label(model, raw=raw))
        else:
            outputs.append(Probabilities(model))
    return outputs


def _class_count(requested: pb.ModelInferRequest.InferRequestedOutputTensor, field: str) -> int:
    """Return how many classes are asked for; 0 if it is not classes."""
    refuse_shared_memory(requested.parameters, field)
    if CLASSIFICATION not in requested.parameters:
        return 0
    field = f"{field}.parameters[{CLASSIFICATION}]"
    if requested.name == LABEL:
        _refuse(
            field,
            f"output {LABEL!r}: expected no class_count, for it has one class a row; ask for "
            f"{PROBABILITIES!r}",
        )
    parameter = requested.parameters[CLASSIFICATION]
    kind = parameter.WhichOneof("parameter_choice")
    if kind != "int64_param" or parameter.int64_param < 1:
        came = "no value" if kind is None else f"{kind} {shorten(str(getattr(parameter, kind)))}"
        _refuse(
            field,
            f"output {requested.name!r}: expected a number of classes from 1 as int64_param, "
            f"got {came}",
        )
    return parameter.int64_param


def _refuse(field: str, description: str) -> NoReturn:
    raise InvalidInput([Violation(field, description)])


def _element(*, raw: bool) -> Callable[[bytes], bytes]:
    """Return what writes one element of a BYTES tensor."""
    if raw:
        return lambda content: len(content).to_bytes(4, "little") + content
    return lambda content: packed_arrays.write_one(_TYPED["BYTES"], content)


@lru_cache(maxsize=64)
def _labels(classes: tuple[str, ...], *, raw: bool) -> NDArray[np.object_]:
    """Return each class's element, and at the end that of no class."""
    return np.array([_element(raw=raw)(name.encode()) for name in (*classes, "")], dtype=object)


@lru_cache(maxsize=64)
def _around_probabilities(
    classes: tuple[str, ...], *, raw: bool
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Return what stands before and after the eight characters of each class's probability."""
    tails = [f":{column}:{name}".encode() for column, name in enumerate(classes)]
    wholes = [_element(raw=raw)(bytes(8) + tail) for tail in tails]
    heads = [whole[: -8 - len(tail)] for whole, tail in zip(wholes, tails, strict=True)]
    return np.array(heads, dtype=object), np.array(tails, dtype=object)
