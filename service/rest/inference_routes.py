"""The REST methods of the Open Inference Protocol."""

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson

from quadnet.errors import InvalidInput, Violation, shorten
from service.inference_v2.json_bodies import HEADER_LENGTH, decode_body
from service.inference_v2.json_messages import index_to_json, message_to_json
from service.inference_v2.methods import InferenceMethods
from service.rest.answers import JSON, Answer
from service.rest.routes import BINARY, Body, RestRequest, Route
from service.rpc.call import Call
from service.rpc.compute_thread import ComputeThread

_LENGTH = re.compile(r"[0-9]{1,18}")

_NOT_READY = "Not ready; the body tells it, too."
_INFER_BODY = Body("Inputs, and optionally the names of outputs.", "InferRequest", (JSON, BINARY))
_VERSION = "The version is a number or an alias; without it, the default alias."


class InferenceRoutes:
    """Reads requests, calls the protocol's methods, and writes their answers in JSON.

    Parameters
    ----------
    methods : InferenceMethods
    compute_thread : ComputeThread
    """

    def __init__(self, methods: InferenceMethods, compute_thread: ComputeThread) -> None:
        self._methods = methods
        self._compute_thread = compute_thread

    def make_routes(self) -> list[Route]:
        """Return the routes, the more specific ones first."""
        routes = [
            Route(
                "GET", "/v2/health/live", self._live, "Whether the server responds.",
                "Live", is_health=True,
            ),
            Route(
                "GET", "/v2/health/ready", self._ready,
                "Whether the default model is served, and the server is not stopping.",
                "Ready", is_health=True, statuses={503: _NOT_READY},
            ),
            Route(
                "GET", "/v2", self._metadata, "The server's name, release and extensions.",
                "ServerMetadataResponse",
            ),
            Route(
                "GET", "/v2/models/stats", self._statistics,
                "How often each version was called, and how long that took.",
                "ModelStatisticsResponse",
            ),
            *(
                Route(
                    http_method, "/v2/repository/index", self._index,
                    "All versions, and their states in this server.",
                    "RepositoryIndex", body=body,
                )
                for http_method, body in (
                    ("GET", None),
                    ("POST", Body("Which versions to list.", "IndexRequest", is_optional=True)),
                )
            ),
        ]  # fmt: skip
        for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += self._model_routes(prefix)
        return routes

    def _model_routes(self, prefix: str) -> list[Route]:
        """Return the routes of one model; the most general path comes last."""
        return [
            Route(
                "GET", f"{prefix}/ready", self._model_ready,
                "Whether a version can answer; loads it if necessary.", "ModelReady", _VERSION,
                statuses={503: _NOT_READY},
            ),
            Route(
                "GET", f"{prefix}/config", self._config,
                "The model's inputs and outputs in the form of Triton's configurations.",
                "ModelConfig", _VERSION,
            ),
            Route(
                "GET", f"{prefix}/stats", self._statistics,
                "How often the model's versions were called, and how long that took.",
                "ModelStatisticsResponse", _VERSION,
            ),
            Route(
                "POST", f"{prefix}/infer", self._infer, "The outputs for a batch of rows.",
                "InferResponse",
                f"{_VERSION} The model's metadata list its inputs and outputs. Values may follow "
                "the JSON in binary form, as in Triton's binary tensor data extension.",
                _INFER_BODY,
            ),
            Route(
                "GET", prefix, self._model_metadata,
                "The model's inputs and outputs, its versions, and the limits of the server.",
                "ModelMetadataResponse", _VERSION,
            ),
        ]  # fmt: skip

    async def _live(self, request: RestRequest, call: Call) -> Answer:
        answer = await self._methods.server_live()
        return _encode({"live": answer.live})

    async def _ready(self, request: RestRequest, call: Call) -> Answer:
        ready = (await self._methods.server_ready()).ready
        return _encode({"ready": ready}, 200 if ready else 503)

    async def _metadata(self, request: RestRequest, call: Call) -> Answer:
        return _encode(message_to_json(await self._methods.server_metadata()))

    async def _model_ready(self, request: RestRequest, call: Call) -> Answer:
        name, version = _read_reference(request)
        ready = (await self._methods.model_ready(name, version, call)).ready
        return _encode({"name": name, "ready": ready}, 200 if ready else 503)

    async def _model_metadata(self, request: RestRequest, call: Call) -> Answer:
        return _encode(
            message_to_json(await self._methods.model_metadata(*_read_reference(request), call))
        )

    async def _config(self, request: RestRequest, call: Call) -> Answer:
        found = await self._methods.model_config(*_read_reference(request), call)
        return _encode(message_to_json(found.config))

    async def _statistics(self, request: RestRequest, call: Call) -> Answer:
        found = await self._methods.model_statistics(*_read_reference(request), call)
        return _encode(message_to_json(found))

    async def _index(self, request: RestRequest, call: Call) -> Answer:
        only_ready = _read_index_request(request.body)
        found = await self._methods.repository_index("", only_ready=only_ready, call=call)
        return _encode(index_to_json(found))

    async def _infer(self, request: RestRequest, call: Call) -> Answer:
        model, version = _read_reference(request)
        decode = partial(
            decode_body,
            header_length=_read_header_length(request.headers),
            model=model,
            version=version,
        )
        decoded, encoding = await self._compute_thread.decode_message(request.body, decode)
        answer = await self._methods.infer(decoded, encoding, call, began=request.arrived)
        if answer.header_length is None:
            return Answer(answer.body)
        headers = {HEADER_LENGTH: str(answer.header_length)}
        return Answer(answer.body, media_type=BINARY, headers=headers)


def _encode(values: Any, status: int = 200) -> Answer:
    return Answer(orjson.dumps(values), status)


def _read_reference(request: RestRequest) -> tuple[str, str]:
    """Return the name and the version in the path; "" for what is not in it."""
    return request.parameters.get("model", ""), request.parameters.get("version", "")


def _read_header_length(headers: Mapping[str, str]) -> int | None:
    """Return the number of bytes of the JSON before binary values; None without binary values."""
    given = headers.get(HEADER_LENGTH.lower())
    if given is None:
        return None
    if not _LENGTH.fullmatch(given):
        raise InvalidInput(
            [Violation(HEADER_LENGTH, f"expected a number of bytes, got {shorten(given)}")]
        )
    return int(given)


def _read_index_request(body: bytes) -> bool:
    """Return whether only versions are wanted that are ready."""
    try:
        found = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise InvalidInput([Violation("request", f"expected JSON: {error}")]) from None
    if not isinstance(found, dict):
        raise InvalidInput(
            [Violation("request", f"expected an object in JSON, got {type(found).__name__}")]
        )
    ready = found.get("ready", False)
    if not isinstance(ready, bool):
        raise InvalidInput(
            [Violation("ready", f"expected true or false, got {shorten(json.dumps(ready))}")]
        )
    return ready
