"""The outputs of `inference.ModelInfer`, and the encoding of their values.

Numbers are encoded as an array's bytes. An element of BYTES consists of constant bytes per class,
possibly with a probability in between. So many rows are encoded by joining prepared bytes.
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
from service.wire.packed_arrays import encode_element, encode_packed_field

PROBABILITIES, LABEL = "probabilities", "label"

CLASSIFICATION = "classification"

OUTPUT_DATATYPES = {np.dtype(np.float32): "FP32", np.dtype(np.float64): "FP64"}

_DIRECT_TEXTS = 2048
"""Number of texts, of a probability and a class, that are encoded in about a millisecond."""

_TYPED = {
    "FP32": pb.InferTensorContents.FP32_CONTENTS_FIELD_NUMBER,
    "FP64": pb.InferTensorContents.FP64_CONTENTS_FIELD_NUMBER,
    "BYTES": pb.InferTensorContents.BYTES_CONTENTS_FIELD_NUMBER,
}


class OutputTensor(ABC):
    """One output tensor.

    Attributes
    ----------
    name, datatype : str
    row_shape : tuple of int
        The shape of one row.
    direct_rows : int or None
        Number of rows that are encoded in about a millisecond; None if encoding a row takes less
        time than computing it.
    """

    name: str
    datatype: str
    row_shape: tuple[int, ...]
    direct_rows: int | None = None

    @abstractmethod
    def encode_rows(self, P: FloatArray, unknown: BoolArray | None) -> bytes:
        """Return the encoded values for rows of probabilities; `unknown` marks overflowed rows."""

    def wrap_contents(self, values: bytes) -> bytes:
        """Return the InferTensorContents with these encoded values."""
        return values


class ProbabilitiesTensor(OutputTensor):
    """The probability of each class."""

    name = PROBABILITIES

    def __init__(self, model: Model) -> None:
        dtype = model.predictor.dtype
        self.datatype = OUTPUT_DATATYPES[dtype]
        self.row_shape = (len(model.manifest.signature.classes),)
        self._dtype = dtype.newbyteorder("<")

    def encode_rows(self, P: FloatArray, unknown: BoolArray | None) -> bytes:
        """Return the numbers as bytes."""
        return P.astype(self._dtype, copy=False).tobytes()

    def wrap_contents(self, values: bytes) -> bytes:
        """Return the packed field with these numbers."""
        return encode_packed_field(_TYPED[self.datatype], values)


class LabelTensor(OutputTensor):
    """The name of the most probable class."""

    name = LABEL
    datatype = "BYTES"
    row_shape = ()

    def __init__(self, model: Model, *, raw: bool) -> None:
        self._elements = _label_elements(tuple(model.manifest.signature.classes), raw=raw)

    def encode_rows(self, P: FloatArray, unknown: BoolArray | None) -> bytes:
        """Return the names; "" for unknown rows."""
        winners = P.argmax(axis=1)
        if unknown is not None:
            winners[unknown] = len(self._elements) - 1
        return b"".join(self._elements[winners].tolist())


class TopClassesTensor(OutputTensor):
    """The n most probable classes of each row, best first, as texts such as 0.912000:0:I."""

    name = PROBABILITIES
    datatype = "BYTES"

    def __init__(self, model: Model, n: int, *, raw: bool) -> None:
        classes = tuple(model.manifest.signature.classes)
        n = min(n, len(classes))
        self.row_shape = (n,)
        self.direct_rows = max(1, _DIRECT_TEXTS // n)
        self._heads, self._tails = _class_text_parts(classes, raw=raw)

    def encode_rows(self, P: FloatArray, unknown: BoolArray | None) -> bytes:
        """Return the texts."""
        # Stable: among equal probabilities the first class wins, as for the label.
        order = np.argsort(-P, axis=1, kind="stable")[:, : self.row_shape[0]]
        best = np.take_along_axis(P, order, axis=1).ravel().tolist()
        columns = order.ravel()
        parts = zip(self._heads[columns], best, self._tails[columns], strict=True)
        return b"".join([b"%b%.6f%b" % each for each in parts])


def make_outputs(request: pb.ModelInferRequest, model: Model, *, raw: bool) -> list[OutputTensor]:
    """Return the requested outputs, in the order of the request; without any, both outputs.

    Raises
    ------
    InvalidInput
        If there is no such output, an output is requested twice, or a parameter is invalid.
    """
    if not request.outputs:
        return [ProbabilitiesTensor(model), LabelTensor(model, raw=raw)]
    outputs: list[OutputTensor] = []
    for i, requested in enumerate(request.outputs):
        name, field = requested.name, f"outputs[{i}]"
        if name not in (PROBABILITIES, LABEL):
            expected = f"expected {PROBABILITIES!r} or {LABEL!r}"
            _raise_invalid_output(f"{field}.name", f"{expected}, got {shorten(name)}")
        if name in (output.name for output in outputs):
            _raise_invalid_output(f"{field}.name", f"expected each output once, got {name!r} again")
        n_classes = _read_class_count(requested, field) if requested.parameters else 0
        if n_classes:
            outputs.append(TopClassesTensor(model, n_classes, raw=raw))
        elif name == LABEL:
            outputs.append(LabelTensor(model, raw=raw))
        else:
            outputs.append(ProbabilitiesTensor(model))
    return outputs


def _read_class_count(
    requested: pb.ModelInferRequest.InferRequestedOutputTensor, field: str
) -> int:
    """Return the number of requested classes; 0 if the plain output is requested."""
    refuse_shared_memory(requested.parameters, field)
    if CLASSIFICATION not in requested.parameters:
        return 0
    field = f"{field}.parameters[{CLASSIFICATION}]"
    if requested.name == LABEL:
        _raise_invalid_output(
            field,
            f"output {LABEL!r}: expected no class_count, because it has one class per row; "
            f"request {PROBABILITIES!r} instead",
        )
    parameter = requested.parameters[CLASSIFICATION]
    kind = parameter.WhichOneof("parameter_choice")
    if kind != "int64_param" or parameter.int64_param < 1:
        found = "no value" if kind is None else f"{kind} {shorten(str(getattr(parameter, kind)))}"
        _raise_invalid_output(
            field,
            f"output {requested.name!r}: expected a number of classes from 1 as int64_param, "
            f"got {found}",
        )
    return parameter.int64_param


def _raise_invalid_output(field: str, description: str) -> NoReturn:
    raise InvalidInput([Violation(field, description)])


def _element_encoder(*, raw: bool) -> Callable[[bytes], bytes]:
    """Return a function that encodes one element of a BYTES tensor."""
    if raw:
        return lambda content: len(content).to_bytes(4, "little") + content
    return lambda content: encode_element(_TYPED["BYTES"], content)


@lru_cache(maxsize=64)
def _label_elements(classes: tuple[str, ...], *, raw: bool) -> NDArray[np.object_]:
    """Return the encoded name of each class, and at the end an empty name for unknown rows."""
    return np.array(
        [_element_encoder(raw=raw)(name.encode()) for name in (*classes, "")], dtype=object
    )


@lru_cache(maxsize=64)
def _class_text_parts(
    classes: tuple[str, ...], *, raw: bool
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Return the bytes before and after the eight characters of each class's probability."""
    tails = [f":{column}:{name}".encode() for column, name in enumerate(classes)]
    wholes = [_element_encoder(raw=raw)(bytes(8) + tail) for tail in tails]
    heads = [whole[: -8 - len(tail)] for whole, tail in zip(wholes, tails, strict=True)]
    return np.array(heads, dtype=object), np.array(tails, dtype=object)
