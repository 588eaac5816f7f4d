"""Starts and stops the process of the page, for a server that shows the page.

Imports no web library, which may not be installed: only the started process does.
"""

import json
import socket
import subprocess
import threading
from contextlib import suppress

import structlog

from service.server.process_settings import make_module_command
from service.settings import PlaygroundSettings

_SECONDS_TO_START = 60.0
"""Time until the page must respond. A cold start takes some seconds."""

_log = structlog.get_logger(__name__)


class PageProcess:
    """The process of the page, next to a server.

    Parameters
    ----------
    listener : socket
        The listening socket for the page. A browser that connects early waits a moment.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._process: subprocess.Popen[str] | None = None
        self._settled = threading.Event()
        self._answers = False
        self._lock = threading.Lock()
        self._stopping = False

    def start(self, settings: PlaygroundSettings) -> bool:
        """Start the process, wait until it responds, and return whether it does.

        Blocks, so it must not be called on an event loop.
        """
        with self._lock:
            if self._stopping:
                return False
            try:
                self._process = self._spawn(settings)
            except OSError as error:
                _log.error("page not started", reason=error.strerror)
                return False
            finally:
                # If this process kept listening, browsers would wait for a page that has died.
                self._listener.close()
        threading.Thread(target=self._watch, args=(self._process,), daemon=True).start()
        if not self._settled.wait(_SECONDS_TO_START):
            _log.error("page does not respond", seconds=_SECONDS_TO_START)
        return self._answers

    def stop(self) -> None:
        """End the process if it was started. May be called while another thread starts it."""
        with self._lock:
            self._stopping = True
        if self._process is None:
            return
        assert self._process.stdin is not None
        # The process stops at the end of its standard input, also if this process is killed.
        with suppress(OSError):
            self._process.stdin.close()
        if not self._answers:
            # The process does not read its input yet, and has nothing to finish.
            self._process.kill()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _spawn(self, settings: PlaygroundSettings) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            make_module_command("service.playground.page_server"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[self._listener.fileno()],
            # Ctrl-C goes to a whole process group, but the page stays until the server has stopped.
            start_new_session=True,
        )
        assert process.stdin is not None
        given = {"settings": settings.model_dump(mode="json"), "socket": self._listener.fileno()}
        # If the process has already died, `_watch` reports it.
        with suppress(OSError):
            process.stdin.write(json.dumps(given) + "\n")
            process.stdin.flush()
        return process

    def _watch(self, process: subprocess.Popen[str]) -> None:
        """Wait for the first line of the process, which reports that it responds; log its end."""
        assert process.stdout is not None
        with process.stdout:
            self._answers = bool(process.stdout.readline())
            if self._answers:
                self._settled.set()
            process.stdout.read()
        code = process.wait()
        with self._lock:
            stopping = self._stopping
        if not stopping:
            _log.error("page process ended", pid=process.pid, exit_code=code)
        self._settled.set()
