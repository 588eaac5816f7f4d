"""Tombstones: how a version goes, so that its number never comes back.

A version's directory stays for ever. Whoever removes the version first lays a mark in it, then
looks at the aliases once more, those included that are just being written; if none needs it, the
mark is renamed to the tombstone, and with that the version is gone. Whoever points an alias at a
version first writes down the new map for all to see, and looks for marks and tombstones before it
becomes the map that counts. So one of the two always sees the other, and gives way.
"""

import uuid
from datetime import UTC, datetime
from pathlib import Path

from quadnet.registry import atomic_files
from quadnet.registry.manifest import Frozen, seal

TOMBSTONE_NAME = "TOMBSTONE.json"
"""No file of a version can be called so: theirs are in lower case."""

MARK_PREFIX = ".doomed-"
"""How the name of a mark begins."""


class Tombstone(Frozen):
    """When a version was marked, and why."""

    at: datetime
    reason: str


def place_mark(directory: Path, reason: str) -> Path:
    """Mark the version in this directory, and return the mark."""
    path = directory / f"{MARK_PREFIX}{uuid.uuid4()}"
    atomic_files.write_new_file(path, seal(Tombstone(at=datetime.now(UTC), reason=reason)))
    return path


def turn_into_tombstone(mark: Path) -> bool:
    """Make the mark the tombstone, unless somebody has swept the mark away; say whether it is."""
    try:
        mark.rename(mark.with_name(TOMBSTONE_NAME))
    except FileNotFoundError:
        return False
    atomic_files.sync_directory(mark.parent)
    return True


def is_removed(directory: Path) -> bool:
    """Whether there was a version here that was removed."""
    try:
        return (directory / TOMBSTONE_NAME).exists()
    except OSError:  # nobody knows; who reads the version will hear why
        return False


def is_being_removed(directory: Path) -> bool:
    """Whether the version here was removed, or somebody is about to."""
    return is_removed(directory) or any(
        name.startswith(MARK_PREFIX) for name in atomic_files.list_names(directory)
    )
