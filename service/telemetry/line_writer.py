"""A text stream that never blocks its writer.

Standard output and standard error may be pipes without a reader, files on a full disk, or closed.
Output is best effort: it must neither block the event loop nor change the exit code.
"""

import io
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from select import PIPE_BUF
from typing import TextIO

_MAX_TEXTS = 10_000
_SECONDS_BEHIND = 0.02
_SECONDS_TO_FINISH = 2.0


class LineWriter(io.TextIOBase):
    """Writes to a stream's file descriptor on a separate thread, a few lines at a time.

    The thread does not write through the stream object. A thread that blocks there holds the lock
    of the stream's buffer, and the interpreter aborts with SIGABRT if it cannot take that lock at
    exit.

    Parameters
    ----------
    stream : text stream
        The stream whose file descriptor receives the output.
    dropped : callable, optional
        Called with the number of texts that could not be written.
    """

    def __init__(self, stream: TextIO, dropped: Callable[[int], object] = lambda _: None) -> None:
        self._stream = stream
        self._dropped = dropped
        self._texts: deque[str] = deque()
        self._written = threading.Event()
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="line-writer", daemon=True)
        self._thread.start()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the stream."""
        return self._stream.encoding

    def fileno(self) -> int:
        """Return the file descriptor of the stream."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Queue the text, or drop it if the queue is full."""
        if len(self._texts) >= _MAX_TEXTS:
            self._dropped(1)
        else:
            self._texts.append(text)
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Wake the thread."""
        if not self._written.is_set():
            self._written.set()

    def finish(self) -> None:
        """Write the queued texts, for at most two seconds."""
        self._finishing.set()
        self._written.set()
        self._thread.join(_SECONDS_TO_FINISH)

    def _run(self) -> None:
        while self._texts or not self._finishing.is_set():
            self._written.wait()
            self._finishing.wait(_SECONDS_BEHIND)
            self._written.clear()
            while self._texts:
                self._write(self._take_batch())

    def _take_batch(self) -> list[str]:
        """Take at most PIPE_BUF bytes: several processes can write so much without interleaving."""
        texts: list[str] = []
        size = 0
        while self._texts and (not texts or size + len(self._texts[0].encode()) <= PIPE_BUF):
            texts.append(self._texts.popleft())
            size += len(texts[-1].encode())
        return texts

    def _write(self, texts: list[str]) -> None:
        errors = self._stream.errors or "strict"
        try:
            left = "".join(texts).encode(self.encoding, errors)
            while left:
                try:
                    left = left[os.write(self.fileno(), left) :]
                except BlockingIOError:
                    # Another process that shares the descriptor made it non-blocking.
                    select.select([], [self.fileno()], [])
        except (OSError, ValueError):
            # The reader is gone or the disk is full, and there is no other place to report it.
            self._dropped(len(texts))
