"""The versions of each model, remembered between two reads of the registry.

A version never changes, and a removed one does not come back. So a repeated read looks only whether
the directory of the versions has changed and, of each version, whether it was removed and whether
its manifest is still the same file. Removed versions, whose number only grows, cost nothing then.
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
"""The age from which a directory's time of change says that it has not changed since.

File systems store it in steps, of up to two seconds: a later change within the step is not seen.
"""

_Stamp = tuple[int, ...]


@dataclass(frozen=True)
class Version:
    """What the manifest of a version says.

    `digest` is empty if the manifest cannot be read, `created` is None if it makes no sense;
    `problem` then says why.
    """

    number: int
    digest: str = ""
    created: datetime | None = None
    problem: str = ""


@dataclass(frozen=True)
class _Listing:
    """The versions of a model that were not removed, when its directory had this stamp."""

    stamp: _Stamp | None
    numbers: tuple[int, ...]


class VersionIndex:
    """The versions of a registry's models. Reads the registry: not for the event loop.

    Any number of threads may use it.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._listings: dict[str, _Listing] = {}
        self._manifests: dict[str, dict[int, tuple[_Stamp, Version]]] = {}
        self._changing = threading.Lock()

    def numbers(self, model: str) -> list[int]:
        """Return what `Registry.versions` returns."""
        directory = self._registry.home(model) / "versions"
        stamp = _settled_stamp(directory)
        listing = self._listings.get(model)
        if stamp is None or listing is None or listing.stamp != stamp:
            listing = _Listing(stamp, tuple(self._registry.numbers(model)))
        # As text: ten thousand paths would take longer than the look at the files.
        found = [
            number
            for number in listing.numbers
            if not os.access(f"{directory}/{number:06d}/{tombstones.NAME}", os.F_OK)
        ]
        with self._changing:
            if found:
                self._listings[model] = _Listing(listing.stamp, tuple(found))
            else:
                self._listings.pop(model, None)
                self._manifests.pop(model, None)
        return found

    def versions(self, model: str, check: Callable[[], None] = lambda: None) -> list[Version]:
        """Return the model's versions, oldest first; `check` is called before each."""
        numbers = self.numbers(model)
        directory = self._registry.home(model) / "versions"
        versions = []
        for number in numbers:
            check()
            path = f"{directory}/{number:06d}/{version_files.MANIFEST}"
            versions.append(self._version(model, number, path))
        with self._changing:
            known = self._manifests.get(model, {})
            for number in known.keys() - set(numbers):
                del known[number]
        return versions

    def latest(self, model: str) -> int:
        """Return what `Registry.latest` returns, and raise what it raises."""
        numbers = self.numbers(model)
        return numbers[-1] if numbers else self._registry.latest(model)

    def digest(self, model: str, number: int) -> str:
        """Return what `Registry.digest` returns, and raise what it raises."""
        self._registry.check_version(model, number)
        path = self._registry.path(model, number) / version_files.MANIFEST
        version = self._version(model, number, str(path))
        if not version.digest:
            raise CorruptVersion(version.problem)
        return version.digest

    def _version(self, model: str, number: int, path: str) -> Version:
        """Return what the manifest says that has this path."""
        stamp = _stamp(path)
        found = self._manifests.get(model, {}).get(number)
        if stamp is not None and found is not None and found[0] == stamp:
            return found[1]
        version = self._read(model, number)
        if stamp is not None:
            with self._changing:
                self._manifests.setdefault(model, {})[number] = stamp, version
        return version

    def _read(self, model: str, number: int) -> Version:
        digest, created, problem = "", None, ""
        try:
            content = version_files.read_manifest(self._registry.path(model, number))
            digest = hashlib.sha256(content).hexdigest()
            # Not kept whole: a thousand manifests are 25 MB.
            created = Manifest.from_json(content).created
        except (CorruptVersion, ValueError) as error:
            problem = f"Version {number} of model {model!r} must not be used: {error}"
        return Version(number, digest, created, problem)


def _stamp(path: str) -> _Stamp | None:
    """Return what changes when the file or directory is changed or replaced; None if unknown."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path for each version would cost more than this
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, status.st_nlink)


def _settled_stamp(directory: Path) -> _Stamp | None:
    """Return the stamp if it is old enough to tell that there was no change since."""
    stamp = _stamp(str(directory))
    if stamp is None or time.time_ns() - stamp[2] < _SECONDS_UNTIL_SETTLED * 1e9:
        return None
    return stamp
