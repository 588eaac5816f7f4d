"""The ledger of a search: a file of JSON lines, one for each finished fit, that survives a crash.

The first line identifies the search. Each further line appears complete: one process at a time
appends it by a single write and flushes it to the disk. A crash may leave an incomplete line after
the last newline. Readers ignore it, and the next writer removes it.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue, ValidationError

from quadnet.errors import ErrorKind, FileUnusable, NotFound, OutputExists, ResumeRefused
from quadnet.records import Frozen
from quadnet.registry import atomic_files
from quadnet.registry.manifest import Sha256

Parameters = Mapping[str, JsonValue]


class LedgerHeader(Frozen):
    """The first line of a ledger, which identifies its search."""

    ledger: Literal[1] = 1
    name: str
    config: Sha256
    """Of the run's configuration, without its name, gate and search, which no fit depends on."""
    split: Sha256
    """Of the rows and their folds."""

    def key(self, parameters: Parameters, *, epochs: int, fold: int) -> str:
        """Return the digest that identifies one fit."""
        content = [self.config, self.split, parameters, epochs, fold]
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


class LedgerLine(Frozen):
    """One finished fit: a candidate, trained on all folds but one and measured on that fold."""

    _newer: ClassVar[frozenset[str]] = frozenset({"score"})

    key: Sha256
    parameters: dict[str, JsonValue]
    epochs: Annotated[int, Field(ge=1)]
    """The largest number of epochs that was allowed."""
    fold: Annotated[int, Field(ge=0)]
    accuracy: float | None = None
    log_loss: float | None = None
    score: float | None = None
    """By the scorer of scikit-learn that the search ranks by; higher is better."""
    weights: int | None = None
    """The number of the network's parameters, biases included."""
    seconds: float
    at: datetime
    failed: str | None = None
    """Why the fit failed."""


class Ledger:
    """A ledger's file, which need not exist yet. The object has no state besides the path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, header: LedgerHeader, *, resume: bool) -> None:
        """Create the ledger or, if it exists, check that it belongs to this search.

        Raises
        ------
        OutputExists
            If the ledger exists and `resume` is false.
        ResumeRefused
            If the ledger belongs to another search.
        FileUnusable
            If the file cannot be read or written, or is not a ledger.
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
                    f"{self.path} exists, with {finished:,} finished fits of this search.",
                    kind=ErrorKind.LEDGER_EXISTS,
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
                    f"{self.path} is the ledger of another search: {difference}.",
                    kind=ErrorKind.LEDGER_OF_OTHER_SEARCH,
                )

    def read_header(self) -> LedgerHeader:
        """Return the first line; raise NotFound if the ledger does not exist yet."""
        header = self._parse_header(self._read_whole())
        if header is None:
            raise NotFound(f"There is no ledger {self.path}. Start the search first.")
        return header

    def read_lines(self, since: int = 0) -> list[LedgerLine]:
        """Return the finished fits after the first `since`; an empty list if there is no ledger.

        Raises
        ------
        FileUnusable
            If the file or one of its lines cannot be read.
        """
        rows = self._read_whole().split(b"\n")[1 + since : -1]
        return [self._parse_line(row, number) for number, row in enumerate(rows, start=2 + since)]

    def find_line(self, key: str) -> LedgerLine | None:
        """Return the finished fit with this key, if there is one."""
        whole = self._read_whole()
        start = whole.find(_line_beginning(key)) + 1
        if not start:
            return None
        return self._parse_line(
            whole[start : whole.index(b"\n", start)], whole.count(b"\n", 0, start) + 1
        )

    def append_line(self, line: LedgerLine) -> None:
        """Add a finished fit and flush it to the disk, unless the ledger already has it.

        Another process may have added it, such as a worker of a search that was killed.
        """
        with self._lock() as (descriptor, whole):
            if _line_beginning(line.key) not in whole:
                os.ftruncate(descriptor, len(whole))
                self._write(descriptor, line)

    @contextmanager
    def _lock(self, *, create: bool = False) -> Iterator[tuple[int, bytes]]:
        """Lock the file against other writers; yield its descriptor and its complete lines."""
        flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0)
        # Otherwise Windows would write CRLF, and `_read_whole` looks for LF.
        flags |= getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(self.path, flags, 0o666)
            try:
                consequence = "Make sure that no other search uses this ledger."
                atomic_files.lock_file(descriptor, self.path, consequence, wait=True)
                yield descriptor, self._read_whole()
            finally:
                os.close(descriptor)
        except OSError as error:
            raise FileUnusable(
                f"The ledger {self.path} cannot be written: {error.strerror}.",
                kind=ErrorKind.LEDGER_UNWRITABLE,
            ) from error

    def _write(self, descriptor: int, entry: Frozen) -> None:
        row = entry.model_dump_json().encode() + b"\n"
        if os.write(descriptor, row) < len(row):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        atomic_files.sync_file(descriptor, self.path)

    def _read_whole(self) -> bytes:
        """Return the content up to its last newline; empty if there is no file."""
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
                f"{self.path} is not a ledger of this version of Quadnet: line 1 does not "
                "identify a search.",
                kind=ErrorKind.LEDGER_UNKNOWN,
            ) from error

    def _parse_line(self, row: bytes, number: int) -> LedgerLine:
        try:
            return LedgerLine.model_validate_json(row)
        except ValidationError as error:
            raise FileUnusable(
                f"{self.path}, line {number}, is not the record of a fit.",
                kind=ErrorKind.LEDGER_LINE_DAMAGED,
            ) from error


def _line_beginning(key: str) -> bytes:
    """Return the beginning of this key's line, with the newline before it."""
    return b'\n{"key":"' + key.encode() + b'"'
