"""Loads versions of the registry. A version that cannot be loaded is retried with back-off."""

import threading
import time
from dataclasses import dataclass

import structlog

from quadnet.errors import CorruptVersion, NotReady, QuadnetError
from quadnet.registry import Registry
from quadnet.registry.version_files import Model
from service.telemetry import metrics

_MAX_FAILURES = 64
_MAX_SECONDS_BETWEEN_ATTEMPTS = 60.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Failure:
    """A failed load: the error, the digest of the version, and when to try again."""

    error: QuadnetError
    digest: str
    seconds: float
    retry_at: float


class VersionLoader:
    """Loads and verifies versions. Any number of threads may use it.

    Damaged files do not repair themselves, so each further failure of a version doubles the time
    until its files are read again: 1, 2, 4, ... and at most 60 seconds.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        # Replaced and never changed in place, so that reading it needs no lock.
        self._failures: dict[tuple[str, int], _Failure] = {}
        self._changing = threading.Lock()

    def load(self, name: str, version: int, digest: str) -> Model:
        """Load the version; raise the last error again if it is too early for another attempt.

        Parameters
        ----------
        name : str
        version : int
        digest : str
            The digest that the version should have. A failure of another digest does not count.

        Raises
        ------
        CorruptVersion
            If the version cannot be verified.
        NotReady
            If loading fails for another reason, such as too little memory.
        NotFound, RegistryError
            If the version is not found, or the alias log cannot be read.
        """
        failed = self._failures.get((name, version))
        if failed is not None and failed.digest == digest:
            if time.monotonic() < failed.retry_at:
                # Without its traceback, which would grow each time that the error is raised.
                raise failed.error.with_traceback(None)
            seconds = min(2 * failed.seconds, _MAX_SECONDS_BETWEEN_ATTEMPTS)
        else:
            seconds = 1.0
        error: QuadnetError
        try:
            model = self._registry.load(name, version)
        except CorruptVersion as corrupt:
            error = corrupt
        except QuadnetError:
            # The version is gone, or the alias log is unreadable: no file of the version was read.
            raise
        except Exception:  # noqa: BLE001 - for example too little memory
            _log.exception("version not loaded", model=name, version=version)
            error = NotReady(
                f"Version {version} of model {name!r} cannot be loaded at the moment; the server's "
                "log has the reason.",
                retry_after=seconds,
            )
        else:
            self._set_failure(name, version, None)
            return model
        metrics.MODEL_LOAD_FAILURES.labels(name).inc()
        failure = _Failure(error, digest, seconds, time.monotonic() + seconds)
        self._set_failure(name, version, failure)
        raise error

    def failures(self, model: str) -> dict[int, str]:
        """Return the reason of each version of the model whose last load failed, by number."""
        failures = list(self._failures.items())
        return {number: str(each.error) for (name, number), each in failures if name == model}

    def _set_failure(self, name: str, version: int, failure: _Failure | None) -> None:
        """Record the failure of the last attempt; None if it succeeded."""
        with self._changing:
            failures = {k: v for k, v in self._failures.items() if k != (name, version)}
            if failure is not None:
                failures[name, version] = failure
            if len(failures) > _MAX_FAILURES:
                del failures[min(failures, key=lambda key: failures[key].retry_at)]
            self._failures = failures
