"""Packed repeated fields, from arrays to the wire and back without a loop over numbers.

A protobuf message is the concatenation of its fields, in any order and in any number of parts, so
a message that protobuf wrote can be followed by fields that are written here. An array's own bytes
are already what the wire wants: fixed-width numbers are little-endian there, and an enum's value
below 128 is a single byte. And what came over the wire can be read in place.
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
"""A message of more parts than this is for protobuf's parser, which is not written in Python."""


def write(field: int, content: bytes) -> bytes:
    """Return packed field number `field` with this content: an array's little-endian bytes."""
    return write_one(field, content) if content else b""


def write_one(field: int, content: bytes) -> bytes:
    """Return one element of a field of messages or bytes, which is there even if it is empty."""
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def doubles(field: int, values: NDArray[np.floating[Any]]) -> bytes:
    """Return `repeated double` field number `field`, holding the values."""
    return write(field, values.astype("<f8", copy=False).tobytes())


def read_doubles(
    message: bytes, fields: Sequence[int]
) -> tuple[dict[int, FloatArray], bytes] | None:
    """Return the `repeated double` fields of these numbers, and the rest of the message.

    The arrays are views of the message. None where it is not as every writer writes it, each field
    packed and in one part, or where it is damaged: then it is for protobuf's own parser.
    """
    parted = split(message, fields)
    if parted is None:
        return None
    columns: dict[int, FloatArray] = {}
    for number, start, end in parted[0]:
        if (end - start) % 8 or number in columns:
            return None
        columns[number] = np.frombuffer(message, "<f8", (end - start) // 8, start)
    return columns, parted[1]


def split(message: bytes, fields: Sequence[int]) -> tuple[list[tuple[int, int, int]], bytes] | None:
    """Return the number, start and end of each of these fields' contents, and the message's rest.

    None where one of them is not length-delimited, there are many fields, or the message is
    damaged.
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
            if end > len(message) or n_fields > MAX_FIELDS:
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
    """Return the number in base 128, the lowest digit first, all but the last marked."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins there, and where it ends; raise IndexError if it does not."""
    number = shift = 0
    while (digit := message[at]) > 127:
        number |= (digit & 127) << shift
        shift += 7
        at += 1
        if shift > 63:
            raise IndexError
    return number | digit << shift, at + 1
