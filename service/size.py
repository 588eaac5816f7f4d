"""Answers too large for a message: refused in words, before gRPC does it without any."""

from quadnet.errors import InvalidInput, Violation


def check_size(answer: bytes, limit: int, *, field: str, instead: str) -> None:
    """Accept an answer of at most `limit` bytes.

    gRPC's own refusal is RESOURCE_EXHAUSTED, which clients try again: it would be computed anew
    each time.

    Raises
    ------
    InvalidInput
        If it is larger; names the request's field and what to ask for instead.
    """
    if len(answer) > limit:
        raise InvalidInput(
            [
                Violation(
                    field,
                    f"expected an answer of at most {limit} bytes, got {len(answer)}; {instead}",
                )
            ]
        )
