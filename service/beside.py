"""The page, in a process of its own: opened beside a server, or by its own verb.

Knows no web library, which may not be installed: whoever is started here does.
"""

import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from quadnet.errors import InvalidSetting
from service import address
from service.address import CannotListen
from service.settings import PlaygroundSettings

DEFAULT_PORT = 8051


def is_installed() -> bool:
    """Say whether the extra is there."""
    return all(importlib.util.find_spec(name) for name in ("starlette", "uvicorn"))


def playground(settings: PlaygroundSettings) -> int:
    """Show the page in front of a running server until told to stop."""
    if not is_installed():
        raise InvalidSetting(
            "the page needs the extra 'playground': pip install 'quadnet[playground]', or "
            "uv run --extra playground quadnet playground."
        )
    from service.web.command import run  # noqa: PLC0415 - the extra may be missing

    with listening(settings) as listener:
        return run(settings, listener)


@contextmanager
def opened(settings: PlaygroundSettings) -> Iterator[str]:
    """Have the page shown by another process meanwhile; give its address.

    The socket is listened on from the start: a browser that is early waits a moment.
    """
    with listening(settings) as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.web.command"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
        )
        assert process.stdin is not None
        given = {"settings": settings.model_dump(mode="json"), "socket": listener.fileno()}
        where = url(settings, listener)
        # Were it still listened on here, browsers would wait for a process that has died.
        listener.close()
        try:
            process.stdin.write(json.dumps(given).encode() + b"\n")
            process.stdin.flush()
            yield where
        finally:
            # The end of its standard input is what tells it to stop; also if we are killed.
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def listening(settings: PlaygroundSettings) -> Iterator[socket.socket]:
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
                    f"{address.join(settings.page_host, port)} cannot be listened on: "
                    f"{error.strerror}. Choose another with --page-port or --page-host."
                ) from error
        else:
            with listener:
                yield listener
            return


def url(settings: PlaygroundSettings, listener: socket.socket) -> str:
    """Return what to type into a browser."""
    host = "127.0.0.1" if settings.page_host in address.EVERYWHERE else settings.page_host
    return f"http://{address.join(host, listener.getsockname()[1])}/"


def _listen(host: str, port: int) -> socket.socket:
    family, *_, where = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(where[:2], family=family)
