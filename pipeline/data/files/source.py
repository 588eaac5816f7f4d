"""The interface of an open file of rows, for CSV and Parquet."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from pipeline.data.files.chunks import Chunk, Position

Kind = Literal["csv", "parquet"]


class Source(Protocol):
    """A file of rows that is open for reading."""

    path: Path
    unit: str
    """The unit of a fault's place: "line" or "row"."""
    columns: tuple[str, ...]
    index: tuple[str, ...]
    """Columns that only label the rows."""
    schema: bytes
    """The part of the file that describes its columns."""

    def chunks(
        self,
        features: Sequence[str],
        at: Position | None = None,
        *,
        label: str | None = None,
        with_places: bool = False,
    ) -> Iterator[Chunk[Any]]:
        """Yield the rows from this position on.

        They have labels if `label` names a column, and places if it does or `with_places` is true.
        """

    def close(self) -> None:
        """Close the file."""


def open_source(path: Path, kind: Kind, *, chunk_bytes: int) -> Source:
    """Open a file to be read in chunks of about `chunk_bytes`.

    Raises
    ------
    FileUnusable
        If the file cannot be read.
    InvalidInput
        If it is not of this kind.
    Unsupported
        If it is a Parquet file and pyarrow is not installed.
    """
    if kind == "parquet":
        from pipeline.data.files.arrow.parquet import ParquetSource

        return ParquetSource(path, chunk_bytes=chunk_bytes)
    from pipeline.data.files.csv.csv_file import CsvFile

    return CsvFile(path, chunk_bytes=chunk_bytes)
