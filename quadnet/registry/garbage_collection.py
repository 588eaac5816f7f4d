"""Garbage collection: removes old versions without an alias, and the litter of crashes.

The current and recent targets of aliases, the newest versions and young versions are never
removed. `tombstones` explains how a version is removed while other processes change aliases and
read.
"""

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quadnet.errors import CorruptVersion, RegistryError
from quadnet.registry import atomic_files, registry_marker, tombstones, version_files
from quadnet.registry.alias_log import find_previous_target, make_trail
from quadnet.registry.manifest import Manifest
from quadnet.registry.registry import Registry


@dataclass(frozen=True)
class RetentionPolicy:
    """What garbage collection keeps.

    Parameters
    ----------
    newest : int
        Number of a model's newest versions to keep; at least 1.
    days : float
        Keep versions younger than this many days.
    generations : int
        Keep the targets of all aliases in this many of the newest generations of the alias log.
    grace : float
        Keep unfinished files and directories younger than this many seconds: another process may
        still write them.
    """

    newest: int = 10
    days: float = 7.0
    generations: int = 20
    grace: float = 3600.0


@dataclass(frozen=True)
class Removable:
    """A removable version, or litter, which has neither a model nor a version number."""

    path: Path
    what: str
    size: int
    model: str = ""
    version: int = 0


def find_removable(registry: Registry, policy: RetentionPolicy) -> Iterator[Removable]:
    """Yield everything that the policy does not keep.

    Raises
    ------
    RegistryError
        If the aliases of a model cannot be read, because the versions they protect are unknown.
    """
    if not registry_marker.check_marker(registry.root):
        return
    for directory in (registry.root, registry.root / "models"):
        yield from _find_litter(directory, policy)
    for model in registry.model_directories():
        home = registry.home(model)
        for directory in (home, home / "versions", home / "aliases"):
            yield from _find_litter(directory, policy)
        yield from _find_litter(home / ".staging", policy, prefix="", what="unfinished version")
        yield from _find_litter(home / ".trash", policy, prefix="", what="partly removed litter")
        yield from _find_versions(registry, model, policy)


def _find_versions(registry: Registry, model: str, policy: RetentionPolicy) -> Iterator[Removable]:
    protected = _find_protected(registry, model, policy)
    for version in registry.version_numbers(model):
        path = registry.path(model, version)
        if tombstones.is_removed(path):
            if _list_payload(path):
                yield Removable(
                    path, "files of a removed version", _size_in_bytes(path), model, version
                )
        elif version in protected or _is_young(path, policy):
            if path.is_dir():
                yield from _find_litter(
                    path, policy, prefix=tombstones.MARK_PREFIX, what="mark of a killed gc"
                )
        else:
            what = f"{model} version {version}"
            yield Removable(path, what, _size_in_bytes(path), model, version)


def remove_item(registry: Registry, item: Removable, policy: RetentionPolicy) -> bool:
    """Remove the item, unless an alias now points to it; return whether it was removed.

    Raises
    ------
    RegistryError
        If the registry cannot be written.
    """
    with registry.explaining_write_errors():
        if item.version:
            return _remove_version(registry, item, policy)
        if not item.path.is_dir():
            item.path.unlink(missing_ok=True)
        elif item.path.name.startswith(atomic_files.TEMPORARY_PREFIX):
            with suppress(FileNotFoundError):
                item.path.rmdir()
        else:
            # Move it first, so that a process that still writes there fails at once.
            trash = item.path.parent.parent / ".trash" / str(uuid.uuid4())
            atomic_files.make_directories(trash.parent)
            try:
                item.path.rename(trash)
            except FileNotFoundError:
                return False
            shutil.rmtree(trash, ignore_errors=True)  # another gc may be removing it, too
            if trash.exists():
                raise RegistryError(f"{trash} cannot be removed. Remove it by hand.")
        return True


def _remove_version(registry: Registry, item: Removable, policy: RetentionPolicy) -> bool:
    path = item.path
    if not tombstones.is_removed(path):
        mark = tombstones.place_mark(path, "removed by models gc")
        # Check again, now that writers of aliases can see the mark.
        if item.version in _find_protected(registry, item.model, policy) or _is_young(path, policy):
            mark.unlink(missing_ok=True)
            return False
        if not tombstones.turn_into_tombstone(mark):
            return False
    for file in _list_payload(path):
        file.unlink(missing_ok=True)
    atomic_files.sync_directory(path)
    return True


def _find_protected(registry: Registry, model: str, policy: RetentionPolicy) -> set[int]:
    """Return the versions that the policy keeps, whatever their age."""
    log = registry.alias_log(model)
    # In this order: a generation that is no longer pending here is in the log by then.
    pending = list(log.pending())
    history = list(log.history())
    maps = [*pending, *history[: max(policy.generations, 1)]]
    protected = {target.version for each in maps for target in each.aliases.values()}
    for alias in history[0].aliases if history else ():
        back = find_previous_target(make_trail(alias, history))
        if back is not None:
            protected.add(back[1].version)
    return protected | set(registry.versions(model)[-max(policy.newest, 1) :])


def _is_young(directory: Path, policy: RetentionPolicy) -> bool:
    """Return whether the version is too young to remove, or its age cannot be read."""
    try:
        created = Manifest.from_json(version_files.read_manifest(directory)).created.timestamp()
    except (CorruptVersion, ValueError, OverflowError):
        return True
    return _age_in_seconds(created) < policy.days * 86_400


def _find_litter(
    directory: Path,
    policy: RetentionPolicy,
    *,
    prefix: str = atomic_files.TEMPORARY_PREFIX,
    what: str = "unfinished file",
) -> Iterator[Removable]:
    """Yield what a killed process left unfinished; hidden files with other names are kept."""
    for name in atomic_files.list_names(directory):
        path = directory / name
        ours = name.startswith(prefix) if prefix else not name.startswith(".")
        if ours and _is_abandoned(path, policy.grace):
            yield Removable(path, what, _size_in_bytes(path))


def _is_abandoned(path: Path, grace: float) -> bool:
    try:
        return _age_in_seconds(path.lstat().st_mtime) >= grace
    except FileNotFoundError:  # another process has just finished it
        return False


def _age_in_seconds(moment: float) -> float:
    """Return the distance to `moment` in seconds.

    If the clock was set back, older files have times in the future. They must not count as new.
    """
    return abs(time.time() - moment)


def _list_payload(directory: Path) -> list[Path]:
    names = atomic_files.list_names(directory)
    return [directory / name for name in names if name != tombstones.TOMBSTONE_NAME]


def _size_in_bytes(path: Path) -> int:
    """Return the size of a file, or of all files in a directory."""
    try:
        if path.is_dir():
            return sum(entry.lstat().st_size for entry in path.iterdir())
        return path.lstat().st_size
    except OSError:  # another process has just removed it
        return 0
