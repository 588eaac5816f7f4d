"""The same calls over gRPC and over HTTP, so that a test can run for both."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import numpy as np
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.http_client import raw_connection, read_answer, request
from tests.support.inference_client import DTYPES, InferenceStub, elements
from tests.support.serving import SERVICE, refused


@dataclass
class Refusal:
    """An error as a caller gets it.

    `kinds` are the kinds of its details: ErrorInfo, BadRequest, RetryInfo. `http` and `headers`
    are None over gRPC.
    """

    code: grpc.StatusCode
    message: str
    reason: str
    kinds: set
    http: int | None = None
    headers: dict | None = None


def grpc_refusal(error):
    """Return what a caller over gRPC gets."""
    status = rpc_status.from_call(error)
    details = status.details if status else ()
    kinds = {detail.type_url.rpartition(".")[2]: detail for detail in details}
    info = error_details_pb2.ErrorInfo()
    if "ErrorInfo" in kinds:
        kinds["ErrorInfo"].Unpack(info)
    if status:
        assert status.message == error.details()
    return Refusal(error.code(), error.details() or "", info.reason, set(kinds))


def http_refusal(answer):
    """Return what a caller over HTTP gets."""
    found = answer.values
    assert answer.status >= 400
    kinds = {"ErrorInfo"} if found.get("reason") else set()
    if found.get("violations"):
        kinds.add("BadRequest")
    if "retry-after" in answer.headers:
        kinds.add("RetryInfo")
        assert found["retry_after"] <= int(answer.headers["retry-after"])
    return Refusal(
        grpc.StatusCode[found["code"]],
        found["error"],
        found.get("reason", ""),
        kinds,
        answer.status,
        answer.headers,
    )


class GrpcCalls:
    """Calls over gRPC that are refused."""

    name = "grpc"

    def classify(self, server, *, headers=(), **fields):
        """Return how Classify is refused."""
        metadata = tuple((name.lower(), value) for name, value in headers)
        return grpc_refusal(
            refused(server.stub.Classify, pb.ClassifyRequest(**fields), metadata=metadata)
        )

    def answered(self, server, *, headers=(), **fields):
        """Return the answer of Classify."""
        metadata = tuple((name.lower(), value) for name, value in headers)
        return server.stub.Classify(pb.ClassifyRequest(**fields), timeout=30, metadata=metadata)

    def outcome(self, server, **fields):
        """Return how Classify is refused; None if it is answered."""
        try:
            self.answered(server, **fields)
        except grpc.RpcError as error:
            return grpc_refusal(error)
        return None

    def send(self, server, content):
        """Return how Classify refuses these bytes."""
        return grpc_refusal(refused(server.channel.unary_unary(f"/{SERVICE}/Classify"), content))

    def infer(self, server, message):
        """Return how ModelInfer is refused."""
        return grpc_refusal(refused(InferenceStub(server.channel).ModelInfer, message))

    @contextmanager
    def half_sent(self, server):
        """Begin a call whose message does not arrive; yield a function that waits for its end."""
        begun = threading.Event()

        def messages():
            begun.wait(60)
            yield b""

        # On a connection of its own: one connection may have 128 calls at a time.
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(server.address, options) as channel:
            running = channel.stream_unary(f"/{SERVICE}/Classify").future(messages(), timeout=60)
            try:
                yield lambda: grpc_refusal(running.exception())
            finally:
                begun.set()


class RestCalls:
    """Calls over HTTP that are refused."""

    name = "http"

    def classify(self, server, *, headers=(), **fields):
        """Return how Classify is refused."""
        return http_refusal(self._classify(server, headers, fields))

    def answered(self, server, *, headers=(), **fields):
        """Return the answer of Classify."""
        answer = self._classify(server, headers, fields)
        assert answer.status == 200, answer.body
        return json_format.Parse(answer.body, pb.ClassifyResponse())

    def outcome(self, server, **fields):
        """Return how Classify is refused; None if it is answered."""
        answer = self._classify(server, (), fields)
        return None if answer.status == 200 else http_refusal(answer)

    def send(self, server, content):
        """Return how Classify refuses these bytes."""
        return http_refusal(request(server.url, "POST", "/v1/classify", content))

    def infer(self, server, message):
        """Return how ModelInfer is refused."""
        body = {
            "inputs": [
                {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)}
                | self._data(each, message, i)
                for i, each in enumerate(message.inputs)
            ],
        }
        if message.outputs:
            body["outputs"] = [{"name": each.name} for each in message.outputs]
        model = message.model_name or "quadrants"
        return http_refusal(request(server.url, "POST", f"/v2/models/{model}/infer", body))

    @contextmanager
    def half_sent(self, server):
        """Begin a call whose message does not arrive; yield a function that waits for its end."""
        with raw_connection(server.url, timeout=60) as sock:
            sock.sendall(HALF_SENT)
            yield lambda: http_refusal(read_answer(sock))

    @staticmethod
    def _data(tensor, message, i):
        """Return the values of a tensor; nothing if it has both raw and typed ones, or neither."""
        if len(message.raw_input_contents) != len(message.inputs):
            return {}
        if tensor.datatype == "BYTES":
            texts = elements(message.raw_input_contents[i])
            return {"data": [text.decode() for text in texts]}
        values = np.frombuffer(message.raw_input_contents[i], DTYPES[tensor.datatype])
        return {"data": values.tolist()}

    @staticmethod
    def _classify(server, headers, fields):
        values = json_format.MessageToDict(pb.ClassifyRequest(**fields))
        return request(server.url, "POST", "/v1/classify", values, dict(headers))


HALF_SENT = (
    b"POST /v1/classify HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{"
)

GRPC, HTTP = GrpcCalls(), RestCalls()
EVERY = (GRPC, HTTP)
