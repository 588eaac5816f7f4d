"""How a server process starts another: the command, and the settings on its standard input.

The settings are one line of JSON.
"""

import json
import os
import signal
import sys
from typing import Any

from service.server.stop_signals import stop_signals


def command(module: str) -> list[str]:
    """Return the command that runs a module of ours as a program."""
    # -P: without the current directory, where something else may be named as a module of ours is.
    return [sys.executable, "-P", "-m", module]


def received() -> dict[str, Any] | None:
    """Return what the first line says; None if whoever was to write it is gone."""
    # A signal that comes before there is something to stop must not end in a traceback.
    for number in stop_signals():
        signal.signal(number, lambda *_: os._exit(0))
    line = b""
    # Not through Python's buffer, which would take more than the line.
    while not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            return None
        line += byte
    given: dict[str, Any] = json.loads(line)
    return given
