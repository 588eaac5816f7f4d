"""A request for inference without its transport: inputs as they were sent, and requested outputs.

gRPC and REST decode their messages into these classes. The values of an input are read late: its
name, datatype and shape are checked against the model first.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import Facts, InvalidInput, Violation, listing, shorten
from quadnet.tables.columns import Texts
from quadnet.types import IntArray

Buffer: TypeAlias = bytes | memoryview

NUMBER_DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
}
"""The datatypes of numbers, and how a raw number is stored."""

SHARED_MEMORY = "shared_memory_region"


@dataclass(frozen=True)
class InputTensor(ABC):
    """One input.

    Parameters
    ----------
    field : str
        Its place in the request, such as "inputs[0]".
    name, datatype : str
        As they were sent: neither is checked yet.
    shape : tuple of int
        As it was sent. Check it before the values are read.
    """

    field: str
    name: str
    datatype: str
    shape: tuple[int, ...]

    _nanoseconds_a_number: ClassVar[float] = 1.0

    @property
    def n_values(self) -> int:
        """The number of values, by the shape."""
        return prod(self.shape)

    @property
    def nanoseconds(self) -> float:
        """About how long it takes to read the numbers."""
        # Of a shape that is not checked yet, and may have a million sizes.
        return self._nanoseconds_a_number * prod(self.shape[:2])

    @abstractmethod
    def read_numbers(self, *, may_be_missing: bool = False) -> NDArray[Any]:
        """Return the values of a tensor of numbers or of BOOL, of shape (n_values,).

        If values may be missing, and one is, the result is an array of objects, with None for
        what is missing.

        Raises
        ------
        InvalidInput
            If the values do not fit the datatype or the shape.
        """

    @abstractmethod
    def read_texts(self) -> Texts:
        """Return the values of a BYTES tensor, of length n_values.

        Raises
        ------
        InvalidInput
            If the values do not fit the datatype or the shape, or a text is not UTF-8.
        """

    def locate(self, index: int) -> str:
        """Return the path of a value, for errors."""
        return f"{self.name}[{index}]"

    def refuse(
        self, field: str, expected: str, found: str, *, facts: Facts | None = None
    ) -> NoReturn:
        """Raise InvalidInput about this input."""
        violation = Violation(
            field, f"input {shorten(self.name)}: expected {expected}; got {found}"
        )
        raise InvalidInput([violation], facts=facts)


@dataclass(frozen=True)
class RawTensor(InputTensor):
    """An input in binary form: numbers in little-endian order, texts after their lengths.

    Parameters
    ----------
    raw : bytes or memoryview
    raw_field : str
        Where the bytes are in the request.
    """

    raw: Buffer
    raw_field: str

    def read_numbers(self, *, may_be_missing: bool = False) -> NDArray[Any]:
        """Return the numbers; this form has no missing values."""
        del may_be_missing
        # Any byte but 0 is true.
        dtype = NUMBER_DTYPES.get(self.datatype) or np.dtype(np.uint8)
        n_bytes = self.n_values * dtype.itemsize
        if len(self.raw) != n_bytes:
            self.refuse(
                self.raw_field,
                f"{n_bytes} bytes for {self.datatype} of shape {format_shape(self.shape)}",
                str(len(self.raw)),
            )
        flat: NDArray[Any] = np.frombuffer(self.raw, dtype)
        if self.datatype == "BOOL":
            truths: NDArray[Any] = flat != 0
            return truths
        # The offset in the message depends on the other fields. Computations need aligned arrays.
        return flat if flat.flags.aligned else flat.copy()

    def read_texts(self) -> Texts:
        """Return the texts."""
        content = bytes(self.raw)
        n_texts = self.n_values
        codes: list[int] = []
        places: dict[bytes, int] = {}
        at = 0
        while len(codes) < n_texts and at + 4 <= len(content):
            start = at + 4
            at = start + int.from_bytes(content[at:start], "little")
            codes.append(places.setdefault(content[start:at], len(places)))
        if len(codes) < n_texts or at != len(content):
            found = f"{len(content)} bytes that "
            if at > len(content):
                found += f"end inside the text {len(codes) - 1}"
            elif len(codes) < n_texts:
                found += f"end after {len(codes)} texts"
            else:
                found += "continue after the last text"
            self.refuse(
                self.raw_field,
                f"{n_texts} texts for BYTES of shape {format_shape(self.shape)}, each after its "
                "length in 4 little-endian bytes",
                found,
            )
        return decode_texts(self, np.array(codes, np.intp), tuple(places))


@dataclass(frozen=True)
class RequestedOutput:
    """One requested output.

    Parameters
    ----------
    field : str
        Its place in the request, such as "outputs[0]".
    name : str
    class_count : int, default=0
        How many of the most probable classes to return as texts; 0 for the plain output.
    is_binary : bool, optional
        Whether REST returns the values in binary form; None if the request does not tell.
    """

    field: str
    name: str
    class_count: int = 0
    is_binary: bool | None = None


@dataclass(frozen=True)
class InferRequest:
    """One request for inference.

    Parameters
    ----------
    id : str
        Returned in the answer.
    model : str
        "" for the default model.
    version : str
        A number, an alias, or "" for the default alias.
    inputs : sequence of InputTensor
    outputs : sequence of RequestedOutput
        Empty for all outputs of the model.
    """

    id: str
    model: str
    version: str
    inputs: Sequence[InputTensor]
    outputs: Sequence[RequestedOutput]


def decode_texts(tensor: InputTensor, codes: IntArray, values: Sequence[bytes]) -> Texts:
    """Return the texts of bytes, of which `values` has each distinct one.

    Raises
    ------
    InvalidInput
        If a text is not UTF-8; names the first value.
    """
    texts = []
    for code, value in enumerate(values):
        try:
            texts.append(value.decode())
        except UnicodeDecodeError:
            row = int(np.argmax(codes == code))
            tensor.refuse(tensor.locate(row), "a text in UTF-8", f"the bytes {shorten(str(value))}")
    return Texts(codes, tuple(texts))


def refuse_shared_memory(field: str) -> NoReturn:
    """Raise InvalidInput: the parameters of this tensor place its values in shared memory."""
    raise InvalidInput(
        [
            Violation(
                f"{field}.parameters[{SHARED_MEMORY}]",
                "expected no such parameter, because this server has no shared memory; send "
                "and receive the values in the messages",
            )
        ]
    )


def format_shape(shape: Sequence[int]) -> str:
    """Return the shape for an error message, with the first sizes only if there are many."""
    return f"[{listing([str(size) for size in shape])}]" if shape else "[]"
