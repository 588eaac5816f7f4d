"""Bearer tokens in a file: what a server accepts, and what a client brings."""

from pathlib import Path

from quadnet.errors import InvalidSetting

_MAX_BYTES = 2**20


def read_tokens(path: Path) -> tuple[bytes, ...]:
    """Return the tokens in a file, one a line; blank lines and those that begin with # are none.

    Raises
    ------
    InvalidSetting
        If the file cannot be read, or holds no token.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES)
    except OSError as error:
        raise InvalidSetting(f"The token file {path} cannot be read: {error.strerror}.") from error
    lines = [line.strip() for line in content.splitlines()]
    tokens = tuple(line for line in lines if line and not line.startswith(b"#"))
    if not tokens:
        raise InvalidSetting(f"The token file {path} holds no token: expected one a line.")
    return tokens
