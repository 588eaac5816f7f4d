"""Files that are read again when they change, such as certificates and tokens."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from quadnet.errors import InvalidSetting

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_SECONDS_BETWEEN_LOOKS = 0.5


class Reloaded(Generic[T]):
    """What some files say now, or said when they last made sense.

    Parameters
    ----------
    paths : sequence of Path
        The files to watch.
    read : callable
        Reads all of them; raises InvalidSetting if they make no sense. Called first by the
        constructor, where it is the caller's to handle.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T]) -> None:
        self._paths = tuple(paths)
        self._read = read
        self._looked = time.monotonic()
        self._seen = self._state()
        self._refused: object = None
        self._value = read()

    @property
    def value(self) -> T:
        """What the files say; they are looked at twice a second at the most."""
        now = time.monotonic()
        if now - self._looked > _SECONDS_BETWEEN_LOOKS:
            self._looked = now
            seen = self._state()
            if seen != self._seen:
                self._reload(seen)
        return self._value

    def _reload(self, seen: object) -> None:
        try:
            self._value = self._read()
        except InvalidSetting as error:
            # Not remembered as seen: of two files that belong together, the second may be on its
            # way. What was good goes on.
            if seen != self._refused:
                _log.error("not reloaded", reason=str(error))
            self._refused = seen
            return
        self._seen = seen
        _log.info("reloaded", files=[str(path) for path in self._paths])

    def _state(self) -> object:
        return tuple(_fingerprint(path) for path in self._paths)


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
