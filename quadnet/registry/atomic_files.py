"""Files that survive a crash: written whole, flushed to the disk, never over an existing one.

Published files are readable by every user and writable by no user, and directories can be entered
by every user, whatever the umask of the publisher.

Some file systems lack these operations, often FUSE and network file systems. Without fsync or
chmod, a warning is shown, and files still appear complete or not at all. Without hard links,
writing is refused, because two publishers could take the same name.
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
"""Error numbers of a system call that the file system does not implement."""


class FileSystemWarning(UserWarning):
    """The file system lacks an operation; the message describes the risk."""


TEMPORARY_PREFIX = ".new-"
"""Prefix of the names of incomplete files and of directories that are not yet in place."""


def list_names(directory: Path) -> list[str]:
    """Return the names in the directory; an empty list if the directory does not exist.

    Raises
    ------
    RegistryError
        If the directory exists and cannot be read. It must not be mistaken for an empty one.
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
        If a parent directory cannot be searched.
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
    """Open a file for reading; raise OSError if it is not a regular file."""
    # Without O_NONBLOCK, which Windows lacks, opening a FIFO would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read_limited(path: Path, limit: int) -> bytes:
    """Return a regular file's content; raise OSError if it is longer than `limit` bytes."""
    with open_regular_file(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"Longer than {limit:,} bytes", str(path))
    return content


def write_new_file(path: Path, content: bytes) -> None:
    """Create the file, write its content, and flush it; an existing file is an error."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        if sys.platform != "win32":  # Windows cannot rename or remove a read-only file
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
    """Lock an open file against other processes until it is closed or this process ends.

    On a file system without locks, show a warning with the consequence.

    Raises
    ------
    BlockingIOError
        If another process holds the lock and `wait` is false.
    """
    with warn_if_unsupported("flock", path, consequence):
        if sys.platform == "win32":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        import fcntl  # noqa: PLC0415 - Windows has no such module

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def resolve_link(path: Path) -> Path:
    """Return the target of a symbolic link, or the path itself if it is not a link.

    A rename onto the link would replace the link, not the file that the user means.
    """
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def warn_if_unsupported(operation: str, path: Path, consequence: str) -> Iterator[None]:
    """Turn the error of an unsupported operation into a warning; add its name to other errors."""
    try:
        yield
    except OSError as error:
        # FAT has no modes, and answers EPERM even to the owner.
        denied = operation == "chmod" and error.errno == errno.EPERM
        if error.errno not in _UNSUPPORTED and not denied:
            raise _name_operation(error, operation, path) from error
        # Without the path, so that Python shows the warning once, not once per file.
        warnings.warn(
            f"The file system does not support {operation} ({_error_code(error)}). {consequence}",
            FileSystemWarning,
            stacklevel=2,
        )


def _name_operation(error: OSError, operation: str, path: Path) -> OSError:
    """Return the error with the name of the operation, which the system omits."""
    return OSError(error.errno, f"{operation}: {error.strerror} ({_error_code(error)})", str(path))


def _error_code(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error.errno))


def write_if_absent(
    path: Path, content: bytes, *, check: Callable[[], None] = lambda: None
) -> bool:
    """Write and flush a file in one atomic step; return False if the name is taken.

    `check` is called when other processes can read the content under a temporary name, before
    the file has its own name. If `check` raises, no file remains.
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
    """Give the file a second name. Unlike a rename, a link fails if the name is taken."""
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
    """Rename a directory that is not empty; return False if the name is taken."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True


def sync_directory(path: Path) -> None:
    """Flush the directory's entries to the disk. Before that, a crash may undo a rename.

    On Windows this does nothing, because a directory cannot be opened there.
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
    """Flush the directory of a complete file that was just renamed to `path`.

    A failure is only a warning, because the file is complete and has its name.
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
    """Create one directory that every user may enter."""
    path.mkdir()
    with warn_if_unsupported("chmod", path, "Other users may not be able to read what is written."):
        path.chmod(path.stat().st_mode | 0o555)


def make_directories(path: Path) -> None:
    """Create the directory and its missing parents, and flush each into its parent."""
    if not path.is_dir():
        if not path.parent.is_dir():
            make_directories(path.parent)
        # Under a temporary name first: a process killed before the chmod would otherwise leave a
        # directory that other users can never enter.
        temporary = path.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4()}"
        make_directory(temporary)
        try:
            rename_exclusively(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                temporary.rmdir()
    # Also if the directory existed: its creator may have been killed before this flush. A parent
    # that this user cannot list does not belong to the registry, and cannot be flushed.
    with suppress(PermissionError):
        sync_directory(path.parent)
