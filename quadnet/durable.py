"""Files that survive a crash: written whole, flushed to the disk, never over an existing one."""

import os
import uuid
from pathlib import Path

from quadnet.errors import RegistryError


def entries(directory: Path) -> list[str]:
    """Return the names in the directory; none if it is not there.

    Raises
    ------
    RegistryError
        If it is there and cannot be read: that must not pass for empty.
    """
    try:
        return [entry.name for entry in directory.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RegistryError(
            f"The registry's {directory} cannot be read: {error.strerror}. Mend that, or name "
            "another registry with --registry."
        ) from error


def write(path: Path, content: bytes) -> None:
    """Create the file, write it whole, and flush it to the disk; an existing file is an error."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_if_absent(path: Path, content: bytes) -> bool:
    """Make the file appear whole, on the disk, unless its name is taken; say whether it did."""
    temporary = path.parent / f".new-{uuid.uuid4()}"
    write(temporary, content)
    try:
        # A link, unlike a rename, fails if the name is taken.
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    sync_directory(path.parent)
    return True


def sync_directory(path: Path) -> None:
    """Flush the directory's entries to the disk: until then a crash may undo a rename."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path: Path) -> None:
    """Create the directory and its missing parents, each of them flushed into its own parent."""
    if path.is_dir():
        return
    make_directories(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)
