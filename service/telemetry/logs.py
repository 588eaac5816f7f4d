"""The log: one JSON object per line on standard error, or coloured text if that is a terminal.

A log reader that stops reading must not stop the server. Lines are then dropped and counted.
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
    """Write standard output and standard error on threads inside the `with` block.

    For every process that runs until a signal: no print or log call in any module can then block
    or fail.
    """
    out, err = LineWriter(sys.stdout), LineWriter(sys.stderr, metrics.LOG_LINES_DROPPED.inc)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        out.finish()
        err.finish()


_encoder = json.JSONEncoder(default=repr)


def _to_json(line: Any, **_: Any) -> str:
    """Return the line in JSON. `json.dumps` would create an encoder for each line."""
    return _encoder.encode(line)


class _LibraryLogHandler(logging.Handler):
    """Passes log records of other libraries to structlog, so that all lines have one format."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(
            record.levelno, record.getMessage(), exc_info=record.exc_info or None
        )


def configure_logging(level: str) -> None:
    """Send log lines of this level and above, such as "info", to standard error."""
    number = logging.getLevelNamesMapping()[level.upper()]
    on_terminal = sys.stderr.isatty()
    # In JSON a traceback is one field of the line; on a terminal it is printed as Python prints it.
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
    logging.basicConfig(
        level=max(number, logging.WARNING), handlers=[_LibraryLogHandler()], force=True
    )
