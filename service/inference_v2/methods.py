"""The methods of the Open Inference Protocol, without a transport: gRPC and REST call them."""

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from quadnet.errors import CorruptVersion, NotReady, RegistryError
from quadnet.registry.version_files import Model
from service.inference_v2 import metadata
from service.inference_v2.answers import AnswerEncoding, EncodedAnswer
from service.inference_v2.column_inputs import read_columns
from service.inference_v2.computation import BatchInference
from service.inference_v2.matrix_input import read_matrix
from service.inference_v2.outputs import make_outputs
from service.inference_v2.rows import MatrixRows, Rows
from service.inference_v2.statistics import Statistics
from service.inference_v2.tensors import InferRequest
from service.models.catalogue import list_loaded_models, list_models, public_reason
from service.models.live_models import LiveModels
from service.models.registry_reads import CheckCallers
from service.rpc.call import Call
from service.rpc.compute_thread import ComputeThread
from service.settings import ServeSettings
from service.stubs.inference.v2 import inference_pb2 as pb
from service.wire.checks import check_answer_size

T = TypeVar("T")

_MAX_DIGITS = 18


class InferenceMethods:
    """The methods of the protocol. A version is a number, an alias, or "" for the default alias.

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

    async def server_live(self) -> pb.ServerLiveResponse:
        """Return that the server is live."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self) -> pb.ServerReadyResponse:
        """Return whether the default model is served."""
        return pb.ServerReadyResponse(ready=self._is_ready())

    async def server_metadata(self) -> pb.ServerMetadataResponse:
        """Return the server's name, version and extensions."""
        return metadata.describe_server()

    async def model_ready(self, name: str, version: str, call: Call) -> pb.ModelReadyResponse:
        """Return whether a version can answer; load it if necessary."""
        try:
            await self._get_model(name, version, call)
        except (NotReady, CorruptVersion):
            ready = False
        else:
            ready = True
        return pb.ModelReadyResponse(ready=ready)

    async def model_metadata(self, name: str, version: str, call: Call) -> pb.ModelMetadataResponse:
        """Return a model's input and output tensors."""
        model = await self._get_model(name, version, call)
        return metadata.describe_model(model, self._live.versions(model), self._limits)

    async def model_config(self, name: str, version: str, call: Call) -> pb.ModelConfigResponse:
        """Return a model's input and output tensors in Triton's form."""
        model = await self._get_model(name, version, call)
        return metadata.describe_config(model, self._limits)

    async def infer(
        self, request: InferRequest, encoding: AnswerEncoding, call: Call, *, began: int
    ) -> EncodedAnswer:
        """Return the outputs for a batch of rows.

        Parameters
        ----------
        request : InferRequest
        encoding : AnswerEncoding
        call : Call
        began : int
            When the request arrived, by `time.perf_counter_ns`, for the statistics.
        """
        model = await self._get_model(request.model, request.version, call)
        counts = self._statistics.counts_for(model)
        try:
            outputs = make_outputs(request.outputs, model, encoding)
            rows = await self._read_rows(request, model)
            batch = BatchInference(model, rows, outputs)
            decoded = time.perf_counter_ns()
            await batch.run(self._compute_thread)
            computed = time.perf_counter_ns()
            answer = encoding.encode(batch.make_answer(request.id))
            check_answer_size(
                len(answer.body),
                self._limits["max_message_bytes"],
                field="outputs",
                instead="request fewer outputs, or send the rows in several calls",
            )
        except BaseException:
            # Including the cancellation of a call whose caller is gone.
            counts.count_failure(began)
            raise
        counts.count_answer(len(rows), began, decoded, computed)
        call.points = len(rows)
        return answer

    async def model_statistics(
        self, name: str, version: str, call: Call
    ) -> pb.ModelStatisticsResponse:
        """Return how often each version was called, and how long that took."""
        if version:
            number, alias = _parse_version(version)
            found = self._live.resolve_in_memory(name, version=number, alias=alias)
            if found is None:
                found = await self._read_registry(
                    lambda _: self._live.resolve_in_registry(name, version=number, alias=alias),
                    call,
                )
            versions = {found}
        else:
            loaded = {(m.manifest.model, m.manifest.version) for m in self._live.loaded()}
            versions = {key for key in (*loaded, *self._statistics) if name in ("", key[0])}
            if name and not versions:
                await self._read_registry(lambda _: self._live.index.latest_version(name), call)
        return pb.ModelStatisticsResponse(
            model_stats=[self._statistics.describe(*each) for each in sorted(versions)]
        )

    async def repository_index(
        self, repository: str, *, only_ready: bool, call: Call
    ) -> pb.RepositoryIndexResponse:
        """Return the versions, or those that are ready, and their states in this server."""
        metadata.check_repository_name(repository)
        try:
            return await self._read_registry(
                lambda check: metadata.describe_repository(
                    list_models(self._live, "", check), only_ready=only_ready
                ),
                call,
            )
        except NotReady as error:
            known = list_loaded_models(self._live, "", error)
            return metadata.describe_repository(known, only_ready=only_ready)

    async def _read_rows(self, request: InferRequest, model: Model) -> Rows:
        if model.encoder is not None:
            return await read_columns(
                request.inputs,
                model.encoder,
                max_rows=self._max_rows,
                compute_thread=self._compute_thread,
            )
        n_features = model.predictor.n_features
        read = partial(read_matrix, request.inputs, n_features=n_features, max_rows=self._max_rows)
        nanoseconds = sum(tensor.nanoseconds for tensor in request.inputs)
        return MatrixRows(await self._compute_thread.run_by_size(0, read, nanoseconds=nanoseconds))

    async def _get_model(self, name: str, version: str, call: Call) -> Model:
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
