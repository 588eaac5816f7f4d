"""A cache of the versions of each model between two reads of the registry.

A version never changes, and a removed version does not come back. So a repeated read only checks
whether the directory of versions has changed and, for each version, whether it was removed and
whether its manifest is still the same file. Removed versions, whose number only grows, then cost
nothing.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from quadnet.errors import CorruptVersion
from quadnet.registry import Registry, tombstones, version_files
from quadnet.registry.manifest import Manifest

_SECONDS_UNTIL_SETTLED = 2.0
"""Minimum age of a directory's modification time to prove that the directory is unchanged.

File systems store that time in steps of up to two seconds: a second change within the same step
does not alter it.
"""

_Stamp = tuple[int, ...]


@dataclass(frozen=True)
class IndexedVersion:
    """A version, as its manifest describes it.

    `digest` is empty if the manifest cannot be read, and `created` is None if it is invalid;
    `problem` is then the reason.
    """

    number: int
    digest: str = ""
    created: datetime | None = None
    problem: str = ""


@dataclass(frozen=True)
class _Listing:
    """The version numbers of a model without removed ones, and the directory's stamp then."""

    stamp: _Stamp | None
    numbers: tuple[int, ...]


class VersionIndex:
    """Lists the versions of a registry's models. Reads the registry: not for the event loop.

    Any number of threads may use it.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._listings: dict[str, _Listing] = {}
        self._manifests: dict[str, dict[int, tuple[_Stamp, IndexedVersion]]] = {}
        self._changing = threading.Lock()

    def version_numbers(self, model: str) -> list[int]:
        """Return the numbers of the model's versions, sorted, without removed versions."""
        directory = self._registry.home(model) / "versions"
        stamp = _settled_stamp(directory)
        listing = self._listings.get(model)
        if stamp is None or listing is None or listing.stamp != stamp:
            listing = _Listing(stamp, tuple(self._registry.version_numbers(model)))
        # Paths as text: ten thousand Path objects would cost more than checking the files.
        found = [
            number
            for number in listing.numbers
            if not os.access(f"{directory}/{number:06d}/{tombstones.TOMBSTONE_NAME}", os.F_OK)
        ]
        with self._changing:
            if found:
                self._listings[model] = _Listing(listing.stamp, tuple(found))
            else:
                self._listings.pop(model, None)
                self._manifests.pop(model, None)
        return found

    def list_versions(
        self, model: str, check_callers: Callable[[], None] = lambda: None
    ) -> list[IndexedVersion]:
        """Return the model's versions, oldest first; `check_callers` is called before each."""
        numbers = self.version_numbers(model)
        directory = self._registry.home(model) / "versions"
        versions = []
        for number in numbers:
            check_callers()
            path = f"{directory}/{number:06d}/{version_files.MANIFEST}"
            versions.append(self._version(model, number, path))
        with self._changing:
            cached = self._manifests.get(model, {})
            for number in cached.keys() - set(numbers):
                del cached[number]
        return versions

    def latest_version(self, model: str) -> int:
        """Return the model's highest version number; raise NotFound if there is no version."""
        numbers = self.version_numbers(model)
        return numbers[-1] if numbers else self._registry.latest(model)

    def version_digest(self, model: str, number: int) -> str:
        """Return the SHA-256 of the version's manifest; raise NotFound or CorruptVersion."""
        self._registry.check_version(model, number)
        path = self._registry.path(model, number) / version_files.MANIFEST
        version = self._version(model, number, str(path))
        if not version.digest:
            raise CorruptVersion(version.problem)
        return version.digest

    def _version(self, model: str, number: int, path: str) -> IndexedVersion:
        """Return the version whose manifest has this path, from the cache if it is unchanged."""
        stamp = _stamp(path)
        found = self._manifests.get(model, {}).get(number)
        if stamp is not None and found is not None and found[0] == stamp:
            return found[1]
        version = self._read_version(model, number)
        if stamp is not None:
            with self._changing:
                self._manifests.setdefault(model, {})[number] = stamp, version
        return version

    def _read_version(self, model: str, number: int) -> IndexedVersion:
        digest, created, problem = "", None, ""
        try:
            content = version_files.read_manifest(self._registry.path(model, number))
            digest = hashlib.sha256(content).hexdigest()
            # Only this field is kept: a thousand manifests take 25 MB.
            created = Manifest.from_json(content).created
        except (CorruptVersion, ValueError) as error:
            problem = f"Version {number} of model {model!r} must not be used: {error}"
        return IndexedVersion(number, digest, created, problem)


def _stamp(path: str) -> _Stamp | None:
    """Return values that change whenever the file is changed or replaced; None if unreadable."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path object for each version would cost more
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, status.st_nlink)


def _settled_stamp(directory: Path) -> _Stamp | None:
    """Return the stamp if it is old enough to prove that there was no change since."""
    stamp = _stamp(str(directory))
    if stamp is None or time.time_ns() - stamp[2] < _SECONDS_UNTIL_SETTLED * 1e9:
        return None
    return stamp
