"""The sockets of a stopping server: the listening socket and the accepted connections.

gRPC exposes neither to Python. When gRPC is stopped, it ends with CANCELLED the calls that it has
received and not yet passed to the server. If their connection is closed for sending before, they
end with UNAVAILABLE at the client, after every answer that was written: TCP keeps that order.

The sockets are found in ``/proc/self/fd`` by their port, so on Linux only. Elsewhere there are no
results.
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
    """The sockets of this process on a port.

    Parameters
    ----------
    port : int
    """

    def __init__(self, port: int) -> None:
        self._port = port

    def stop_listening(self) -> None:
        """Refuse new connections from now on.

        gRPC's file descriptor is replaced by an unused socket. After a mere ``shutdown`` of the
        listening socket, gRPC would try to accept again and log an error.
        """
        for descriptor, found in self._sockets(listening=True):
            with socket.socket(found.family, socket.SOCK_STREAM) as unused:
                os.dup2(unused.fileno(), descriptor, inheritable=False)

    def finish_sending(self, *, lose_unsent: bool = False) -> int:
        """Close the connections for sending; return how many still have bytes to send.

        Those stay open unless `lose_unsent`, because gRPC may have more to write to them.
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
        """Return the number of open connections."""
        return sum(1 for _ in self._sockets(listening=False))

    def _sockets(self, *, listening: bool) -> Iterator[tuple[int, socket.socket]]:
        """Yield each file descriptor with a duplicate socket for it."""
        if sys.platform != "linux":
            return
        for entry in list(_DESCRIPTORS.iterdir()):
            descriptor = int(entry.name)
            with _duplicate_socket(descriptor) as found:
                if found is not None and _is_bound_to(found, self._port, listening=listening):
                    yield descriptor, found


@contextmanager
def _duplicate_socket(descriptor: int) -> Iterator[socket.socket | None]:
    """Yield a duplicate socket for the file descriptor; None if it is closed, or not a socket.

    gRPC may close the original at any moment, and the system may reuse its number.
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
        # Not connected: the socket that reserves the port, or one that was just closed.
        return False
    return True


def _unsent_bytes(connection: socket.socket) -> int:
    """Return how many bytes the kernel has not sent, or the peer has not acknowledged."""
    with suppress(OSError):
        (n,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))
        return int(n)
    return 0
