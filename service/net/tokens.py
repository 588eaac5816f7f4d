"""Reads bearer tokens from a file: those that a server accepts, and the one that a client sends."""

import codecs
from pathlib import Path

from quadnet.errors import FileUnusable

_MAX_BYTES = 2**20


def read_tokens(path: Path) -> tuple[bytes, ...]:
    """Return the tokens in a file, one per line, without blank lines and comments after ``#``.

    Raises
    ------
    FileUnusable
        If the file cannot be read, is too large, or has no token or an invalid one.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise FileUnusable(f"The token file {path} cannot be read: {error.strerror}.") from error
    if len(content) > _MAX_BYTES:
        # Reading only the first part could cut a token in two.
        raise FileUnusable(f"The token file {path} is larger than {_MAX_BYTES} bytes.")
    lines = [line.strip() for line in content.removeprefix(codecs.BOM_UTF8).splitlines()]
    for number, line in enumerate(lines, 1):
        if not line.startswith(b"#") and not all(33 <= byte <= 126 for byte in line):
            raise FileUnusable(
                f"The token file {path} has an invalid token in line {number}: "
                "expected visible ASCII without spaces."
            )
    tokens = tuple(line for line in lines if line and not line.startswith(b"#"))
    if not tokens:
        raise FileUnusable(f"The token file {path} has no token: expected one per line.")
    return tokens
