"""Addresses of a host and a port: their text form, and whether a server can listen on them."""

import errno
import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from quadnet.errors import ErrorKind, QuadnetError

WILDCARD_HOSTS = ("0.0.0.0", "::")  # noqa: S104
"""Hosts that stand for all addresses of a machine. A server can listen on them; no client can call
them."""

_BACKLOG = 1024
"""Number of connections that may wait to be accepted."""


class CannotListen(QuadnetError):
    """The address cannot be bound."""


def join_address(host: str, port: int) -> str:
    """Return host:port, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the host. No name is resolved."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_this_machine(host: str) -> bool:
    """Return whether the host is this machine. No name is resolved."""
    return is_loopback(host) or host in WILDCARD_HOSTS


def check_port_is_free(host: str, port: int, *, kind: ErrorKind = ErrorKind.SERVER_ADDRESS) -> None:
    """Raise `CannotListen` unless every address of the host can be bound to this port.

    gRPC starts if it can bind one of them: a second server on ``localhost`` would start on the
    address that the first one does not use, and get some of the connections.
    """
    found = _resolve_host(host, port)
    failures = [failure for *entry, where in found if (failure := _try_to_bind(entry, where))]
    # An address that this machine lacks does no harm if there is another address.
    lacking = {failure.errno for failure in failures} <= {errno.EADDRNOTAVAIL}
    if failures and not (lacking and len(failures) < len(found)):
        raise _cannot_listen(host, port, failures[0], kind) from failures[0]


@contextmanager
def reserve_port(
    host: str, port: int, *, kind: ErrorKind = ErrorKind.SERVER_ADDRESS
) -> Iterator[int]:
    """Reserve a port on which several processes will listen; yield the port.

    If the port is 0, the system chooses one. The reserving socket is bound but does not listen, so
    it gets no connection.

    Raises
    ------
    CannotListen
        If the port is taken, also by a server that shares its port, even before it listens.
    """
    check_port_is_free(host, port, kind=kind)
    with ExitStack() as held:
        for *entry, _, where in _resolve_host(host, port):
            holder = held.enter_context(socket.socket(*entry))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                holder.bind((where[0], port, *where[2:]))
            except OSError:
                continue
            port = holder.getsockname()[1]
            try:
                held.enter_context(_claim_port(where[0], port))
            except OSError as error:
                raise _cannot_listen(host, port, error, kind) from error
        yield port


def listen_on_port(
    host: str, port: int, *, shared_port: bool, kind: ErrorKind = ErrorKind.SERVER_ADDRESS
) -> list[socket.socket]:
    """Listen on the port at every address of the host; return the sockets.

    Parameters
    ----------
    host : str
    port : int
        0 for a port that the system chooses, the same one on all addresses.
    shared_port : bool
        Whether other processes may listen on the same port.
    kind : ErrorKind
        Of the error.

    Raises
    ------
    CannotListen
        If the port is taken.
    """
    if not shared_port:
        check_port_is_free(host, port, kind=kind)
    with ExitStack() as held:
        bound: list[socket.socket] = []
        for *entry, _, where in _resolve_host(host, port):
            each = held.enter_context(socket.socket(*entry))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared_port:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if each.family == socket.AF_INET6:
                # As in gRPC, "::" stands for all addresses of IPv4, too.
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
            try:
                each.bind((where[0], port, *where[2:]))
                each.listen(_BACKLOG)
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    continue
                raise _cannot_listen(host, port, error, kind) from error
            port = each.getsockname()[1]
            bound.append(each)
        if not bound:
            missing = OSError(errno.EADDRNOTAVAIL, "no such address")
            raise _cannot_listen(host, port, missing, kind)
        held.pop_all()
    return bound


@contextmanager
def _claim_port(host: str, port: int) -> Iterator[None]:
    """Claim the port exclusively; the kernel releases the claim when the process ends.

    Sockets that share a port do not exclude other sockets that share it. So the claim is a socket
    in the abstract namespace, whose name only one process can bind. Only Linux has these; elsewhere
    nothing is claimed.
    """
    with ExitStack() as held:
        if sys.platform == "linux":
            claim = held.enter_context(socket.socket(socket.AF_UNIX))
            claim.bind(f"\0quadnet {join_address(host, port)}")
        yield


def _cannot_listen(host: str, port: int, error: OSError, kind: ErrorKind) -> CannotListen:
    return CannotListen(
        f"{join_address(host, port)} cannot be listened on: {error.strerror}.",
        kind=kind,
    )


def _resolve_host(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(
            f"The host {host!r} is not known here.", kind=ErrorKind.SERVER_ADDRESS
        ) from error


def _try_to_bind(entry: list[Any], where: Any) -> OSError | None:
    family, kind, protocol, _ = entry
    with socket.socket(family, kind, protocol) as probe:
        # As in gRPC, so that a port that another server has just left counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            return error
    return None
