"""The marker of a registry: one file with the format number and the id of the registry."""

import uuid
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from quadnet.errors import ErrorKind, RegistryError
from quadnet.records import Frozen
from quadnet.registry import atomic_files

MARKER_NAME = "registry.json"

FORMAT: Literal[1] = 1

_MAX_BYTES = 2**16

_HARMLESS = {"lost+found", "README", "README.md", "README.txt", "Thumbs.db", "desktop.ini"}
"""Names allowed in a directory that becomes a registry; hidden files are allowed too."""


class Marker(Frozen):
    """Content of registry.json: the format number of the registry and a unique id."""

    format: Literal[1]
    id: str


def check_marker(root: Path) -> bool:
    """Return whether a registry exists; raise RegistryError if its format is unknown."""
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
            f"Expected a registry of format {FORMAT} in {root / MARKER_NAME}, found "
            "another format. Use the release of Quadnet that wrote it."
        ) from error
    return True


def initialize_registry(root: Path) -> None:
    """Make the directory a registry; raise RegistryError if it has other files."""
    if check_marker(root):
        return
    atomic_files.make_directories(root)
    path = root / MARKER_NAME
    strangers = sorted(
        name
        for name in atomic_files.list_names(root)
        if name not in _HARMLESS and not name.startswith(".")
    )
    # Check the marker again: another publisher may have just written it.
    if strangers and not path.exists():
        raise RegistryError(
            f"Expected a registry or an empty directory at {root}, found {strangers[0]!r} in it.",
            kind=ErrorKind.REGISTRY_NOT_EMPTY,
        )
    content = Marker(format=FORMAT, id=str(uuid.uuid4())).model_dump_json() + "\n"
    # If another publisher writes its marker first, that one is kept.
    atomic_files.write_if_absent(path, content.encode())
