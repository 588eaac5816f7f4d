"""Write scored rows as Parquet; needs pyarrow."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from pipeline.data.files.arrow.arrays import to_array
from pipeline.data.files.arrow.parquet import ParquetSource
from pipeline.scoring.output import AddedColumns, AddedNumbers
from pipeline.scoring.parquet_footer import find_footer, join_footers
from quadnet.types import BoolArray, FloatArray, IntArray

_LENGTH_BYTES = 8
"""The size of the length that follows each piece of the output."""


class _ParquetFiles:
    """Many Parquet files in one (see `parquet_footer`): one without rows, then one per chunk."""

    def __init__(
        self,
        source: ParquetSource,
        names: Sequence[str],
        kinds: Sequence[pa.DataType],
        in_dictionary: Sequence[str],
    ) -> None:
        self._types = pa.schema(
            [*source.types, *map(pa.field, names, kinds)], source.types.metadata
        )
        self._in_dictionary = [*source.in_dictionary, *in_dictionary]

    def begin(self) -> bytes:
        """Return the bytes before all rows."""
        return self._file(None)

    def end(self, read: Callable[[int, int], bytes], n_bytes: int) -> bytes:
        """Return the bytes after all rows; `read` takes an offset and a length of the output."""
        files = []
        while n_bytes:
            length = int.from_bytes(read(n_bytes - _LENGTH_BYTES, _LENGTH_BYTES), "little")
            end = n_bytes - _LENGTH_BYTES
            n_bytes = end - length
            files.append((n_bytes, end))
        return join_footers((begin, find_footer(read, end)) for begin, end in reversed(files))

    def _add(self, rows: pa.Table, added: Sequence[pa.Array]) -> bytes:
        return self._file(pa.Table.from_arrays([*rows.columns, *added], schema=self._types))

    def _file(self, table: pa.Table | None) -> bytes:
        """Return a Parquet file of one row group, or without rows, followed by its length."""
        sink = pa.BufferOutputStream()
        with parquet.ParquetWriter(sink, self._types, use_dictionary=self._in_dictionary) as writer:
            if table is not None:
                writer.write_table(table, row_group_size=len(table))
        sink.write(sink.tell().to_bytes(_LENGTH_BYTES, "little"))
        content: bytes = sink.getvalue().to_pybytes()
        return content


class ParquetOutput(_ParquetFiles):
    """Encodes scored rows as Parquet, with a label and a certainty."""

    def __init__(self, source: ParquetSource, added: AddedColumns) -> None:
        label, _, version = added.names
        kinds = (pa.string(), pa.float64(), pa.int64())
        super().__init__(source, added.names, kinds, (label, version))
        encoded = [name.encode() for name in added.classes]
        self._classes = pa.StringArray.from_buffers(
            len(encoded),
            pa.py_buffer(np.cumsum([0, *map(len, encoded)], dtype=np.int32)),
            pa.py_buffer(b"".join(encoded)),
        )
        self._version = added.version

    def encode(self, rows: pa.Table, winners: IntArray, certainties: FloatArray) -> bytes:
        """Return the rows, given the index of each one's class and that class's probability.

        A row with a probability of NaN gets a null as label and as certainty.
        """
        answered = ~np.isnan(certainties)
        added = (
            self._classes.take(to_array(winners, answered)),
            to_array(certainties.astype(np.float64), answered),
            to_array(np.full(len(winners), self._version)),
        )
        return self._add(rows, added)


class ParquetNumberOutput(_ParquetFiles):
    """Encodes rows with columns of numbers as Parquet."""

    def __init__(self, source: ParquetSource, added: AddedNumbers) -> None:
        *numbers, version = added.names
        self._whole, self._version = added.whole, added.version
        kinds = [pa.int64() if j in added.whole else pa.float64() for j in range(len(numbers))]
        super().__init__(source, added.names, [*kinds, pa.int64()], (version,))

    def encode(self, rows: pa.Table, values: FloatArray, answered: BoolArray) -> bytes:
        """Return the rows with their numbers, of shape (n_rows, n_columns)."""
        columns = [
            np.where(answered, values[:, j], 0).astype(np.int64 if j in self._whole else np.float64)
            for j in range(values.shape[1])
        ]
        added = [to_array(column, answered) for column in columns]
        return self._add(rows, [*added, to_array(np.full(len(values), self._version))])
