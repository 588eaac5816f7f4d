"""Damaged and foreign files: each is read, or refused with a sentence, and nothing crashes."""

import gzip
import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather
from pyarrow import parquet as pq

from pipeline.data.files.raw_table import read_raw_table
from pipeline.data.files.read_settings import ReadSettings
from quadnet.errors import InvalidInput, QuadnetError

CSV = 'a;b;"c\nd"\n1,5;"x;""y";ä\n2;NA;\n'
TABLE = pa.table(
    {
        "number": [1, 2, 3, None] * 10,
        "text": ["x", "ä", None, "y"] * 10,
        "moment": pa.array([1, 2, None, 4] * 10, pa.timestamp("ns")),
        "dictionary": pa.array(["u", None, "v", "u"] * 10).dictionary_encode(),
    }
)


def make_contents():
    parquet, ipc, stream = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pq.write_table(TABLE, parquet)
    feather.write_feather(TABLE, ipc, compression="lz4")
    with pa.ipc.new_stream(stream, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return [
        *(file.getvalue() for file in (parquet, ipc, stream)),
        *(CSV.encode(name) for name in ("utf-8", "utf-16", "utf-16-be", "utf-32", "latin-1")),
        gzip.compress(CSV.encode(), mtime=0),
        pa.compress(CSV.encode(), "zstd", asbytes=True),
        gzip.compress(parquet.getvalue(), mtime=0),
    ]


@st.composite
def damaged(draw):
    content = draw(st.sampled_from(make_contents()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        removed = draw(st.integers(0, 8) | st.just(len(content)))
        content = content[:at] + draw(st.binary(max_size=4)) + content[at + removed :]
    return content


SETTINGS = st.just(ReadSettings()) | st.builds(
    ReadSettings,
    format=st.sampled_from([None, "csv", "parquet", "arrow"]),
    delimiter=st.sampled_from([None, ",", "\t"]),
    encoding=st.sampled_from([None, "utf-8", "utf-16", "utf-7", "shift_jis", "idna"]),
    compression=st.sampled_from([None, "gzip", "zstd", "none"]),
    header=st.booleans(),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@settings(max_examples=200, deadline=None)
@given(
    content=damaged() | st.binary() | st.text(',;\t|"\n\r\0 1.a', max_size=30).map(str.encode),
    read_settings=SETTINGS,
    name=st.sampled_from(["table.csv", "table.parquet", "table"]),
)
def test_any_bytes_are_read_or_refused(folder, content, read_settings, name):
    path = folder / name
    path.write_bytes(content)
    try:
        table = read_raw_table(path, read_settings)
    except QuadnetError as error:
        assert str(error)
    else:
        assert {len(column) for column in table.columns.values()} <= {len(table.places)}


def read_error(path):
    with pytest.raises(InvalidInput) as caught:
        read_raw_table(path)
    return str(caught.value).removeprefix(f"{path.parent}/")


def test_values_that_their_type_cannot_have_are_refused(tmp_path):
    path = tmp_path / "a.arrow"
    beyond = pa.DictionaryArray.from_arrays(pa.array([0, 7]), pa.array(["x"]), safe=False)
    feather.write_feather(pa.table({"a": beyond}), path)
    assert read_error(path).startswith("a.arrow: expected a whole Arrow file (")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": pa.array([1, 2**53], pa.timestamp("s"))}), path)
    assert read_error(path).startswith("a.parquet, column a: expected valid values of type timesta")
    text = pa.array([b"x", b"\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"a": text, "b": pa.array([1, 2], pa.timestamp("ns"))}), path)
    assert read_error(path) == "a.parquet, row 2, column a: expected text in UTF-8, got other bytes"


def test_an_error_lists_the_first_rows_of_many(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1,2\n1,2,3\n" * 5000)
    with pytest.raises(InvalidInput) as caught:
        read_raw_table(path)
    assert caught.value.total == 5000
    assert [violation.field for violation in caught.value.violations] == [
        f"{path}, line {line}" for line in 3 + 2 * np.arange(InvalidInput.MAX_VIOLATIONS)
    ]
