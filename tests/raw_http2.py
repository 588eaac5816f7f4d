"""An HTTP/2 connection that sends what no gRPC client sends."""

import select
import socket
import struct

import h2.config
import h2.connection
import h2.events

CLASSIFY = "/quadrant.v1.QuadrantService/Classify"


class RawConnection:
    """A connection to a server on the loopback interface, closed when left.

    Attributes
    ----------
    max_streams : int or None
        How many streams the server allows; None before it has said so.
    """

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", int(port)), timeout=60)
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._http2.initiate_connection()
        self._send()
        self.max_streams = None
        self._trailers = {}
        while self.max_streams is None:
            self._receive()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._socket.close()

    def begin_call(self, *, message=b"", announced=None, method=CLASSIFY, end=False):
        """Begin a call; send its message, or the beginning of one of `announced` bytes."""
        stream = self._http2.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        self._http2.send_headers(stream, headers)
        if announced is not None or message or end:
            length = len(message) if announced is None else announced
            content = b"\0" + struct.pack(">I", length) + message
            self._send()
            while self._http2.local_flow_control_window(stream) < len(content):
                self._receive()
            self._http2.send_data(stream, content, end)
        self._send()
        return stream

    def reset(self, stream):
        """Give a call up."""
        self._http2.reset_stream(stream, 8)
        self._send()

    def answer(self, stream):
        """Wait for the end of a call and return its trailers."""
        while stream not in self._trailers:
            self._receive()
        return self._trailers.pop(stream)

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
                    headers = dict(event.headers)
                    if "grpc-status" in headers:
                        self._trailers[event.stream_id] = headers
                case h2.events.DataReceived():
                    length = event.flow_controlled_length
                    self._http2.acknowledge_received_data(length, event.stream_id)
        self._send()

    def _send(self):
        self._socket.sendall(self._http2.data_to_send())
