"""Requests to the REST methods with Python's own client, and over raw sockets."""

import http.client
import json
import socket
import ssl
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class HttpAnswer:
    """A response: its status, its headers by names in lower case, and its body."""

    status: int
    headers: dict
    body: bytes = field(repr=False)

    @property
    def values(self):
        """The body's JSON."""
        return json.loads(self.body)


class HttpClient:
    """One connection that is kept alive."""

    def __init__(self, url, *, timeout=30, context=None):
        where = urlsplit(url)
        if where.scheme == "https":
            self._connection = http.client.HTTPSConnection(
                where.hostname, where.port, timeout=timeout, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(
                where.hostname, where.port, timeout=timeout
            )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Close the connection."""
        self._connection.close()

    def connect(self):
        """Connect unless the client is connected."""
        if self._connection.sock is None:
            self._connection.connect()

    def request(self, method, path, body=None, headers=None):
        """Send a request, in JSON unless the body is bytes, and return the answer."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        self._connection.request(method, path, body, headers)
        return self.answer()

    def answer(self):
        response = self._connection.getresponse()
        content = response.read()
        return HttpAnswer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, content
        )


def request(url, method, path, body=None, headers=None, **options):
    """Send one request on a connection of its own."""
    with HttpClient(url, **options) as client:
        return client.request(method, path, body, headers)


@contextmanager
def raw_connection(url, *, receive_buffer=None, timeout=30):
    """Yield a socket that is connected to the server."""
    where = urlsplit(url)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        sock.connect((where.hostname, where.port))
        yield sock


def read_to_end(sock):
    """Return everything until the server closes the connection."""
    parts = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def read_answer(sock):
    """Return the next answer on a raw socket."""
    response = http.client.HTTPResponse(sock)
    response.begin()
    return HttpAnswer(
        response.status,
        {name.lower(): value for name, value in response.getheaders()},
        response.read(),
    )


def trusting(file, *, certificate=None, key=None):
    """Return a TLS context that trusts this authority, with a certificate of its own if given."""
    context = ssl.create_default_context(cafile=str(file))
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
