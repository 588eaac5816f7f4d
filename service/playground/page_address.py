"""The address of the page: the socket on which it listens, and its URL."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from quadnet.errors import ErrorKind
from service.net.address import WILDCARD_HOSTS, CannotListen, join_address
from service.settings import PageSettings

DEFAULT_PORT = 8051


@contextmanager
def listen_for_page(settings: PageSettings) -> Iterator[socket.socket]:
    """Listen on the page's address; yield the socket.

    Without a port in the settings, this is the default port, or any free port if that is taken.

    Raises
    ------
    CannotListen
        If the port cannot be listened on.
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


def page_url(settings: PageSettings, listener: socket.socket) -> str:
    """Return the URL of the page for a browser on this machine."""
    host = "127.0.0.1" if settings.page_host in WILDCARD_HOSTS else settings.page_host
    return f"http://{join_address(host, listener.getsockname()[1])}/"


def _listen(host: str, port: int) -> socket.socket:
    family, *_, where = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(where[:2], family=family)
