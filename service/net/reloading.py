"""Files that are read again when they change, such as certificates and tokens."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from quadnet.errors import FileUnusable

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_SECONDS_BETWEEN_LOOKS = 0.4


class Reloaded(Generic[T]):
    """What some files say now, or said when they last made sense.

    A thread looks at them, so a file system that does not answer holds up no call.

    Parameters
    ----------
    paths : sequence of Path
        The files to watch.
    read : callable
        Reads all of them; raises FileUnusable if they make no sense. Called first by the
        constructor, where the error is the caller's to handle.

    Attributes
    ----------
    value : object
        What `read` returned last; at most half a second behind the files.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T]) -> None:
        self._paths = tuple(paths)
        self._read = read
        self._seen = self._state()
        self._refused: object = None
        self.value = read()
        threading.Thread(target=self._watch, name="reload-files", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            seen = self._state()
            if seen != self._seen:
                self._reload(seen)

    def _reload(self, seen: object) -> None:
        try:
            self.value = self._read()
        except FileUnusable as error:
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
