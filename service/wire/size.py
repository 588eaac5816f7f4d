"""Answers too large for a message: refused in words, before gRPC does it without any."""

from quadnet.errors import InvalidInput, Violation


def check_size(
    n_bytes: int, limit: int, *, field: str, instead: str, at_least: bool = False
) -> None:
    """Accept an answer of at most `limit` bytes.

    gRPC's own refusal is RESOURCE_EXHAUSTED, which clients retry: the answer would be computed
    again each time.

    Parameters
    ----------
    n_bytes : int
        The answer's size.
    limit : int
    field : str
        The request's field that makes the answer large.
    instead : str
        What to do.
    at_least : bool, default=False
        Whether `n_bytes` is a lower bound, known before the answer is computed.

    Raises
    ------
    InvalidInput
        If the answer is larger.
    """
    if n_bytes > limit:
        found = f"{n_bytes} or more" if at_least else str(n_bytes)
        raise InvalidInput(
            [
                Violation(
                    field, f"expected an answer of at most {limit} bytes, got {found}; {instead}"
                )
            ]
        )
