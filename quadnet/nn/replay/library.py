"""Finds and loads the compiled part of the replay, which is optional.

`hatch_build.py` puts two files next to `replay.c`: the library, and a record with the SHA-256 of
the library and of the source. Only a library that its record confirms is loaded. The loader of the
operating system is no such check: a truncated library ends the process with SIGBUS, and a library
of an older `replay.c` loads. Hashing both files takes a fraction of a millisecond, once per
process.
"""

import ctypes
import hashlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

# The environment variable that switches the replay off. It is read for each fit, so one process
# can train both ways.
SWITCH = "QUADNET_REPLAY"

# The number that `quadnet_replay_abi` in replay.c must return.
ABI = 1

_SOURCE = Path(__file__).with_name("replay.c")
_LIBRARY = _SOURCE.with_suffix({"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so"))
_RECORD = _LIBRARY.with_name(f"{_LIBRARY.name}.sha256")


class _UnusableLibrary(Exception):
    """The library cannot be used; the message is a sentence with the reason."""


class _Loading(NamedTuple):
    """The result of loading: the library, or the reason why there is no library."""

    library: ctypes.CDLL | None
    reason: str


def is_enabled() -> bool:
    """Return whether QUADNET_REPLAY allows the replay. Not set and empty mean 1.

    Raises
    ------
    ValueError
        If the variable is neither 0 nor 1. Training both ways gives the same numbers, so a wrong
        value that is ignored would stay unnoticed.
    """
    value = os.environ.get(SWITCH, "")
    if value not in {"", "0", "1"}:
        raise ValueError(f"The environment variable {SWITCH} must be 0 or 1, got {value!r}.")
    return value != "0"


def find_library() -> ctypes.CDLL | None:
    """Return the compiled part, or None if it is switched off or cannot be used.

    Its functions release the GIL. `describe` gives the reason for None. A ValueError is raised if
    QUADNET_REPLAY is neither 0 nor 1.
    """
    return _load_library().library if is_enabled() else None


def describe() -> str:
    """Return "compiled" if fits use the compiled part, else the reason why they do not."""
    try:
        enabled = is_enabled()
    except ValueError as error:
        return str(error)
    if not enabled:
        return f"switched off: the environment variable {SWITCH} is 0."
    return _load_library().reason or "compiled"


# `cache` may load twice if two threads come at once, which is harmless. A lock that another thread
# holds during a fork would block the child process for ever.
@cache
def _load_library() -> _Loading:
    try:
        return _Loading(_open_library(), "")
    except _UnusableLibrary as error:
        return _Loading(None, str(error))


def _open_library() -> ctypes.CDLL:
    try:
        _check_record()
        library = ctypes.CDLL(str(_LIBRARY))
    except OSError as error:
        raise _UnusableLibrary(
            f"{_LIBRARY.name} cannot be loaded ({error.strerror or error}). "
            "Install Quadnet again on this machine."
        ) from None
    try:
        number = library.quadnet_replay_abi()
    except AttributeError:
        number = None
    if number != ABI:
        raise _UnusableLibrary(
            f"{_LIBRARY.name} has interface {number}, but this version of Quadnet needs {ABI}. "
            "Install Quadnet again."
        )
    return library


def _check_record() -> None:
    """Raise an error unless the record confirms the library and the source."""
    if not _LIBRARY.exists():
        raise _UnusableLibrary(
            f"{_LIBRARY.name} is missing: there was no C compiler when Quadnet was installed."
        )
    # Reading a pipe or a device of this name would block.
    if not (_LIBRARY.is_file() and _RECORD.is_file()):
        raise _UnusableLibrary(
            f"{_LIBRARY.name} and {_RECORD.name} must both be files. Install Quadnet again."
        )
    lines = _RECORD.read_text(encoding="utf-8", errors="replace").splitlines()
    if _format_digest(_LIBRARY) not in lines:
        raise _UnusableLibrary(
            f"{_LIBRARY.name} is not the file that was compiled. Install Quadnet again."
        )
    if _format_digest(_SOURCE) not in lines:
        raise _UnusableLibrary(
            f"{_LIBRARY.name} was compiled from another {_SOURCE.name}. Install Quadnet again."
        )


def _format_digest(path: Path) -> str:
    """Return the file's line in the record, which is as `sha256sum` prints it."""
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
