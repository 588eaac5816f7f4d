"""The models that are live: loaded, verified, swapped. Knows nothing of gRPC.

What calls ask for is a `Reference`: a model with an alias or a number. The version that each
stands for is one reference in memory, replaced in one step when `refresh` finds that its alias has
moved; so a call in flight finishes on the version it began with, and a version that fails never
replaces one that works.

What is in memory is answered from memory, as the registry was at the last refresh: the registry may
not answer. No lock is held while a file is read: a read that hangs must not stop the others.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from quadnet.errors import (
    CorruptVersion,
    NotFound,
    NotReady,
    QuadnetError,
    RegistryError,
    listing,
)
from quadnet.model_names import CHAMPION, LATEST
from quadnet.registry import Registry
from quadnet.registry.alias_log import Targets
from quadnet.registry.version_files import Model
from service.models.registry_reads import RegistryReads
from service.models.version_index import VersionIndex
from service.telemetry import metrics

LOADED_ON_DEMAND = 8
"""How many models, beside the default one, are kept loaded because calls asked for them."""

_SECONDS_UNTIL_FORGOTTEN = 3.0
"""For so long an alias or a version must be gone: a registry that is being deleted loses its
aliases before its versions, and what it said before that goes on."""

_LOADS_AT_A_TIME, _SECONDS_TO_LOAD = 4, 20.0
_LISTINGS_AT_A_TIME, _SECONDS_TO_LIST = 2, 5.0

_MAX_FAILURES = 64
_MAX_SECONDS_BETWEEN_TRIES = 60.0

_log = structlog.get_logger(__name__)


class Reference(NamedTuple):
    """What a call asks for: a model, and a version's number or else an alias."""

    model: str
    version: int | None
    alias: str


@dataclass
class _Live:
    """The version that a reference stands for now, and when it was last asked for.

    `missed` is when the registry was first seen without it.
    """

    model: Model
    used: float = field(default_factory=time.monotonic)
    missed: float | None = None


@dataclass(frozen=True)
class _Known:
    """What the registry said of a model when it was last read."""

    aliases: Targets
    versions: list[int]


@dataclass(frozen=True)
class _Failure:
    """A version that could not be loaded, and when to try again."""

    error: QuadnetError
    digest: str
    seconds: float
    retry_at: float


class Misfit(QuadnetError):
    """A version that is sound, but takes or gives something else than the one that is served."""

    def __init__(self, version: int, message: str) -> None:
        self.version = version
        super().__init__(message)


@dataclass(frozen=True)
class _Refusal:
    """A version that does not replace the served one, which holds as long as that is served."""

    digest: str
    served_digest: str
    error: Misfit


class LiveModels:
    """The default model's current version, and others on demand.

    Parameters
    ----------
    registry : Registry
    model : str
        The model that answers when a call names none.
    alias : str
        The alias whose target answers when a call names no version.

    Attributes
    ----------
    default : Reference
    failure : QuadnetError or None
        Why the default alias's target is not the version that answers; None if it is.
    index : VersionIndex
    reads : RegistryReads
        The reads for calls that load no version.
    """

    def __init__(self, registry: Registry, *, model: str, alias: str = CHAMPION) -> None:
        self.registry = registry
        self.default = Reference(model, None, alias)
        self.failure: QuadnetError | None = None
        self.index = VersionIndex(registry)
        self.reads = RegistryReads(limit=_LISTINGS_AT_A_TIME, seconds=_SECONDS_TO_LIST)
        self._loads = RegistryReads(limit=_LOADS_AT_A_TIME, seconds=_SECONDS_TO_LOAD)
        # These are replaced and never changed, so that reading them needs no lock.
        self._live: dict[Reference, _Live] = {}
        self._known: dict[str, _Known] = {}
        self._failures: dict[tuple[str, int], _Failure] = {}
        self._refusal: _Refusal | None = None
        self._changing = threading.Lock()

    @property
    def current(self) -> Model | None:
        """The version that answers by default; None if none is loaded yet."""
        live = self._live.get(self.default)
        return None if live is None else live.model

    def in_memory(
        self, model: str = "", *, version: int | None = None, alias: str = ""
    ) -> Model | None:
        """Return the version that a call asks for if it is loaded. Does not read the registry.

        Raises
        ------
        NotReady
            If the default is asked for and nothing is loaded.
        """
        reference = self._reference(model, version, alias)
        live = self._live.get(reference)
        if live is not None:
            live.used = time.monotonic()
            return live.model
        if reference == self.default:
            raise NotReady("No version is loaded yet. Ask again in a moment.")
        found = self._loaded_as(reference)
        if found is not None:
            # From now on it is followed as well: the next refresh checks it.
            self._set_live(reference, found)
        return found

    async def load(self, model: str = "", *, version: int | None = None, alias: str = "") -> Model:
        """Load the version that a call asks for; calls that ask for the same share the load.

        Raises
        ------
        NotReady
            If the registry cannot be read, or does not answer in time.
        NotFound
            If there is no such model, version or alias.
        CorruptVersion
            If the version does not verify.
        Overloaded
            If too many versions are being loaded.
        """
        reference = self._reference(model, version, alias)
        return await self._loads.run(lambda _: self._load_on_demand(reference), key=reference)

    def resolve(
        self, model: str = "", *, version: int | None = None, alias: str = ""
    ) -> tuple[str, int] | None:
        """Return the model and version that a call asks for, if that is known from memory."""
        reference = self._reference(model, version, alias)
        live = self._live.get(reference)
        found = self._loaded_as(reference) if live is None else live.model
        return None if found is None else (found.manifest.model, found.manifest.version)

    def resolve_in_registry(
        self, model: str = "", *, version: int | None = None, alias: str = ""
    ) -> tuple[str, int]:
        """Return the model and version that a call asks for, which is not loaded for it.

        Raises NotFound or RegistryError. Reads the registry: not for the event loop.
        """
        reference = self._reference(model, version, alias)
        selector = reference.alias or reference.version
        return self.registry.resolve(f"{reference.model}:{selector}")

    def aliases(self, model: Model) -> list[str]:
        """Return the aliases that pointed to a loaded version at the last refresh, sorted."""
        known = self._known.get(model.manifest.model)
        targets = {} if known is None else known.aliases
        return sorted(
            alias for alias, target in targets.items() if target.manifest_sha256 == model.digest
        )

    def versions(self, model: Model) -> list[int]:
        """Return the versions that the model of a loaded one had at the last refresh, sorted."""
        known = self._known.get(model.manifest.model)
        # With the one that answers, which the registry may no longer have.
        return sorted({*(() if known is None else known.versions), model.manifest.version})

    def refresh(self) -> None:
        """Let every reference that is live follow the registry.

        A failure is logged when it is new, and changes nothing else. Reads files: not for the
        event loop, and for one thread only.
        """
        for name in {reference.model for reference in (self.default, *self._live)}:
            self._look_at(name)
        self._refresh_default()
        for reference in self._live.keys() - {self.default}:
            try:
                self._follow(reference)
            except NotFound:
                self._miss(reference)
            except QuadnetError as error:
                _log.debug("kept", reference=reference, reason=str(error))
            else:
                # It may have been forgotten meanwhile, for one that was loaded on demand.
                live = self._live.get(reference)
                if live is not None:
                    live.missed = None
        with self._changing:
            names = {reference.model for reference in (self.default, *self._live)}
            self._known = {k: v for k, v in self._known.items() if k in names}

    def report_silence(self, seconds: float) -> None:
        """Note that a refresh has not ended for so long; its end takes this back."""
        error = RegistryError(
            f"The registry {self.registry.root} has not answered for {seconds:g} seconds. Check "
            "the file system that it is on."
        )
        _log.error("no answer from the registry", reason=str(error))
        self.failure = error
        metrics.MODEL_FAILING.labels(self.default.model, self.default.alias).set(1)

    def loaded(self) -> list[Model]:
        """Return the versions that answer."""
        return [live.model for live in list(self._live.values())]

    def loaded_digests(self) -> set[str]:
        """Return the digests of the versions that answer."""
        return {model.digest for model in self.loaded()}

    def failures(self, model: str) -> dict[int, str]:
        """Return why versions of the model were not taken, by number."""
        failures = list(self._failures.items())
        reasons = {number: str(each.error) for (name, number), each in failures if name == model}
        if isinstance(self.failure, Misfit) and model == self.default.model:
            reasons[self.failure.version] = str(self.failure)
        return reasons

    def _reference(self, model: str, version: int | None, alias: str) -> Reference:
        model = model or self.default.model
        if version is None:
            return Reference(model, None, alias or self.default.alias)
        return Reference(model, version, "")

    def _refresh_default(self) -> None:
        labels = (self.default.model, self.default.alias)
        try:
            self._follow(self.default)
        except QuadnetError as error:
            if str(error) != str(self.failure):
                _log.error("not swapped", reason=str(error))
            self.failure = error
        else:
            self.failure = None
        metrics.MODEL_FAILING.labels(*labels).set(self.failure is not None)

    def _load_on_demand(self, reference: Reference) -> Model:
        try:
            if reference.model not in self._known:
                self._look_at(reference.model)
            return self._follow(reference)
        except RegistryError as error:
            # Its text names paths of this machine, which are no caller's business.
            _log.error("not loaded", reference=reference, reason=str(error))
            raise NotReady(
                "The registry cannot be read at the moment. Ask again later; the server's log "
                "says more."
            ) from error

    def _look_at(self, name: str) -> None:
        """Note the model's aliases and versions; keep the last ones if they cannot be read."""
        try:
            known = _Known(self.registry.aliases(name).aliases, self.index.numbers(name))
        except QuadnetError as error:
            _log.debug("kept", model=name, reason=str(error))
            return
        with self._changing:
            self._known = {**self._known, name: known}

    def _follow(self, reference: Reference) -> Model:
        """Make the reference stand for what the registry says now, and return that."""
        name, version, alias = reference
        if alias and alias != LATEST:
            target = self.registry.target(name, alias)
            version, digest = target.version, target.manifest_sha256
        else:
            version = self.index.latest(name) if version is None else version
            digest = self.index.digest(name, version)
        live = self._live.get(reference)
        # The digest tells, not the number: a registry may be made anew while the server runs.
        if live is not None and live.model.digest == digest:
            return live.model
        served = live.model if live is not None and reference == self.default else None
        self._check_refusal(digest, served)
        started = time.perf_counter()
        model = self._loaded(digest) or self._load(name, version, digest)
        if served is not None:
            self._check_signature(model, served)
        self._set_live(reference, model, time.perf_counter() - started)
        return model

    def _check_refusal(self, digest: str, served: Model | None) -> None:
        """Raise what was raised before if this version was already compared with the served one.

        It would be read, and asked its self-test, at every refresh otherwise. Digests cover the
        signatures, so the answer stays the same.
        """
        refusal = self._refusal
        if served is None or refusal is None:
            return
        if (refusal.digest, refusal.served_digest) == (digest, served.digest):
            raise refusal.error.with_traceback(None)

    def _check_signature(self, model: Model, served: Model) -> None:
        try:
            _check_signature(model, served)
        except Misfit as error:
            self._refusal = _Refusal(model.digest, served.digest, error)
            raise

    def _loaded_as(self, reference: Reference) -> Model | None:
        """Return the version if it is loaded, for whatever reference."""
        name, version, alias = reference
        if version is None:
            known = self._known.get(name)
            target = None if known is None else known.aliases.get(alias)
            return None if target is None else self._loaded(target.manifest_sha256)
        for model in self.loaded():
            if (model.manifest.model, model.manifest.version) == (name, version):
                return model
        return None

    def _set_live(self, reference: Reference, model: Model, seconds: float = 0.0) -> None:
        with self._changing:
            live = {**self._live, reference: _Live(model)}
            on_demand = live.keys() - {self.default}
            if len(on_demand) > LOADED_ON_DEMAND:
                del live[min(on_demand, key=lambda each: live[each].used)]
            self._live = live
        self._report(reference, model, seconds)

    def _loaded(self, digest: str) -> Model | None:
        """Return the version if another reference already stands for it."""
        models = (live.model for live in self._live.values())
        return next((model for model in models if model.digest == digest), None)

    def _load(self, name: str, version: int, digest: str) -> Model:
        """Load the version, unless it failed a short while ago: files do not mend themselves."""
        failed = self._failures.get((name, version))
        if failed is not None and failed.digest == digest:
            if time.monotonic() < failed.retry_at:
                # With its traceback it would grow each time that it is raised.
                raise failed.error.with_traceback(None)
            seconds = min(2 * failed.seconds, _MAX_SECONDS_BETWEEN_TRIES)
        else:
            seconds = 1.0
        error: QuadnetError
        try:
            model = self.registry.load(name, version)
        except CorruptVersion as corrupt:
            error = corrupt
        except QuadnetError:
            # Gone, or an unreadable log of aliases: found out before the version's files are read.
            raise
        except Exception:  # noqa: BLE001 - too little memory for it, for one
            _log.exception("not loaded", model=name, version=version)
            error = NotReady(
                f"Version {version} of model {name!r} cannot be loaded at the moment; the server's "
                "log says more.",
                retry_after=seconds,
            )
        else:
            self._note_failure(name, version, None)
            return model
        metrics.MODEL_LOAD_FAILURES.labels(name).inc()
        failure = _Failure(error, digest, seconds, time.monotonic() + seconds)
        self._note_failure(name, version, failure)
        raise error

    def _note_failure(self, name: str, version: int, failure: _Failure | None) -> None:
        """Note how the last try to load the version has failed; None if it has not."""
        with self._changing:
            failures = {k: v for k, v in self._failures.items() if k != (name, version)}
            if failure is not None:
                failures[name, version] = failure
            if len(failures) > _MAX_FAILURES:
                del failures[min(failures, key=lambda key: failures[key].retry_at)]
            self._failures = failures

    def _holds(self, model: str) -> bool:
        """Say whether the registry has versions of the model: then its word counts."""
        try:
            return bool(self.index.numbers(model))
        except QuadnetError:
            return False

    def _miss(self, reference: Reference) -> None:
        """Forget what the registry no longer has, if it has the model and it stays so."""
        live, now = self._live.get(reference), time.monotonic()
        if live is None:
            return
        if not self._holds(reference.model):
            live.missed = None
        elif live.missed is None:
            live.missed = now
        elif now - live.missed >= _SECONDS_UNTIL_FORGOTTEN:
            self._forget(reference)

    def _forget(self, reference: Reference) -> None:
        with self._changing:
            self._live = {k: v for k, v in self._live.items() if k != reference}

    def _report(self, reference: Reference, model: Model, seconds: float) -> None:
        number = model.manifest.version
        _log.info(
            "live",
            model=reference.model,
            alias=reference.alias,
            version=number,
            milliseconds=round(seconds * 1e3, 3),
        )
        if reference == self.default:
            labels = (reference.model, reference.alias)
            metrics.MODEL_VERSION.labels(*labels).set(number)
            metrics.MODEL_LOAD_SECONDS.labels(*labels).set(seconds)
            metrics.MODEL_LOADED_TIMESTAMP.labels(*labels).set_to_current_time()


def _check_signature(model: Model, served: Model) -> None:
    """Raise Misfit if who calls the served version would be lost with this one."""
    new, old = model.manifest.signature, served.manifest.signature
    if (len(new.features), new.classes) != (len(old.features), old.classes):
        number = model.manifest.version
        raise Misfit(
            number,
            f"Version {number} of model {model.manifest.model!r} takes {len(new.features)} "
            f"features and has the classes {listing(new.classes)}; version "
            f"{served.manifest.version}, which is served, takes {len(old.features)} and has "
            f"{listing(old.classes)}: its callers would be lost. To serve it all the same, start "
            "the server anew.",
        )
