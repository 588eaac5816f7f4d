"""CSV as programs and people write it: dialects, encodings, compression, and what is wrong."""

import csv
import gzip
import io
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
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.files.column_joiner import clean_texts
from pipeline.data.files.csv.columns import (
    NumberFormat,
    cut_rows,
    split_with_csv,
    split_with_pyarrow,
)
from pipeline.data.files.raw_source import open_rows
from pipeline.data.files.raw_table import read_raw_table
from pipeline.data.files.read_settings import ReadSettings
from pipeline.data.parsing.numbers import parse_numbers
from pipeline.wording import to_plain_text
from quadnet.errors import ConfigurationError, FileUnusable, InvalidInput
from quadnet.tables.columns import Texts
from quadnet.tables.missing_words import MISSING_WORDS
from tests.support.hidden_packages import hide_packages
from tests.support.serving import ROOT

GERMAN = "Größe;Ort;Datum\n1,5;Köln;2024-01-31\n-2;NA;\n0,25;Bern;2024-02-29\n"
GERMAN_COLUMNS = {
    "Größe": ["1,5", "-2", "0,25"],
    "Ort": ["Köln", None, "Bern"],
    "Datum": ["2024-01-31", None, "2024-02-29"],
}


def read_bytes(tmp_path, content, name="table.csv", **options):
    path = tmp_path / name
    path.write_bytes(content)
    return read_raw_table(path, ReadSettings(**options))


def texts(table):
    return {name: column.to_array().tolist() for name, column in table.columns.items()}


def read_error(tmp_path, content, name="table.csv", **options):
    with pytest.raises((InvalidInput, FileUnusable, ConfigurationError)) as caught:
        read_bytes(tmp_path, content, name, **options)
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("content", "description"),
    [
        (GERMAN.encode(), "UTF-8"),
        (GERMAN.encode("utf-8-sig"), "UTF-8 with a byte-order mark"),
        (GERMAN.encode("utf-16"), "UTF-16 with a byte-order mark"),
        (b"\xfe\xff" + GERMAN.encode("utf-16-be"), "UTF-16 with a byte-order mark"),
        (GERMAN.encode("utf-16-be"), "UTF-16"),
        (GERMAN.encode("utf-16-le"), "UTF-16"),
        (GERMAN.encode("utf-32"), "UTF-32 with a byte-order mark"),
        (GERMAN.replace("\n", "\r\n").encode(), "UTF-8"),
        (GERMAN.replace("\n", "\n\r\n").encode(), "UTF-8"),
        (
            GERMAN.replace("\n", "\r").encode(),
            "UTF-8, lines that end with a carriage return",
        ),
        (gzip.compress(GERMAN.encode(), mtime=0), "UTF-8, gzip"),
        (
            gzip.compress(GERMAN[:20].encode(), mtime=0)
            + gzip.compress(GERMAN[20:].encode(), mtime=0),
            "UTF-8, gzip",
        ),
        (
            pa.compress(GERMAN.encode("utf-16"), "zstd", asbytes=True),
            "UTF-16 with a byte-order mark, zstd",
        ),
    ],
)
def test_a_german_spreadsheet_is_read_alike_in_every_form(tmp_path, content, description):
    table = read_bytes(tmp_path, content)
    assert texts(table) == GERMAN_COLUMNS
    assert table.description == f"CSV, semicolon, decimal comma, {description}, 3 rows"
    assert (table.decimal, table.unit, table.notices) == (",", "line", ())


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_text_that_is_not_utf8_is_read_with_a_notice(tmp_path, encoding):
    table = read_bytes(tmp_path, GERMAN.encode(encoding))
    assert texts(table) == GERMAN_COLUMNS
    assert list(map(to_plain_text, table.notices)) == [
        "The file is not UTF-8, so it was read as Windows-1252."
    ]


def test_a_late_byte_that_is_not_utf8_decides_about_the_whole_file(tmp_path):
    content = b"a,b\n" + b"x,1\n" * 300_000 + b"caf\xe9,2\n"
    column = read_bytes(tmp_path, content).columns["a"]
    assert column.values == ("x", "café")
    # In a given encoding, it is an error of its line.
    assert read_error(tmp_path, content, encoding="utf-8") == (
        "table.csv, line 300002: expected UTF-8, got the byte 0xe9 at byte 4 of the row"
    )


def test_settings_override_what_would_be_detected(tmp_path):
    content = "a;b|c\n1,5;x|?\n"
    table = read_bytes(tmp_path, content.encode(), delimiter="|", decimal=".", missing=())
    assert texts(table) == {"a;b": ["1,5;x"], "c": ["?"]}
    assert table.decimal == "."
    table = read_bytes(tmp_path, GERMAN.encode("cp037"), encoding="cp037")
    assert texts(table) == GERMAN_COLUMNS
    table = read_bytes(tmp_path, b"1,x\n2, y \n", header=False, strip=False)
    assert texts(table) == {"column_1": ["1", "2"], "column_2": ["x", " y "]}
    assert table.places.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "delimiter", "decimal"),
    [
        ("a,b\n1,2\n", "comma", "."),
        ("a\tb\nx, y\tz, w\n", "tab", "."),
        ("a|b\n1|2\n", "vertical bar", "."),
        # Cells with other delimiters, in quotes and without.
        ('a,b\n"x;y;z",1\n"u;v;w",2\n', "comma", "."),
        ('a;b\n"1,2\n3,4";x\n"5,6\n7,8";y\n', "semicolon", "."),
        ("Temp, C;Pressure, hPa\n1,5;2,5\n3,5;4,5\n", "semicolon", ","),
        ("name\tnote\nDoe, John\tfine; well\n", "tab", "."),
        # One column, with and without decimals.
        ("a\n1\n2\n", "comma", "."),
        ("a\n1,5\n2,5\n", "semicolon", ","),
        ("a\nx;y\nz\n", "comma", "."),
        # Decimal separators by the columns that they make numbers.
        ("a;b;c\n1.5;1,5;1,5\n2.5;2,5;2,5\n", "semicolon", ","),
        ("a;b;c\n1.5;1.5;1,5\n2.5;2.5;2,5\n", "semicolon", "."),
        ("a;b\n1,5;31.12.2024\n2;30.12.2024\n", "semicolon", ","),
        ("a;b\nx;1\n" + "1,5;2\n" * 9, "semicolon", ","),
        ("a;b\n1.5;1\n" + "1,5;2\n" * 9, "semicolon", ","),
        ('a,b\n"1,5",x\n"2,25",y\n', "comma", ","),
        # Between thousands, if the commas of all numbers can be that.
        ('a,b\n"1,500",x\n"2,250,000",y\n', "comma", "."),
        ('a,b\n"1,500",x\n"2,250",y\n', "comma", "."),
        ("a;b\n1,500;NA\n0,250;x\n", "semicolon", ","),
    ],
)
def test_delimiter_and_decimal_separator_are_detected(tmp_path, content, delimiter, decimal):
    table = read_bytes(tmp_path, content.encode())
    assert table.description.startswith(f"CSV, {delimiter}, ")
    assert table.decimal == decimal
    assert table.notices == ()


def test_commas_that_may_be_between_thousands_are_reported(tmp_path):
    table = read_bytes(tmp_path, b"a;b\n1,500;x\n2,250;y\n")
    assert table.decimal == ","
    assert list(map(to_plain_text, table.notices)) == [
        "Commas in numbers were read as decimal commas, not between thousands."
    ]


@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_line_that_names_the_delimiter_is_no_row(tmp_path, mark):
    content = "sep=|\r\na,b|c;d\r\n1|2\r\n"
    table = read_bytes(tmp_path, content.encode(mark))
    assert texts(table) == {"a,b": ["1"], "c;d": ["2"]}
    assert table.places.tolist() == [3]
    assert "line 4: expected 2 cells, got 3" in read_error(tmp_path, f"{content}1|2|3".encode(mark))


@pytest.mark.parametrize(
    ("header", "is_suspicious"),
    [
        ("5.1,3.5,setosa", True),
        ("7,1,0", True),
        ("1,2,3", False),
        ("0", False),
        ("country,2023,2024", False),
        ("a,b,1e5x", False),
    ],
)
def test_a_first_row_of_numbers_is_reported(tmp_path, header, is_suspicious):
    content = f"{header}\n{header}\n".encode()
    notices = list(map(to_plain_text, read_bytes(tmp_path, content).notices))
    assert (
        notices
        == ["The first row has numbers where names of columns are expected. Is the header missing?"]
        * is_suspicious
    )
    assert read_bytes(tmp_path, content, header=False).notices == ()


def test_places_are_the_lines_in_an_editor(tmp_path):
    content = b'a,b\n1,"x\ny"\n\n2,z\n"3\n\n",w\n4,v\n'
    table = read_bytes(tmp_path, content)
    assert table.places.tolist() == [2, 5, 6, 9]
    # The same by the fast path, which takes no blank lines.
    table = read_bytes(tmp_path, content.replace(b"\n\n2", b"\n2"))
    assert table.places.tolist() == [2, 4, 5, 8]


def test_an_unnamed_column_is_left_out_with_a_notice(tmp_path):
    table = read_bytes(tmp_path, b",a,\n0,x,\n1,y,\n")
    assert texts(table) == {"a": ["x", "y"]}
    assert list(map(to_plain_text, table.notices)) == [
        "Columns 1, 3 have no name in the header and were not read."
    ]


def test_row_labels_of_r_are_left_out_with_a_notice(tmp_path):
    table = read_bytes(tmp_path, b'"a";"b"\n"row 1";1,5;"x"\n"row 2";NA;"y"\n')
    assert texts(table) == {"a": ["1,5", None], "b": ["x", "y"]}
    assert table.decimal == ","
    assert list(map(to_plain_text, table.notices)) == [
        "Column 1 has no name in the header and was not read."
    ]
    message = read_error(tmp_path, b"a,b\n1,2,\n3,4,\n")
    assert message == "table.csv, line 2: expected 2 cells, got 3 (and 1 more fault)"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "table.csv, line 1: expected a header, got nothing"),
        (b"a;b\n", "table.csv: expected rows, got 0"),
        (b"a;b\n1;2\n3\n4;5;6\n", "line 3: expected 2 cells, got 1 (and 1 more fault)"),
        (b"a,b\n1\n2\n", "line 2: expected 2 cells, got 1 (and 1 more fault)"),
        (b"My report\na;b\n1;2\n", "line 2: expected 1 cell, got 2 (and 1 more fault)"),
        (b"a;a\n1;2\n", "column 'a': expected each column once, got this one twice"),
        (b'a;b\n1;"x\n2;y\n', "line 2: expected every quote to be closed, got one that is not"),
        (
            b'a;b\n1;"x"y\n',
            "line 2: expected a semicolon after a closing quote, got something else",
        ),
        (b"a;b\n1;\0\n", "line 2: expected text, got a NUL byte at byte 3 of the row"),
        (
            bytes(range(256)),
            (
                "table.csv: expected text, got binary data: it is not UTF-8 at byte 129, and has "
                "the control character 0x00 at byte 1"
            ),
        ),
        (
            GERMAN.encode("utf-16")[:-1],
            "expected text in utf-16, got other bytes at line 4 (truncated data)",
        ),
        (
            gzip.compress(GERMAN.encode(), mtime=0)[:-9],
            (
                "expected a whole file in gzip (Compressed file ended before the end-of-stream "
                "marker was reached)"
            ),
        ),
        (
            gzip.compress(GERMAN.encode(), mtime=0)[:-8] + bytes(8),
            "table.csv: expected a whole file in gzip (CRC check failed ",
        ),
        (
            pa.compress(GERMAN.encode(), "zstd", asbytes=True)[:-9],
            "expected a whole file in zstd (Truncated compressed stream)",
        ),
        (
            b"PK\x03\x04...",
            (
                "table.csv cannot be read: expected CSV, Parquet or Arrow, got a ZIP archive or a "
                "spreadsheet. Save the table as CSV."
            ),
        ),
        (b"\n<!DOCTYPE html>\n", "expected CSV, Parquet or Arrow, got a web page."),
    ],
)
def test_malformed_content_is_refused(tmp_path, content, message):
    assert message in read_error(tmp_path, content)


def test_unknown_encodings_are_refused(tmp_path):
    for name in ("utf-99", "base64", "a\0b"):
        assert "Expected an encoding such as utf-8" in read_error(tmp_path, b"a", encoding=name)
    message = read_error(tmp_path, GERMAN.encode(), encoding="ascii")
    assert "expected text in ascii, got other bytes at line 1 (ordinal not in range" in message


# What each program writes is read back equal.

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc",), include_characters="\n\t"), max_size=8
).filter(lambda text: text.strip() not in MISSING_WORDS)
MARKED_WORDS = st.text(st.sampled_from("\n\t;,|\"' äx1"), max_size=8).filter(
    lambda text: text.strip() not in MISSING_WORDS
)
COLUMNS = {
    "text": WORDS | MARKED_WORDS,
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "whole": st.integers(-(2**63), 2**63 - 1),
}


@st.composite
def frames(draw):
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=2, max_size=4))
    n_rows = draw(st.integers(1, 12))
    return {
        f"{kind} {i}": draw(st.lists(st.none() | COLUMNS[kind], min_size=n_rows, max_size=n_rows))
        for i, kind in enumerate(kinds)
    }


def to_polars(frame):
    types = {"text": pl.String, "number": pl.Float64, "whole": pl.Int64}
    return pl.DataFrame(frame, schema={name: types[name.split()[0]] for name in frame})


def write_with_csv(path, frame, delimiter, quoting):
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, quoting=quoting)
        writer.writerows([frame, *zip(*frame.values(), strict=True)])


def write_with_pandas(path, frame, delimiter, quoting):
    table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in frame.items()})
    table.to_csv(path, sep=delimiter, index=False, quoting=quoting, na_rep="NA")


def write_with_polars(path, frame, delimiter, quoting):
    style = "always" if quoting == csv.QUOTE_ALL else "necessary"
    to_polars(frame).write_csv(path, separator=delimiter, quote_style=style)


def write_with_duckdb(path, frame, delimiter, quoting):
    table = to_polars(frame).to_arrow()
    options = {"sep": delimiter, "quotechar": '"'}
    if quoting == csv.QUOTE_ALL:
        options["quoting"] = "all"
    duckdb.from_arrow(table).write_csv(str(path), **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dialects")


@pytest.mark.parametrize(
    "write", [write_with_csv, write_with_pandas, write_with_polars, write_with_duckdb]
)
@settings(max_examples=25, deadline=None)
@given(
    frame=frames(),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    compress=st.sampled_from(
        [bytes, gzip.compress, lambda b: pa.compress(b, "zstd", asbytes=True)]
    ),
    chunk_bytes=st.sampled_from([200, 2**20]),
)
def test_what_a_program_writes_is_read_back_equal(
    folder, write, frame, delimiter, quoting, encoding, compress, chunk_bytes
):
    path = folder / "table.csv"
    write(path, frame, delimiter, quoting)
    path.write_bytes(compress(path.read_bytes().decode().encode(encoding)))
    parsers = {"text": str.strip, "number": float, "whole": int}

    table = read_raw_table(path)
    assert list(table.columns) == list(frame)
    for name, values in frame.items():
        kind = name.split()[0]
        found = table.columns[name].to_array().tolist()
        assert [v if v is None else parsers[kind](v) for v in found] == [
            v.strip() if kind == "text" and v is not None else v for v in values
        ]

    # In chunks, and as unchanged rows.
    source = open_rows(path, ReadSettings(), chunk_bytes=chunk_bytes)
    pieces = {name: [] for name in frame}
    rows = []
    with closing(source):
        for chunk in source.chunks(source.columns):
            rows += chunk.rows
            assert chunk.faults == []
            for name, column in chunk.columns.items():
                pieces[name] += column.to_array().tolist()
    assert pieces == texts(table)
    stream = io.StringIO(b"\r\n".join(rows).decode(), newline="")
    records = list(csv.reader(stream, delimiter=delimiter))
    assert len(records) == len(table.places)


@settings(max_examples=50, deadline=None)
@given(frame=frames(), delimiter=st.sampled_from(",;\t|"))
def test_both_fast_parsers_give_the_same_texts(folder, frame, delimiter):
    path = folder / "alike.csv"
    write_with_pandas(path, frame, delimiter, csv.QUOTE_MINIMAL)
    content = path.read_bytes()
    assert cut_rows(content, len(frame), delimiter.encode())
    wanted = range(len(frame))[::-1]
    texts_only = NumberFormat(frozenset(), ".", MISSING_WORDS)
    by_arrow = split_with_pyarrow(content, wanted, delimiter, texts_only)
    by_csv = split_with_csv(content, wanted, delimiter, texts_only)
    assert [column.to_array().tolist() for column in by_arrow] == [
        column.to_array().tolist() for column in by_csv
    ]


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=12),
    delimiter=st.sampled_from(";\t|"),
    with_polars=st.booleans(),
)
def test_decimal_commas_of_pandas_and_polars_are_found(folder, values, delimiter, with_polars):
    path = folder / "decimals.csv"
    frame = {"a": [*values, 0.5], "b": [*values, 1.25]}
    if with_polars:
        pl.DataFrame(frame).write_csv(path, separator=delimiter, decimal_comma=True)
    else:
        pd.DataFrame(frame).to_csv(path, sep=delimiter, decimal=",", index=False)
    table = read_raw_table(path)
    assert table.decimal == ","
    found = [float(text.replace(",", ".")) for text in table.columns["b"].to_array()]
    assert found == frame["b"]


CELLS = st.sampled_from(
    ["1", "-2.5", "1e3", "+1", " 7 ", ".5", "1.", "0x1F", "inf", "nan", "NA", " NA ", "", "1e999"]
    + ["1_0", "\u0661", "1,5", "0.1 ", "-0", "\x0b3", "12345678901234567890", "NaN", "-", "x"]
)


@settings(max_examples=200, deadline=None)
@given(
    cells=st.lists(CELLS, min_size=1, max_size=4),
    decimal=st.sampled_from(".,"),
    missing=st.sampled_from([MISSING_WORDS, ("",), ()]),
)
def test_numbers_of_the_fast_parser_are_those_of_the_texts(cells, decimal, missing):
    content = "".join(f"{cell};a\n" for cell in cells).encode()
    numbers = NumberFormat(frozenset([0]), decimal, missing)
    (column,) = split_with_pyarrow(content, [0], ";", numbers)
    if isinstance(column, Texts):
        assert column.to_array().tolist() == cells
    else:
        cleaned = clean_texts(Texts.from_values(cells), missing, strip=True)
        parsed = parse_numbers(cleaned, decimal)
        assert not len(parsed.bad)
        np.testing.assert_array_equal(column.view("i8"), parsed.values.view("i8"))


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_columns_of_many_numbers_have_numbers(tmp_path, delimiter):
    n = 30_000
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": draw.normal(size=n),
            "gaps": np.where(draw.random(n) < 0.1, np.nan, draw.normal(size=n)),
            "few": draw.integers(0, 99, n),
            "late text": [*map(str, range(n - 1)), "x"],
            "identifier": [f"{i:08}" for i in range(n)],
            "quoted": [f"{i}.5" if i != 25_000 else "+7" for i in range(n)],
            "name": [f"name {i}" for i in range(n)],
        }
    )
    path = tmp_path / "many.csv"
    decimal = "," if delimiter == ";" else "."
    frame.to_csv(path, index=False, sep=delimiter, na_rep="NA", decimal=decimal)
    if decimal == ",":
        frame["quoted"] = ""  # pandas writes texts with a point
        frame.to_csv(path, index=False, sep=delimiter, na_rep="NA", decimal=decimal)
    table = read_raw_table(path)
    numbers = {name for name, column in table.columns.items() if not isinstance(column, Texts)}
    assert numbers == {"number", "gaps"} | ({"quoted"} if decimal == "." else set())
    for name in numbers:
        np.testing.assert_array_equal(table.columns[name], frame[name].astype(float))
    for name in ("late text", "identifier", "name"):
        assert table.columns[name].to_array().tolist() == frame[name].tolist()
    few = parse_numbers(table.columns["few"]).values
    np.testing.assert_array_equal(few, frame["few"])
    assert table.places.tolist() == list(range(2, n + 2))


def test_chunks_have_the_same_numbers_whatever_their_cells_are(tmp_path):
    """Some rows of a chunk are read fast and others one by one."""
    n = 70_000
    path = tmp_path / "mixed.csv"
    lines = [f"{i}.25,{i}" for i in range(n)]
    lines[500], lines[2000], lines[60_000] = "x,1", "1,2,3", '"NA",+4'
    path.write_text("\n".join(["a,b", *lines, ""]))
    pieces, faults = [], []
    with closing(open_rows(path, ReadSettings(), chunk_bytes=2**17)) as source:
        for chunk in source.chunks(["b", "a"], numbers=["a", "b"]):
            assert list(chunk.columns) == ["b", "a"]
            pieces.append([parse_numbers(column) for column in chunk.columns.values()])
            faults += chunk.faults
            bad = [chunk.places[row] for row in pieces[-1][1].bad]
            assert bad == ([502] if len(pieces) == 1 else [])
    assert [(fault.place, fault.description) for fault in faults] == [
        (2002, "expected 2 cells, got 3")
    ]
    b, a = (np.concatenate([piece[i].values for piece in pieces]) for i in (0, 1))
    expected = np.delete(np.arange(n, dtype=float), 2000)
    whole, half = expected.copy(), expected + 0.25
    whole[500], whole[59_999], half[500], half[59_999] = 1, 4, np.nan, np.nan
    np.testing.assert_array_equal(b, whole)
    np.testing.assert_array_equal(a, half)


def test_the_base_installation_reads_the_same(tmp_path):
    n = 80_000
    path = tmp_path / "table.csv.gz"
    lines = [f"{i}.5;{'NA' if i % 7 == 0 else i};'{i % 10}" for i in range(n)]
    path.write_bytes(gzip.compress("\n".join(["a;b;c", *lines]).encode()))
    code = (
        "import sys; from pathlib import Path; from pipeline.data.files.raw_table import *\n"
        "table = read_raw_table(Path(sys.argv[1]))\n"
        "a, b, c = table.columns.values()\n"
        "print(table.description, a.sum(), b[~(b != b)].sum(), c.count().tolist())\n"
        "print('pyarrow' in sys.modules)"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([hidden, str(ROOT)])},
        ).stdout.splitlines()
        for hidden in ("", hide_packages(tmp_path, "pyarrow")["PYTHONPATH"])
    ]
    assert [lines[1] for lines in printed] == ["True", "False"]
    assert printed[0][0] == printed[1][0]


def test_reading_zstd_without_pyarrow_names_the_extra(tmp_path):
    path = tmp_path / "table.csv.zst"
    path.write_bytes(pa.compress(b"a,b\n1,2\n", "zstd", asbytes=True))
    code = (
        "import sys; from pathlib import Path; from pipeline.data.files.raw_table import *\n"
        "from quadnet.errors import MissingExtra\n"
        "try: read_raw_table(Path(sys.argv[1]))\n"
        "except MissingExtra as error: print(error)"
    )
    hidden = hide_packages(tmp_path, "pyarrow")["PYTHONPATH"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([hidden, str(ROOT)])},
    )
    assert "pip install 'quadnet[parquet]'" in done.stdout
