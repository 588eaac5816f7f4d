"""A client of `quadrant.v1.QuadrantService`: arrays in, arrays out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar, cast

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from numpy.typing import ArrayLike, NDArray

from quadnet.errors import InvalidInput, QuadnetError, Unreachable, Violation
from quadnet.types import FloatArray
from service import codec
from service.address import is_loopback
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2_grpc

_MAX_MESSAGE_BYTES = 64 * 2**20

T = TypeVar("T")


class Refused(QuadnetError):
    """The server answered with an error; the message is the server's."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class Answers:
    """The quadrant and the certainty of each point, and the version that says so.

    `quadrants` holds names, or "" where the network cannot tell; `certainties` holds the winner's
    probability. Both have shape (n_points,).
    """

    model: str
    version: int
    digest: str
    quadrants: NDArray[np.str_]
    certainties: FloatArray


class QuadrantClient:
    """A connection to a server; use it as a context manager, or close it.

    Parameters
    ----------
    address : str
        host:port
    timeout : float, default=10
        Seconds that each call may take.
    """

    def __init__(self, address: str = "127.0.0.1:50051", *, timeout: float = 10.0) -> None:
        self.address = address
        self.timeout = timeout
        self._channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                # A proxy for the world outside knows nothing of a server on this machine.
                ("grpc.enable_http_proxy", int(not is_loopback(address.rpartition(":")[0]))),
            ],
        )
        self._quadrants = quadrant_pb2_grpc.QuadrantServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._health = health_pb2_grpc.HealthStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def classify(
        self, points: ArrayLike, *, model: str = "", version: int | None = None
    ) -> Answers:
        """Ask for the quadrants of points of shape (n_points, 2), in one call.

        Raises
        ------
        InvalidInput
            If the array has another shape.
        Refused
            If the server answers with an error.
        Unreachable
            If no server answers in time.
        """
        X = np.asarray(points, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != 2:
            raise InvalidInput(
                [Violation("points", f"expected the shape (n_points, 2), got {X.shape}")]
            )
        request = pb.ClassifyRequest(
            model=pb.ModelRef(name=model, version=version), x=X[:, 0].tolist(), y=X[:, 1].tolist()
        )
        response = self._call(lambda: self._quadrants.Classify(request, timeout=self.timeout))
        return Answers(
            model=response.model.name,
            version=response.model.version,
            digest=response.model.digest,
            quadrants=np.array(
                [codec.QUADRANT_NAMES.get(number, "") for number in response.quadrants], dtype=str
            ),
            certainties=np.array(response.certainties, dtype=np.float32),
        )

    def health(self, service: str = "") -> str:
        """Return the service's health: SERVING, NOT_SERVING or SERVICE_UNKNOWN.

        Raises
        ------
        Unreachable
            If no server answers in time.
        """
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            response = self._call(lambda: self._health.Check(request, timeout=self.timeout))
        except Refused as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                return "SERVICE_UNKNOWN"
            raise
        name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
        return name

    def _call(self, rpc: Callable[[], T]) -> T:
        try:
            return rpc()
        except grpc.RpcError as error:
            # What unary calls raise is the error and the finished call in one.
            call = cast("grpc.Call", error)
            code, text = call.code(), call.details() or ""
            ours = rpc_status.from_call(call) is not None
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise Unreachable(
                    f"The server at {self.address} gave no answer within {self.timeout:g} s."
                ) from error
            if code is grpc.StatusCode.UNAVAILABLE and not ours:
                raise Unreachable(
                    f"No Quadnet server answers at {self.address}. Start one with `quadnet up`, "
                    "or name another with --host and --port."
                ) from error
            raise Refused(code, text) from error
