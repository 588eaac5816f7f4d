"""A client of `quadrant.v1.QuadrantService`: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar, cast

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import ArrayLike, NDArray

from quadnet.errors import ErrorKind, InvalidInput, NotFound, QuadnetError, Unreachable
from quadnet.types import FloatArray
from service.client import arguments, errors
from service.client.channel import authorization, connect
from service.client.errors import Refused
from service.quadrant_v1 import codec
from service.quadrant_v1.codec import SERVICE
from service.settings import ClientSettings
from service.stubs.quadrant.v1 import quadrant_pb2 as pb

POINTS_A_CALL = 100_000
"""How many points the client sends in one call: far below what a server refuses."""

_CLOSED = "This QuadrantClient is closed: make a new one to go on."

_NAMES = np.array(
    [codec.QUADRANT_NAMES.get(number, "") for number in range(max(codec.QUADRANT_NAMES) + 1)]
)
"""The quadrants' names, by the wire's number; "" for none."""

T = TypeVar("T")


@dataclass(frozen=True)
class Answers:
    """The quadrant and the certainty of each point, and the version that says so.

    `quadrants` holds names, or "" where the network cannot tell; `certainties` holds the winner's
    probability. Both have shape (n_points,). `all_certainties`, of shape (n_points, 4), in the
    order I, II, III, IV, is there if it was asked for.
    """

    model: str
    version: int
    digest: str
    quadrants: NDArray[np.str_]
    certainties: FloatArray
    all_certainties: FloatArray | None = None


class QuadrantClient:
    """A connection to a server; use it as a context manager, or close it.

    Calls that a server turns away, because it is busy, stopping or not there, are made again for
    about three seconds, as long as their time allows.

    Parameters
    ----------
    address : str
        host:port; or several, as in ``ipv4:10.0.0.1:50051,10.0.0.2:50051``, of which the calls are
        spread over those that answer.
    timeout : float or None, default=10
        Seconds that each call may take, retries included, a day at most; None for as long as it
        takes. Points that are sent in several calls have this time for each of them.
    tls_ca : Path or str, optional
        Use TLS, and trust servers with certificates of this authority.
    tls_client_cert, tls_client_key : Path or str, optional
        What to show to the server; both, and beside `tls_ca`.
    token_file : Path or str, optional
        A file whose first token is sent with each call.

    Raises
    ------
    ConfigurationError
        If an argument is of another type, the address names no host, the timeout is not above 0, or
        a file needs another that is not given.
    FileUnusable
        If a file cannot be read, or does not hold what it should.
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
        self.address = arguments.server_address(address)
        self.timeout = arguments.seconds(timeout)
        self._metadata = authorization(arguments.path("token_file", token_file))
        self._secure = tls_ca is not None
        self._closed = False
        self._channel: grpc.Channel = connect(
            grpc,
            address,
            tls_ca=arguments.path("tls_ca", tls_ca),
            tls_client_cert=arguments.path("tls_client_cert", tls_client_cert),
            tls_client_key=arguments.path("tls_client_key", tls_client_key),
        )
        # Bytes both ways: what is packed from arrays, and read into arrays, needs no message.
        self._classify: Callable[..., bytes] = self._channel.unary_unary(f"/{SERVICE}/Classify")
        self._list_models = self._unary("ListModels", pb.ListModelsResponse)
        self._get_model = self._unary("GetModel", pb.GetModelResponse)
        self._explain = self._unary("Explain", pb.ExplainResponse)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    @classmethod
    def of(cls, settings: ClientSettings) -> Self:
        """Return a client of the server that the settings name."""
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
        """Close the connection; what is still in flight ends as `Unreachable`."""
        self._closed = True
        self._channel.close()

    def classify(
        self,
        points: ArrayLike,
        *,
        model: str = "",
        version: int | None = None,
        alias: str = "",
        min_certainty: float = 0.0,
        all_certainties: bool = False,
        points_a_call: int = POINTS_A_CALL,
    ) -> Answers:
        """Ask for the quadrants of points of shape (n_points, 2).

        Many points are sent in several calls, of `points_a_call` at most, which one version
        answers, whatever is published meanwhile; each has its own deadline. Points that are less
        certain than `min_certainty` are answered "".

        Raises
        ------
        InvalidInput
            If the array has another shape, what is in it is no finite number, or another argument
            is not what it should be.
        NotFound, Unsupported, CorruptVersion
            If the model asked for is not there, says no quadrants, or is damaged.
        Overloaded, NotReady, Unauthenticated
            If the server is busy, has nothing loaded, or wants another token.
        TooLarge
            If a call has more bytes than the server reads: set a smaller `points_a_call`.
        Unreachable
            If no server answers in time, or this client is closed.
        Refused
            If the server answers with another error.
        """
        X = arguments.floats("points", points, "(n_points, 2)")
        if X.ndim != 2 or X.shape[1] != 2:
            raise arguments.invalid("points", f"expected the shape (n_points, 2), got {X.shape}")
        points_a_call = arguments.whole(
            "points_a_call", points_a_call, range(1, 2**63), "a whole number from 1"
        )
        min_certainty = arguments.share("min_certainty", min_certainty)
        all_certainties = arguments.flag("all_certainties", all_certainties)
        ref = arguments.reference(model, version, alias, name_field="model")
        parts = []
        for start in range(0, max(len(X), 1), points_a_call):
            request = codec.encode_points(
                ref,
                X[start : start + points_a_call],
                min_certainty=min_certainty,
                all_certainties=all_certainties,
            )
            try:
                part = pb.ClassifyResponse.FromString(self._call(self._classify, request))
            except InvalidInput as error:
                raise errors.of_the_whole(start, error) from error
            parts.append(part)
            # The next part is answered by the version that answered the first.
            ref = pb.ModelRef(name=part.model.name, version=part.model.version)
        return _joined(parts, all_certainties=all_certainties)

    def list_models(self, name: str = "") -> pb.ListModelsResponse:
        """Return every model, or the one of this name: versions, aliases, what fails and why."""
        request = pb.ListModelsRequest(name=arguments.text("name", name))
        return self._call(self._list_models, request)

    def get_model(
        self, name: str = "", *, version: int | None = None, alias: str = ""
    ) -> pb.GetModelResponse:
        """Return one version whole: every weight and bias, classes, metrics."""
        request = pb.GetModelRequest(model=arguments.reference(name, version, alias))
        return self._call(self._get_model, request)

    def explain(
        self,
        features: Iterable[float],
        *,
        name: str = "",
        version: int | None = None,
        alias: str = "",
    ) -> pb.ExplainResponse:
        """Return the way of one input through the network, term by term."""
        x = arguments.floats("features", arguments.sequence("features", features), "(n_features,)")
        if x.ndim != 1:
            raise arguments.invalid("features", f"expected the shape (n_features,), got {x.shape}")
        request = pb.ExplainRequest(
            model=arguments.reference(name, version, alias), features=x.tolist()
        )
        return self._call(self._explain, request)

    def health(self, service: str = "") -> str:
        """Return the service's health: SERVING, NOT_SERVING or SERVICE_UNKNOWN.

        Raises
        ------
        InvalidInput
            If the name is not a text.
        Unreachable
            If no server answers in time.
        """
        request = health_pb2.HealthCheckRequest(service=arguments.text("service", service))
        try:
            response = self._call(self._health.Check, request)
        except NotFound:
            return "SERVICE_UNKNOWN"
        except Refused as error:
            # Of a server that is not ours.
            if error.code is grpc.StatusCode.NOT_FOUND:
                return "SERVICE_UNKNOWN"
            raise
        name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
        return name

    def _unary(self, method: str, response: type[T]) -> Callable[..., T]:
        return self._channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,  # type: ignore[attr-defined]
        )

    def _call(self, rpc: Callable[..., T], request: object) -> T:
        try:
            return rpc(request, timeout=self.timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            # What unary calls raise is the error and the finished call in one.
            raise self._said(cast("grpc.Call", error)) from error
        except ValueError as error:
            # What gRPC says of a closed channel, whoever closed it in which thread.
            if self._closed:
                raise Unreachable(_CLOSED) from error
            raise

    def _said(self, call: grpc.Call) -> QuadnetError:
        """Return what the call ended with as an error that says it in words."""
        code, text = call.code(), call.details() or ""
        if code is grpc.StatusCode.CANCELLED and self._closed:
            return Unreachable(_CLOSED)
        # Whoever noticed it first, this side or the other.
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            within = "in time" if self.timeout is None else f"within {self.timeout:g} s"
            return Unreachable(f"The server at {self.address} gave no answer {within}.")
        error = errors.error_of(call)
        if error is not None:
            return error
        if code is grpc.StatusCode.UNAVAILABLE:
            kind = ErrorKind.NO_SERVER_OVER_TLS if self._secure else ErrorKind.NO_SERVER
            return Unreachable(f"No Quadnet server answers at {self.address}.", kind=kind)
        return Refused(code, text)


def _joined(parts: list[pb.ClassifyResponse], *, all_certainties: bool) -> Answers:
    """Return the answers of all parts, in order."""
    numbers = np.concatenate([np.array(part.quadrants, np.intp) for part in parts])
    # What a later server may say that this client does not know is no answer either.
    numbers[numbers >= len(_NAMES)] = pb.QUADRANT_UNSPECIFIED
    every = np.concatenate([np.array(part.all_certainties, np.float32) for part in parts])
    version = parts[0].model
    return Answers(
        model=version.name,
        version=version.version,
        digest=version.digest,
        quadrants=_NAMES[numbers],
        certainties=np.concatenate([np.array(part.certainties, np.float32) for part in parts]),
        all_certainties=every.reshape(-1, 4) if all_certainties else None,
    )
