"""The aliases of one model: an append-only log of the whole map, one file a generation.

A generation appears by one exclusive link, complete or not at all, so a writer that comes second
sees that it is second, and a reader needs no lock. The newest is the one that counts. Each carries
its own checksum and names the digest of the one before it, so that neither damage nor a rewriting
of history goes unseen.
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
from quadnet.registry import atomic_files
from quadnet.registry.manifest import (
    Frozen,
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
"""The steps of an alias, oldest first: a generation, and its target from there on, None if none."""


class AliasMap(Frozen):
    """One generation of a model's aliases: the whole map, never a change to it."""

    schema_version: Literal[1] = 1
    generation: Annotated[int, Field(ge=0)] = 0
    aliases: Targets = Field(default_factory=dict)
    restored: dict[str, int] = Field(default_factory=dict)
    """Of an alias that was rolled back here, the generation that its target was taken from."""
    at: datetime | None = None
    by: Publisher | None = None
    reason: str = ""
    previous_sha256: Sha256 | None = None


class AliasLog:
    """The generations in a directory, which need not exist yet."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def newest(self) -> AliasMap:
        """Return the newest generation; an empty map if there is none.

        Raises
        ------
        RegistryError
            If the newest generation cannot be read. An older one must not be taken for it: that
            would undo a change of aliases without a word.
        """
        return self._newest()[0]

    def history(self) -> Iterator[AliasMap]:
        """Yield every generation, newest first.

        Raises
        ------
        RegistryError
            If one cannot be read, or is not the one that the next was made after.
        """
        expected: str | None = None
        following = None
        for path in reversed(self._paths()):
            current, digest = _read_generation(path)
            if following is not None and (
                digest != expected or current.generation != following - 1
            ):
                raise RegistryError(
                    f"{path} is not the generation that the one after it was made from: the "
                    "history of the model's aliases was changed by hand, or part of it is lost."
                )
            yield current
            expected, following = current.previous_sha256, current.generation
        if following not in (None, 1):
            raise RegistryError(
                f"{self.directory} has lost the generations before number {following}."
            )

    def pending(self) -> Iterator[AliasMap]:
        """Yield the generations that somebody is about to append, or died appending."""
        for name in atomic_files.list_names(self.directory):
            if name.startswith(atomic_files.TEMPORARY_PREFIX):
                # What is not whole yet, or no more there, needs no heed: see tombstones.py.
                with suppress(RegistryError):
                    yield _parse_generation(self.directory / name)[0]

    def rollback_target(self, alias: str) -> tuple[int, AliasTarget]:
        """Return where a rollback of the alias leads: a generation, and the target in it.

        Raises
        ------
        NotFound
            If there is nothing to go back to.
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
        """Return this generation's number and the alias's target in it; raise NotFound if none."""
        for generation in self.history():
            if generation.generation == number and alias in generation.aliases:
                return number, generation.aliases[alias]
        raise NotFound(f"The alias {alias!r} pointed to nothing in generation {number}.")

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

        Where another writer is faster, `change` is asked again, with what that writer wrote;
        unless a generation was expected, which it then is not. `check` is given both maps when
        the new one can be seen by `pending` and does not count yet; what it raises ends it.

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
        """Return the newest generation, and its file's digest if it has one."""
        paths = self._paths()
        return _read_generation(paths[-1]) if paths else (AliasMap(), None)

    def _paths(self) -> list[Path]:
        """Return the generations' files, oldest first."""
        names = [
            n for n in atomic_files.list_names(self.directory) if _GENERATION_NAME.fullmatch(n)
        ]
        return [self.directory / name for name in sorted(names, key=lambda name: (len(name), name))]


def make_trail(alias: str, history: Sequence[AliasMap]) -> Trail:
    """Return the alias's trail through a history, which comes newest first.

    A rollback takes off the trail what it went back over, so that nothing ever leads to it again.
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
    """Return the last step of the trail that led elsewhere than its end does; None if none did."""
    for generation, target in reversed(trail):
        if target is not None and target != trail[-1][1]:
            return generation, target
    return None


def _file_name(generation: int) -> str:
    return f"{generation:08d}.json"


def _read_generation(path: Path) -> tuple[AliasMap, str]:
    """Return the generation that the file is named for, and the file's digest."""
    generation, digest = _parse_generation(path)
    if path.name != _file_name(generation.generation):
        raise RegistryError(
            f"{path} says that it is generation {generation.generation}: it was copied or renamed. "
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
            f"{path} cannot be read, and it says which versions the model's aliases point to: "
            f"{reason}. Restore it, or remove it to go back to the generation before."
        ) from error
    return generation, hashlib.sha256(content).hexdigest()


def _describe_targets(targets: Targets) -> str:
    return listing([f"{alias}={target.version}" for alias, target in sorted(targets.items())])
