"""Files that survive a crash: written whole, flushed to the disk, never over an existing one.

What is published is there to be read, whatever the umask of who publishes it: files are readable
by all and writable by none, directories can be entered by all.
"""

import errno
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from quadnet.errors import RegistryError

TEMPORARY = ".new-"
"""How the name of a file begins that is not yet whole, and of a directory not yet in place."""


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
        raise _unreadable(directory, error) from error


def exists(path: Path) -> bool:
    """Return whether the path exists, a dangling link included.

    Raises
    ------
    RegistryError
        If that cannot be found out.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unreadable(path, error) from error
    return True


def _unreadable(path: Path, error: OSError) -> RegistryError:
    return RegistryError(
        f"The registry's {path} cannot be read: {error.strerror}. Mend that, or name another "
        "registry with --registry."
    )


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; raise OSError if it is anything but a plain one."""
    # Else the opening of a FIFO would wait for somebody who writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a plain file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read(path: Path, limit: int) -> bytes:
    """Return a plain file's content; raise OSError if it is longer than the limit, in bytes."""
    with opened(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"Longer than {limit:,} bytes", str(path))
    return content


def write(path: Path, content: bytes) -> None:
    """Create the file, write it whole, and flush it to the disk; an existing file is an error."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), 0o444)
        os.fsync(file.fileno())


def write_if_absent(
    path: Path, content: bytes, *, check: Callable[[], None] = lambda: None
) -> bool:
    """Make the file appear whole, on the disk, unless its name is taken; say whether it did.

    `check` is called when the content is there for all to see, under a temporary name, and not
    yet under its own; what it raises leaves nothing behind.
    """
    temporary = path.parent / f"{TEMPORARY}{uuid.uuid4()}"
    try:
        write(temporary, content)
        check()
        # A link, unlike a rename, fails if the name is taken.
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
    return True


def rename_exclusively(source: Path, target: Path) -> bool:
    """Rename a directory that holds something, unless the name is taken; say whether it did."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True


def sync_directory(path: Path) -> None:
    """Flush the directory's entries to the disk: until then a crash may undo a rename."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create one directory, which all may enter."""
    path.mkdir()
    path.chmod(path.stat().st_mode | 0o555)


def make_directories(path: Path) -> None:
    """Create the directory and its missing parents, each of them flushed into its own parent."""
    if not path.is_dir():
        if not path.parent.is_dir():
            make_directories(path.parent)
        # Under another name first: who died before the chmod would shut out others for ever.
        temporary = path.parent / f"{TEMPORARY}{uuid.uuid4()}"
        make_directory(temporary)
        try:
            rename_exclusively(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                temporary.rmdir()
    # If it was there, too: who made it may have died before this. A parent that may be entered
    # but not listed is none of ours, and cannot be flushed.
    with suppress(PermissionError):
        sync_directory(path.parent)
