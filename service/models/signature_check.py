"""Refuses a new version whose features or classes differ from those of the served version."""

from dataclasses import dataclass

from quadnet.errors import QuadnetError, listing
from quadnet.registry.version_files import Model


class SignatureMismatch(QuadnetError):
    """A valid version has other features or classes than the served one."""

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
        new, old = model.manifest.signature, served.manifest.signature
        if (len(new.features), new.classes) == (len(old.features), old.classes):
            return
        number = model.manifest.version
        error = SignatureMismatch(
            number,
            f"Version {number} of model {model.manifest.model!r} has {len(new.features)} features "
            f"and the classes {listing(new.classes)}; the served version "
            f"{served.manifest.version} has {len(old.features)} features and the classes "
            f"{listing(old.classes)}. Callers of the served version could not use version "
            f"{number}. To serve it anyway, restart the server.",
        )
        self._mismatch = _Mismatch(model.digest, served.digest, error)
        raise error
