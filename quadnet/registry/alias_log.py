"""The alias log of one model: append-only, one file per generation, each with the whole map.

One exclusive link makes a generation appear, complete or not at all. So the slower of two writers
gets an error and tries again, and a reader needs no lock. The newest generation is in force. Each
has a checksum of its content and the digest of the generation before it, which reveal damage and
edited history.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from quadnet.errors import Conflict, NotFound, RegistryError, listing, shorten
from quadnet.records import Frozen
from quadnet.registry import atomic_files
from quadnet.registry.manifest import (
    Publisher,
    Sha256,
    current_publisher,
    seal,
    unseal,
)

_GENERATION_NAME = re.compile(r"[0-9]{8,}\.json")

_MAX_BYTES = 2**24


class AliasTarget(Frozen):
    """The version an alias points to, and the sha256 of that version's manifest."""

    version: Annotated[int, Field(ge=1)]
    manifest_sha256: Sha256


Targets = dict[str, AliasTarget]

Trail = list[tuple[int, AliasTarget | None]]
"""The targets of an alias, oldest first: the first generation of each, and the target."""


class AliasMap(Frozen):
    """One generation of a model's aliases: the whole map, not a change to it."""

    schema_version: Literal[1] = 1
    generation: Annotated[int, Field(ge=0)] = 0
    aliases: Targets = Field(default_factory=dict)
    restored: dict[str, int] = Field(default_factory=dict)
    """For each alias rolled back in this generation, the generation that has its target."""
    at: datetime | None = None
    by: Publisher | None = None
    reason: str = ""
    previous_sha256: Sha256 | None = None


class AliasLog:
    """The generations in a directory, which may not exist yet."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def newest(self) -> AliasMap:
        """Return the newest generation; an empty map if the log is empty.

        Raises
        ------
        RegistryError
            If the newest generation cannot be read. Falling back to an older one would silently
            undo a change of aliases.
        """
        return self._newest()[0]

    def history(self) -> Iterator[AliasMap]:
        """Yield every generation, newest first.

        Raises
        ------
        RegistryError
            If a generation cannot be read, or its digest is not the one in its successor.
        """
        expected: str | None = None
        following = None
        for path in reversed(self._paths()):
            current, digest = _read_generation(path)
            if following is not None and (
                digest != expected or current.generation != following - 1
            ):
                raise RegistryError(
                    f"{path} is not the predecessor that generation {following} was made from: "
                    "the history of the model's aliases was changed by hand, or part of it is "
                    "lost. Restore the directory from a backup."
                )
            yield current
            expected, following = current.previous_sha256, current.generation
        if following not in (None, 1):
            raise RegistryError(
                f"Expected generations from number 1 on in {self.directory}, found number "
                f"{following} first: the older files are lost. Restore them from a backup."
            )

    def pending(self) -> Iterator[AliasMap]:
        """Yield the generations that a writer is about to append, or was killed while appending."""
        for name in atomic_files.list_names(self.directory):
            if name.startswith(atomic_files.TEMPORARY_PREFIX):
                # Skip incomplete or vanished files: `tombstones` explains why that is safe.
                with suppress(RegistryError):
                    yield _parse_generation(self.directory / name)[0]

    def rollback_target(self, alias: str) -> tuple[int, AliasTarget]:
        """Return the generation that a rollback of the alias restores, and the target in it.

        Raises
        ------
        NotFound
            If the alias does not exist or has no previous target.
        """
        trail = make_trail(alias, list(self.history()))
        present = trail[-1][1] if trail else None
        if present is None:
            raise NotFound(f"There is no alias {shorten(alias)} to roll back.")
        found = find_previous_target(trail)
        if found is None:
            version = present.version
            raise NotFound(f"The alias {alias!r} had no other target before version {version}.")
        return found

    def target_at(self, number: int, alias: str) -> tuple[int, AliasTarget]:
        """Return the number and the alias's target in that generation; raise NotFound if absent."""
        for generation in self.history():
            if generation.generation == number and alias in generation.aliases:
                return number, generation.aliases[alias]
        raise NotFound(f"The alias {alias!r} has no target in generation {number}.")

    def append(
        self,
        change: Callable[[Targets], Targets],
        *,
        reason: str,
        expected_generation: int | None = None,
        restored: Mapping[str, int] | None = None,
        check: Callable[[Targets, Targets], None] = lambda current, following: None,
    ) -> AliasMap:
        """Append the generation that `change` makes of the newest one, and return it.

        If another writer appends first, `change` is called again with the map of that writer, or
        Conflict is raised if a generation was expected. `check` receives both maps at the moment
        when `pending` yields the new one and it is not yet in force; an exception from `check`
        cancels the change.

        Raises
        ------
        Conflict
            If the newest generation is not the expected one.
        """
        while True:
            current, digest = self._newest()
            if expected_generation not in (None, current.generation):
                raise Conflict(
                    f"Expected the aliases at generation {expected_generation}, found generation "
                    f"{current.generation}: {_describe_targets(current.aliases)}. Nothing was "
                    "changed."
                )
            following = AliasMap(
                generation=current.generation + 1,
                aliases=change(dict(current.aliases)),
                restored=dict(restored or {}),
                at=datetime.now(UTC),
                by=current_publisher(),
                reason=reason,
                previous_sha256=digest,
            )
            atomic_files.make_directories(self.directory)
            path = self.directory / _file_name(following.generation)
            confirm = partial(check, current.aliases, following.aliases)
            if atomic_files.write_if_absent(path, seal(following), check=confirm):
                return following

    def _newest(self) -> tuple[AliasMap, str | None]:
        """Return the newest generation and its file's digest, or an empty map and None."""
        paths = self._paths()
        return _read_generation(paths[-1]) if paths else (AliasMap(), None)

    def _paths(self) -> list[Path]:
        """Return the paths of the generations, oldest first."""
        names = [
            n for n in atomic_files.list_names(self.directory) if _GENERATION_NAME.fullmatch(n)
        ]
        return [self.directory / name for name in sorted(names, key=lambda name: (len(name), name))]


def make_trail(alias: str, history: Sequence[AliasMap]) -> Trail:
    """Return the targets of the alias through a history that starts at the newest generation.

    A rollback removes the targets that it skipped, so that no later rollback restores them.
    """
    trail: Trail = []
    for generation in reversed(history):
        if alias in generation.restored:
            trail = [step for step in trail if step[0] <= generation.restored[alias]]
        target = generation.aliases.get(alias)
        if target != (trail[-1][1] if trail else None):
            trail.append((generation.generation, target))
    return trail


def find_previous_target(trail: Trail) -> tuple[int, AliasTarget] | None:
    """Return the last step with another target than the current one; None if there is no such."""
    for generation, target in reversed(trail):
        if target is not None and target != trail[-1][1]:
            return generation, target
    return None


def _file_name(generation: int) -> str:
    return f"{generation:08d}.json"


def _read_generation(path: Path) -> tuple[AliasMap, str]:
    """Return the generation in a file, whose name must be its number, and the file's digest."""
    generation, digest = _parse_generation(path)
    if path.name != _file_name(generation.generation):
        raise RegistryError(
            f"{path} contains generation {generation.generation}: the file was copied or renamed. "
            "Remove it, or restore its name."
        )
    return generation, digest


def _parse_generation(path: Path) -> tuple[AliasMap, str]:
    """Return the generation in a file, and the file's digest."""
    try:
        content = atomic_files.read_limited(path, _MAX_BYTES)
        generation = unseal(AliasMap, content)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RegistryError(
            f"{path} cannot be read, and it holds the targets of the model's aliases: "
            f"{reason}. Restore the file, or remove it to return to the generation before."
        ) from error
    return generation, hashlib.sha256(content).hexdigest()


def _describe_targets(targets: Targets) -> str:
    return listing([f"{alias}={target.version}" for alias, target in sorted(targets.items())])
