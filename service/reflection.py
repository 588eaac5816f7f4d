"""Reflection: a client learns from the server which services there are, and their messages."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.call import Call
from service.codec import parse
from service.guard import Guard, Handler
from service.stubs.inference.v2 import inference_pb2
from service.stubs.quadrant.v1 import quadrant_pb2

NAME: str = reflection.SERVICE_NAME

_METHOD = "ServerReflectionInfo"

_FILES = (quadrant_pb2, inference_pb2, health_pb2, reflection_pb2)


def handlers(guard: Guard, services: Iterable[str]) -> dict[str, Handler]:
    """Return the service's methods, by name; it lists these services and itself."""
    # The servicer knows one pool, and the messages of `inference` are not in the others' one.
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()
    for module in _FILES:
        _add(pool, module.DESCRIPTOR, added)
    listed = reflection.aio.ReflectionServicer((*services, NAME), pool=pool)

    async def respond(content: bytes, call: Call) -> bytes:
        async def request() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            yield parse(reflection_pb2.ServerReflectionRequest, content)

        (response,) = [each async for each in listed.ServerReflectionInfo(request(), call.context)]
        answer: bytes = response.SerializeToString()
        return answer

    return {_METHOD: guard.stream(f"{NAME}/{_METHOD}", respond)}


def _add(pool: descriptor_pool.DescriptorPool, file: Any, added: set[str]) -> None:
    """Add a file to the pool, after those that it imports."""
    if file.name in added:
        return
    added.add(file.name)
    for imported in file.dependencies:
        _add(pool, imported, added)
    pool.AddSerializedFile(file.serialized_pb)
