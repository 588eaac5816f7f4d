"""Refuses a new version that callers of the served version could not use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from quadnet.errors import QuadnetError, listing
from quadnet.registry.manifest import Manifest
from quadnet.registry.version_files import Model


class SignatureMismatch(QuadnetError):
    """A valid version has other columns or predicts something else than the served one."""

    def __init__(self, version: int, message: str) -> None:
        self.version = version
        super().__init__(message)


@dataclass(frozen=True)
class _Mismatch:
    """The result of a comparison: the digests of the new and the served version, and the error."""

    digest: str
    served_digest: str
    error: SignatureMismatch


class SignatureCheck:
    """Compares new versions with the served one, and remembers the last mismatch."""

    def __init__(self) -> None:
        self._mismatch: _Mismatch | None = None

    def raise_known_mismatch(self, digest: str, served: Model) -> None:
        """Raise the last mismatch again if it was of these two versions.

        Otherwise every refresh would load the new version and run its self-test. A digest covers
        the signature, so the result cannot change.
        """
        known = self._mismatch
        if known is not None and (known.digest, known.served_digest) == (digest, served.digest):
            raise known.error.with_traceback(None)

    def check(self, model: Model, served: Model) -> None:
        """Raise SignatureMismatch if callers of the served version could not use the new one."""
        new, old = _describe(model.manifest), _describe(served.manifest)
        changed = [pair for pair in zip(new, old, strict=True) if pair[0].value != pair[1].value]
        if not changed:
            return
        number = model.manifest.version
        error = SignatureMismatch(
            number,
            f"Version {number} of model {model.manifest.model!r} has "
            f"{' and '.join(aspect.text for aspect, _ in changed)}; the served version "
            f"{served.manifest.version} has {' and '.join(aspect.text for _, aspect in changed)}. "
            f"Callers of the served version could not use version {number}. To serve it anyway, "
            "restart the server.",
        )
        self._mismatch = _Mismatch(model.digest, served.digest, error)
        raise error


class _Aspect(NamedTuple):
    """Something that callers of a version depend on, and its description."""

    value: object
    text: str


def _describe(manifest: Manifest) -> list[_Aspect]:
    signature, quantiles = manifest.signature, manifest.architecture.quantiles
    target = None if signature.target is None else signature.target.name
    return [
        _describe_columns(manifest),
        _Aspect(manifest.task, f"the task {manifest.task}"),
        _Aspect(signature.classes, _describe_names("classes", signature.classes)),
        _Aspect(quantiles, _describe_names("quantiles", [str(each) for each in quantiles])),
        _Aspect(target, f"the target {target!r}" if target else "no target"),
    ]


def _describe_names(what: str, names: Sequence[str]) -> str:
    return f"the {what} {listing(names)}" if names else f"no {what}"


def _describe_columns(manifest: Manifest) -> _Aspect:
    if manifest.encoder is None:
        n_features = len(manifest.signature.features)
        return _Aspect(n_features, f"{n_features} features")
    columns = [f"{each.name} ({each.kind})" for each in manifest.encoder.columns]
    text = f"the columns {listing(columns)}"
    # Columns that are all numbers may be sent as one array, in their order.
    if any(each.kind != "number" for each in manifest.encoder.columns):
        columns.sort()
    return _Aspect(columns, text)
