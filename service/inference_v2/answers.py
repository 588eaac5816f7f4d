"""The answer to a request for inference, and what a transport does with it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.inference_v2.tensors import RequestedOutput
from service.inference_v2.value_encodings import ValueEncoding


class OutputValues(NamedTuple):
    """The values of one output.

    Attributes
    ----------
    name, datatype : str
    shape : tuple of int
    encoding : ValueEncoding
    content : bytes
        The encoded values.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    encoding: ValueEncoding
    content: bytes


class InferAnswer(NamedTuple):
    """The answer to one request.

    Attributes
    ----------
    id : str
        The id of the request.
    model : str
    version : int
    outputs : sequence of OutputValues
        In the order of the request.
    parameters : mapping of str to str
    """

    id: str
    model: str
    version: int
    outputs: Sequence[OutputValues]
    parameters: Mapping[str, str]


class EncodedAnswer(NamedTuple):
    """An answer as bytes.

    Attributes
    ----------
    body : bytes
    header_length : int or None
        Number of bytes of the JSON before binary values; None without binary values.
    """

    body: bytes
    header_length: int | None = None


class AnswerEncoding(ABC):
    """How a transport writes an answer."""

    @abstractmethod
    def choose_values(self, requested: RequestedOutput | None) -> ValueEncoding:
        """Return the encoding of an output's values; None stands for an output by default."""

    @abstractmethod
    def encode(self, answer: InferAnswer) -> EncodedAnswer:
        """Return the whole answer."""
