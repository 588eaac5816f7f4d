"""Server reflection: clients can fetch the list of services and their messages.

It has two names: grpc.reflection.v1, and v1alpha for older clients. Their messages differ only in
the package.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.rpc.call import Call
from service.rpc.handlers import Handler, HandlerFactory
from service.stubs.inference.v2 import inference_pb2
from service.stubs.quadrant.v1 import quadrant_pb2
from service.wire.messages import parse_message

ALPHA: str = reflection.SERVICE_NAME
V1 = ALPHA.replace("v1alpha", "v1")

_METHOD = "ServerReflectionInfo"

_FILES = (
    quadrant_pb2,
    inference_pb2,
    health_pb2,
    reflection_pb2,
    # The messages of error details.
    error_details_pb2,
    status_pb2,
)


def make_reflection_handlers(
    factory: HandlerFactory, others: Iterable[str]
) -> dict[str, dict[str, Handler]]:
    """Return the handlers of both reflection services, by name.

    They list the services `others` and themselves.
    """
    # The servicer takes one pool, and the messages of `inference` are not in the default pool.
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()
    for module in _FILES:
        _add_file(pool, module.DESCRIPTOR, added)
    pool.AddSerializedFile(_make_v1_file())
    listed = reflection.aio.ReflectionServicer((*others, ALPHA, V1), pool=pool)

    async def respond(content: bytes, call: Call) -> bytes:
        async def request() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            yield parse_message(reflection_pb2.ServerReflectionRequest, content)

        (response,) = [each async for each in listed.ServerReflectionInfo(request(), call.context)]
        answer: bytes = response.SerializeToString()
        return answer

    return {
        name: {_METHOD: factory.make_stream(f"{name}/{_METHOD}", respond)} for name in (ALPHA, V1)
    }


def _make_v1_file() -> bytes:
    """Return the descriptor of v1, made from that of v1alpha, the only one in grpcio-reflection."""
    alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    text = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    file = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    return bytes(file.SerializeToString())


def _add_file(pool: descriptor_pool.DescriptorPool, file: Any, added: set[str]) -> None:
    """Add a file to the pool, after the files that it imports."""
    if file.name in added:
        return
    added.add(file.name)
    for imported in file.dependencies:
        _add_file(pool, imported, added)
    pool.AddSerializedFile(file.serialized_pb)
