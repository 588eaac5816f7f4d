"""Raw columns of Parquet and Arrow files; fails without pyarrow."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.data.files.arrow.arrow_file import ArrowFile
from pipeline.data.files.arrow.columns import find_kind, to_column
from pipeline.data.files.arrow.parquet import ParquetSource, sort_out
from pipeline.data.files.chunks import ColumnChunk, Position, find_columns, make_file_error
from pipeline.data.files.column_joiner import clean_texts
from pipeline.data.files.input_file import InputFile
from pipeline.data.files.read_settings import ReadSettings
from pipeline.wording import Sentence
from quadnet.tables.columns import Column, Texts, take_rows

_FORMATS = {"parquet": "Parquet", "arrow": "Arrow"}


class ArrowSource:
    """A Parquet or Arrow file that is open to be read; see `RawSource`.

    A column has what its type tells: numbers, dates or texts. The words for missing values are
    missing in texts, as in a CSV file.

    Attributes
    ----------
    types : pyarrow.Schema
    """

    directories: tuple[str, ...] = ()

    def __init__(self, source: InputFile, settings: ReadSettings, *, chunk_bytes: int) -> None:
        self._content = source.file
        self._file: ParquetSource | ArrowFile
        try:
            if source.format == "arrow":
                self._file = ArrowFile(source.name, source.file, chunk_bytes=chunk_bytes)
            else:
                content = source.file if source.is_copy else None
                self._file = ParquetSource(source.name, chunk_bytes=chunk_bytes, content=content)
        except BaseException:
            source.file.close()
            raise
        self._missing = settings.missing_words
        self._strip = settings.strip
        self.settings = replace(settings, format=source.format)
        self.path, self.unit, self.decimal = source.name, "row", "."
        self.types: Any = self._file.types
        self.in_dictionary = self._file.in_dictionary
        self.layout = self.types.remove_metadata().to_string()
        kinds = [find_kind(field.type) for field in self.types]
        fields = list(zip(self.types, kinds, strict=True))
        self.columns = tuple(field.name for field, kind in fields if kind is not None)
        self.unusable = {field.name: str(field.type) for field, kind in fields if kind is None}
        self.index = tuple(name for name in self._file.index if name in self.columns)
        self.schema, self.n_bytes = self._file.schema, self._file.n_bytes
        self.description = _FORMATS[source.format]
        if source.compression != "none":
            self.description += f", {source.compression}"
        self.notices: tuple[Sentence, ...] = ()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._content.close()

    def chunks(
        self, names: Sequence[str], at: Position | None = None, *, numbers: Collection[str] = ()
    ) -> Iterator[ColumnChunk[Any, Column]]:
        """Yield the rows from this position on, with the named columns; see `RawSource`."""
        wanted = find_columns(self.path, self._file.columns, names)
        for name in names:
            if name in self.unusable:
                raise make_file_error(
                    self.path,
                    name,
                    f"expected numbers, text or dates, got values of type {self.unusable[name]}",
                )
        for table, place, end, bytes_done in self._file.pieces(at):
            columns: dict[str, Column] = {}
            problems: dict[int, tuple[str, str]] = {}
            for name, i in zip(names, wanted, strict=True):
                try:
                    column, bad = to_column(table.column(i))
                except ValueError as error:
                    reason = str(error).split("\n")[0].rstrip(".")
                    expected = f"expected valid values of type {table.schema.field(i).type}"
                    raise make_file_error(
                        self.path, name, f"{expected}, got others ({reason})"
                    ) from error
                if isinstance(column, Texts):
                    column = clean_texts(column, self._missing, strip=self._strip)
                columns[name] = column
                for row in bad.tolist():
                    problems.setdefault(row, (name, "expected text in UTF-8, got other bytes"))
            places = np.arange(place, place + len(table), dtype=np.intp)
            rows, good, faults = sort_out(table, problems, places)
            if faults:
                places = places[good]
                columns = {name: take_rows(column, good) for name, column in columns.items()}
            yield ColumnChunk(self.path, rows, columns, places, faults, end, bytes_done)
