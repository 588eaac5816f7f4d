"""The page, in a process of its own: opened beside a server, or by its own verb.

Knows no web library, which may not be installed: whoever is started here does.
"""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from quadnet.errors import ErrorKind
from service.net.address import WILDCARD_HOSTS, CannotListen, join_address
from service.server.process_settings import make_module_command
from service.settings import PageSettings, PlaygroundSettings

DEFAULT_PORT = 8051

_SECONDS_TO_START = 60.0
"""How long the page's process may take until it answers. A cold start takes seconds."""

_log = structlog.get_logger(__name__)


def playground(settings: PlaygroundSettings) -> int:
    """Show the page in front of a running server until told to stop."""
    from service.playground.page_server import run  # noqa: PLC0415 - needs the extra `playground`

    with listening(settings) as listener:
        return run(settings, listener)


class PageProcess:
    """The page in a process of its own, next to a server.

    Parameters
    ----------
    listener : socket
        The socket that the page's process listens on. A browser that is early waits a moment.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._process: subprocess.Popen[str] | None = None
        self._settled = threading.Event()
        self._answers = False
        self._lock = threading.Lock()
        self._stopping = False

    def start(self, settings: PlaygroundSettings) -> bool:
        """Start the process; return whether it answers. Waits for that: not for an event loop."""
        with self._lock:
            if self._stopping:
                return False
            try:
                self._process = self._spawn(settings)
            except OSError as error:
                _log.error("the page's process cannot be started", reason=error.strerror)
                return False
            finally:
                # Were it still listened on here, browsers would wait for a process that has died.
                self._listener.close()
        threading.Thread(target=self._watch, args=(self._process,), daemon=True).start()
        if not self._settled.wait(_SECONDS_TO_START):
            _log.error("the page does not answer", seconds=_SECONDS_TO_START)
        return self._answers

    def stop(self) -> None:
        """End the process, if it was started. May be called while another thread starts it."""
        with self._lock:
            self._stopping = True
        if self._process is None:
            return
        assert self._process.stdin is not None
        # The end of its standard input is what tells it to stop; also if we are killed.
        with suppress(OSError):
            self._process.stdin.close()
        if not self._answers:
            # It does not read it yet, and has nothing to finish.
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
            # Ctrl-C reaches whole groups: the page stays until the server has stopped.
            start_new_session=True,
        )
        assert process.stdin is not None
        given = {"settings": settings.model_dump(mode="json"), "socket": self._listener.fileno()}
        # If it has died already, `_watch` reports that.
        with suppress(OSError):
            process.stdin.write(json.dumps(given) + "\n")
            process.stdin.flush()
        return process

    def _watch(self, process: subprocess.Popen[str]) -> None:
        """Note the process's first line, which it writes once it answers; report its end."""
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
            _log.error("the page's process ended", pid=process.pid, exit_code=code)
        self._settled.set()


@contextmanager
def listening(settings: PageSettings) -> Iterator[socket.socket]:
    """Listen where the settings say; on any free port if they do not and the usual one is taken.

    Raises
    ------
    CannotListen
        If that is not possible.
    """
    ports = [DEFAULT_PORT, 0] if settings.page_port is None else [settings.page_port]
    for port in ports:
        try:
            listener = _listen(settings.page_host, port)
        except OSError as error:
            if port == ports[-1]:
                raise CannotListen(
                    f"{join_address(settings.page_host, port)} cannot be listened on: "
                    f"{error.strerror}.",
                    kind=ErrorKind.PAGE_ADDRESS,
                ) from error
        else:
            with listener:
                yield listener
            return


def url(settings: PageSettings, listener: socket.socket) -> str:
    """Return what to type into a browser."""
    host = "127.0.0.1" if settings.page_host in WILDCARD_HOSTS else settings.page_host
    return f"http://{join_address(host, listener.getsockname()[1])}/"


def _listen(host: str, port: int) -> socket.socket:
    family, *_, where = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(where[:2], family=family)
