"""Read an Arrow file (Feather, IPC) or stream in pieces; fails without pyarrow."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from pipeline.data.files.arrow.columns import find_row_labels
from pipeline.data.files.arrow.parquet import CHUNKS_TOGETHER, MOST_ROWS, Piece, refuse_damage
from pipeline.data.files.chunks import Position

_MAGIC = b"ARROW1"


class ArrowFile:
    """An Arrow file or stream that is open to be read.

    Parameters
    ----------
    path : path
        The name for messages.
    content : binary file
    chunk_bytes : int
        An eighth of the size of a piece in memory. A record batch is read as a whole.

    Attributes
    ----------
    types : pyarrow.Schema
    columns : tuple of str
    index : tuple of str
        The columns that pandas stored as row labels.
    in_dictionary : list of str
        The columns for which dictionary encoding in a Parquet file is worthwhile.
    schema : bytes
        The columns' names and types.
    n_bytes : int
        The size of the content.

    Raises
    ------
    InvalidInput
        If it is not an Arrow file.
    """

    def __init__(self, path: Path, content: BinaryIO, *, chunk_bytes: int) -> None:
        self.path, self._content = path, content
        self._most_bytes = CHUNKS_TOGETHER * chunk_bytes
        self.n_bytes = os.fstat(content.fileno()).st_size
        with refuse_damage(self.path, "Arrow"):
            content.seek(0)
            self._is_stream = content.read(len(_MAGIC)) != _MAGIC
            self.types = self._open().schema
            self.schema = self.types.serialize().to_pybytes()
            self.columns = tuple(self.types.names)
            self.index = find_row_labels(self.types)
        self.in_dictionary = [
            field.name for field in self.types if not pa.types.is_floating(field.type)
        ]

    def close(self) -> None:
        """Close the file."""
        self._content.close()

    def pieces(self, at: Position | None = None) -> Iterator[Piece]:
        """Yield all rows from this position on; see `ParquetSource.pieces`."""
        begin = at or {"group": 0, "row": 0, "rows": 0}
        group, row, n_before = begin["group"], begin["row"], begin["rows"]
        batches = self._batches(group)
        while True:
            with refuse_damage(self.path, "Arrow"):
                batch = next(batches, None)
                if batch is not None:
                    # The values are in memory as the file has them: a wrong offset is a crash.
                    batch.validate(full=True)
            if batch is None:
                return
            bytes_done = self._content.tell()
            width = max(1, batch.get_total_buffer_size() // max(1, len(batch)))
            step = max(1, min(MOST_ROWS, self._most_bytes // width))
            while row < len(batch):
                table = pa.Table.from_batches([batch.slice(row, step)])
                place = n_before + 1
                row, n_before = row + len(table), n_before + len(table)
                yield table, place, {"group": group, "row": row, "rows": n_before}, bytes_done
            group, row = group + 1, 0

    def _open(self) -> pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader:
        self._content.seek(0)
        open_content = pa.ipc.open_stream if self._is_stream else pa.ipc.open_file
        return open_content(self._content)

    def _batches(self, begin: int) -> Iterator[pa.RecordBatch]:
        """Yield the record batches from this one on."""
        reader = self._open()
        if not self._is_stream:
            for i in range(begin, reader.num_record_batches):
                yield reader.get_batch(i)
            return
        for i, batch in enumerate(reader):
            if i >= begin:
                yield batch
