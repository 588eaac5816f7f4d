"""Files that survive a crash: written whole, flushed to the disk, never over an existing one."""

import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Create the file, write it whole, and flush it to the disk; an existing file is an error."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


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
