"""Looking over a whole registry: every version, every alias, every generation of every log."""

from collections.abc import Iterator
from dataclasses import dataclass

from quadnet.errors import QuadnetError
from quadnet.registry import registry_marker, tombstones
from quadnet.registry.alias_log import AliasTarget
from quadnet.registry.registry import Registry
from quadnet.registry.version_files import Model


@dataclass(frozen=True)
class VerificationResult:
    """One thing that was looked at, and what is wrong with it; None if nothing is.

    `loaded` is the version, if it was one and nothing is wrong with it.
    """

    what: str
    problem: str | None
    loaded: Model | None = None


def verify_registry(registry: Registry, model: str | None = None) -> Iterator[VerificationResult]:
    """Yield what was looked at: all of the registry, or all of one model."""
    try:
        if not registry_marker.check_marker(registry.root):
            yield VerificationResult(str(registry.root), "There is no registry here.")
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
        # What was removed while it was looked at is not wrong.
        if checked.problem is None or not tombstones.is_removed(registry.path(model, version)):
            yield checked
    yield _verify_aliases(registry, model)


def _verify_aliases(registry: Registry, model: str) -> VerificationResult:
    """Follow the log back to its beginning, and each alias to its version."""
    what = f"{model} aliases"
    try:
        generations = sum(1 for _ in registry.alias_log(model).history())
        problem, newest = None, registry.aliases(model)
        for alias, target in newest.aliases.items():
            problem = problem or _verify_target(registry, model, alias, target)
        if problem and registry.aliases(model) != newest:  # it was moved meanwhile
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
        return f"{alias!r} pointed to another version {target.version}."
    return None
