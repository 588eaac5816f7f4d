"""Tables in several files: patterns, directories, Hive's layout; and the standard input."""

import gzip
import os
import subprocess
import sys
from contextlib import closing

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.data.files.raw_source import open_rows
from pipeline.data.files.raw_table import read_raw_table
from pipeline.data.files.read_settings import ReadSettings
from quadnet.errors import FileUnusable, InvalidInput
from quadnet.tables.columns import Texts
from tests.support.serving import ROOT

FRAME = pd.DataFrame(
    {
        "year": [2023, 2023, 2024, 2024],
        "city": ["Köln", "a/b=c", None, "Köln"],
        "x": [1.5, 2.5, np.nan, -1.0],
    }
)


def values(table):
    return {
        name: column.to_array().tolist() if isinstance(column, Texts) else column.tolist()
        for name, column in table.columns.items()
    }


def read_error(path, root, **options):
    with pytest.raises((InvalidInput, FileUnusable)) as caught:
        read_raw_table(path, ReadSettings(**options))
    return str(caught.value).replace(f"{root}/", "")


def write_with_pandas(folder):
    FRAME.to_parquet(folder, partition_cols=["year", "city"])


def write_with_polars(folder):
    frame = pl.from_pandas(FRAME)
    frame.write_parquet(folder, partition_by=["year", "city"])


def write_with_duckdb(folder):
    frame = pl.from_pandas(FRAME).to_arrow()
    duckdb.from_arrow(frame).write_parquet(str(folder), partition_by=["year", "city"])


@pytest.mark.parametrize("write", [write_with_pandas, write_with_polars, write_with_duckdb])
def test_partitions_of_hive_are_columns(tmp_path, write):
    folder = tmp_path / "table"
    folder.mkdir()
    write(folder)
    (folder / "_SUCCESS").touch()
    (folder / ".part.crc").write_bytes(b"x")
    table = read_raw_table(folder)
    assert set(table.columns) == {"x", "year", "city"}
    found = sorted(
        zip(*(values(table)[name] for name in ("year", "x", "city")), strict=True), key=str
    )
    # polars keeps the columns in the files, with their types.
    found = [(int(year), x, city) for year, x, city in found]
    expected = zip(FRAME["year"], FRAME["x"], FRAME["city"].to_list(), strict=True)
    expected = [(y, x, None if pd.isna(city) else city) for y, x, city in expected]
    assert str(found) == str(sorted(expected, key=str))
    assert table.description == "Parquet, 4 files, 4 rows"
    assert (table.unit, table.places.tolist()) == ("row", [1, 2, 3, 4])


@pytest.mark.parametrize("pattern", ["day *.csv*", "*", "**/*.csv*", "day [12].csv*"])
def test_a_pattern_is_one_table_with_columns_by_name(tmp_path, pattern):
    (tmp_path / "day 1.csv").write_text("a;b\n1,5;x\n2,5;\n")
    (tmp_path / "day 2.csv.gz").write_bytes(gzip.compress(b"b;a\ny;3\n"))
    (tmp_path / ".hidden.csv").write_text("c\n1\n")
    table = read_raw_table(tmp_path / pattern)
    assert values(table) == {"a": ["1,5", "2,5", "3"], "b": ["x", None, "y"]}
    assert table.description == "CSV, semicolon, decimal comma, UTF-8, 2 files, 3 rows"
    assert table.decimal == ","
    assert [table.locate(row) for row in range(3)] == [
        (tmp_path / "day 1.csv", 2),
        (tmp_path / "day 1.csv", 3),
        (tmp_path / "day 2.csv.gz", 2),
    ]
    with pytest.raises(InvalidInput, match="expected the order and types of columns, and the deli"):
        read_chunks(tmp_path / pattern)


def test_a_name_with_the_characters_of_a_pattern_is_a_file(tmp_path):
    path = tmp_path / "table [1].csv"
    path.write_text("a,b\n1,2\n")
    assert values(read_raw_table(path)) == {"a": ["1"], "b": ["2"]}
    assert read_raw_table(path).places.tolist() == [2]


def read_chunks(path, at=None, **options):
    source = open_rows(path, ReadSettings(), chunk_bytes=30, **options)
    with closing(source):
        return list(source.chunks(source.columns, at))


def test_reading_resumes_in_every_file(tmp_path):
    for i in range(3):
        rows = [f"{10 * i + j},x" for j in range(10)]
        (tmp_path / f"{i}.csv").write_text("\n".join(["a,b", *rows, ""]))
    chunks = read_chunks(tmp_path)
    rows = [row for chunk in chunks for row in chunk.rows]
    assert rows == [b"%d,x" % i for i in range(30)]
    assert len(chunks) == 6
    assert [chunk.path.name for chunk in chunks] == sorted(chunk.path.name for chunk in chunks)
    for i, chunk in enumerate(chunks):
        rest = read_chunks(tmp_path, chunk.end)
        assert [row for each in rest for row in each.rows] == [
            row for each in chunks[i + 1 :] for row in each.rows
        ]
    done = [chunk.bytes_done for chunk in chunks]
    assert done == sorted(done)
    assert done[-1] == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_column_that_is_missing_in_one_file_may_have_another_type(tmp_path):
    pq.write_table(pa.table({"a": pa.nulls(2), "b": [1, 2]}), tmp_path / "0.parquet")
    pq.write_table(
        pa.table({"a": ["x", None], "b": pa.array([3, 4], "u1")}), tmp_path / "1.parquet"
    )
    pq.write_table(pa.table({"a": pa.nulls(1), "b": [0.5]}), tmp_path / "2.parquet")
    table = read_raw_table(tmp_path)
    assert values(table) == {"a": [None, None, "x", None, None], "b": [1, 2, 3, 4, 0.5]}


def test_files_that_differ_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    other = tmp_path / "b.csv"
    other.write_text("a,c\n1,2\n")
    assert read_error(tmp_path, tmp_path) == ("b.csv, column b: expected this column, as in a.csv")
    other.write_text("a,b,c\n1,2,3\n")
    assert read_error(tmp_path, tmp_path) == "b.csv, column c: expected no such column, as in a.csv"
    other.write_text("a,b\n1,2\n1\n1,2,3\n")
    assert read_error(tmp_path, tmp_path) == (
        "b.csv, line 3: expected 2 cells, got 1 (and 1 more fault)"
    )
    other.unlink()
    pq.write_table(pa.table({"a": [1], "b": [1]}), tmp_path / "a.parquet")
    assert read_error(tmp_path, tmp_path).startswith("a.parquet: expected text, got binary data")
    (tmp_path / "a.csv").unlink()
    pq.write_table(pa.table({"a": ["x"], "b": [1]}), tmp_path / "b.parquet")
    assert read_error(tmp_path, tmp_path) == (
        "b.parquet, column a: expected values of kind number, as in other files, got category"
    )
    pq.write_table(pa.table({"a": [[1]], "b": [1]}), tmp_path / "b.parquet")
    assert "b.parquet, column a: expected numbers, text or dates, got values of type" in read_error(
        tmp_path, tmp_path
    )


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "_SUCCESS").touch()
    assert read_error(tmp_path / "empty", tmp_path) == (
        "empty cannot be read: expected files in this directory, found 0."
    )
    assert read_error(tmp_path / "*.csv", tmp_path) == (
        "*.csv cannot be read: expected files with such names, found 0."
    )
    assert read_error(tmp_path / "a.csv", tmp_path) == (
        "a.csv cannot be read: No such file or directory."
    )
    os.mkfifo(tmp_path / "pipe")
    assert read_error(tmp_path / "pipe", tmp_path) == (
        "pipe cannot be read: it is a device or a pipe. Name a file."
    )
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    assert "loop.csv cannot be read: Too many levels" in read_error(tmp_path / "loop.csv", tmp_path)


def read_standard_input(content):
    code = (
        "from pathlib import Path; from pipeline.data.files.raw_table import *\n"
        "from quadnet.errors import QuadnetError\n"
        "try:\n"
        "    table = read_raw_table(Path('-'))\n"
        "    print(table.description, list(table.columns), table.places.tolist())\n"
        "except QuadnetError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=content, capture_output=True, check=True, cwd=ROOT
    )
    return done.stdout.decode().strip()


def test_the_standard_input_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    assert read_standard_input(path.read_bytes()) == "Parquet, 1 row ['a'] [1]"
    content = gzip.compress("a;b\n1,5;x\n".encode("utf-16"))
    assert read_standard_input(content) == (
        "CSV, semicolon, decimal comma, UTF-16 with a byte-order mark, gzip, 1 row ['a', 'b'] [2]"
    )
    assert read_standard_input(b"") == "standard input, line 1: expected a header, got nothing"
    assert read_standard_input(b"a,b\n1\n") == "standard input, line 2: expected 2 cells, got 1"
