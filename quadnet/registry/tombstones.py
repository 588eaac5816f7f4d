"""Tombstones: remove a version so that its number is never used again.

The directory of a removed version stays. Removal has three steps: place a mark in the directory,
read all aliases again, pending changes included, and rename the mark to the tombstone if no alias
points to the version. A change of aliases has three steps too: write the new map under a temporary
name, look for marks and tombstones of its targets, and link the map into the log. So at least one
of two concurrent processes sees the other, and gives up.
"""

import uuid
from datetime import UTC, datetime
from pathlib import Path

from quadnet.records import Frozen
from quadnet.registry import atomic_files
from quadnet.registry.manifest import seal

TOMBSTONE_NAME = "TOMBSTONE.json"
"""Upper case, because all names of a version's files are lower case."""

MARK_PREFIX = ".doomed-"
"""Prefix of the names of marks."""


class Tombstone(Frozen):
    """Time and reason of a removal."""

    at: datetime
    reason: str


def place_mark(directory: Path, reason: str) -> Path:
    """Place a mark in the directory of a version, and return the path of the mark."""
    path = directory / f"{MARK_PREFIX}{uuid.uuid4()}"
    atomic_files.write_new_file(path, seal(Tombstone(at=datetime.now(UTC), reason=reason)))
    return path


def turn_into_tombstone(mark: Path) -> bool:
    """Rename the mark to the tombstone; return False if another process removed the mark."""
    try:
        mark.rename(mark.with_name(TOMBSTONE_NAME))
    except FileNotFoundError:
        return False
    atomic_files.sync_directory(mark.parent)
    return True


def is_removed(directory: Path) -> bool:
    """Return whether the version in this directory was removed."""
    try:
        return (directory / TOMBSTONE_NAME).exists()
    except OSError:  # unknown: the next read of the version reports the error
        return False


def is_being_removed(directory: Path) -> bool:
    """Return whether the version in this directory was removed or is being removed."""
    return is_removed(directory) or any(
        name.startswith(MARK_PREFIX) for name in atomic_files.list_names(directory)
    )
