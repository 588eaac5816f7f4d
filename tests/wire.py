"""gRPC written by hand, byte by byte, for calls that no client library makes."""

import socket
import struct

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_LARGEST_FRAME = 2**14


class Wire:
    """One HTTP/2 connection to a server, on which calls are made one after another."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._received = b""
        self._stream = -1
        # Without a dynamic table a server must write the names of its trailers out.
        settings = struct.pack(">HI", 1, 0) + struct.pack(">HI", 4, 2**30)
        self._socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, settings)
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._socket.close()

    def begin(self, path, *headers):
        """Send the headers of a call."""
        self._stream += 2
        fixed = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"test"),
            (b":path", path),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        ]
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in [*fixed, *headers])
        self._socket.sendall(_frame(_HEADERS, _END_HEADERS, self._stream, block))

    def send(self, content, *, end=True):
        """Send bytes of the call's body; at its end, half-close it."""
        for start in range(0, max(len(content), 1), _LARGEST_FRAME):
            part = content[start : start + _LARGEST_FRAME]
            last = end and start + _LARGEST_FRAME >= len(content)
            self._socket.sendall(_frame(_DATA, _END_STREAM if last else 0, self._stream, part))

    def reset(self):
        """Cancel the call."""
        self._socket.sendall(_frame(_RESET, 0, self._stream, struct.pack(">I", 8)))

    def status(self):
        """Wait for the call's end and return its grpc-status."""
        while True:
            kind, flags, stream, payload = self._read()
            if kind == _SETTINGS and not flags & _ACK:
                self._socket.sendall(_frame(_SETTINGS, _ACK, 0))
            elif kind == _PING and not flags & _ACK:
                self._socket.sendall(_frame(_PING, _ACK, 0, payload))
            elif kind == _GOAWAY or (kind == _RESET and stream == self._stream):
                raise ConnectionError(payload)
            elif kind == _HEADERS and stream == self._stream and b"grpc-status" in payload:
                at = payload.index(b"grpc-status") + len(b"grpc-status")
                return int(payload[at + 1 : at + 1 + payload[at]])

    def _read(self):
        head = self._receive(9)
        return (
            head[3],
            head[4],
            int.from_bytes(head[5:], "big"),
            self._receive(int.from_bytes(head[:3], "big")),
        )

    def _receive(self, n):
        while len(self._received) < n:
            more = self._socket.recv(2**16)
            if not more:
                raise ConnectionError("closed")
            self._received += more
        taken, self._received = self._received[:n], self._received[n:]
        return taken


def message(content, *, flag=0):
    """Return a message as it lies in a body: a flag, the length, the content."""
    return struct.pack(">BI", flag, len(content)) + content


def _frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _text(value):
    assert len(value) < 127
    return bytes([len(value)]) + value
