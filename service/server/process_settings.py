"""How a server process starts another one: the command, and the settings.

The settings are one line of JSON on the standard input of the new process.
"""

import json
import os
import signal
import sys
from typing import Any

from service.server.stop_signals import stop_signals


def make_module_command(module: str) -> list[str]:
    """Return the command that runs one of our modules as a program."""
    # -P: not with the current directory, where another module may have the same name.
    return [sys.executable, "-P", "-m", module]


def receive_settings() -> dict[str, Any] | None:
    """Return the settings from the first line; None if the process that should write it is gone."""
    # A signal that arrives before there is anything to stop must not end in a traceback.
    for number in stop_signals():
        signal.signal(number, lambda *_: os._exit(0))
    line = b""
    # Not through Python's buffer, which would read beyond the line.
    while not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            return None
        line += byte
    given: dict[str, Any] = json.loads(line)
    return given
