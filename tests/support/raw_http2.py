"""An HTTP/2 connection that can send what gRPC clients cannot."""

import select
import socket
import struct
from contextlib import suppress

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

CLASSIFY = "/quadrant.v1.QuadrantService/Classify"
_CANCEL = 8


class RawConnection:
    """A connection to a server; a context manager that closes it.

    Parameters
    ----------
    address : str
    window : int, default=65535
        Number of bytes of a stream that the server may send before they are read.

    Attributes
    ----------
    max_streams : int
        How many streams the server allows.
    """

    def __init__(self, address, *, window=2**16 - 1):
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=False))
        self._http2.initiate_connection()
        self._http2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self._trailers = {}
        self.max_streams = None
        self._send_all()
        while self.max_streams is None:
            self._receive()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._socket.close()

    def begin(self, path=CLASSIFY, *headers):
        """Send the headers of a call, and return the id of its stream."""
        stream = self._http2.get_next_available_stream_id()
        fixed = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        self._http2.send_headers(stream, [*fixed, *headers])
        self._send_all()
        return stream

    def send(self, stream, content, *, end=True):
        """Send bytes of a call's body, and half-close the stream if they are the last."""
        while content:
            size = min(
                self._http2.local_flow_control_window(stream), self._http2.max_outbound_frame_size
            )
            if not size:
                self._receive()
                continue
            self._http2.send_data(stream, content[:size])
            self._send_all()
            content = content[size:]
        if end:
            self._http2.end_stream(stream)
            self._send_all()

    def begin_half(self):
        """Start a call, and send half of its message."""
        stream = self.begin()
        self.send(stream, message(bytes(100))[:50], end=False)
        return stream

    def reset(self, stream):
        """Cancel a call."""
        self._http2.reset_stream(stream, _CANCEL)
        self._send_all()

    def begin_and_reset(self, body):
        """Start a call, send this part of its body, and cancel it."""
        # The server may have ended the call before that.
        with suppress(h2.exceptions.StreamClosedError):
            stream = self.begin()
            self.send(stream, body, end=False)
            self.reset(stream)

    def trailers(self, stream):
        """Wait for the end of a call and return its trailers, by name."""
        while stream not in self._trailers:
            self._receive()
        return self._trailers.pop(stream)

    def status(self, stream):
        """Wait for the end of a call and return its status code."""
        return int(self.trailers(stream)["grpc-status"])

    def ended(self):
        """Return the trailers of the calls that have ended, without waiting for more."""
        while select.select([self._socket], [], [], 0)[0]:
            self._receive()
        return list(self._trailers.values())

    def _receive(self):
        content = self._socket.recv(2**16)
        if not content:
            raise ConnectionError("the server closed the connection")
        for event in self._http2.receive_data(content):
            match event:
                case h2.events.RemoteSettingsChanged():
                    self.max_streams = self._http2.remote_settings.max_concurrent_streams
                case h2.events.TrailersReceived() | h2.events.ResponseReceived():
                    headers = {name.decode(): value.decode() for name, value in event.headers}
                    if "grpc-status" in headers:
                        self._trailers[event.stream_id] = headers
                case h2.events.DataReceived():
                    length = event.flow_controlled_length
                    self._http2.acknowledge_received_data(length, event.stream_id)
        self._send_all()

    def _send_all(self):
        self._socket.sendall(self._http2.data_to_send())


def message(content, *, flag=0):
    """Return a message in gRPC's framing: a flag, the length, the content."""
    return struct.pack(">BI", flag, len(content)) + content
