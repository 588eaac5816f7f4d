"""The live models: versions that are loaded and verified, and replaced when their alias moves.

A call names a `Reference`: a model, and an alias or a version number. `LiveModels` holds one loaded
version per reference. When `refresh` finds that an alias has moved, it replaces that version in one
step. A call in flight finishes on the version that it started with, and a version that fails
to load never replaces one that works.

What is in memory is answered from memory, as of the last refresh, because the registry may not
respond. No lock is held while a file is read: a read that hangs must not block other reads.

This module knows nothing of gRPC.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from quadnet.errors import NotFound, NotReady, QuadnetError, RegistryError
from quadnet.model_names import CHAMPION, LATEST
from quadnet.registry import Registry
from quadnet.registry.alias_log import Targets
from quadnet.registry.version_files import Model
from service.models.registry_reads import RegistryReads
from service.models.signature_check import SignatureCheck, SignatureMismatch
from service.models.version_index import VersionIndex
from service.models.version_loader import VersionLoader
from service.telemetry import metrics

LOADED_ON_DEMAND = 8
"""Number of references whose version stays loaded on demand, in addition to the default one."""

_SECONDS_UNTIL_FORGOTTEN = 3.0
"""How long an alias or a version must be missing before it is dropped. While a registry is being
deleted, its aliases disappear before its versions, and references keep their versions."""

_LOADS_AT_A_TIME, _SECONDS_TO_LOAD = 4, 20.0
_LISTINGS_AT_A_TIME, _SECONDS_TO_LIST = 2, 5.0

_log = structlog.get_logger(__name__)


class Reference(NamedTuple):
    """A model, and either a version number or an alias."""

    model: str
    version: int | None
    alias: str


@dataclass
class _LiveVersion:
    """The version that a reference stands for now.

    `used` is the time of the last call for it. `missing_since` is the time at which the registry
    was first seen without it; None if the registry has it.
    """

    model: Model
    used: float = field(default_factory=time.monotonic)
    missing_since: float | None = None


@dataclass(frozen=True)
class _Listing:
    """The aliases and version numbers of a model, as last read from the registry."""

    aliases: Targets
    versions: list[int]


class LiveModels:
    """The default model's current version, and other versions on demand.

    Parameters
    ----------
    registry : Registry
    model : str
        The model for calls that name no model.
    alias : str
        The alias for calls that name no version.

    Attributes
    ----------
    default : Reference
    failure : QuadnetError or None
        Why the served version is not the target of the default alias; None if it is.
    index : VersionIndex
    reads : RegistryReads
        Runs registry reads of calls that load no version.
    """

    def __init__(self, registry: Registry, *, model: str, alias: str = CHAMPION) -> None:
        self.registry = registry
        self.default = Reference(model, None, alias)
        self.failure: QuadnetError | None = None
        self.index = VersionIndex(registry)
        self.reads = RegistryReads(limit=_LISTINGS_AT_A_TIME, seconds=_SECONDS_TO_LIST)
        self._loads = RegistryReads(limit=_LOADS_AT_A_TIME, seconds=_SECONDS_TO_LOAD)
        self._loader = VersionLoader(registry)
        self._signature_check = SignatureCheck()
        # Both are replaced and never changed in place, so that reading them needs no lock.
        self._live: dict[Reference, _LiveVersion] = {}
        self._listings: dict[str, _Listing] = {}
        self._changing = threading.Lock()

    @property
    def current(self) -> Model | None:
        """The version that is served by default; None before the first one is loaded."""
        live = self._live.get(self.default)
        return None if live is None else live.model

    def find_in_memory(
        self, model: str = "", *, version: int | None = None, alias: str = ""
    ) -> Model | None:
        """Return the requested version if it is loaded. Does not read the registry.

        Raises
        ------
        NotReady
            If the default version is requested and not loaded yet.
        """
        reference = self._reference(model, version, alias)
        live = self._live.get(reference)
        if live is not None:
            live.used = time.monotonic()
            return live.model
        if reference == self.default:
            raise NotReady("No version is loaded yet. Retry in a moment.")
        found = self._find_loaded(reference)
        if found is not None:
            # From now on the next refresh follows this reference too.
            self._set_live(reference, found)
        return found

    async def load(self, model: str = "", *, version: int | None = None, alias: str = "") -> Model:
        """Load the requested version. Concurrent calls for the same version share one load.

        Raises
        ------
        NotReady
            If the registry cannot be read, or does not respond in time.
        NotFound
            If there is no such model, version or alias.
        CorruptVersion
            If the version cannot be verified.
        Overloaded
            If too many calls wait for a load.
        """
        reference = self._reference(model, version, alias)
        return await self._loads.run(lambda _: self._load_on_demand(reference), key=reference)

    def resolve_in_memory(
        self, model: str = "", *, version: int | None = None, alias: str = ""
    ) -> tuple[str, int] | None:
        """Return the model and number of the requested version; None if it is not loaded."""
        reference = self._reference(model, version, alias)
        live = self._live.get(reference)
        found = self._find_loaded(reference) if live is None else live.model
        return None if found is None else (found.manifest.model, found.manifest.version)

    def resolve_in_registry(
        self, model: str = "", *, version: int | None = None, alias: str = ""
    ) -> tuple[str, int]:
        """Return the model and number of the requested version, without loading it.

        Raises NotFound or RegistryError. Reads the registry: not for the event loop.
        """
        reference = self._reference(model, version, alias)
        selector = reference.alias or reference.version
        return self.registry.resolve(f"{reference.model}:{selector}")

    def aliases(self, model: Model) -> list[str]:
        """Return the aliases that pointed to a loaded version at the last refresh, sorted."""
        listing = self._listings.get(model.manifest.model)
        targets = {} if listing is None else listing.aliases
        return sorted(
            alias for alias, target in targets.items() if target.manifest_sha256 == model.digest
        )

    def versions(self, model: Model) -> list[int]:
        """Return the version numbers of a loaded version's model at the last refresh, sorted."""
        listing = self._listings.get(model.manifest.model)
        # Including the loaded version, which the registry may no longer have.
        return sorted({*(() if listing is None else listing.versions), model.manifest.version})

    def refresh(self) -> None:
        """Read the registry, and replace the version of each reference that has moved.

        A failure is logged when it is new, and changes nothing else. Reads files: not for the
        event loop, and for one thread only.
        """
        for name in {reference.model for reference in (self.default, *self._live)}:
            self._read_listing(name)
        self._refresh_default()
        for reference in self._live.keys() - {self.default}:
            try:
                self._follow(reference)
            except NotFound:
                self._note_missing(reference)
            except QuadnetError as error:
                _log.debug("refresh failed", reference=reference, reason=str(error))
            else:
                # A load on demand may have evicted this reference in the meantime.
                live = self._live.get(reference)
                if live is not None:
                    live.missing_since = None
        with self._changing:
            names = {reference.model for reference in (self.default, *self._live)}
            self._listings = {k: v for k, v in self._listings.items() if k in names}

    def report_unresponsive_registry(self, seconds: float) -> None:
        """Record as a failure that a refresh has run for so long; its end clears the failure."""
        error = RegistryError(
            f"The registry {self.registry.root} has not responded for {seconds:g} seconds. Check "
            "its file system."
        )
        _log.error("registry does not respond", reason=str(error))
        self.failure = error
        metrics.MODEL_FAILING.labels(self.default.model, self.default.alias).set(1)

    def loaded(self) -> list[Model]:
        """Return the loaded versions, one entry per reference."""
        return [live.model for live in list(self._live.values())]

    def loaded_digests(self) -> set[str]:
        """Return the digests of the loaded versions."""
        return {model.digest for model in self.loaded()}

    def failures(self, model: str) -> dict[int, str]:
        """Return why versions of the model are not served, by number."""
        reasons = self._loader.failures(model)
        if isinstance(self.failure, SignatureMismatch) and model == self.default.model:
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
                _log.error("served version not updated", reason=str(error))
            self.failure = error
        else:
            self.failure = None
        metrics.MODEL_FAILING.labels(*labels).set(self.failure is not None)

    def _load_on_demand(self, reference: Reference) -> Model:
        try:
            if reference.model not in self._listings:
                self._read_listing(reference.model)
            return self._follow(reference)
        except RegistryError as error:
            # Its text names paths of this machine, which callers must not see.
            _log.error("version not loaded", reference=reference, reason=str(error))
            raise NotReady(
                "The registry cannot be read at the moment. Retry later; the server's log has the "
                "reason."
            ) from error

    def _read_listing(self, name: str) -> None:
        """Read the model's aliases and versions; keep the previous ones if that fails."""
        try:
            listing = _Listing(
                self.registry.aliases(name).aliases, self.index.version_numbers(name)
            )
        except QuadnetError as error:
            _log.debug("listing not refreshed", model=name, reason=str(error))
            return
        with self._changing:
            self._listings = {**self._listings, name: listing}

    def _follow(self, reference: Reference) -> Model:
        """Load the version that the registry now has for the reference, make it live, return it."""
        name, version, alias = reference
        if alias and alias != LATEST:
            target = self.registry.target(name, alias)
            version, digest = target.version, target.manifest_sha256
        else:
            version = self.index.latest_version(name) if version is None else version
            digest = self.index.version_digest(name, version)
        live = self._live.get(reference)
        # Compared by digest, not by number: a registry may be recreated while the server runs.
        if live is not None and live.model.digest == digest:
            return live.model
        served = live.model if live is not None and reference == self.default else None
        if served is not None:
            self._signature_check.raise_known_mismatch(digest, served)
        started = time.perf_counter()
        model = self._find_by_digest(digest) or self._loader.load(name, version, digest)
        if served is not None:
            self._signature_check.check(model, served)
        self._set_live(reference, model, time.perf_counter() - started)
        return model

    def _find_loaded(self, reference: Reference) -> Model | None:
        """Return the version if it is loaded for any reference."""
        name, version, alias = reference
        if version is None:
            listing = self._listings.get(name)
            target = None if listing is None else listing.aliases.get(alias)
            return None if target is None else self._find_by_digest(target.manifest_sha256)
        for model in self.loaded():
            if (model.manifest.model, model.manifest.version) == (name, version):
                return model
        return None

    def _find_by_digest(self, digest: str) -> Model | None:
        """Return the loaded version with this digest, if there is one."""
        models = (live.model for live in self._live.values())
        return next((model for model in models if model.digest == digest), None)

    def _set_live(self, reference: Reference, model: Model, seconds: float = 0.0) -> None:
        with self._changing:
            live = {**self._live, reference: _LiveVersion(model)}
            on_demand = live.keys() - {self.default}
            if len(on_demand) > LOADED_ON_DEMAND:
                del live[min(on_demand, key=lambda each: live[each].used)]
            self._live = live
        self._report_live(reference, model, seconds)

    def _has_versions(self, model: str) -> bool:
        """Return whether the registry can be read and has versions of the model."""
        try:
            return bool(self.index.version_numbers(model))
        except QuadnetError:
            return False

    def _note_missing(self, reference: Reference) -> None:
        """Drop a reference that stays missing from a registry that still has its model."""
        live, now = self._live.get(reference), time.monotonic()
        if live is None:
            return
        if not self._has_versions(reference.model):
            live.missing_since = None
        elif live.missing_since is None:
            live.missing_since = now
        elif now - live.missing_since >= _SECONDS_UNTIL_FORGOTTEN:
            with self._changing:
                self._live = {k: v for k, v in self._live.items() if k != reference}

    def _report_live(self, reference: Reference, model: Model, seconds: float) -> None:
        number = model.manifest.version
        _log.info(
            "version live",
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
