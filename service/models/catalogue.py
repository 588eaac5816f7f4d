"""The list of all models and versions, with the state of each in this server."""

from collections.abc import Callable, Collection, Mapping

import structlog

from quadnet.errors import QuadnetError, RegistryError
from service.models.live_models import LiveModels
from service.models.version_index import IndexedVersion
from service.stubs.quadrant.v1 import quadrant_pb2 as pb

_log = structlog.get_logger(__name__)

_State = pb.VersionSummary.State


def list_models(
    live: LiveModels, name: str, check_callers: Callable[[], None] = lambda: None
) -> pb.ListModelsResponse:
    """Return all models, or the one of this name. Reads the registry: not for the event loop.

    Parameters
    ----------
    live : LiveModels
    name : str
        The model to list; "" for all.
    check_callers : callable, optional
        Called before each version is read. An exception that it raises ends the read.

    Raises
    ------
    NotFound
        If there is no model of this name.
    """
    registry, failure = live.registry, live.failure
    try:
        if name:
            live.index.latest_version(name)
        names = [name] if name else registry.model_directories()
    except RegistryError as error:
        return list_loaded_models(live, name, failure or error)
    models = [_summarize_model(live, model, check_callers) for model in names]
    return pb.ListModelsResponse(
        # A directory without versions is not a model.
        models=[model for model in models if model.versions or model.failure],
        failure=public_reason(failure),
    )


def list_loaded_models(live: LiveModels, name: str, failure: QuadnetError) -> pb.ListModelsResponse:
    """Return the loaded versions, without reading the registry, which has failed."""
    loaded = {each.manifest.model for each in live.loaded()}
    reason = public_reason(failure)
    return pb.ListModelsResponse(
        models=[
            pb.ModelSummary(
                name=model, versions=_summarize_loaded_versions(live, model), failure=reason
            )
            for model in sorted(loaded & {name} if name else loaded)
        ],
        failure=reason,
    )


def public_reason(error: QuadnetError | None) -> str:
    """Return the error's text for callers, without paths of this machine; "" for no error."""
    if isinstance(error, RegistryError):
        return "The registry cannot be read at the moment; the server's log has the reason."
    return "" if error is None else str(error)


def _summarize_model(
    live: LiveModels, model: str, check_callers: Callable[[], None]
) -> pb.ModelSummary:
    try:
        versions = live.index.list_versions(model, check_callers)
        aliases = live.registry.aliases(model).aliases
    except RegistryError as error:
        _log.error("model not listed", model=model, reason=str(error))
        return pb.ModelSummary(
            name=model,
            versions=_summarize_loaded_versions(live, model),
            failure=public_reason(error),
        )
    digests, failures = live.loaded_digests(), live.failures(model)
    return pb.ModelSummary(
        name=model,
        versions=[_summarize_version(version, digests, failures) for version in versions],
        aliases={alias: target.version for alias, target in aliases.items()},
    )


def _summarize_loaded_versions(live: LiveModels, model: str) -> list[pb.VersionSummary]:
    """Return the model's loaded versions, without reading the registry."""
    found = {each.digest: each.manifest for each in live.loaded() if each.manifest.model == model}
    summaries = []
    for digest, manifest in sorted(found.items(), key=lambda item: item[1].version):
        summary = pb.VersionSummary(
            version=manifest.version, digest=digest, state=_State.STATE_LOADED
        )
        summary.created.FromDatetime(manifest.created)
        summaries.append(summary)
    return summaries


def _summarize_version(
    version: IndexedVersion, loaded: Collection[str], failures: Mapping[int, str]
) -> pb.VersionSummary:
    summary = pb.VersionSummary(
        version=version.number, digest=version.digest, state=_State.STATE_AVAILABLE
    )
    if version.created is not None:
        summary.created.FromDatetime(version.created)
    failure = failures.get(version.number) or version.problem
    if version.digest and version.digest in loaded:
        summary.state = _State.STATE_LOADED
    elif failure:
        summary.state = _State.STATE_FAILED
        summary.reason = failure
    return summary
