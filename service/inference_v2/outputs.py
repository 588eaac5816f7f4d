"""The outputs of inference, and the encoding of their values.

Numbers are encoded as an array. A text consists of constant bytes per class, possibly with a
probability in between. So many rows are encoded by joining prepared bytes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import InvalidInput, Violation, shorten
from quadnet.nn.row_slices import SliceAnswers, choose_values
from quadnet.registry.version_files import Model
from quadnet.types import Task
from service.inference_v2.answers import AnswerEncoding
from service.inference_v2.tensors import RequestedOutput
from service.inference_v2.value_encodings import ValueEncoding

PROBABILITIES, LABEL = "probabilities", "label"
VALUE, QUANTILES = "value", "quantiles"

OUTPUT_DATATYPES = {np.dtype(np.float32): "FP32", np.dtype(np.float64): "FP64"}

_DIRECT_TEXTS = 2048
"""Number of texts, of a probability and a class, that are encoded in about a millisecond."""


class OutputTensor(ABC):
    """One output tensor.

    Parameters
    ----------
    model : Model
    encoding : ValueEncoding

    Attributes
    ----------
    name, datatype : str
    encoding : ValueEncoding
    row_shape : tuple of int
        The shape of one row.
    direct_rows : int or None
        Number of rows that are encoded in about a millisecond; None if encoding a row takes less
        time than computing it.
    """

    name: str
    datatype: str
    encoding: ValueEncoding
    row_shape: tuple[int, ...]
    direct_rows: int | None = None

    def __init__(self, model: Model, encoding: ValueEncoding) -> None:
        self.encoding = encoding

    @abstractmethod
    def encode_rows(self, answers: SliceAnswers) -> bytes:
        """Return the encoded values for a slice of rows."""


class NumbersTensor(OutputTensor):
    """All numbers of each row, as the network computes them."""

    def __init__(self, model: Model, encoding: ValueEncoding) -> None:
        super().__init__(model, encoding)
        self.datatype = OUTPUT_DATATYPES[model.predictor.dtype]
        self.row_shape = (count_numbers(model),)

    def encode_rows(self, answers: SliceAnswers) -> bytes:
        """Return the numbers."""
        return self.encoding.encode_array(answers.numbers)


class ProbabilitiesTensor(NumbersTensor):
    """The probability of each class or label."""

    name = PROBABILITIES


class QuantilesTensor(NumbersTensor):
    """Each quantile."""

    name = QUANTILES


class ValueTensor(OutputTensor):
    """The number of each row; of several quantiles the one nearest to the median."""

    name = VALUE
    row_shape = ()

    def __init__(self, model: Model, encoding: ValueEncoding) -> None:
        super().__init__(model, encoding)
        self.datatype = OUTPUT_DATATYPES[model.predictor.dtype]
        self._quantiles = model.manifest.architecture.quantiles

    def encode_rows(self, answers: SliceAnswers) -> bytes:
        """Return the numbers; NaN for rows that overflowed."""
        return self.encoding.encode_array(choose_values(self._quantiles, answers.numbers))


class LabelTensor(OutputTensor):
    """The name of the most probable class."""

    name = LABEL
    datatype = "BYTES"
    row_shape = ()

    def __init__(self, model: Model, encoding: ValueEncoding) -> None:
        super().__init__(model, encoding)
        self._elements = _label_elements(tuple(model.manifest.signature.classes), encoding)

    def encode_rows(self, answers: SliceAnswers) -> bytes:
        """Return the names; "" for unknown rows."""
        # The last element is that of the place -1.
        return self.encoding.separator.join(self._elements[answers.choose_classes()].tolist())


class LabelsTensor(OutputTensor):
    """For each of several labels, whether it is more probable than not."""

    name = LABEL
    datatype = "BOOL"

    def __init__(self, model: Model, encoding: ValueEncoding) -> None:
        super().__init__(model, encoding)
        self.row_shape = (count_numbers(model),)

    def encode_rows(self, answers: SliceAnswers) -> bytes:
        """Return the truth values."""
        return self.encoding.encode_array(answers.choose_labels())


class TopClassesTensor(OutputTensor):
    """The n most probable classes of each row, best first, as texts such as 0.912000:0:I."""

    name = PROBABILITIES
    datatype = "BYTES"

    def __init__(self, model: Model, n: int, encoding: ValueEncoding) -> None:
        classes = tuple(model.manifest.signature.classes)
        super().__init__(model, encoding)
        n = min(n, len(classes))
        self.row_shape = (n,)
        self.direct_rows = max(1, _DIRECT_TEXTS // n)
        self._heads, self._tails = _class_text_parts(classes, encoding)

    def encode_rows(self, answers: SliceAnswers) -> bytes:
        """Return the texts."""
        P = answers.numbers
        # Stable: among equal probabilities the first class wins, as for the label.
        order = np.argsort(-P, axis=1, kind="stable")[:, : self.row_shape[0]]
        best = np.take_along_axis(P, order, axis=1).ravel().tolist()
        columns = order.ravel()
        parts = zip(self._heads[columns], best, self._tails[columns], strict=True)
        return self.encoding.separator.join([b"%b%.6f%b" % each for each in parts])


def count_numbers(model: Model) -> int:
    """Return how many numbers the network has for each row."""
    signature = model.manifest.signature
    return len(signature.classes) or max(1, len(model.manifest.architecture.quantiles))


_OUTPUTS: dict[Task, tuple[type[OutputTensor], ...]] = {
    "classification": (ProbabilitiesTensor, LabelTensor),
    "multilabel": (ProbabilitiesTensor, LabelsTensor),
    "regression": (ValueTensor,),
}


def list_outputs(model: Model) -> dict[str, type[OutputTensor]]:
    """Return the outputs of a version by name, in the order of an answer by default."""
    kinds = {kind.name: kind for kind in _OUTPUTS[model.manifest.task]}
    if model.manifest.architecture.quantiles:
        kinds[QuantilesTensor.name] = QuantilesTensor
    return kinds


def make_outputs(
    requested_outputs: Sequence[RequestedOutput], model: Model, encoding: AnswerEncoding
) -> list[OutputTensor]:
    """Return the requested outputs, in the order of the request; without any, all outputs.

    Raises
    ------
    InvalidInput
        If there is no such output, an output is requested twice, or has no classes to count.
    """
    kinds = list_outputs(model)
    if not requested_outputs:
        values = encoding.choose_values(None)
        return [kind(model, values) for kind in kinds.values()]
    outputs: list[OutputTensor] = []
    for requested in requested_outputs:
        name, field = requested.name, requested.field
        if name not in kinds:
            expected = f"expected {' or '.join(map(repr, kinds))}"
            _raise_invalid_output(f"{field}.name", f"{expected}, got {shorten(name)}")
        if name in (output.name for output in outputs):
            _raise_invalid_output(f"{field}.name", f"expected each output once, got {name!r} again")
        values = encoding.choose_values(requested)
        if requested.class_count:
            _check_classes_can_be_counted(requested, model)
            outputs.append(TopClassesTensor(model, requested.class_count, values))
        else:
            outputs.append(kinds[name](model, values))
    return outputs


def _check_classes_can_be_counted(requested: RequestedOutput, model: Model) -> None:
    task = model.manifest.task
    if task == "regression":
        reason = "the model predicts numbers; leave it out"
    elif task == "multilabel":
        reason = "the model predicts several labels for each row; leave it out"
    elif requested.name == LABEL:
        reason = f"it has one class per row; request {PROBABILITIES!r} instead"
    else:
        return
    _raise_invalid_output(
        f"{requested.field}.parameters[classification]",
        f"output {requested.name!r}: expected no class_count, because {reason}",
    )


def _raise_invalid_output(field: str, description: str) -> NoReturn:
    raise InvalidInput([Violation(field, description)])


@lru_cache(maxsize=64)
def _label_elements(classes: tuple[str, ...], encoding: ValueEncoding) -> NDArray[np.object_]:
    """Return the encoded name of each class, and at the end an empty name for unknown rows."""
    return np.array([encoding.encode_text(name) for name in (*classes, "")], dtype=object)


@lru_cache(maxsize=64)
def _class_text_parts(
    classes: tuple[str, ...], encoding: ValueEncoding
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Return the bytes before and after the eight characters of each class's probability."""
    parts = [encoding.split_text(f":{column}:{name}") for column, name in enumerate(classes)]
    heads, tails = zip(*parts, strict=True)
    return np.array(heads, dtype=object), np.array(tails, dtype=object)
