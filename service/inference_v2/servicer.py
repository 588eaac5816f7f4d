"""`inference.GRPCInferenceService`: the protocol's methods over gRPC."""

import time

from service.inference_v2.grpc_messages import decode_request
from service.inference_v2.methods import InferenceMethods
from service.rpc.call import Call
from service.rpc.compute_thread import ComputeThread
from service.rpc.handlers import Handler, HandlerFactory
from service.stubs.inference.v2 import inference_pb2 as pb
from service.wire.messages import parse_message

SERVICE: str = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name


class InferenceServicer:
    """Decodes each message, calls the method, and encodes its answer.

    Parameters
    ----------
    methods : InferenceMethods
    compute_thread : ComputeThread
        Decodes large messages.
    """

    def __init__(self, methods: InferenceMethods, compute_thread: ComputeThread) -> None:
        self._methods, self._compute_thread = methods, compute_thread

    def make_handlers(self, factory: HandlerFactory) -> dict[str, Handler]:
        """Return the handlers of the service's methods, by name."""
        health = {"ServerLive": self.server_live, "ServerReady": self.server_ready}
        others = {
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "ModelConfig": self.model_config,
            "ModelInfer": self.model_infer,
            "ModelStatistics": self.model_statistics,
            "RepositoryIndex": self.repository_index,
        }
        return {
            name: factory.make_unary(f"{SERVICE}/{name}", method, is_health=name in health)
            for name, method in (health | others).items()
        }

    async def server_live(self, content: bytes, call: Call) -> bytes:
        """Answer ServerLive."""
        parse_message(pb.ServerLiveRequest, content)
        return (await self._methods.server_live()).SerializeToString()

    async def server_ready(self, content: bytes, call: Call) -> bytes:
        """Answer ServerReady."""
        parse_message(pb.ServerReadyRequest, content)
        return (await self._methods.server_ready()).SerializeToString()

    async def server_metadata(self, content: bytes, call: Call) -> bytes:
        """Answer ServerMetadata."""
        parse_message(pb.ServerMetadataRequest, content)
        return (await self._methods.server_metadata()).SerializeToString()

    async def model_ready(self, content: bytes, call: Call) -> bytes:
        """Answer ModelReady."""
        request = parse_message(pb.ModelReadyRequest, content)
        answer = await self._methods.model_ready(request.name, request.version, call)
        return answer.SerializeToString()

    async def model_metadata(self, content: bytes, call: Call) -> bytes:
        """Answer ModelMetadata."""
        request = parse_message(pb.ModelMetadataRequest, content)
        answer = await self._methods.model_metadata(request.name, request.version, call)
        return answer.SerializeToString()

    async def model_config(self, content: bytes, call: Call) -> bytes:
        """Answer ModelConfig."""
        request = parse_message(pb.ModelConfigRequest, content)
        answer = await self._methods.model_config(request.name, request.version, call)
        return answer.SerializeToString()

    async def model_infer(self, content: bytes, call: Call) -> bytes:
        """Answer ModelInfer."""
        began = time.perf_counter_ns()
        request, encoding = await self._compute_thread.decode_message(content, decode_request)
        return (await self._methods.infer(request, encoding, call, began=began)).body

    async def model_statistics(self, content: bytes, call: Call) -> bytes:
        """Answer ModelStatistics."""
        request = parse_message(pb.ModelStatisticsRequest, content)
        answer = await self._methods.model_statistics(request.name, request.version, call)
        return answer.SerializeToString()

    async def repository_index(self, content: bytes, call: Call) -> bytes:
        """Answer RepositoryIndex."""
        request = parse_message(pb.RepositoryIndexRequest, content)
        answer = await self._methods.repository_index(
            request.repository_name, only_ready=request.ready, call=call
        )
        return answer.SerializeToString()
