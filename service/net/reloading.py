"""Reads files again when they change, such as certificates and tokens."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from quadnet.errors import FileUnusable

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_SECONDS_BETWEEN_CHECKS = 0.4


class WatchedFiles(Generic[T]):
    """The content of files, at their last valid state.

    A separate thread watches the files, so a file system that does not respond blocks no call.

    Parameters
    ----------
    paths : sequence of Path
        The files to watch.
    read : callable
        Reads all files; raises FileUnusable if they are invalid. The constructor calls it once and
        passes on the error.

    Attributes
    ----------
    value : object
        The last result of `read`, at most half a second older than the files.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T]) -> None:
        self._paths = tuple(paths)
        self._read = read
        self._loaded_state = self._state()
        self._invalid_state: object = None
        self.value = read()
        threading.Thread(target=self._watch, name="reload-files", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_SECONDS_BETWEEN_CHECKS)
            state = self._state()
            if state != self._loaded_state:
                self._reload(state)

    def _reload(self, state: object) -> None:
        try:
            self.value = self._read()
        except FileUnusable as error:
            # Retried at the next check: of two files that belong together, the second may not be
            # written yet. Until then the last valid value stays.
            if state != self._invalid_state:
                _log.error("files not reloaded", reason=str(error))
            self._invalid_state = state
            return
        self._loaded_state = state
        _log.info("files reloaded", files=[str(path) for path in self._paths])

    def _state(self) -> object:
        return tuple(_fingerprint(path) for path in self._paths)


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
