"""The log: a JSON object a line on standard error, or colours where that is a terminal.

Lines are written by a thread of their own. A reader of the log that stops reading would stop the
server otherwise; so it loses lines, which are counted.
"""

import atexit
import json
import logging
import sys
import threading
from collections import deque
from select import PIPE_BUF
from typing import IO, Any

import structlog

from service import metrics
from service.settings import Level

_MAX_LINES = 10_000
_SECONDS_BEHIND = 0.02
_SECONDS_TO_FINISH = 2.0


class LineWriter:
    """A file whose lines are written by a thread, some at a time; `write` never waits.

    Parameters
    ----------
    file : text file
        Where the lines go in the end.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._lines: deque[str] = deque()
        self._written = threading.Event()
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Take a line, or drop it if the thread is too far behind."""
        if len(self._lines) >= _MAX_LINES:
            metrics.LINES_DROPPED.inc()
            return
        self._lines.append(text)

    def flush(self) -> None:
        """Wake the thread."""
        if not self._written.is_set():
            self._written.set()

    def close(self) -> None:
        """Write what is left, if that takes no longer than two seconds."""
        self._finishing.set()
        self._written.set()
        self._thread.join(_SECONDS_TO_FINISH)

    def _run(self) -> None:
        while self._lines or not self._finishing.is_set():
            self._written.wait()
            self._finishing.wait(_SECONDS_BEHIND)
            self._written.clear()
            while self._lines:
                self._write(self._some())

    def _some(self) -> list[str]:
        """Take as many lines as several processes can write to one pipe without mixing them."""
        lines: list[str] = []
        size = 0
        while self._lines and (not lines or size + len(self._lines[0].encode()) <= PIPE_BUF):
            lines.append(self._lines.popleft())
            size += len(lines[-1].encode())
        return lines

    def _write(self, lines: list[str]) -> None:
        try:
            self._file.write("".join(lines))
            self._file.flush()
        except (OSError, ValueError):
            # Nobody reads it any more; there is no other place to say so.
            metrics.LINES_DROPPED.inc(len(lines))


_encoder = json.JSONEncoder(default=repr)


def _to_json(line: Any, **_: Any) -> str:
    """Return the line in JSON. `json.dumps` would make an encoder for each."""
    return _encoder.encode(line)


class _Forward(logging.Handler):
    """Gives what libraries log the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(
            record.levelno, record.getMessage(), exc_info=record.exc_info or None
        )


def configure(level: Level) -> None:
    """Send this process's log to standard error, from this level on."""
    number = logging.getLevelNamesMapping()[level.upper()]
    on_terminal = sys.stderr.isatty()
    writer = LineWriter(sys.stderr)
    atexit.register(writer.close)
    # A traceback as one field of the line, but as people know it where people read.
    renderers: list[Any] = (
        [structlog.dev.ConsoleRenderer()]
        if on_terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_to_json)]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(writer),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_Forward()], force=True)
