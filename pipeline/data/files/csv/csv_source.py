"""Raw columns of a CSV file in any dialect, encoding and compression."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import cast

from pipeline.data.files.chunks import ColumnChunk, Position, make_file_error
from pipeline.data.files.column_joiner import clean_texts
from pipeline.data.files.csv.csv_file import CsvFile
from pipeline.data.files.csv.dialect import detect_dialect, has_numbers
from pipeline.data.files.input_file import InputFile, read_sample, to_utf8
from pipeline.data.files.read_settings import DELIMITERS, Delimiter, ReadSettings
from pipeline.wording import Sentence
from quadnet.errors import listing
from quadnet.tables.columns import Column, Texts

_PREAMBLE = re.compile(r"sep=(?P<delimiter>[,;|\t])\r?\n")

_NO_NAMES = "The first row has numbers where names of columns are expected. Is the header missing?"


class CsvSource:
    """A CSV file that is open to be read; see `RawSource`.

    Each column is a column of texts: the cells, with the words for missing values as missing.

    Attributes
    ----------
    dialect : CsvDialect
    types, in_dictionary
        None and empty: all cells are texts.
    """

    types: None = None
    directories: tuple[str, ...] = ()

    def __init__(self, source: InputFile, settings: ReadSettings, *, chunk_bytes: int) -> None:
        text = to_utf8(source, settings.encoding)
        try:
            sample, final = read_sample(text.file)
            words = settings.missing_words
            # Excel reads and writes such a line, which names the delimiter, before the header.
            preamble = _PREAMBLE.match(sample)
            named = cast("Delimiter", preamble["delimiter"]) if preamble else None
            self.dialect = detect_dialect(
                sample[preamble.end() :] if preamble else sample,
                final=final,
                missing=words,
                delimiter=settings.delimiter or named,
                decimal=settings.decimal,
            )
            self._file = CsvFile(
                source.name,
                chunk_bytes=chunk_bytes,
                delimiter=self.dialect.delimiter,
                header=settings.header,
                has_row_labels=settings.header and self.dialect.has_row_labels,
                preamble=preamble[0].encode() if preamble else b"",
                file=text.file,
            )
            self._has_header = settings.header
            self._refuse_numbers()
        except BaseException:
            text.file.close()
            raise
        self._missing, self._strip = words, settings.strip
        self.settings = replace(
            settings,
            format="csv",
            delimiter=self.dialect.delimiter,
            decimal=self.dialect.decimal,
        )
        self.layout = repr((self.dialect.delimiter, self._file.columns))
        self.path, self.unit = self._file.path, self._file.unit
        self.columns = tuple(name for name in self._file.columns if name)
        self.index = self._file.index
        self.unusable: dict[str, str] = {}
        self.in_dictionary: list[str] = []
        self.decimal: str = self.dialect.decimal
        self.schema, self.n_bytes = self._file.schema, self._file.n_bytes
        facts = ["CSV", DELIMITERS[self.dialect.delimiter]]
        if self.decimal == ",":
            facts.append("decimal comma")
        facts.append(text.encoding)
        if source.compression != "none":
            facts.append(source.compression)
        self.description = ", ".join(facts)
        self.notices = (*text.notices, *self._describe_doubts())

    @property
    def delimiter(self) -> str:
        """The character between two cells."""
        return self.dialect.delimiter

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def chunks(
        self, names: Sequence[str], at: Position | None = None, *, numbers: Collection[str] = ()
    ) -> Iterator[ColumnChunk[list[bytes], Column]]:
        """Yield the rows from this position on, with the named columns; see `RawSource`."""
        for chunk in self._file.column_chunks(
            names, at, numbers=numbers, decimal=self.decimal, missing=self._missing
        ):
            columns: dict[str, Column] = {
                name: clean_texts(column, self._missing, strip=self._strip)
                if isinstance(column, Texts)
                else column
                for name, column in chunk.columns.items()
            }
            yield ColumnChunk(
                self.path,
                chunk.rows,
                columns,
                chunk.places,
                chunk.faults,
                chunk.end,
                chunk.bytes_done,
            )

    def _refuse_numbers(self) -> None:
        """Raise InvalidInput if the header is a row of numbers, some of them equal."""
        names = self._file.columns
        if self._has_header and has_numbers(names) and len(set(names)) < len(names):
            raise make_file_error(
                self._file.path,
                None,
                "expected different names of columns in the first row, got numbers: is the header "
                "missing?",
            )

    def _describe_doubts(self) -> Iterator[Sentence]:
        unnamed = [str(i) for i, name in enumerate(self._file.columns, 1) if not name]
        if len(unnamed) == 1:
            yield (f"Column {unnamed[0]} has no name in the header and was not read.",)
        elif unnamed:
            yield (f"Columns {listing(unnamed)} have no name in the header and were not read.",)
        if self._has_header and has_numbers(self._file.columns):
            yield (_NO_NAMES,)
        if self.dialect.is_uncertain:
            yield ("Commas in numbers were read as decimal commas, not between thousands.",)
