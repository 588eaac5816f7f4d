"""The ledger of a search: a file of JSON lines, one for each finished fit, that survives a crash.

The first line says which search it belongs to. Each further line appears whole: one process at a
time appends, by a single write, and flushes it to the disk. What a crash leaves after the last
newline is no line: readers pass over it, and the next writer cuts it off.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, ValidationError

from quadnet.errors import FileUnusable, NotFound, OutputExists, ResumeRefused
from quadnet.registry import atomic_files
from quadnet.registry.manifest import Frozen, Sha256

Parameters = Mapping[str, JsonValue]


class LedgerHeader(Frozen):
    """The search that a ledger belongs to: what all its fits have in common."""

    ledger: Literal[1] = 1
    name: str
    config: Sha256
    """Of the run's configuration, but for what no fit depends on: its name, gate and search."""
    split: Sha256
    """Of the rows, and of which fold each is in."""

    def key(self, parameters: Parameters, *, epochs: int, fold: int) -> str:
        """Return the digest that names one fit."""
        content = [self.config, self.split, parameters, epochs, fold]
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


class LedgerLine(Frozen):
    """One finished fit: a candidate, trained on all folds but one and measured on that."""

    key: Sha256
    parameters: dict[str, JsonValue]
    epochs: Annotated[int, Field(ge=1)]
    """The most it was allowed."""
    fold: Annotated[int, Field(ge=0)]
    accuracy: float | None = None
    log_loss: float | None = None
    weights: int | None = None
    """How many numbers, biases included, the network consists of."""
    seconds: float
    at: datetime
    failed: str | None = None
    """Why there is nothing to measure."""


class Ledger:
    """A ledger's file, which need not exist yet. It holds no state, so any process may make one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, header: LedgerHeader, *, resume: bool) -> None:
        """Create the ledger; or, to resume, see to it that it is this search's.

        Raises
        ------
        OutputExists
            If there is one already and it is not to be resumed.
        ResumeRefused
            If it is another search's.
        FileUnusable
            If it cannot be read or written, or is not a ledger.
        """
        with self._lock(create=True) as (descriptor, whole):
            found = self._parse_header(whole)
            if found is None:
                os.ftruncate(descriptor, 0)
                self._write(descriptor, header)
                atomic_files.sync_directory(self.path.parent)
                return
            self.check_header(found, header)
            if not resume:
                finished = whole.count(b"\n") - 1
                raise OutputExists(
                    f"{self.path} has {finished:,} finished fits of this search. Go on with it by "
                    "--resume, or remove it to begin anew."
                )

    def check_header(self, found: LedgerHeader, expected: LedgerHeader) -> None:
        """Raise ResumeRefused if the header found is not the one expected."""
        for one, other, difference in (
            (found.name, expected.name, f"its name is {found.name!r}"),
            (found.config, expected.config, "its settings differ"),
            (found.split, expected.split, "its rows or folds differ"),
        ):
            if one != other:
                raise ResumeRefused(
                    f"{self.path} is the ledger of another search: {difference}. Name another "
                    "file with --ledger, or remove it."
                )

    def read_header(self) -> LedgerHeader:
        """Return the first line; raise NotFound if there is none yet."""
        header = self._parse_header(self._read_whole())
        if header is None:
            raise NotFound(f"There is no ledger {self.path}: no such search has begun.")
        return header

    def read_lines(self, since: int = 0) -> list[LedgerLine]:
        """Return the finished fits, without the first `since`; none if there is no ledger.

        Raises
        ------
        FileUnusable
            If the file or one of its lines cannot be read.
        """
        rows = self._read_whole().split(b"\n")[1 + since : -1]
        return [self._parse_line(row, number) for number, row in enumerate(rows, start=2 + since)]

    def find_line(self, key: str) -> LedgerLine | None:
        """Return the finished fit of this key."""
        whole = self._read_whole()
        start = whole.find(_line_beginning(key)) + 1
        if not start:
            return None
        return self._parse_line(
            whole[start : whole.index(b"\n", start)], whole.count(b"\n", 0, start) + 1
        )

    def append_line(self, line: LedgerLine) -> None:
        """Add a finished fit, unless it is there already: a line, once there, is on the disk.

        It is there if another process, such as one left behind by a killed search, was faster.
        """
        with self._lock() as (descriptor, whole):
            if _line_beginning(line.key) not in whole:
                os.ftruncate(descriptor, len(whole))
                self._write(descriptor, line)

    @contextmanager
    def _lock(self, *, create: bool = False) -> Iterator[tuple[int, bytes]]:
        """Keep other writers out; yield the file and its whole lines."""
        flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0)
        # Else Windows would write other line ends than `_read_whole` looks for.
        flags |= getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(self.path, flags, 0o666)
            try:
                consequence = "Let no other search use this ledger."
                atomic_files.lock(descriptor, self.path, consequence, wait=True)
                yield descriptor, self._read_whole()
            finally:
                os.close(descriptor)
        except OSError as error:
            raise FileUnusable(
                f"The ledger {self.path} cannot be written: {error.strerror}. Mend that, or name "
                "another file with --ledger; --resume repeats no fit that is in it."
            ) from error

    def _write(self, descriptor: int, entry: Frozen) -> None:
        row = entry.model_dump_json().encode() + b"\n"
        if os.write(descriptor, row) < len(row):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        atomic_files.sync(descriptor, self.path)

    def _read_whole(self) -> bytes:
        """Return the content up to its last newline; nothing if there is no file."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise FileUnusable(
                f"The ledger {self.path} cannot be read: {error.strerror}."
            ) from error
        return content[: content.rfind(b"\n") + 1]

    def _parse_header(self, whole: bytes) -> LedgerHeader | None:
        if not whole:
            return None
        try:
            return LedgerHeader.model_validate_json(whole.partition(b"\n")[0])
        except ValidationError as error:
            raise FileUnusable(
                f"{self.path} is not a ledger of this version of Quadnet: its line 1 does not say "
                "which search it belongs to. Name another file with --ledger."
            ) from error

    def _parse_line(self, row: bytes, number: int) -> LedgerLine:
        try:
            return LedgerLine.model_validate_json(row)
        except ValidationError as error:
            raise FileUnusable(
                f"{self.path}, line {number}, is not the record of a fit. Remove that line, and "
                "--resume repeats its fit."
            ) from error


def _line_beginning(key: str) -> bytes:
    """Return how the line of this key begins, with the newline before it."""
    return b'\n{"key":"' + key.encode() + b'"'
