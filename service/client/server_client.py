"""What every client of a server shares: its connection, its calls, its errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from quadnet.errors import ErrorKind, NotFound, QuadnetError, Unreachable
from service.client.arguments import check_path, check_server_address, check_text, check_timeout
from service.client.channel import open_channel, read_authorization
from service.client.errors import Refused, error_from_call
from service.settings import ClientSettings

T = TypeVar("T")


class ServerClient(ABC):
    """A connection to a server. Use it as a context manager, or close it.

    Calls that fail because the server is overloaded, stopping or unreachable are retried for about
    three seconds, within their timeout.

    Parameters
    ----------
    address : str
        host:port, or several addresses, as in ``ipv4:10.0.0.1:50051,10.0.0.2:50051``. Calls are
        spread over the servers that are reachable.
    timeout : float or None, default=10
        Seconds that each call may take, including retries; at most one day. None means no limit.
        If rows are sent in several calls, each call has this time.
    tls_ca : Path or str, optional
        Use TLS, and trust servers with certificates of the authority in this file.
    tls_client_cert, tls_client_key : Path or str, optional
        The client's certificate chain and its key, for mutual TLS. Both need `tls_ca`.
    token_file : Path or str, optional
        A file whose first token is sent with each call.

    Raises
    ------
    ConfigurationError
        If an argument has a wrong type, the address is invalid, the timeout is not positive, or a
        file is missing that another one requires.
    FileUnusable
        If a file cannot be read, or has invalid content.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        timeout: float | None = 10.0,
        tls_ca: Path | str | None = None,
        tls_client_cert: Path | str | None = None,
        tls_client_key: Path | str | None = None,
        token_file: Path | str | None = None,
    ) -> None:
        self.address = check_server_address(address)
        self.timeout = check_timeout(timeout)
        self._metadata = read_authorization(check_path("token_file", token_file))
        self._secure = tls_ca is not None
        self._closed = False
        self._channel: grpc.Channel = open_channel(
            grpc,
            address,
            tls_ca=check_path("tls_ca", tls_ca),
            tls_client_cert=check_path("tls_client_cert", tls_client_cert),
            tls_client_key=check_path("tls_client_key", tls_client_key),
        )
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._open_methods()

    @abstractmethod
    def _open_methods(self) -> None:
        """Make an attribute for each method of the server that this client calls."""

    @classmethod
    def from_settings(cls, settings: ClientSettings) -> Self:
        """Return a client for the server in the settings."""
        return cls(
            settings.address,
            timeout=settings.timeout,
            tls_ca=settings.tls_ca,
            tls_client_cert=settings.tls_client_cert,
            tls_client_key=settings.tls_client_key,
            token_file=settings.token_file,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Calls in flight raise `Unreachable`."""
        self._closed = True
        self._channel.close()

    def health(self, service: str = "") -> str:
        """Return the health of a service: SERVING, NOT_SERVING or SERVICE_UNKNOWN.

        Parameters
        ----------
        service : str, default=""
            The full name of the service; "" for the server as a whole.

        Raises
        ------
        InvalidInput
            If the name is not a text.
        Unreachable
            If no server answers in time.
        """
        request = health_pb2.HealthCheckRequest(service=check_text("service", service))
        try:
            response = self._call(self._health.Check, request)
        except NotFound:
            return "SERVICE_UNKNOWN"
        except Refused as error:
            # The answer of another server than Quadnet's.
            if error.code is grpc.StatusCode.NOT_FOUND:
                return "SERVICE_UNKNOWN"
            raise
        name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
        return name

    def _unary(self, service: str, method: str, response: type[T]) -> Callable[..., T]:
        return self._channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,  # type: ignore[attr-defined]
        )

    def _call(self, rpc: Callable[..., T], request: object) -> T:
        try:
            return rpc(request, timeout=self.timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            # The error of a unary call is also the finished call.
            raise self._convert_error(cast("grpc.Call", error)) from error
        except ValueError as error:
            # gRPC raises ValueError for a closed channel.
            if self._closed:
                raise Unreachable(self._closed_message) from error
            raise

    def _convert_error(self, call: grpc.Call) -> QuadnetError:
        """Return the Quadnet error for a failed call."""
        code, text = call.code(), call.details() or ""
        if code is grpc.StatusCode.CANCELLED and self._closed:
            return Unreachable(self._closed_message)
        # On whichever side the deadline was noticed first.
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            within = "in time" if self.timeout is None else f"within {self.timeout:g} s"
            return Unreachable(f"The server at {self.address} did not answer {within}.")
        error = error_from_call(call)
        if error is not None:
            return error
        if code is grpc.StatusCode.UNAVAILABLE:
            kind = ErrorKind.NO_SERVER_OVER_TLS if self._secure else ErrorKind.NO_SERVER
            return Unreachable(f"No Quadnet server answers at {self.address}.", kind=kind)
        return Refused(code, text)

    @property
    def _closed_message(self) -> str:
        return f"This {type(self).__name__} is closed. Create a new one."
