"""The aliases of one model: an append-only log of the whole map, one file a generation.

A generation appears by one exclusive link, complete or not at all, so a writer that comes second
sees that it is second, and a reader needs no lock. The newest is the one that counts.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quadnet import durable
from quadnet.errors import RegistryError
from quadnet.manifest import Sha256

_GENERATION_NAME = re.compile(r"(\d{8,})\.json")


class AliasTarget(BaseModel):
    """The version an alias points to, and the sha256 of that version's manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Annotated[int, Field(ge=1)]
    manifest_sha256: Sha256


class AliasMap(BaseModel):
    """One generation of a model's aliases: the whole map, never a change to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_version: Literal[1] = 1
    generation: Annotated[int, Field(ge=0)] = 0
    aliases: dict[str, AliasTarget] = {}
    at: datetime | None = None
    reason: str = ""


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
        names = [n for n in durable.entries(self.directory) if _GENERATION_NAME.fullmatch(n)]
        if not names:
            return AliasMap()
        path = self.directory / max(names, key=lambda name: (len(name), name))
        try:
            return AliasMap.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise RegistryError(
                f"{path} cannot be read, and it says which versions the model's aliases point to. "
                "Restore it, or remove it to go back to the generation before."
            ) from error

    def append(
        self,
        change: Callable[[dict[str, AliasTarget]], dict[str, AliasTarget]],
        *,
        reason: str,
    ) -> AliasMap:
        """Append the generation that `change` makes of the newest one, and return it.

        Where another writer is faster, `change` is asked again, with what that writer wrote.
        """
        durable.make_directories(self.directory)
        while True:
            current = self.newest()
            following = AliasMap(
                generation=current.generation + 1,
                aliases=change(dict(current.aliases)),
                at=datetime.now(UTC),
                reason=reason,
            )
            path = self.directory / f"{following.generation:08d}.json"
            content = following.model_dump_json(indent=1).encode() + b"\n"
            if durable.write_if_absent(path, content):
                return following
