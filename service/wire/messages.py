"""Parses the messages of both APIs."""

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from quadnet.errors import InvalidInput, Violation

M = TypeVar("M", bound=Message)


def parse_message(kind: type[M], content: bytes) -> M:
    """Return the message; raise InvalidInput if the bytes cannot be parsed as one."""
    try:
        return kind.FromString(content)
    except DecodeError:
        raise InvalidInput(
            [
                Violation(
                    "request",
                    f"expected a message {kind.DESCRIPTOR.full_name}, got {len(content)} bytes "
                    "that cannot be parsed as one",
                )
            ]
        ) from None
