"""The interface of an open file of raw columns: texts, numbers and dates as the file has them."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline.data.files.chunks import ColumnChunk, Position
from pipeline.data.files.csv.csv_source import CsvSource
from pipeline.data.files.input_file import (
    STANDARD_INPUT,
    InputFile,
    open_input,
    open_standard_input,
)
from pipeline.data.files.read_settings import ReadSettings
from pipeline.wording import Sentence
from quadnet.extras import missing_extra
from quadnet.tables.columns import Column


class RawSource(Protocol):
    """A file of rows that is open for reading, in any supported format.

    Attributes
    ----------
    path : path
    settings : ReadSettings
        Settings for other files of the same table, with the format that was found.
    layout : str
        Equal for files whose unchanged rows can be joined.
    unit : str
        The unit of a row's place: "line" or "row".
    columns : tuple of str
        The columns that can be read, in the file's order.
    directories : tuple of str
        Those of the columns that are names of directories, so that rows do not have them.
    index : tuple of str
        Those of the columns that only label the rows.
    unusable : dict of str to str
        For each other column that has a name, the type that cannot be read.
    decimal : str
        The decimal separator of numbers in columns of texts: "." or ",".
    schema : bytes
        The part of the file that describes its columns.
    types : pyarrow.Schema or None
        The columns' types in a Parquet or Arrow file.
    in_dictionary : list of str
        The columns of such a file for which dictionary encoding is worthwhile.
    n_bytes : int
        The size of the content, of which `bytes_done` of a chunk is a part.
    description : str
        The format that was found, for the user.
    notices : tuple of sentences
        Warnings about the file.
    """

    path: Path
    settings: ReadSettings
    layout: str
    unit: str
    columns: tuple[str, ...]
    directories: tuple[str, ...]
    index: tuple[str, ...]
    unusable: dict[str, str]
    decimal: str
    schema: bytes
    types: Any
    in_dictionary: list[str]
    n_bytes: int
    description: str
    notices: tuple[Sentence, ...]

    def chunks(
        self, names: Sequence[str], at: Position | None = None, *, numbers: Collection[str] = ()
    ) -> Iterator[ColumnChunk[Any, Column]]:
        """Yield the rows from this position on, with the named columns.

        `numbers` are columns of texts that are read faster if they are expected to be numbers: in
        a chunk where all of them are, `parse_numbers` has nothing left to do. Names may be added
        between two chunks.

        Raises
        ------
        InvalidInput
            If a column is missing or cannot be read, or the file is damaged.
        """

    def close(self) -> None:
        """Close the file."""


def open_rows(
    path: Path, settings: ReadSettings, *, chunk_bytes: int, same_rows: bool = True
) -> RawSource:
    """Open a table of any supported format, to be read in chunks of about `chunk_bytes`.

    Parameters
    ----------
    path : path
        A file; ``-`` for the standard input; a pattern of names, such as ``*.csv``; or a directory.
        Several files must have the same columns.
    settings : ReadSettings
    chunk_bytes : int
    same_rows : bool
        Whether unchanged rows of several files must have the same columns in the same order, so
        that they can be written to one file.

    Raises
    ------
    FileUnusable
        If a file cannot be read, or its format is not supported, or there are no files.
    InvalidInput
        If its content is damaged.
    ConfigurationError
        If there is no such encoding.
    MissingExtra
        If reading it needs a package that is not installed.
    """

    def open_part(part: Path, settings: ReadSettings) -> RawSource:
        return _open_file(open_input(part, settings), settings, chunk_bytes)

    if path == STANDARD_INPUT:
        return _open_file(open_standard_input(settings), settings, chunk_bytes)
    from pipeline.data.files.parts import PartsSource, find_parts

    parts = find_parts(path)
    if parts is None:
        return open_part(path, settings)
    return PartsSource(path, parts, settings, open_part, same_rows=same_rows)


def _open_file(source: InputFile, settings: ReadSettings, chunk_bytes: int) -> RawSource:
    if source.format == "csv":
        return CsvSource(source, settings, chunk_bytes=chunk_bytes)
    try:
        from pipeline.data.files.arrow.arrow_source import ArrowSource
    except ImportError as error:
        source.file.close()
        subject = "Reading a Parquet or Arrow file"
        raise missing_extra(subject, "parquet", cause=error) from error
    return ArrowSource(source, settings, chunk_bytes=chunk_bytes)
