"""An output that is being written, by one process and under a temporary name.

    out.csv.partial               the output so far
    out.rejected.csv.partial      the rejected rows so far
    out.csv.checkpoint            the sizes of both files, and the facts that the output depends on

A checkpoint is written after both files are flushed to the disk. A resumed run truncates both files
to the sizes in the checkpoint. The output gets its final name only when it is complete.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quadnet.errors import ErrorKind, FileUnusable, OutputExists, ResumeRefused
from quadnet.registry import atomic_files

_FORMAT = 1

Facts = Mapping[str, str | int]
"""The facts that an output depends on, by names that messages can contain."""


def make_rejected_path(target: Path) -> Path:
    """Return the path of the file for the rejected rows of this output."""
    return target.with_name(f"{target.stem}.rejected.csv")


class PartialOutput:
    """An output and its rejected rows while they are being written.

    Parameters
    ----------
    target : path
        The output's final name.
    facts : mapping
        An output is resumed only if its facts are the same.
    resume : bool
        Resume from the last checkpoint, if there is one.
    overwrite : bool
        Replace an existing output, finished or unfinished.

    Attributes
    ----------
    rejected : path
        The rejected rows' final name.
    state : mapping
        The state of the last `checkpoint`; empty if there is no checkpoint.
    n_bytes : int
        The size of the output so far.

    Raises
    ------
    OutputExists
        If a finished output exists and `overwrite` is false, or an unfinished one exists and both
        `resume` and `overwrite` are false.
    ResumeRefused
        If the unfinished output has other facts.
    FileUnusable
        If the output cannot be written, or another process is writing it.
    """

    def __init__(self, target: Path, facts: Facts, *, resume: bool, overwrite: bool) -> None:
        self.target, self.rejected = target, atomic_files.resolve_link(make_rejected_path(target))
        self._path, self._rejected_path = (
            _add_ending(p, "partial") for p in (target, self.rejected)
        )
        self._checkpoint = _add_ending(target, "checkpoint")
        self._facts, self._overwrite = dict(facts), overwrite
        self.state: Mapping[str, Any] = {}
        self.n_bytes = self._n_rejected_bytes = 0
        with self._writing():
            self._refuse(target)
            begun = self._path.exists() and self._checkpoint.exists()
            self._file = _open_file(self._path)
            try:
                self._lock()
            except BaseException:
                self._file.close()
                raise
            try:
                self._begin(begun=begun, resume=resume)
            except BaseException:
                if not begun:
                    self._path.unlink(missing_ok=True)
                self._file.close()
                raise

    def write(self, content: bytes) -> None:
        """Append these bytes to the output."""
        with self._writing():
            self.n_bytes += _append_bytes(self._file, content)

    def reject(self, content: bytes) -> None:
        """Append these bytes to the rejected rows."""
        with self._writing():
            self._n_rejected_bytes += _append_bytes(self._rejected_file, content)

    def read(self, offset: int, length: int) -> bytes:
        """Return a piece of the output so far."""
        with self._writing():
            return os.pread(self._file.fileno(), length, offset)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Flush the output to the disk, and record the state from which a run can resume."""
        content = {
            "format": _FORMAT,
            "facts": self._facts,
            "bytes": self.n_bytes,
            "rejected_bytes": self._n_rejected_bytes,
            "state": dict(state),
        }
        temporary = _add_ending(self._checkpoint, "new")
        with self._writing():
            self._flush()
            try:
                with temporary.open("wb") as file:
                    file.write(json.dumps(content, indent=1).encode())
                    file.flush()
                    atomic_files.sync_file(file.fileno(), temporary)
                temporary.replace(self._checkpoint)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            atomic_files.sync_directory(self.target.parent)
        self.state = dict(state)

    def finish(self) -> None:
        """Give the output and the rejected rows, if there are any, their final names."""
        with self._writing():
            self._flush()
            self._refuse(self.target)
            self._refuse(self.rejected)
            # The output comes last: once it exists, everything else does.
            if self._n_rejected_bytes:
                self._rejected_path.replace(self.rejected)
            else:
                self._rejected_path.unlink()
                self.rejected.unlink(missing_ok=True)
            self._path.replace(self.target)
            atomic_files.sync_renamed(self.target)
            self._checkpoint.unlink()
        self.close()

    def discard(self) -> None:
        """Remove the unfinished output."""
        self._checkpoint.unlink(missing_ok=True)
        self.state = {}
        self.close()

    def close(self) -> None:
        """Close the files; remove them if there is no checkpoint to resume from."""
        if not (self.state or self._file.closed):
            self._path.unlink(missing_ok=True)
            self._rejected_path.unlink(missing_ok=True)
        self._rejected_file.close()
        self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn errors of the operating system into FileUnusable."""
        try:
            yield
        except OSError as error:
            raise FileUnusable(
                f"{self.target} cannot be written: {error.strerror}.",
                kind=ErrorKind.OUTPUT_INTERRUPTED if self.state else None,
            ) from error

    def _refuse(self, path: Path) -> None:
        """Refuse a final name that exists already."""
        if path.is_dir():
            raise FileUnusable(f"{path} cannot be written: it is a directory. Name a file.")
        if path.exists() and not self._overwrite:
            raise OutputExists(f"{path} exists already.", kind=ErrorKind.OUTPUT_EXISTS)

    def _lock(self) -> None:
        """Lock the file against other processes until it is closed."""
        try:
            consequence = "Make sure that no other process writes this output."
            atomic_files.lock_file(self._file.fileno(), self._path, consequence, wait=False)
            # The previous owner of the lock may have renamed the file before it unlocked it.
            ours = os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:
            raise FileUnusable(f"{self.target} is being written by another process.")

    def _begin(self, *, begun: bool, resume: bool) -> None:
        if begun and resume:
            self._read_checkpoint()
        elif begun and not self._overwrite:
            raise OutputExists(f"{self.target} is unfinished.", kind=ErrorKind.OUTPUT_UNFINISHED)
        else:
            self._checkpoint.unlink(missing_ok=True)
        self._refuse(self.rejected)
        self._rejected_file = _open_file(self._rejected_path)
        _truncate_file(self._file, self.n_bytes)
        _truncate_file(self._rejected_file, self._n_rejected_bytes)

    def _read_checkpoint(self) -> None:
        try:
            content = json.loads(self._checkpoint.read_bytes())
            known = content["format"] == _FORMAT
            facts, state = dict(content["facts"]), dict(content["state"])
            n_bytes, n_rejected_bytes = int(content["bytes"]), int(content["rejected_bytes"])
        except (ValueError, TypeError, KeyError) as error:
            raise self._useless(f"{self._checkpoint} is damaged") from error
        if not known:
            raise self._useless(f"{self._checkpoint} was written by another release of Quadnet")
        for name in {**facts, **self._facts}:
            was, now = facts.get(name, "nothing"), self._facts.get(name, "nothing")
            if was != now:
                raise self._useless(f"{name} was {was} then and is {now} now")
        # `finish` renames the rejected rows first. If the output was not renamed, undo that.
        if not self._rejected_path.exists() and self.rejected.exists():
            self.rejected.replace(self._rejected_path)
        for path, expected in ((self._path, n_bytes), (self._rejected_path, n_rejected_bytes)):
            actual = path.stat().st_size if path.exists() else 0
            if actual < expected:
                raise self._useless(f"{path} has {actual} bytes, fewer than the {expected} then")
        self.state, self.n_bytes, self._n_rejected_bytes = state, n_bytes, n_rejected_bytes

    def _useless(self, reason: str) -> ResumeRefused:
        return ResumeRefused(
            f"Cannot resume {self.target}: {reason}.", kind=ErrorKind.OUTPUT_NOT_RESUMABLE
        )

    def _flush(self) -> None:
        atomic_files.sync_file(self._file.fileno(), self._path)
        atomic_files.sync_file(self._rejected_file.fileno(), self._rejected_path)


def _add_ending(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


def _open_file(path: Path) -> io.FileIO:
    """Open the file for reading and writing, and create it if it does not exist."""
    # No mode of open() does both and keeps the file's content.
    return io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+")


def _truncate_file(file: io.FileIO, length: int) -> None:
    file.truncate(length)
    file.seek(length)


def _append_bytes(file: io.FileIO, content: bytes) -> int:
    rest = memoryview(content)
    # A system call may write only a part, for example when the disk is nearly full.
    while rest:
        rest = rest[file.write(rest) :]
    return len(content)
