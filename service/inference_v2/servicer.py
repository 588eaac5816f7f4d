"""`inference.GRPCInferenceService` of the Open Inference Protocol: tensors in, tensors out."""

import time
from collections.abc import Callable
from typing import TypeVar

from quadnet.errors import CorruptVersion, NotReady, RegistryError
from quadnet.registry.version_files import Model
from service.inference_v2 import inputs, metadata
from service.inference_v2.computation import BatchInference
from service.inference_v2.metadata import check_repository_name, describe_repository
from service.inference_v2.outputs import make_outputs
from service.inference_v2.statistics import Statistics
from service.models.catalogue import list_loaded_models, list_models, public_reason
from service.models.live_models import LiveModels
from service.models.registry_reads import CheckCallers
from service.rpc.call import Call
from service.rpc.compute_thread import ComputeThread
from service.rpc.handlers import Handler, HandlerFactory
from service.settings import ServeSettings
from service.stubs.inference.v2 import inference_pb2 as pb
from service.wire.checks import check_answer_size
from service.wire.messages import parse_message

T = TypeVar("T")

SERVICE: str = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

_MAX_DIGITS = 18


class InferenceServicer:
    """The methods of the service.

    Parameters
    ----------
    live : LiveModels
    compute_thread : ComputeThread
    settings : ServeSettings
        The limits to apply and to publish.
    is_ready : callable
        Returns whether the server is SERVING.
    """

    def __init__(
        self,
        live: LiveModels,
        compute_thread: ComputeThread,
        settings: ServeSettings,
        is_ready: Callable[[], bool],
    ) -> None:
        self._live = live
        self._compute_thread = compute_thread
        self._max_rows = settings.max_points
        self._limits = {
            "max_rows": settings.max_points,
            "max_message_bytes": settings.max_message_bytes,
            "max_calls": settings.max_calls,
        }
        self._is_ready = is_ready
        self._statistics = Statistics()

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
        """Return that the server is live."""
        parse_message(pb.ServerLiveRequest, content)
        return pb.ServerLiveResponse(live=True).SerializeToString()

    async def server_ready(self, content: bytes, call: Call) -> bytes:
        """Return whether the default model is served."""
        parse_message(pb.ServerReadyRequest, content)
        return pb.ServerReadyResponse(ready=self._is_ready()).SerializeToString()

    async def model_ready(self, content: bytes, call: Call) -> bytes:
        """Return whether a version can answer; load it if necessary."""
        request = parse_message(pb.ModelReadyRequest, content)
        try:
            await self._get_model(request.name, request.version, call)
        except (NotReady, CorruptVersion):
            ready = False
        else:
            ready = True
        return pb.ModelReadyResponse(ready=ready).SerializeToString()

    async def server_metadata(self, content: bytes, call: Call) -> bytes:
        """Return the server's name, version and extensions."""
        parse_message(pb.ServerMetadataRequest, content)
        return metadata.describe_server().SerializeToString()

    async def model_metadata(self, content: bytes, call: Call) -> bytes:
        """Return a model's input and output tensors."""
        request = parse_message(pb.ModelMetadataRequest, content)
        model = await self._get_model(request.name, request.version, call)
        versions = self._live.versions(model)
        return metadata.describe_model(model, versions, self._limits).SerializeToString()

    async def model_config(self, content: bytes, call: Call) -> bytes:
        """Return a model's input and output tensors in Triton's form."""
        request = parse_message(pb.ModelConfigRequest, content)
        model = await self._get_model(request.name, request.version, call)
        return metadata.describe_config(model, self._limits).SerializeToString()

    async def model_infer(self, content: bytes, call: Call) -> bytes:
        """Return the outputs for a batch of rows."""
        began = time.perf_counter_ns()
        request, raw = inputs.decode_request(content)
        model = await self._get_model(request.model_name, request.model_version, call)
        counts = self._statistics.counts_for(model)
        try:
            X = inputs.decode_input(
                request, raw, n_features=model.predictor.n_features, max_rows=self._max_rows
            )
            batch = BatchInference(model, X, make_outputs(request, model, raw=bool(raw)))
            decoded = time.perf_counter_ns()
            await batch.run(self._compute_thread)
            computed = time.perf_counter_ns()
            answer = batch.encode(request.id, raw=bool(raw))
            check_answer_size(
                len(answer),
                self._limits["max_message_bytes"],
                field="outputs",
                instead="request fewer outputs, or send the rows in several calls",
            )
        except BaseException:
            # Including the cancellation of a call whose caller is gone.
            counts.count_failure(began)
            raise
        counts.count_answer(len(X), began, decoded, computed)
        call.points = len(X)
        return answer

    async def model_statistics(self, content: bytes, call: Call) -> bytes:
        """Return how often each version was called, and how long that took."""
        request = parse_message(pb.ModelStatisticsRequest, content)
        name = request.name
        if request.version:
            number, alias = _parse_version(request.version)
            version = self._live.resolve_in_memory(name, version=number, alias=alias)
            if version is None:
                version = await self._read_registry(
                    lambda _: self._live.resolve_in_registry(name, version=number, alias=alias),
                    call,
                )
            versions = {version}
        else:
            loaded = {(m.manifest.model, m.manifest.version) for m in self._live.loaded()}
            versions = {key for key in (*loaded, *self._statistics) if name in ("", key[0])}
            if name and not versions:
                await self._read_registry(lambda _: self._live.index.latest_version(name), call)
        response = pb.ModelStatisticsResponse(
            model_stats=[self._statistics.describe(*version) for version in sorted(versions)]
        )
        return response.SerializeToString()

    async def repository_index(self, content: bytes, call: Call) -> bytes:
        """Return the versions and their states in this server."""
        request = parse_message(pb.RepositoryIndexRequest, content)
        check_repository_name(request)
        try:
            return await self._read_registry(
                lambda check: describe_repository(
                    request, list_models(self._live, "", check)
                ).SerializeToString(),
                call,
            )
        except NotReady as error:
            known = list_loaded_models(self._live, "", error)
            return describe_repository(request, known).SerializeToString()

    async def _get_model(self, name: str, version: str, call: Call) -> Model:
        """Return the version for this string: a number, an alias, or "" for the default alias."""
        number, alias = _parse_version(version)
        model = self._live.find_in_memory(name, version=number, alias=alias)
        if model is None:
            call.release_slot()
            model = await self._live.load(name, version=number, alias=alias)
            call.take_slot()
        call.note_version(model)
        return model

    async def _read_registry(self, read: Callable[[CheckCallers], T], call: Call) -> T:
        """Return the result of a read of the registry, during which the call holds no slot."""
        call.release_slot()
        try:
            return await self._live.reads.run(read)
        except RegistryError as error:
            raise NotReady(public_reason(error)) from error


def _parse_version(version: str) -> tuple[int | None, str]:
    """Return a version number and "", or None and an alias."""
    if version.isascii() and version.isdecimal() and len(version) <= _MAX_DIGITS:
        return int(version), ""
    return None, version
