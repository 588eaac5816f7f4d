"""Read the file of a run's table, with the settings of the run."""

from dataclasses import replace
from pathlib import Path

from pipeline.config.held_out_rows import TestPart
from pipeline.config.table_data import TableData
from pipeline.data.files.raw_source import open_rows
from pipeline.data.files.raw_table import RawTable, read_raw_table
from pipeline.data.files.read_settings import ReadSettings
from quadnet.errors import FileUnusable
from quadnet.tables.missing_words import MISSING_WORDS

_CHUNK_BYTES = 2**20


def read_table_file(data: TableData) -> RawTable:
    """Read the file of a run's section `data`."""
    read, settings = data.read, make_read_settings(data)
    settings = replace(
        settings,
        format=read.format,
        delimiter=read.delimiter,
        decimal=read.decimal,
        encoding=read.encoding,
        compression=read.compression,
        header=read.header,
    )
    return read_raw_table(Path(data.location), settings)


def check_table(data: TableData, test: TestPart) -> None:
    """Raise FileUnusable or Unsupported if the files of a table cannot be opened here."""
    if data.path == "-":
        raise FileUnusable("the table came from the standard input, which cannot be read again.")
    tables = [data] if test.path is None else [data, data.model_copy(update={"path": test.path})]
    for table in tables:
        settings = make_read_settings(table)
        open_rows(Path(table.location), settings, chunk_bytes=_CHUNK_BYTES, same_rows=False).close()


def make_read_settings(data: TableData | None) -> ReadSettings:
    """Return the settings for other files with the columns of a table: what is missing in them."""
    missing = None if data is None else data.read.missing
    # An empty cell has no value, whatever the words are.
    return ReadSettings(missing=MISSING_WORDS if missing is None else ("", *missing))
