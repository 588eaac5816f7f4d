"""A user's file to train on: what is read, and the errors of malformed files."""

import csv
import io
import math
import os
import re
import subprocess
import sys
import tracemalloc
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from pipeline.data.files.cells import parse_numbers
from pipeline.data.files.csv.columns import cut_rows, parse_with_numpy, parse_with_pyarrow
from pipeline.data.table import read_table
from pipeline.wording import to_plain_text
from quadnet.errors import FileUnusable, InvalidInput
from tests.support.environments import installation
from tests.support.serving import ROOT

IRIS = b"petal,sepal,species\n1.5,2,setosa\n-3e-2,.5,virginica\n"


def read_csv(tmp_path, content, *, label="species", features=None, **options):
    path = tmp_path / "iris.csv"
    path.write_bytes(content)
    return read_table(path, "csv", label=label, features=features, **options)


def read_error(tmp_path, content, **options):
    with pytest.raises((InvalidInput, FileUnusable)) as caught:
        read_csv(tmp_path, content, **options)
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    "content",
    [
        IRIS,
        IRIS.rstrip(b"\n"),
        IRIS + b"\n\r\n\n",
        IRIS.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + IRIS,
        b"\xef\xbb\xbf" + IRIS.replace(b"petal", b'"petal"'),
        IRIS.replace(b"setosa", b'"setosa"').replace(b"1.5", b'"1.5"'),
        IRIS.replace(b"1.5", b" +1.50e0\t").replace(b"petal,sepal", b"petal , sepal"),
        IRIS.replace(b"\n1.5", b"\n\n1.5"),
    ],
)
def test_what_spreadsheets_and_editors_make_of_a_file_is_read_alike(tmp_path, content):
    table = read_csv(tmp_path, content)
    assert table.features == ("petal", "sepal")
    assert table.X.dtype == np.float64
    assert table.X.tolist() == [[1.5, 2.0], [-0.03, 0.5]]
    assert table.y.tolist() == ["setosa", "virginica"]


def test_features_may_be_chosen_and_the_rest_may_be_anything(tmp_path):
    content = b'a,note,b,k\n1,"x,\n""y""",2,0\n3,,4,1\n'
    table = read_csv(tmp_path, content, label="k", features=["b", "a"])
    assert (table.features, table.X.tolist()) == (("b", "a"), [[2.0, 1.0], [4.0, 3.0]])
    assert table.y.tolist() == ["0", "1"]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "iris.csv, line 1: expected a header, got nothing"),
        (b"\n\r\n", {}, "iris.csv, line 1: expected a header, got nothing"),
        (b"a,species\n", {}, "iris.csv: expected rows, got 0"),
        (
            b"a,kind\n1,x\n",
            {},
            "iris.csv, column species: expected such a column, found only: a, kind",
        ),
        (
            IRIS,
            {"features": ["petal", "leaf"]},
            "column leaf: expected such a column, found only: petal, sepal, species",
        ),
        (
            b"a,b,a,species\n1,2,3,x\n",
            {},
            "column 'a': expected each column once, got this one twice: rename one of them",
        ),
        (
            IRIS,
            {"features": ["petal", "species"]},
            "iris.csv, column species: expected a label or a feature, got a column that is both",
        ),
        (
            IRIS,
            {"features": ["petal", "petal"]},
            "iris.csv, column petal: expected each feature once, got this one twice",
        ),
        (
            b"species\nx\ny\n",
            {},
            "iris.csv: expected at least one feature column besides species, got 0",
        ),
        (
            b"a,species\n1,x\n2,x\n",
            {},
            "iris.csv, column species: expected several classes, got only 'x'",
        ),
        (
            IRIS + b"abc,1,x\n,1,x\n1,2\n1,1,\n",
            {},
            "iris.csv, line 4, column petal: expected a number, got 'abc' (and 3 more faults)",
        ),
        (IRIS + b",1,x\n", {}, "line 4, column petal: expected a number, got an empty cell"),
        (IRIS + b"  ,1,x\n", {}, "line 4, column petal: expected a number, got an empty cell"),
        (IRIS + b"1,nan,x\n", {}, "line 4, column sepal: expected a finite number, got 'nan'"),
        (IRIS + b"1,-Inf,x\n", {}, "line 4, column sepal: expected a finite number, got '-Inf'"),
        (IRIS + b"1,1e999,x\n", {}, "line 4, column sepal: expected a finite number, got '1e999'"),
        (IRIS + b"1,1_0,x\n", {}, "line 4, column sepal: expected a number, got '1_0'"),
        (IRIS + b"1,0x10,x\n", {}, "line 4, column sepal: expected a number, got '0x10'"),
        (
            IRIS + "1,\u0661,x\n".encode(),
            {},
            "line 4, column sepal: expected a number, got '\u0661'",
        ),
        (IRIS + b"1,2\n", {}, "iris.csv, line 4: expected 3 cells, got 2"),
        (IRIS + b"1,2,x,\n", {}, "iris.csv, line 4: expected 3 cells, got 4"),
        (IRIS + b"1,2, \n", {}, "line 4, column species: expected a label, got an empty cell"),
        (
            IRIS + b"1,2,caf\xe9\n",
            {},
            "iris.csv, line 4: expected UTF-8, got the byte 0xe9 at byte 8 of the row",
        ),
        (IRIS + b"1,2,\0\n", {}, "line 4: expected text, got a NUL byte at byte 5 of the row"),
        (
            IRIS.decode().encode("utf-16"),
            {},
            "iris.csv, line 1: expected UTF-8, got the byte 0xff at byte 1 of the row",
        ),
        (
            IRIS.replace(b"\n", b"\r"),
            {},
            "line 1: expected a line feed at the end of a row, got a carriage return alone",
        ),
        (
            IRIS + b'1,2,"x\n3,4,y\n',
            {},
            "iris.csv, line 4: expected every quote to be closed, got one that is not",
        ),
        (
            IRIS + b'1,"2\n","x""\n3,4,y\n',
            {},
            "iris.csv, line 5: expected every quote to be closed, got one that is not",
        ),
        (
            IRIS + b'"1,2,x\n3,4,y\n5",6,x\n',
            {},
            "iris.csv, line 4, column petal: expected a number, got '1,2,x\\n3,4,y\\n5'",
        ),
        (
            IRIS + b'"1,2,x\n3,4,y"\n',
            {},
            "iris.csv, line 4: expected 3 cells, got 1 over 2 lines: is a closing quote missing?",
        ),
        (
            IRIS + b'1,2,"x"y\n',
            {},
            "iris.csv, line 4: expected a comma after a closing quote, got something else",
        ),
        # Lines are counted as in an editor, including those inside quotes.
        (
            IRIS + b'1,2,"x\r\ny\n"\n\nq,2,"x\n"\n',
            {},
            "iris.csv, line 8, column petal: expected a number, got 'q'",
        ),
        (b"a," + b"b" * 2**20 + b"\n1,2\n", {}, "expected a header of at most 1,048,576 bytes"),
        (
            b"a,species\n1,x\n1," + b"x" * 3_000_000 + b"\n2,y\n1\n",
            {},
            "line 3: expected a row of at most 1,048,576 bytes, got a longer one (and 1 more",
        ),
    ],
)
def test_a_bad_file_is_one_sentence_with_the_line_and_the_column(
    tmp_path, content, options, message
):
    said = read_error(tmp_path, content, **options)
    assert said == message or (not message.startswith("iris.csv") and message in said)
    assert "\n" not in said


def notices_of(table):
    return [to_plain_text(notice) for notice in table.notices]


def as_parquet(tmp_path, columns):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_a_label_has_a_longest_length_and_the_line_of_its_quote_is_named(tmp_path):
    rows = b"".join(b"%d,%d.5,k%d\n" % (i % 7, i, i % 2) for i in range(3000))
    content = b'a,b,species\n1,2,"yes\n' + rows + b'1,2,no"\n' + rows
    said = read_error(tmp_path, content)
    assert re.fullmatch(
        r"iris.csv, line 2, column species: expected a label of at most 256 characters, got "
        r"[0-9,]+, over 3,002 lines: is a closing quote missing\?",
        said,
    )
    assert read_error(tmp_path, IRIS + b'1,"2\n",x\n1,"2\n","' + b"x" * 257 + b'"\n') == (
        "iris.csv, line 7, column species: expected a label of at most 256 characters, got 257"
    )
    longest = b"\xc3\xa4" * 256
    assert read_csv(tmp_path, IRIS + b"1,2," + longest + b"\n").y[2] == longest.decode()
    assert "line 4, column species" in read_error(tmp_path, IRIS + b"1,2,x" + longest + b"\n")


def test_a_long_label_in_a_parquet_file_is_refused_with_its_row(tmp_path):
    path = as_parquet(tmp_path, {"a": [1.0, 2.0, 3.0], "k": ["x", "y" * 257, "z"]})
    with pytest.raises(InvalidInput, match="row 2, column k: expected a label of at most 256"):
        read_table(path, "parquet", label="k", features=None)


def test_memory_does_not_grow_with_rows_times_the_longest_label(tmp_path):
    lines = [b"%d,%d,k%d" % (i % 5, i % 7, i % 2) for i in range(100_000)]
    content = b"a,b,species\n" + b"\n".join([*lines, b"1,2," + b"x" * 256]) + b"\n"
    path = tmp_path / "iris.csv"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        table = read_table(path, "csv", label="species", features=None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert table.target.classes.tolist() == ["k0", "k1", "x" * 256]
    # As text the labels alone would take 100 MB.
    assert peak < 40e6


def test_more_different_labels_than_a_version_can_name_are_refused(tmp_path):
    content = b"a,species\n" + b"".join(b"1,%d\n" % i for i in range(70_000))
    assert "column species: expected at most 65,536 different labels" in read_error(
        tmp_path, content
    )


def test_spaces_around_labels_are_dropped_unless_they_are_to_be_kept(tmp_path):
    content = b'a,species\n1,yes\n2,yes \n3, yes\n4,no\n5,"\tyes"\n'
    assert read_csv(tmp_path, content).y.tolist() == ["yes", "yes", "yes", "no", "yes"]
    kept = read_csv(tmp_path, content, strip_labels=False)
    assert kept.y.tolist() == ["yes", "yes ", " yes", "no", "\tyes"]
    path = as_parquet(tmp_path, {"a": [1.0, 2.0, 3.0], "k": ["yes", " yes ", "no"]})
    assert read_table(path, "parquet", label="k", features=None).y.tolist() == ["yes", "yes", "no"]
    kept = read_table(path, "parquet", label="k", features=None, strip_labels=False)
    assert kept.y.tolist() == ["yes", " yes ", "no"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0"), ("yes", "Yes"), ("a b", "a  b"), ("1e0", "1"), ("\ufb01", "fi")],
)
def test_labels_that_differ_only_in_spelling_are_reported(tmp_path, one, other):
    first, second = sorted([one, other])
    table = read_csv(tmp_path, f"a,species\n1,{one}\n2,{other}\n3,q\n".encode())
    assert len(table.target.classes) == 3
    (said,) = notices_of(table)
    assert said == (
        f"In column 'species', the labels {first!r} and {second!r} are two classes, although they "
        "differ only in spelling."
    )


def test_a_column_without_a_name_is_no_feature(tmp_path):
    table = read_csv(tmp_path, b",x,,k\n0,5,u,a\n1,6,v,b\n", label="k")
    assert (table.features, table.X.tolist()) == (("x",), [[5.0], [6.0]])
    assert notices_of(table) == [
        "Columns 1, 3 have no name in the header and will not be used for training."
    ]
    listed = read_csv(tmp_path, b",x,k\n0,5,a\n1,6,b\n", label="k", features=["", "x"])
    assert (listed.X.tolist(), notices_of(listed)) == ([[0.0, 5.0], [1.0, 6.0]], [])
    unnamed = read_csv(tmp_path, b"x,\n5,a\n6,b\n", label="")
    assert (unnamed.features, unnamed.y.tolist()) == (("x",), ["a", "b"])
    path = as_parquet(tmp_path, {"": [0, 1], "x": [5.0, 6.0], "k": ["a", "b"]})
    table = read_table(path, "parquet", label="k", features=None)
    assert table.features == ("x",)
    assert notices_of(table) == [
        "Column 1 has no name in the header and will not be used for training."
    ]
    assert read_error(tmp_path, b",k\n0,a\n1,b\n", label="k").endswith(
        "expected at least one feature column besides k, got 0"
    )


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (range(20), True),
        (range(100, 140, 2), True),
        (range(20, 0, -1), True),
        ([i * i for i in range(20)], True),  # an index of which rows were left out
        (np.random.default_rng(0).permutation(20), True),
        ([i // 2 for i in range(20)], False),
        ([i + 0.5 for i in range(20)], False),
        ([1, *range(19)], False),
        (np.random.default_rng(0).choice(100, 20, replace=False), False),
    ],
)
def test_a_column_of_row_numbers_is_reported(tmp_path, values, counts):
    rows = "".join(f"{value},{i % 3},{'ab'[i > 9]}\n" for i, value in enumerate(values))
    table = read_csv(tmp_path, f"Unnamed: 0,x,k\n{rows}".encode(), label="k")
    assert table.features == ("Unnamed: 0", "x")
    said = notices_of(table)
    assert [text.startswith("Column 'Unnamed: 0' only numbers the rows") for text in said] == (
        [True] * counts
    )


def test_a_file_that_cannot_be_opened_is_reported(tmp_path):
    for path, reason in ((tmp_path / "no", "No such file"), (tmp_path, "it is a directory")):
        for kind in ("csv", "parquet"):
            with pytest.raises(FileUnusable, match=f"{path} cannot be read: {reason}"):
                read_table(path, kind, label="k", features=None)


def test_a_bad_row_is_found_wherever_it_stands_among_many(tmp_path):
    lines = [b"%d.25,%d,k%d" % (i, i, i % 2) for i in range(60_000)]
    for bad in (0, 31, 20_000, 40_000, 59_999):
        content = b"a,b,species\n" + b"\n".join([*lines[:bad], b"1,x,k", *lines[bad + 1 :]])
        assert read_error(tmp_path, content) == (
            f"iris.csv, line {bad + 2}, column b: expected a number, got 'x'"
        )


CELLS = st.text(
    st.one_of(st.sampled_from(',"\n\r \t;#ä😀'), st.characters(exclude_categories=["Cs"])),
    max_size=6,
).filter(lambda text: "\0" not in text)
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str),
    st.integers().map(str),
    st.from_regex(
        r" ?[+-]?([0-9]{1,25}\.?[0-9]{0,25}|\.[0-9]{1,25})([eE][+-]?[0-9]{1,3})? ?", fullmatch=True
    ),
).filter(lambda text: math.isfinite(float(text)))


@given(
    rows=st.lists(st.tuples(CELLS, NUMBERS, CELLS.filter(str.strip), NUMBERS), min_size=2),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    blank=st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_every_file_of_the_csv_module_is_read_as_it_reads_it(
    tmp_path_factory, rows, end, quoting, blank
):
    if quoting == csv.QUOTE_MINIMAL:
        # The module does not quote a carriage return, and then cannot read it.
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    labels = [f"{i % 2}{row[2]}" for i, row in enumerate(rows)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=quoting)
    writer.writerow(["note", "a", "species", "b"])
    for row, label in zip(rows, labels, strict=True):
        writer.writerow([row[0], row[1], label, row[3]])
        if blank:
            text.write(end)
    table = read_csv(tmp_path_factory.mktemp("csv"), text.getvalue().encode(), features=["a", "b"])
    expected = [(float(row[1]), float(row[3])) for row in rows]
    assert table.X.tobytes() == np.array(expected).tobytes()
    assert table.y.tolist() == [label.strip() for label in labels]


def between(value, digits):
    """Return decimals next to the middle of this float and the one above it."""
    middle = (Decimal(value) + Decimal(math.nextafter(value, math.inf))) / 2
    return f"{middle:.{digits}f}"


DECIMALS = st.one_of(
    NUMBERS,
    st.from_regex(r"[+-]?[0-9]{0,9}\.?[0-9]{0,23}", fullmatch=True),
    st.builds(between, st.floats(-1e8, 1e8), st.integers(0, 22)),
    st.integers(2**53, 2**59).map(str),
    st.text("0123456789.+-eE_ \x00\xb2/:", max_size=12),
)


PARSERS = pytest.mark.parametrize("parse", [parse_with_pyarrow, parse_with_numpy])


@PARSERS
@given(texts=st.lists(DECIMALS, min_size=1))
@example(texts=["18446744073709550592", "18446744073709551615", "9" * 24, "1e400", "-1e-400"])
@example(texts=["\ufeff1", "1\u00a0", "\u30001", "\x851", "\x1c1", "1_0", "0x1p3", "nan", "-inf"])
@settings(deadline=None, max_examples=300)
def test_numbers_parsed_together_are_those_that_python_reads_one_by_one(parse, texts):
    for text in ["".join(f"{text}\n" for text in texts), *(f"{text}\n" for text in texts)]:
        rows = cut_rows(text.encode(), 1)
        X = None if rows is None else parse(text.encode(), [0])
        if X is not None:
            assert X.tobytes() == np.array(parse_numbers(text.split("\n")[:-1])).tobytes()
        elif re.fullmatch(r"(-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d\d?)?\n)+", text):
            # Ordinary text never goes to the slow reader.
            raise AssertionError(text)


PIECES = st.sampled_from([",", '"', '""', "\n", " ", "1", "-2.5", "a", "ä", "😀", "\t"])


@PARSERS
@given(
    text=st.lists(PIECES, max_size=25).map("".join),
    n_columns=st.integers(1, 3),
    wanted=st.permutations(range(3)),
)
@settings(deadline=None, max_examples=500)
def test_text_is_cut_as_the_csv_module_cuts_it_or_not_at_all(parse, text, n_columns, wanted):
    text += "\n"
    rows = cut_rows(text.encode(), n_columns)
    if rows is None:
        return
    expected = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert {len(record) for record in expected} == {n_columns}
    assert [next(csv.reader(io.StringIO(row.decode(), newline=""))) for row in rows] == expected
    assert b"\n".join([*rows, b""]) == text.encode()
    wanted = [i for i in wanted if i < n_columns]
    X = parse(text.encode(), wanted)
    if X is not None:
        numbers = [parse_numbers([record[i] for i in wanted]) for record in expected]
        assert X.tobytes() == np.array(numbers).tobytes()


@pytest.mark.parametrize("has_pyarrow", [True, False])
def test_a_long_file_is_read_alike_with_and_without_pyarrow(tmp_path, monkeypatch, has_pyarrow):
    if not has_pyarrow:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    X = np.random.default_rng(0).normal(size=(60_000, 2))
    X[::1000] *= 1e300
    lines = ["a,note,species,b\r\n"]
    lines += [f'{a!r},"x, ""{i}""\n",k{i % 2},{b!r}\n' for i, (a, b) in enumerate(X.tolist())]
    lines += [f"{a!r},é,k{i % 2},{b!r}\n" for i, (a, b) in enumerate(X.tolist())]
    table = read_csv(tmp_path, "".join(lines).encode(), features=["b", "a"])
    np.testing.assert_array_equal(table.X, np.concatenate([X, X])[:, ::-1])
    assert table.places[-1] == 3 * 60_000 + 1


def write_csv(tmp_path, table):
    path = tmp_path / "iris.parquet"
    pq.write_table(pa.table(table), path, row_group_size=2)
    return path


def test_parquet_is_read_like_csv_whatever_the_kind_of_number(tmp_path):
    columns = {
        "double": pa.array([1.5, 2.5, 3.5]),
        "float": pa.array([1.5, 2.5, 3.5], pa.float32()),
        "half": pa.array(np.array([1.5, 2.5, 3.5], np.float16)),
        "int": pa.array([1, 2, 2**53 + 1], pa.int64()),
        "unsigned": pa.array([1, 2, 255], pa.uint8()),
        "truth": pa.array([True, False, True]),
    }
    table = read_table(
        write_csv(tmp_path, columns | {"k": [7, 8, 7]}), "parquet", label="k", features=None
    )
    assert table.features == tuple(columns)
    assert table.X.tolist() == [
        [1.5, 1.5, 1.5, 1.0, 1.0, 1.0],
        [2.5, 2.5, 2.5, 2.0, 2.0, 0.0],
        [3.5, 3.5, 3.5, 2.0**53, 255.0, 1.0],
    ]
    assert table.y.tolist() == ["7", "8", "7"]


@pytest.mark.parametrize(
    "labels", [pa.array(["a", "b"]), pa.array(["a", "b"], pa.large_string()),
               pa.array(["a", "b"]).dictionary_encode(), pa.array(["a", "b"], pa.string_view()),
               pa.array(["a", "b"], pa.large_string()).dictionary_encode(),
               pa.array([b"a", b"b"]).dictionary_encode(),
               *(pa.array([b"a", b"b"], kind) for kind in (
                   pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(1)))],
)  # fmt: skip
def test_parquet_labels_are_text_of_any_kind(tmp_path, labels):
    path = write_csv(tmp_path, {"x": [1.0, 2.0], "k": labels})
    assert read_table(path, "parquet", label="k", features=["x"]).y.tolist() == ["a", "b"]


def test_row_labels_of_pandas_are_no_features(tmp_path):
    import pandas as pd

    path = tmp_path / "frame.parquet"
    frame = pd.DataFrame({"x": [1.0, 2.0], "k": ["a", "b"]}, index=pd.Index([5, 6], name="id"))
    frame.to_parquet(path)
    assert read_table(path, "parquet", label="k", features=None).features == ("x",)
    assert read_table(path, "parquet", label="k", features=["id"]).X.tolist() == [[5.0], [6.0]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": ["1", "2"]}, "column x: expected numbers, got values of type string"),
        ({"x": [[1], [2]]}, "column x: expected numbers, got values of type list<element: int64>"),
        ({"x": pa.array([1, 2], pa.decimal128(5, 2))}, "column x: expected numbers, got values of"),
        ({"x": [1.0, None]}, ", row 2, column x: expected a number, got a null"),
        ({"x": [1.0, math.nan]}, ", row 2, column x: expected a finite number, got nan"),
        ({"x": [1.0, -math.inf]}, ", row 2, column x: expected a finite number, got -inf"),
        (
            {"x": [1.0, None], "k": [None, "b"]},
            ", row 1, column k: expected a label, got a null (and 1 more fault)",
        ),
        ({"x": [1.0, 2.0], "k": ["a", " "]}, "row 2, column k: expected a label, got an empty"),
        ({"x": [1.0, 2.0], "k": ["a", "b\0"]}, "row 2, column k: expected a label without NUL"),
        (
            {"x": [1.0, 2.0], "k": [b"a", b"\xff"]},
            "row 2, column k: expected a label in UTF-8, got",
        ),
        ({"x": [1.0, 2.0], "k": [0.5, 1.5]}, "column k: expected text or integers, got values of"),
        ({"x": [1.0, 2.0], "k": ["a", "a"]}, "column k: expected several classes, got only 'a'"),
        ({}, ": expected at least one feature column besides k, got 0"),
        ({"x": pa.array([], pa.float64()), "k": pa.array([], pa.string())}, "expected rows, got"),
    ],
)
def test_a_bad_parquet_file_is_one_sentence_with_the_row_and_the_column(tmp_path, columns, message):
    path = write_csv(tmp_path, {"k": ["a", "b"], **columns})
    with pytest.raises(InvalidInput) as caught:
        read_table(path, "parquet", label="k", features=None)
    assert str(caught.value).startswith(f"{path}")
    assert message in str(caught.value)


def test_the_row_of_a_fault_is_counted_over_all_row_groups(tmp_path):
    values = np.zeros(50_000)
    values[[31_234, 40_000]] = np.nan
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": values, "k": ["a", "b"] * 25_000}), path, row_group_size=20_000)
    with pytest.raises(InvalidInput, match=r"row 31235, column x: .* \(and 1 more fault\)"):
        read_table(path, "parquet", label="k", features=["x"])


def test_a_file_that_is_not_parquet_or_truncated_is_reported(tmp_path):
    whole = write_csv(tmp_path, {"x": np.arange(5000.0), "k": ["a", "b"] * 2500}).read_bytes()
    path = tmp_path / "bad.parquet"
    damaged = bytearray(whole)
    damaged[4:2000] = bytes(1996)
    for content in (b"", IRIS, whole[:-1], whole[: len(whole) // 2], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match=f"{path}: expected a whole Parquet file"):
            read_table(path, "parquet", label="k", features=None)


def test_without_pyarrow_the_extra_is_named(tmp_path):
    (tmp_path / "pyarrow.py").write_text("raise ImportError('broken')")
    done = subprocess.run(
        [sys.executable, "-c", "from pipeline.data.files.arrow import parquet"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.stderr.endswith(
        "quadnet.errors.MissingExtra: Reading or writing a Parquet file needs packages that are "
        f"installed but cannot be imported (broken). {installation('parquet')}\n"
    )
