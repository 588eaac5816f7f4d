"""The models that are live: loaded, verified, swapped. Knows nothing of gRPC.

One reference holds the version that answers by default. `refresh` follows the alias and replaces
that reference in one step, so a call in flight finishes on the version it began with, and a
version that fails never replaces one that works.
"""

import logging
import threading
from collections.abc import Callable
from functools import lru_cache

from quadnet.artifact import Model
from quadnet.errors import NotReady, QuadnetError
from quadnet.names import CHAMPION
from quadnet.registry import Registry

LOADED_ON_DEMAND = 8
"""How many versions asked for by name and number are kept loaded."""

_log = logging.getLogger(__name__)


class LiveModels:
    """The default model's current version, and others on demand.

    Parameters
    ----------
    registry : Registry
    model : str
        The model that answers when a call names none.
    alias : str
        The alias whose target answers when a call names no version.
    """

    def __init__(self, registry: Registry, *, model: str, alias: str = CHAMPION) -> None:
        self.registry = registry
        self.default_model = model
        self.default_alias = alias
        self._current: Model | None = None
        self._failure: QuadnetError | None = None
        self._load_once = lru_cache(maxsize=LOADED_ON_DEMAND)(self._load)

    @property
    def ready(self) -> bool:
        """Whether a version is loaded."""
        return self._current is not None

    @property
    def failure(self) -> QuadnetError | None:
        """Why the alias's target is not the version that answers; None if it is."""
        return self._failure

    def refresh(self) -> None:
        """Load the alias's target if it is not the current version.

        A failure is kept, logged when it is new, and changes nothing else.
        """
        try:
            target = self.registry.target(self.default_model, self.default_alias)
            current = self._current
            if current is None or current.digest != target.manifest_sha256:
                self._current = self.registry.load(self.default_model, target.version)
            self._failure = None
        except QuadnetError as error:
            if str(error) != str(self._failure):
                _log.error("%s", error)
            self._failure = error

    def get(self, model: str = "", *, version: int | None = None, alias: str = "") -> Model:
        """Return the version that a call asks for.

        Raises
        ------
        NotReady
            If the default is asked for and nothing is loaded.
        NotFound
            If there is no such model, version or alias.
        CorruptVersion
            If the version does not verify.
        """
        model = model or self.default_model
        alias = alias or self.default_alias
        if version is None and (model, alias) == (self.default_model, self.default_alias):
            current = self._current
            if current is None:
                raise NotReady("No version is loaded yet. Try again in a moment.")
            return current
        if version is None:
            version = self.registry.target(model, alias).version
        # The digest is part of the key: a registry may be made anew while the server runs.
        return self._load_once(model, version, self.registry.digest(model, version))

    def _load(self, model: str, version: int, digest: str) -> Model:
        """Load the version; `digest` is for the cache alone."""
        return self.registry.load(model, version)


class Watcher:
    """A thread that calls `LiveModels.refresh`, then `on_refresh`, every `poll` seconds."""

    def __init__(self, live: LiveModels, *, poll: float, on_refresh: Callable[[], None]) -> None:
        self._live = live
        self._poll = poll
        self._on_refresh = on_refresh
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-watcher", daemon=True)

    def start(self) -> None:
        """Begin watching."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._poll):
            try:
                self._live.refresh()
            except Exception:  # noqa: BLE001 - whatever it is, watching goes on
                _log.exception("The registry could not be looked at.")
            self._on_refresh()
