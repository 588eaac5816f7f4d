"""Files that survive a crash: written whole, flushed to the disk, never over an existing one.

What is published is there to be read, whatever the umask of who publishes it: files are readable
by all and writable by none, directories can be entered by all.

Not every file system can do all of this; FUSE and network file systems often cannot. One without
fsync or chmod is used with a warning: complete files appear there all the same. One without hard
links is refused, as two publishers could not be told apart there.
"""

import errno
import os
import stat
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from quadnet.errors import ErrorKind, RegistryError

_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
"""What the system answers to a call that a file system does not have."""


class FileSystemWarning(UserWarning):
    """The file system lacks something; what cannot be relied upon there is in the message."""


TEMPORARY_PREFIX = ".new-"
"""How the name of a file begins that is not yet whole, and of a directory not yet in place."""


def list_names(directory: Path) -> list[str]:
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
        raise _unreadable_error(directory, error) from error


def path_exists(path: Path) -> bool:
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
        raise _unreadable_error(path, error) from error
    return True


def _unreadable_error(path: Path, error: OSError) -> RegistryError:
    return RegistryError(
        f"The registry's {path} cannot be read: {error.strerror}.",
        kind=ErrorKind.REGISTRY_INACCESSIBLE,
    )


@contextmanager
def open_regular_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; raise OSError if it is anything but a plain one."""
    # Else the opening of a FIFO, which Windows has not, would wait for somebody who writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a plain file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read_limited(path: Path, limit: int) -> bytes:
    """Return a plain file's content; raise OSError if it is longer than the limit, in bytes."""
    with open_regular_file(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"Longer than {limit:,} bytes", str(path))
    return content


def write_new_file(path: Path, content: bytes) -> None:
    """Create the file, write it whole, and flush it to the disk; an existing file is an error."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        if sys.platform != "win32":  # where nothing can rename or remove a read-only file
            with warn_if_unsupported(
                "chmod", path, "Other users may not be able to read what is written."
            ):
                os.fchmod(file.fileno(), 0o444)
        sync_file(file.fileno(), path)


def sync_file(descriptor: int, path: Path) -> None:
    """Flush a file's content to the disk."""
    with warn_if_unsupported(
        "fsync", path, "What was written last may be lost if the machine crashes."
    ):
        os.fsync(descriptor)


def lock_file(descriptor: int, path: Path, consequence: str, *, wait: bool) -> None:
    """Keep other processes out of an open file until it is closed, however the process ends.

    Where there are no such locks, warn of the consequence.

    Raises
    ------
    BlockingIOError
        If another process has the file, and not `wait`.
    """
    with warn_if_unsupported("flock", path, consequence):
        if sys.platform == "win32":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        import fcntl  # noqa: PLC0415 - Windows has no such module

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def resolve_link(path: Path) -> Path:
    """Return where a symbolic link leads, or the path itself if it is none.

    A rename to the link's own name would replace the link, not the file that its user means.
    """
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def warn_if_unsupported(operation: str, path: Path, consequence: str) -> Iterator[None]:
    """Turn an operation that the file system does not have into a warning; name any other."""
    try:
        yield
    except OSError as error:
        # FAT has no modes at all, and says EPERM to an owner.
        denied = operation == "chmod" and error.errno == errno.EPERM
        if error.errno not in _UNSUPPORTED and not denied:
            raise _name_operation(error, operation, path) from error
        # Without the path: Python then shows it once, not for each file.
        warnings.warn(
            f"The file system does not support {operation} ({_error_code(error)}). {consequence}",
            FileSystemWarning,
            stacklevel=2,
        )


def _name_operation(error: OSError, operation: str, path: Path) -> OSError:
    """Return the error with the name of the operation, which the system leaves out."""
    return OSError(error.errno, f"{operation}: {error.strerror} ({_error_code(error)})", str(path))


def _error_code(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error.errno))


def write_if_absent(
    path: Path, content: bytes, *, check: Callable[[], None] = lambda: None
) -> bool:
    """Make the file appear whole, on the disk, unless its name is taken; say whether it did.

    `check` is called when the content is there for all to see, under a temporary name, and not
    yet under its own; what it raises leaves nothing behind.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4()}"
    try:
        write_new_file(temporary, content)
        check()
        _link_exclusively(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
    return True


def _link_exclusively(source: Path, target: Path) -> None:
    """Give the file its second name; a link, unlike a rename, fails if the name is taken."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _UNSUPPORTED | {errno.EPERM, errno.EMLINK}:
            raise _name_operation(error, "link", target) from error
        raise RegistryError(
            f"The registry cannot be written in {target.parent}: the file system does not support "
            f"hard links (link: {_error_code(error)}), which keep two writers from the same name. "
            "Reading a registry needs no hard links.",
            kind=ErrorKind.REGISTRY_WITHOUT_LINKS,
        ) from error


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
    """Flush the directory's entries to the disk: until then a crash may undo a rename.

    On Windows, where a directory cannot be opened, this does nothing.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        consequence = "What was published last may be lost if the machine crashes."
        with warn_if_unsupported("fsync of a directory", path, consequence):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_renamed(path: Path) -> None:
    """Flush the directory in which a complete file has just got its name.

    The file is there whatever the disk answers, so a failure is a warning.
    """
    try:
        sync_directory(path.parent)
    except OSError as error:
        warnings.warn(
            f"{path} is written, but may be lost if the machine crashes: {error.strerror}.",
            FileSystemWarning,
            stacklevel=2,
        )


def make_directory(path: Path) -> None:
    """Create one directory, which all may enter."""
    path.mkdir()
    with warn_if_unsupported("chmod", path, "Other users may not be able to read what is written."):
        path.chmod(path.stat().st_mode | 0o555)


def make_directories(path: Path) -> None:
    """Create the directory and its missing parents, each of them flushed into its own parent."""
    if not path.is_dir():
        if not path.parent.is_dir():
            make_directories(path.parent)
        # Under another name first: who died before the chmod would shut out others for ever.
        temporary = path.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4()}"
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
