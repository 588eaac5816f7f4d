"""Verify a whole registry: every version, every alias, every generation of every alias log."""

from collections.abc import Iterator
from dataclasses import dataclass

from quadnet.errors import QuadnetError
from quadnet.registry import registry_marker, tombstones
from quadnet.registry.alias_log import AliasTarget
from quadnet.registry.registry import Registry
from quadnet.registry.version_files import Model


@dataclass(frozen=True)
class VerificationResult:
    """One verified object and its problem; `problem` is None if the object is sound.

    `loaded` is the model of a sound version, and None for all other objects.
    """

    what: str
    problem: str | None
    loaded: Model | None = None


def verify_registry(registry: Registry, model: str | None = None) -> Iterator[VerificationResult]:
    """Yield one result per version and per alias log, of one model or of the whole registry."""
    try:
        if not registry_marker.check_marker(registry.root):
            yield VerificationResult(str(registry.root), "There is no registry in this directory.")
            return
        models = registry.model_directories() if model is None else [model]
    except QuadnetError as error:
        yield VerificationResult(str(registry.root), str(error))
        return
    for name in models:
        yield from _verify_model(registry, name)


def verify_version(registry: Registry, model: str, version: int) -> VerificationResult:
    """Load the version as the server does."""
    what = f"{model} version {version}"
    try:
        return VerificationResult(what, None, registry.load(model, version))
    except QuadnetError as error:
        return VerificationResult(what, str(error))


def _verify_model(registry: Registry, model: str) -> Iterator[VerificationResult]:
    try:
        versions = registry.versions(model)
    except QuadnetError as error:
        yield VerificationResult(model, str(error))
        return
    for version in versions:
        checked = verify_version(registry, model, version)
        # A version that was removed during its verification is not a problem.
        if checked.problem is None or not tombstones.is_removed(registry.path(model, version)):
            yield checked
    yield _verify_aliases(registry, model)


def _verify_aliases(registry: Registry, model: str) -> VerificationResult:
    """Read the whole alias log, and verify the target of each alias."""
    what = f"{model} aliases"
    try:
        generations = sum(1 for _ in registry.alias_log(model).history())
        problem, newest = None, registry.aliases(model)
        for alias, target in newest.aliases.items():
            problem = problem or _verify_target(registry, model, alias, target)
        if problem and registry.aliases(model) != newest:  # an alias has just been changed
            return _verify_aliases(registry, model)
    except QuadnetError as error:
        return VerificationResult(what, str(error))
    return VerificationResult(f"{what}, {generations} generations", problem)


def _verify_target(registry: Registry, model: str, alias: str, target: AliasTarget) -> str | None:
    try:
        digest = registry.digest(model, target.version)
    except QuadnetError as error:
        return f"{alias!r}: {error}"
    if digest != target.manifest_sha256:
        return f"{alias!r} points to a version {target.version} whose manifest has another sha256."
    return None
