"""Read several files as one table: a pattern of names, or a directory, also in Hive's layout.

In Hive's layout, directories such as ``year=2024`` are columns of the files in them.
"""

import glob
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from pipeline.data.files.chunks import ColumnChunk, Position, make_file_error
from pipeline.data.files.column_joiner import clean_texts
from pipeline.data.files.raw_source import RawSource
from pipeline.data.files.read_settings import ReadSettings
from quadnet.errors import FileUnusable
from quadnet.tables.columns import Column, Texts

_HIVE_MISSING = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """A file of a table, and its values of the columns that directories are."""

    path: Path
    keys: Mapping[str, str | None]


def find_parts(path: Path) -> list[Part] | None:
    """Return the files of a pattern or a directory, sorted by path; None for one file.

    Files and directories whose name begins with an underscore or a point are no parts.

    Raises
    ------
    FileUnusable
        If there are no files.
    """
    if path.is_dir():
        found = _list_files(path, path)
        if not found:
            raise FileUnusable(f"{path} cannot be read: expected files in this directory, found 0.")
        return found
    if path.exists() or not glob.has_magic(str(path)):
        return None
    fixed = Path(*takewhile(lambda name: not glob.has_magic(name), path.parts))
    parts: list[Part] = []
    for match in sorted(fixed.glob(str(path.relative_to(fixed)))):
        if match.is_dir():
            parts += _list_files(match, fixed)
        elif not match.name.startswith("."):
            parts.append(Part(match, _find_keys(match, fixed)))
    # A recursive pattern matches a directory and the files in it.
    parts = [*{part.path: part for part in parts}.values()]
    if not parts:
        raise FileUnusable(f"{path} cannot be read: expected files with such names, found 0.")
    return parts


class PartsSource:
    """Files with the same columns that are read as one; see `RawSource`.

    Columns are matched by name. The files are opened one after another.

    Parameters
    ----------
    path : path
        The pattern or directory.
    parts : sequence of Part
    settings : ReadSettings
        What the first file leaves open is detected in each file.
    open_part : callable
        Opens a file with settings.
    same_rows : bool
        Whether unchanged rows of all files must have the same columns in the same order.
    """

    def __init__(
        self,
        path: Path,
        parts: Sequence[Part],
        settings: ReadSettings,
        open_part: Callable[[Path, ReadSettings], RawSource],
        *,
        same_rows: bool,
    ) -> None:
        self.path, self._parts, self._same_rows = path, parts, same_rows
        self._open_part = open_part
        self._sizes = [_find_size(part.path) for part in parts]
        self.n_bytes = sum(self._sizes)
        self._first: RawSource | None = open_part(parts[0].path, settings)
        first = self._first
        self.settings = first.settings
        self.layout = first.layout
        self.directories = tuple(key for key in parts[0].keys if key not in first.columns)
        self.columns = (*first.columns, *self.directories)
        self.unit, self.index, self.decimal = first.unit, first.index, first.decimal
        self.unusable, self.schema = first.unusable, first.schema
        self.types, self.in_dictionary = first.types, first.in_dictionary
        self.notices = first.notices
        files = "1 file" if len(parts) == 1 else f"{len(parts):,} files"
        self.description = f"{first.description}, {files}"

    def close(self) -> None:
        """Close the file that is open."""
        if self._first is not None:
            self._first.close()

    def chunks(
        self, names: Sequence[str], at: Position | None = None, *, numbers: Collection[str] = ()
    ) -> Iterator[ColumnChunk[Any, Column]]:
        """Yield the rows from this position on, with the named columns; see `RawSource`."""
        begin = dict(at or {"part": 0})
        missing = self.settings.missing_words
        first = begin.pop("part")
        for i in range(first, len(self._parts)):
            part = self._parts[i]
            n_before = sum(self._sizes[:i])
            with closing(self._open(i)) as source:
                self._check_columns(part, source)
                of_file = [n for n in names if n in source.columns or n not in part.keys]
                inner = begin if i == first and begin else None
                for chunk in source.chunks(of_file, inner, numbers=numbers):
                    columns = {
                        name: chunk.columns[name]
                        if name in chunk.columns
                        else clean_texts(
                            _repeat(part.keys[name], len(chunk.places)), missing, strip=True
                        )
                        for name in names
                    }
                    share = chunk.bytes_done / max(1, source.n_bytes)
                    yield replace(
                        chunk,
                        columns=columns,
                        end={"part": i, **chunk.end},
                        bytes_done=n_before + int(share * self._sizes[i]),
                    )

    def _open(self, i: int) -> RawSource:
        if i == 0 and self._first is not None:
            source, self._first = self._first, None
            return source
        return self._open_part(self._parts[i].path, self.settings)

    def _check_columns(self, part: Part, source: RawSource) -> None:
        """Refuse a file whose columns are not those of the first one."""
        first = self._parts[0].path
        known = {*self.columns, *self.unusable}
        found = {*source.columns, *source.unusable, *part.keys}
        for name in sorted(known - found):
            raise make_file_error(part.path, name, f"expected this column, as in {first}")
        for name in sorted(found - known):
            raise make_file_error(part.path, name, f"expected no such column, as in {first}")
        if self._same_rows and source.layout != self.layout:
            raise make_file_error(
                part.path,
                None,
                f"expected the order and types of columns, and the delimiter, of {first}",
            )


def _list_files(folder: Path, root: Path) -> list[Part]:
    """Return the files below the folder."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(("_", "."))]
        found += [Path(parent, name) for name in names if not name.startswith(("_", "."))]
    return [Part(path, _find_keys(path, root)) for path in sorted(found)]


def _find_keys(path: Path, root: Path) -> dict[str, str | None]:
    """Return the names and values of the directories ``name=value`` below the root."""
    keys: dict[str, str | None] = {}
    for name in path.relative_to(root).parts[:-1]:
        key, is_key, value = name.partition("=")
        if is_key and key:
            keys[unquote(key)] = None if value == _HIVE_MISSING else unquote(value)
    return keys


def _find_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}.") from error


def _repeat(value: str | None, n_rows: int) -> Texts:
    """Return a column that has the same text in each row."""
    return Texts.from_values([value]).take(np.zeros(n_rows, np.intp))
