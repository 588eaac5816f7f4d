"""Addresses: how a host and a port are written together, and whether they can be listened on."""

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from quadnet.errors import QuadnetError

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
"""What stands for all addresses of a machine: to listen on, and none to call."""


class CannotListen(QuadnetError):
    """The address cannot be bound."""


def join(host: str, port: int) -> str:
    """Return host:port, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Say whether nobody but this machine can reach the host, by its name or address alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_here(host: str) -> bool:
    """Say whether the host is this machine, by its name or address alone."""
    return is_loopback(host) or host in EVERYWHERE


def check_free(host: str, port: int) -> None:
    """Raise `CannotListen` unless every address of the host can be bound to this port.

    gRPC is content when one of them can: a second server on ``localhost`` would start, on the
    address that the first has left, and get some of the connections.
    """
    found = _addresses(host, port)
    failures = [failure for *entry, where in found if (failure := _try_to_bind(entry, where))]
    # An address that this machine lacks does no harm while there is another.
    lacking = {failure.errno for failure in failures} <= {errno.EADDRNOTAVAIL}
    if failures and not (lacking and len(failures) < len(found)):
        raise CannotListen(
            f"{join(host, port)} cannot be listened on: {failures[0].strerror}. "
            "Choose another with --port or --host."
        ) from failures[0]


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Hold a port, for processes that shall all listen on it; give it, chosen if 0 is asked for.

    A socket that is bound and does not listen gets no connection.

    Raises
    ------
    CannotListen
        If the port is taken, by a server that shares ports, too.
    """
    check_free(host, port)
    with ExitStack() as held:
        for family, kind, protocol, _, where in _addresses(host, port):
            holder = held.enter_context(socket.socket(family, kind, protocol))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with suppress(OSError):
                holder.bind((where[0], port, *where[2:]))
                port = holder.getsockname()[1]
        yield port


def _addresses(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"The host {host!r} is not known here. Check --host.") from error


def _try_to_bind(entry: list[Any], where: Any) -> OSError | None:
    family, kind, protocol, _ = entry
    with socket.socket(family, kind, protocol) as probe:
        # As gRPC does it, so that a port just left by another server counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            return error
    return None
