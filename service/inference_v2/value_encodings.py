"""How the values of an output are written: raw, as typed contents of gRPC, or as JSON.

Rows are encoded a slice at a time. The slices of an output are joined with the encoding's
separator.
"""

from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import NDArray

from service.stubs.inference.v2 import inference_pb2 as pb
from service.wire.packed_arrays import encode_element

TYPED_FIELDS = {
    "FP32": pb.InferTensorContents.FP32_CONTENTS_FIELD_NUMBER,
    "FP64": pb.InferTensorContents.FP64_CONTENTS_FIELD_NUMBER,
    "BOOL": pb.InferTensorContents.BOOL_CONTENTS_FIELD_NUMBER,
    "BYTES": pb.InferTensorContents.BYTES_CONTENTS_FIELD_NUMBER,
}

N_INSERTED = 8
"""Number of characters that `ValueEncoding.split_text` leaves space for."""


class ValueEncoding(ABC):
    """How values are written.

    Attributes
    ----------
    separator : bytes
        What stands between two values, and so between two slices.
    nanoseconds_a_number : float
        About how long it takes to encode a number.
    """

    separator: bytes = b""
    nanoseconds_a_number: float = 1.0

    def encode_array(self, values: NDArray[Any]) -> bytes:
        """Return numbers or truth values, row by row."""
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()

    @abstractmethod
    def encode_text(self, text: str) -> bytes:
        """Return one text."""

    @abstractmethod
    def split_text(self, tail: str) -> tuple[bytes, bytes]:
        """Return what stands before and after the N_INSERTED ASCII characters of a text.

        Parameters
        ----------
        tail : str
            The text after these characters.
        """


class RawEncoding(ValueEncoding):
    """Numbers in little-endian order, each text after its length in four bytes."""

    def encode_text(self, text: str) -> bytes:
        """Return one text."""
        content = text.encode()
        return len(content).to_bytes(4, "little") + content

    def split_text(self, tail: str) -> tuple[bytes, bytes]:
        """Return the bytes before and after the inserted characters."""
        content = tail.encode()
        return (N_INSERTED + len(content)).to_bytes(4, "little"), content


class TypedEncoding(ValueEncoding):
    """The content of a packed field of `inference.InferTensorContents`, or its texts."""

    def encode_text(self, text: str) -> bytes:
        """Return one text."""
        return encode_element(TYPED_FIELDS["BYTES"], text.encode())

    def split_text(self, tail: str) -> tuple[bytes, bytes]:
        """Return the bytes before and after the inserted characters."""
        content = tail.encode()
        whole = encode_element(TYPED_FIELDS["BYTES"], bytes(N_INSERTED) + content)
        return whole[: -N_INSERTED - len(content)], content


RAW, TYPED = RawEncoding(), TypedEncoding()
