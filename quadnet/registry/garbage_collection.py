"""What may go: old versions that nothing points to, and what crashes left behind.

Nothing an alias points to, or pointed to lately, is ever removed, nor the newest versions, nor
young ones. See tombstones.py for how a version goes while others point aliases and read.
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
    """What is kept.

    Parameters
    ----------
    newest : int
        So many of a model's newest versions; at least 1.
    days : float
        Versions younger than this.
    generations : int
        What any alias pointed to in so many of the last changes of aliases.
    grace : float
        Seconds for which what looks abandoned is left alone: it may be somebody's work.
    """

    newest: int = 10
    days: float = 7.0
    generations: int = 20
    grace: float = 3600.0


@dataclass(frozen=True)
class Removable:
    """Something that may go: a version (its model and number), or litter (neither)."""

    path: Path
    what: str
    size: int
    model: str = ""
    version: int = 0


def find_removable(registry: Registry, policy: RetentionPolicy) -> Iterator[Removable]:
    """Yield everything that the policy lets go.

    Raises
    ------
    RegistryError
        If the aliases of a model cannot be read: nobody knows what they protect.
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
        yield from _find_litter(home / ".trash", policy, prefix="", what="swept-up rest")
        yield from _find_versions(registry, model, policy)


def _find_versions(registry: Registry, model: str, policy: RetentionPolicy) -> Iterator[Removable]:
    protected = _find_protected(registry, model, policy)
    for version in registry.version_numbers(model):
        path = registry.path(model, version)
        if tombstones.is_removed(path):
            if _list_payload(path):
                yield Removable(
                    path, "rest of a removed version", _size_in_bytes(path), model, version
                )
        elif version in protected or _is_young(path, policy):
            if path.is_dir():
                yield from _find_litter(
                    path, policy, prefix=tombstones.MARK_PREFIX, what="mark of a dead gc"
                )
        else:
            what = f"{model} version {version}"
            yield Removable(path, what, _size_in_bytes(path), model, version)


def remove_item(registry: Registry, item: Removable, policy: RetentionPolicy) -> bool:
    """Remove it, unless an alias has come to need it meanwhile; say whether it is gone.

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
            # Out of reach of who may still be writing it, before anything in it goes.
            trash = item.path.parent.parent / ".trash" / str(uuid.uuid4())
            atomic_files.make_directories(trash.parent)
            try:
                item.path.rename(trash)
            except FileNotFoundError:
                return False
            shutil.rmtree(trash, ignore_errors=True)  # another gc may be sweeping it, too
            if trash.exists():
                raise RegistryError(f"{trash} cannot be removed. Remove it by hand.")
        return True


def _remove_version(registry: Registry, item: Removable, policy: RetentionPolicy) -> bool:
    path = item.path
    if not tombstones.is_removed(path):
        mark = tombstones.place_mark(path, "removed by models gc")
        # Looked at again, now that whoever points an alias at it can see the mark.
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
    """Return the versions that must stay, whatever their age."""
    log = registry.alias_log(model)
    # In this order: what is no longer pending when it is looked for is in the log by then.
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
    """Whether the version is too young to go; if that cannot be read, it stays to be looked at."""
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
    """Yield what a process left unfinished when it died; hidden files of others are not ours."""
    for name in atomic_files.list_names(directory):
        path = directory / name
        ours = name.startswith(prefix) if prefix else not name.startswith(".")
        if ours and _is_abandoned(path, policy.grace):
            yield Removable(path, what, _size_in_bytes(path))


def _is_abandoned(path: Path, grace: float) -> bool:
    try:
        return _age_in_seconds(path.lstat().st_mtime) >= grace
    except FileNotFoundError:  # it was finished meanwhile
        return False


def _age_in_seconds(moment: float) -> float:
    """Return how many seconds it is away.

    After the clock was set back, what was written before it lies in the future, and is no newer
    for it.
    """
    return abs(time.time() - moment)


def _list_payload(directory: Path) -> list[Path]:
    names = atomic_files.list_names(directory)
    return [directory / name for name in names if name != tombstones.TOMBSTONE_NAME]


def _size_in_bytes(path: Path) -> int:
    """Return its bytes, those of a directory's files included."""
    try:
        if path.is_dir():
            return sum(entry.lstat().st_size for entry in path.iterdir())
        return path.lstat().st_size
    except OSError:  # it went meanwhile
        return 0
