"""Addresses: how a host and a port are written together, and whether they can be listened on."""

import errno
import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
        raise _cannot_listen(host, port, failures[0]) from failures[0]


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Hold a port, for processes that shall all listen on it; give it, chosen if 0 is asked for.

    A socket that is bound and does not listen gets no connection.

    Raises
    ------
    CannotListen
        If the port is taken, by a server that shares ports, too, and also if that one does not
        listen yet.
    """
    check_free(host, port)
    with ExitStack() as held:
        for family, kind, protocol, _, where in _addresses(host, port):
            holder = held.enter_context(socket.socket(family, kind, protocol))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                holder.bind((where[0], port, *where[2:]))
            except OSError:
                continue
            port = holder.getsockname()[1]
            try:
                held.enter_context(_claimed(where[0], port))
            except OSError as error:
                raise _cannot_listen(host, port, error) from error
        yield port


@contextmanager
def _claimed(host: str, port: int) -> Iterator[None]:
    """Be the only one to do so; the kernel takes the claim back from a process that has ended.

    Sockets that share a port exclude nobody who shares it, too. So this is a socket of another
    kind, with a name in place of a file, which only one can have. Elsewhere than on Linux there is
    none, and nothing is claimed.
    """
    with ExitStack() as held:
        if sys.platform == "linux":
            claim = held.enter_context(socket.socket(socket.AF_UNIX))
            claim.bind(f"\0quadnet {join(host, port)}")
        yield


def _cannot_listen(host: str, port: int, error: OSError) -> CannotListen:
    return CannotListen(
        f"{join(host, port)} cannot be listened on: {error.strerror}. "
        "Choose another with --port or --host."
    )


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
