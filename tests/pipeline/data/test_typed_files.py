"""Parquet and Arrow as pandas, polars, duckdb and Spark write them, read as raw columns."""

import gzip
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather
from pyarrow import parquet as pq

from pipeline.data.files.raw_source import open_rows
from pipeline.data.files.raw_table import read_raw_table
from pipeline.data.files.read_settings import ReadSettings
from quadnet.errors import FileUnusable, InvalidInput
from quadnet.tables.columns import Texts, column_kind
from quadnet.tables.missing_words import MISSING_WORDS

INT_MAX = 2**63 - 1

# For each type: values, and what is read.
COLUMNS = {
    "f64": (pa.array([1.5, None, -0.1], pa.float64()), [1.5, None, -0.1]),
    "f32": (pa.array([0.1, None, 2], pa.float32()), [float(np.float32(0.1)), None, 2.0]),
    "f16": (pa.array(np.array([0.1, 1, 2], "f2")), [float(np.float16(0.1)), 1.0, 2.0]),
    "i8": (pa.array([1, None, -3], pa.int8()), [1.0, None, -3.0]),
    "i64": (pa.array([INT_MAX, None, -1], pa.int64()), [float(INT_MAX), None, -1.0]),
    "u64": (pa.array([2**64 - 1, 0, None], pa.uint64()), [float(2**64 - 1), 0.0, None]),
    "d128": (
        pa.array([Decimal("1.10"), None, Decimal("-9.99")], pa.decimal128(5, 2)),
        [1.1, None, -9.99],
    ),
    "d256": (
        pa.array([Decimal("123456789012345678.123456789"), None, Decimal(0)], pa.decimal256(50, 9)),
        [123456789012345678.123456789, None, 0.0],
    ),
    "null": (pa.nulls(3), [None] * 3),
    "bool": (pa.array([True, None, False]), ["true", None, "false"]),
    "text": (pa.array(["a", "NA", " ä "]), ["a", None, "ä"]),
    "large": (pa.array(["a", "", None], pa.large_string()), ["a", None, None]),
    "bytes": (pa.array([b"a", b"\xc3\xa4", None], pa.binary()), ["a", "ä", None]),
    "fixed": (pa.array([b"ab", b"cd", None], pa.binary(2)), ["ab", "cd", None]),
    "dictionary": (pa.array(["x", None, "x"]).dictionary_encode(), ["x", None, "x"]),
    "codes": (
        pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.int8()), pa.array([1.5, 2.5])),
        [2.5, None, 1.5],
    ),
    "date": (
        pa.array([date(1, 1, 1), None, date(9999, 12, 31)]),
        ["0001-01-01", None, "9999-12-31"],
    ),
    "ms": (
        pa.array([datetime(2024, 1, 31, 5), None, datetime(1969, 1, 1)], pa.timestamp("ms")),
        ["2024-01-31T05", None, "1969-01-01"],
    ),
    "ns": (
        pa.array([1, None, -1_000_001], pa.timestamp("ns")),
        ["1970-01-01", None, "1969-12-31T23:59:59.999000"],
    ),
    "zone": (
        pa.array(
            [datetime(2024, 7, 1, 12, tzinfo=UTC), None, None], pa.timestamp("us", "Asia/Tokyo")
        ),
        ["2024-07-01T12", None, None],
    ),
}
# Types that only Arrow files have.
ARROW_ONLY = {
    "view": (pa.array(["a" * 20, None, "b"], pa.string_view()), ["a" * 20, None, "b"]),
    "binary view": (pa.array([b"a", None, b"b"], pa.binary_view()), ["a", None, "b"]),
    "date64": (pa.array([date(2024, 1, 31), None, None], pa.date64()), ["2024-01-31", None, None]),
}
NESTED = {
    "list": pa.array([[1], None, []]),
    "struct": pa.array([{"a": 1}, None, None]),
    "time": pa.array([1, None, 3], pa.time64("us")),
    "duration": pa.array([1, None, 3], pa.duration("s")),
}


def values_of(column):
    if isinstance(column, Texts):
        return column.to_array().tolist()
    return [None if pd.isna(value) else value for value in column.tolist()]


def expected_values(values):
    is_date = any(isinstance(value, str) and value[4:5] == "-" for value in values)
    if is_date:
        return [value and np.datetime64(value, "us").item() for value in values]
    return values


def write_parquet(table, path):
    pq.write_table(table, path, row_group_size=2)


def write_feather(table, path):
    feather.write_feather(table, path, compression="zstd", chunksize=2)


def write_stream(table, path):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


WRITERS = {"a.parquet": write_parquet, "a.feather": write_feather, "a.arrows": write_stream}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("compress", [False, True])
def test_every_type_is_read_as_what_it_is(tmp_path, name, compress):
    columns = COLUMNS | (ARROW_ONLY if name != "a.parquet" else {})
    arrays = {name: array for name, (array, _) in columns.items()} | NESTED
    path = tmp_path / name
    WRITERS[name](pa.table(arrays), path)
    if compress:
        path.write_bytes(gzip.compress(path.read_bytes()))
    table = read_raw_table(path)
    assert list(table.columns) == list(columns)
    for key, (_, values) in columns.items():
        assert values_of(table.columns[key]) == expected_values(values), key
    assert list(table.unusable) == list(NESTED)
    assert table.unusable["duration"] == "duration[s]"
    assert table.places.tolist() == [1, 2, 3]
    kind = "Parquet" if name == "a.parquet" else "Arrow"
    assert table.description == f"{kind}{', gzip' if compress else ''}, 3 rows"
    source = open_rows(path, ReadSettings(), chunk_bytes=1000)
    with closing(source), pytest.raises(InvalidInput) as caught:
        list(source.chunks(["f64", "struct"]))
    assert str(caught.value) == (
        f"{path}, column struct: expected numbers, text or dates, got values of type "
        "struct<a: int64>"
    )


def test_old_timestamps_of_spark_are_read(tmp_path):
    path = tmp_path / "part-00000.snappy.parquet"
    moments = [datetime(1600, 1, 1), None, datetime(2024, 1, 2, 3, 4, 5), datetime(9999, 12, 31)]
    table = pa.table({"t": pa.array(moments, pa.timestamp("us"))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    assert pq.ParquetFile(path).schema.column(0).physical_type == "INT96"
    assert values_of(read_raw_table(path).columns["t"]) == moments


def test_row_labels_of_pandas_are_named(tmp_path):
    frame = pd.DataFrame(
        {"a": pd.array([1, None], "Int64"), "b": pd.Categorical(["x", None])},
        index=pd.Index(["r1", "r2"], name="row"),
    )
    frame.to_parquet(tmp_path / "a.parquet")
    table = read_raw_table(tmp_path / "a.parquet")
    assert table.index == ("row",)
    assert {name: values_of(column) for name, column in table.columns.items()} == {
        "a": [1.0, None],
        "b": ["x", None],
        "row": ["r1", "r2"],
    }


def test_bytes_that_are_not_utf8_are_faults(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1, 2, 3], "b": [b"x", b"\xff", b"y"]}), path)
    with pytest.raises(InvalidInput) as caught:
        read_raw_table(path)
    assert str(caught.value) == (
        f"{path}, row 2, column b: expected text in UTF-8, got other bytes"
    )
    with closing(open_rows(path, ReadSettings(), chunk_bytes=1000)) as source:
        (chunk,) = source.chunks(["b", "a"])
        assert values_of(chunk.columns["b"]) == ["x", "y"]
        assert values_of(chunk.columns["a"]) == [1.0, 3.0]
        assert chunk.places.tolist() == [1, 3]
        assert chunk.rows.to_pylist() == [{"a": 1, "b": b"x"}, {"a": 3, "b": b"y"}]
        assert [fault.place for fault in chunk.faults] == [2]


@pytest.mark.parametrize("name", WRITERS)
def test_reading_resumes_at_every_position(tmp_path, name):
    n = 5000
    path = tmp_path / name
    table = pa.table({"i": np.arange(n), "t": [f"text {i % 7}" for i in range(n)]})
    if name == "a.parquet":
        pq.write_table(table, path, row_group_size=1500)
    elif name == "a.feather":
        feather.write_feather(table, path, chunksize=1500)
    else:
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=1500)
    with closing(open_rows(path, ReadSettings(), chunk_bytes=1000)) as source:
        chunks = list(source.chunks(["t", "i"]))
        assert len(chunks) > 3
        whole = [value for chunk in chunks for value in chunk.columns["i"].tolist()]
        assert whole == list(range(n))
        assert chunks[-1].bytes_done <= source.n_bytes
        for chunk in chunks[:-1]:
            rest = source.chunks(["i"], dict(chunk.end))
            following = next(rest)
            assert following.places[0] == chunk.places[-1] + 1
            assert following.columns["i"][0] == chunk.columns["i"][-1] + 1
        assert list(source.chunks(["i"], chunks[-1].end)) == []


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_refused(tmp_path, name):
    path = tmp_path / name
    columns = {key: array for key, (array, _) in COLUMNS.items()}
    WRITERS[name](pa.table(columns), path)
    content = path.read_bytes()
    kind = "Parquet" if name == "a.parquet" else "Arrow"
    for length in (4, 10, len(content) // 2, len(content) - 20):
        path.write_bytes(content[:length])
        with pytest.raises(InvalidInput, match=f"^{path}: expected a whole {kind} file "):
            read_raw_table(path)
    path.write_bytes(b"")
    with pytest.raises(InvalidInput):
        read_raw_table(path)
    path.write_bytes(content)
    with pytest.raises((InvalidInput, FileUnusable)):
        read_raw_table(path, ReadSettings(format="arrow" if kind == "Parquet" else "parquet"))


VALUES = {
    "number": st.floats(allow_nan=False),
    "whole": st.integers(-(2**31), 2**31 - 1),
    "text": st.text(max_size=5).filter(lambda text: text.strip() not in MISSING_WORDS),
    "truth": st.booleans(),
    "date": st.dates(date(1700, 1, 1), date(2200, 1, 1)),
    "moment": st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
    "decimal": st.decimals(-999, 999, places=2),
}
SCHEMA = {
    "number": pl.Float64,
    "whole": pl.Int32,
    "text": pl.String,
    "truth": pl.Boolean,
    "date": pl.Date,
    "moment": pl.Datetime("us"),
    "decimal": pl.Decimal(5, 2),
}
KINDS = {"text": "category", "truth": "category", "date": "date", "moment": "date"}
READ = {
    "number": float,
    "whole": float,
    "text": str.strip,
    "truth": lambda value: str(value).lower(),
    "date": lambda value: datetime(value.year, value.month, value.day),
    "moment": lambda value: value,
    "decimal": float,
}


def to_pandas_parquet(frame, path):
    frame.to_pandas().to_parquet(path)


def to_polars_parquet(frame, path):
    frame.write_parquet(path)


def to_polars_ipc(frame, path):
    frame.write_ipc(path, compat_level=pl.CompatLevel.newest())


def to_duckdb_parquet(frame, path):
    duckdb.from_arrow(frame.to_arrow()).write_parquet(str(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("typed")


@pytest.mark.parametrize(
    "write", [to_pandas_parquet, to_polars_parquet, to_polars_ipc, to_duckdb_parquet]
)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_what_a_program_writes_is_read_back_equal(folder, write, data):
    n_rows = data.draw(st.integers(1, 8))
    columns = {
        kind: data.draw(st.lists(st.none() | values, min_size=n_rows, max_size=n_rows))
        for kind, values in VALUES.items()
    }
    path = folder / "table"
    write(pl.DataFrame(columns, schema=SCHEMA), path)
    table = read_raw_table(path)
    for kind, values in columns.items():
        expected = [value if value is None else READ[kind](value) for value in values]
        assert values_of(table.columns[kind]) == expected, kind
        if any(value is not None for value in values):
            assert column_kind(table.columns[kind]) == KINDS.get(kind, "number"), kind
