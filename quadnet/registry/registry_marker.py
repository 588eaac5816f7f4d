"""The marker of a registry: one file that says what the directory is, and in which format."""

import uuid
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from quadnet.errors import ErrorKind, RegistryError
from quadnet.registry import atomic_files
from quadnet.registry.manifest import SCHEMA_VERSION, Frozen

MARKER_NAME = "registry.json"

_MAX_BYTES = 2**16

_HARMLESS = {"lost+found", "README", "README.md", "README.txt", "Thumbs.db", "desktop.ini"}
"""What a directory may hold before it becomes a registry, besides hidden files such as .gitkeep."""


class Marker(Frozen):
    """What registry.json says: the format of everything below it, and a name for this registry."""

    format: Literal[1]
    id: str


def check_marker(root: Path) -> bool:
    """Refuse a registry that other code has written; say whether there is one."""
    try:
        content = atomic_files.read_limited(root / MARKER_NAME, _MAX_BYTES)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RegistryError(f"The registry {root} cannot be read: {error.strerror}.") from error
    try:
        Marker.model_validate_json(content)
    except ValidationError as error:
        raise RegistryError(
            f"{root / MARKER_NAME} does not say that the registry has format "
            f"{SCHEMA_VERSION}, the only one that this version of Quadnet knows."
        ) from error
    return True


def initialize_registry(root: Path) -> None:
    """Make the directory a registry, if it is none yet and holds nothing else."""
    if check_marker(root):
        return
    atomic_files.make_directories(root)
    path = root / MARKER_NAME
    strangers = sorted(
        name
        for name in atomic_files.list_names(root)
        if name not in _HARMLESS and not name.startswith(".")
    )
    # Looked for again: another publisher may have made the registry just now.
    if strangers and not path.exists():
        raise RegistryError(
            f"{root} is no registry and not empty: it holds {strangers[0]!r}.",
            kind=ErrorKind.REGISTRY_NOT_EMPTY,
        )
    content = Marker(format=SCHEMA_VERSION, id=str(uuid.uuid4())).model_dump_json() + "\n"
    # Another publisher may be first; either marker will do.
    atomic_files.write_if_absent(path, content.encode())
