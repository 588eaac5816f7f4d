"""What there is: every model and version, and what the server has made of each."""

from collections.abc import Callable, Collection, Mapping

import structlog

from quadnet.errors import QuadnetError, RegistryError
from service.models.live_models import LiveModels
from service.models.version_index import Version
from service.stubs.quadrant.v1 import quadrant_pb2 as pb

_log = structlog.get_logger(__name__)

_State = pb.VersionSummary.State


def catalogue(
    live: LiveModels, name: str, check: Callable[[], None] = lambda: None
) -> pb.ListModelsResponse:
    """Return the models, or the one of this name. Reads the registry: not for the event loop.

    `check` is called before each version is looked at; what it raises ends the read.

    Raises
    ------
    NotFound
        If there is no model of this name.
    """
    registry, failure = live.registry, live.failure
    try:
        if name:
            live.index.latest(name)
        names = [name] if name else registry.places()
    except RegistryError as error:
        return catalogue_of_loaded(live, name, failure or error)
    models = [_model(live, model, check) for model in names]
    return pb.ListModelsResponse(
        # A place without versions is no model.
        models=[model for model in models if model.versions or model.failure],
        failure=public_reason(failure),
    )


def catalogue_of_loaded(
    live: LiveModels, name: str, failure: QuadnetError
) -> pb.ListModelsResponse:
    """Return what is known without the registry, which does not answer: the loaded versions."""
    loaded = {each.manifest.model for each in live.loaded()}
    reason = public_reason(failure)
    return pb.ListModelsResponse(
        models=[
            pb.ModelSummary(name=model, versions=_loaded(live, model), failure=reason)
            for model in sorted(loaded & {name} if name else loaded)
        ],
        failure=reason,
    )


def public_reason(error: QuadnetError | None) -> str:
    """Return why, without the paths of this machine that a registry's error names."""
    if isinstance(error, RegistryError):
        return "The registry cannot be read at the moment; the server's log says more."
    return "" if error is None else str(error)


def _model(live: LiveModels, model: str, check: Callable[[], None]) -> pb.ModelSummary:
    try:
        versions = live.index.versions(model, check)
        aliases = live.registry.aliases(model).aliases
    except RegistryError as error:
        _log.error("not listed", model=model, reason=str(error))
        return pb.ModelSummary(
            name=model, versions=_loaded(live, model), failure=public_reason(error)
        )
    digests, failures = live.loaded_digests(), live.failures(model)
    return pb.ModelSummary(
        name=model,
        versions=[_version(version, digests, failures) for version in versions],
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


def _version(
    version: Version, loaded: Collection[str], failures: Mapping[int, str]
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
