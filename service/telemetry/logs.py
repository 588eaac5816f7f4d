"""The log: a JSON object a line on standard error, or colours where that is a terminal.

The log must not stop the server where its reader stops reading. Lines are then dropped, and
counted.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import structlog

from service.telemetry import metrics
from service.telemetry.line_writer import LineWriter


@contextmanager
def background_output() -> Iterator[None]:
    """Write standard output and standard error from threads, for the time of the block.

    For every process that runs until a signal: nothing that it prints or logs, in any module, can
    then block it or fail.
    """
    out, err = LineWriter(sys.stdout), LineWriter(sys.stderr, metrics.LINES_DROPPED.inc)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        out.finish()
        err.finish()


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


def configure(level: str) -> None:
    """Send this process's log to standard error, from this level on, such as "info"."""
    number = logging.getLevelNamesMapping()[level.upper()]
    on_terminal = sys.stderr.isatty()
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
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_Forward()], force=True)
