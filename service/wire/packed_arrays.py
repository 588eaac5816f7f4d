"""Encodes arrays as packed repeated fields, and decodes them, without a loop over numbers.

A protobuf message is the concatenation of its fields, in any order and in any number of parts. So
fields that are encoded here can follow a message that protobuf has encoded. The bytes of an array
are the content of a packed field: the wire has fixed-width numbers in little-endian order, and an
enum value below 128 is a single byte. A received field can be read in place.
Source: the Protocol Buffers encoding specification, "Message Structure" and "Packed Repeated
Fields".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.types import FloatArray

_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5

MAX_FIELDS = 16
"""Messages with more fields are left to protobuf's parser, which is not written in Python."""


def encode_packed_field(field: int, content: bytes) -> bytes:
    """Return a packed field with this number and content: an array's little-endian bytes."""
    return encode_element(field, content) if content else b""


def encode_element(field: int, content: bytes) -> bytes:
    """Return one element of a field of messages or bytes. It is present even if it is empty."""
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def encode_doubles(field: int, values: NDArray[np.floating[Any]]) -> bytes:
    """Return a `repeated double` field with this number and these values."""
    return encode_packed_field(field, values.astype("<f8", copy=False).tobytes())


def decode_doubles(
    message: bytes, fields: Sequence[int]
) -> tuple[dict[int, FloatArray], bytes] | None:
    """Return the `repeated double` fields with these numbers, and the rest of the message.

    The arrays are views of the message. None if a field is not packed or is split into parts,
    which no encoder does, or if the message is damaged. Use protobuf's parser then.
    """
    parted = split_fields(message, fields)
    if parted is None:
        return None
    columns: dict[int, FloatArray] = {}
    for number, start, end in parted[0]:
        if (end - start) % 8 or number in columns:
            return None
        columns[number] = np.frombuffer(message, "<f8", (end - start) // 8, start)
    return columns, parted[1]


def split_fields(
    message: bytes, fields: Sequence[int], max_fields: int = MAX_FIELDS
) -> tuple[list[tuple[int, int, int]], bytes] | None:
    """Return each of these fields as (number, start, end of content), and the rest of the message.

    None if one of the fields is not length-delimited, there are more than `max_fields` fields, or
    the message is damaged.
    """
    places = []
    rest = []
    at, n_fields = 0, 0
    try:
        while at < len(message):
            start = at
            tag, at = _read_varint(message, at)
            number, kind = tag >> 3, tag & 7
            if kind == _LENGTH_DELIMITED:
                length, at = _read_varint(message, at)
                end = at + length
            elif kind == _VARINT:
                _, end = _read_varint(message, at)
            elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
                end = at + (8 if kind == _EIGHT_BYTES else 4)
            else:
                return None
            n_fields += 1
            if end > len(message) or n_fields > max_fields:
                return None
            if number not in fields:
                rest.append(message[start:end])
            elif kind != _LENGTH_DELIMITED:
                return None
            else:
                places.append((number, at, end))
            at = end
    except IndexError:
        return None
    return places, b"".join(rest)


def _varint(number: int) -> bytes:
    """Return the number in base 128, lowest digit first; all digits but the last are marked."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the varint at this offset and its end; raise IndexError if it is incomplete."""
    number = shift = 0
    while (digit := message[at]) > 127:
        number |= (digit & 127) << shift
        shift += 7
        at += 1
        if shift > 63:
            raise IndexError
    return number | digit << shift, at + 1
