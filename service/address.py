"""Addresses: how a host and a port are written together, and whether they can be listened on."""

import errno
import ipaddress
import socket
from typing import Any

from quadnet.errors import QuadnetError


class CannotListen(QuadnetError):
    """The address cannot be bound."""


def join(host: str, port: int) -> str:
    """Return host:port, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Say whether the host is this machine, by its name or address alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


def check_free(host: str, port: int) -> None:
    """Raise `CannotListen` unless every address of the host can be bound to this port.

    gRPC is content when one of them can: a second server on ``localhost`` would start, on the
    address that the first has left, and get some of the connections.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"The host {host!r} is not known here. Check --host.") from error
    failures = [failure for *entry, where in found if (failure := _try_to_bind(entry, where))]
    # An address that this machine lacks does no harm while there is another.
    lacking = {failure.errno for failure in failures} <= {errno.EADDRNOTAVAIL}
    if failures and not (lacking and len(failures) < len(found)):
        raise CannotListen(
            f"{join(host, port)} cannot be listened on: {failures[0].strerror}. "
            "Choose another with --port or --host."
        ) from failures[0]


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
