"""What there is: every model and version, and what the server has made of each.

Reads the registry, so not for the event loop.
"""

from datetime import datetime
from functools import lru_cache

import structlog

from quadnet import artifact
from quadnet.errors import CorruptVersion, NotFound, QuadnetError, RegistryError, listing
from quadnet.manifest import Manifest
from quadnet.registry import Registry
from service.live import LiveModels
from service.stubs.quadrant.v1 import quadrant_pb2 as pb

_log = structlog.get_logger(__name__)

_State = pb.VersionSummary.State


def catalogue(live: LiveModels, name: str) -> pb.ListModelsResponse:
    """Return the models, or the one of this name.

    Raises
    ------
    NotFound
        If there is no model of this name.
    """
    registry, failure = live.registry, live.failure
    try:
        if name:
            check_model(registry, name)
        names = [name] if name else registry.models()
    except RegistryError as error:
        # What answers is known all the same.
        loaded = {each.manifest.model for each in live.loaded()}
        names = sorted(loaded & {name} if name else loaded)
        failure = failure or error
    return pb.ListModelsResponse(
        models=[_model(live, model) for model in names], failure=public_reason(failure)
    )


def check_model(registry: Registry, name: str) -> None:
    """Raise NotFound unless there is a model of this name."""
    if not registry.versions(name):
        raise NotFound(
            f"There is no model {name!r} in the registry. It holds: {listing(registry.models())}."
        )


def public_reason(error: QuadnetError | None) -> str:
    """Return why, without the paths of this machine that a registry's error names."""
    if isinstance(error, RegistryError):
        return "The registry cannot be read at the moment; the server's log says more."
    return "" if error is None else str(error)


def _model(live: LiveModels, model: str) -> pb.ModelSummary:
    registry = live.registry
    try:
        versions, aliases = registry.versions(model), registry.aliases(model).aliases
    except RegistryError as error:
        _log.error("not listed", model=model, reason=str(error))
        return pb.ModelSummary(
            name=model, versions=_loaded(live, model), failure=public_reason(error)
        )
    return pb.ModelSummary(
        name=model,
        versions=[_version(live, model, number) for number in versions],
        aliases={alias: target.version for alias, target in aliases.items()},
    )


def _loaded(live: LiveModels, model: str) -> list[pb.VersionSummary]:
    """Return the model's versions that answer, for which the registry need not be read."""
    found = {each.digest: each.manifest for each in live.loaded() if each.manifest.model == model}
    summaries = []
    for digest, manifest in sorted(found.items(), key=lambda item: item[1].version):
        summary = pb.VersionSummary(
            version=manifest.version, digest=digest, state=_State.STATE_LOADED
        )
        summary.created.FromDatetime(manifest.created)
        summaries.append(summary)
    return summaries


def _version(live: LiveModels, model: str, number: int) -> pb.VersionSummary:
    summary = pb.VersionSummary(version=number, state=_State.STATE_AVAILABLE)
    failure = live.failures(model).get(number, "")
    try:
        summary.digest = live.registry.digest(model, number)
        summary.created.FromDatetime(_created(live.registry, model, number, summary.digest))
    except (CorruptVersion, ValueError) as error:
        failure = failure or f"Version {number} of model {model!r} must not be used: {error}"
    if summary.digest and summary.digest in live.loaded_digests():
        summary.state = _State.STATE_LOADED
    elif failure:
        summary.state = _State.STATE_FAILED
        summary.reason = failure
    return summary


@lru_cache(maxsize=1024)
def _created(registry: Registry, model: str, version: int, digest: str) -> datetime:
    """Return when the version was published; `digest` is for the cache alone.

    Not the manifest: a thousand of them are 25 MB.
    """
    return Manifest.from_json(artifact.read_manifest(registry.path(model, version))).created
