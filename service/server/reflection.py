"""Reflection: a client learns from the server which services there are, and their messages.

Under two names: grpc.reflection.v1, and v1alpha, which older clients ask. Their messages are the
same but for the package.
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
    # What errors carry: clients find these names in the details.
    error_details_pb2,
    status_pb2,
)


def services(factory: HandlerFactory, others: Iterable[str]) -> dict[str, dict[str, Handler]]:
    """Return both services' methods, by name; they list the other services and themselves."""
    # The servicer knows one pool, and the messages of `inference` are not in the others' one.
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()
    for module in _FILES:
        _add(pool, module.DESCRIPTOR, added)
    pool.AddSerializedFile(_file_of_v1())
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


def _file_of_v1() -> bytes:
    """Return the description of v1, made from that of v1alpha, the only one that grpcio has."""
    alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    text = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    file = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    return bytes(file.SerializeToString())


def _add(pool: descriptor_pool.DescriptorPool, file: Any, added: set[str]) -> None:
    """Add a file to the pool, after those that it imports."""
    if file.name in added:
        return
    added.add(file.name)
    for imported in file.dependencies:
        _add(pool, imported, added)
    pool.AddSerializedFile(file.serialized_pb)
