"""The sockets of a server that stops: the one that listens and the accepted connections.

gRPC offers neither to Python, and when told to stop it ends with CANCELLED the calls that it has
received and not handed over. A connection that is closed for sending first ends them with
UNAVAILABLE at the client, after every answer that was written: that is the order of TCP.

The sockets are found by the port in ``/proc/self/fd``, so on Linux only. Elsewhere none are found.
"""

import fcntl
import os
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DESCRIPTORS = Path("/proc/self/fd")


class ServerSockets:
    """The sockets of this process that are bound to a port.

    Parameters
    ----------
    port : int
    """

    def __init__(self, port: int) -> None:
        self._port = port

    def stop_listening(self) -> None:
        """Refuse new connections from now on.

        gRPC's descriptor becomes another socket, on which nothing ever happens. After a mere
        ``shutdown`` gRPC would try to accept once more, and log an error.
        """
        for descriptor, found in self._sockets(listening=True):
            with socket.socket(found.family, socket.SOCK_STREAM) as unused:
                os.dup2(unused.fileno(), descriptor, inheritable=False)

    def finish_sending(self, *, lose_unsent: bool = False) -> int:
        """Close connections for sending; return how many still have bytes to send.

        Those are left open, unless `lose_unsent`: gRPC may have more to write to them.
        """
        n_unsent = 0
        for _, each in self._sockets(listening=False):
            if _unsent_bytes(each) and not lose_unsent:
                n_unsent += 1
                continue
            with suppress(OSError):
                each.shutdown(socket.SHUT_WR)
        return n_unsent

    def n_connections(self) -> int:
        """Return how many connections are open."""
        return sum(1 for _ in self._sockets(listening=False))

    def _sockets(self, *, listening: bool) -> Iterator[tuple[int, socket.socket]]:
        """Yield each descriptor with a socket of our own for it."""
        if sys.platform != "linux":
            return
        for entry in list(_DESCRIPTORS.iterdir()):
            descriptor = int(entry.name)
            with _opened(descriptor) as found:
                if found is not None and _is_bound_to(found, self._port, listening=listening):
                    yield descriptor, found


@contextmanager
def _opened(descriptor: int) -> Iterator[socket.socket | None]:
    """Give a socket of our own for the descriptor; None if it is closed, or no socket.

    A duplicate, because gRPC may close its own at any moment and the number may become another's.
    """
    try:
        duplicate = os.dup(descriptor)
    except OSError:
        yield None
        return
    try:
        found = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        yield None
        return
    with found:
        yield found


def _is_bound_to(candidate: socket.socket, port: int, *, listening: bool) -> bool:
    if candidate.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    if candidate.type != socket.SOCK_STREAM:
        return False
    try:
        accepts = bool(candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        if accepts is not listening or candidate.getsockname()[1] != port:
            return False
        if not listening:
            candidate.getpeername()
    except OSError:
        # Not connected: the socket that reserves the port for workers, or one that has just closed.
        return False
    return True


def _unsent_bytes(connection: socket.socket) -> int:
    """Return how many bytes the kernel has still to send, or to see acknowledged."""
    with suppress(OSError):
        (n,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))
        return int(n)
    return 0
