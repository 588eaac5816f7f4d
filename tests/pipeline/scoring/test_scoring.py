"""Scoring a file: every row gets the predictor's result, even after crashes."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from pipeline.scoring.scoring_job import score_file
from quadnet.errors import (
    ConfigurationError,
    ErrorKind,
    FileUnusable,
    InvalidInput,
    OutputExists,
    ResumeRefused,
)
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry import Registry, alias_changes
from tests.support import inference_client
from tests.support.exact_models import SELF_TEST_INPUTS, publish, record
from tests.support.serving import QUADNET, ROOT, ServerProcess, quadnet


@pytest.fixture
def model(registry):
    return publish(registry, scale=2.0)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Return a model for tests that only read it."""
    return publish(Registry(tmp_path_factory.mktemp("shared") / "registry"), scale=2.0)


def points(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, 2))


def endings(model, X):
    """Return the expected ending of each row, formatted one by one by Python."""
    predictor = model.predictor
    classes = list(predictor.classes)
    answers = zip(predictor.predict(X), predictor.probabilities(X), strict=True)
    rows = [[name, f"{P[classes.index(name)]:.6f}", model.manifest.version] for name, P in answers]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().splitlines()


def score(model, path, content=None, suffix="", **options):
    """Score the file, perhaps after writing it, and return the output's path."""
    if content is not None:
        path.write_bytes(content)
    target = path.with_name(f"out{suffix}{path.suffix}")
    score_file(model, path, target, **options)
    return target


def leftovers(directory):
    return sorted(
        path.name for path in directory.iterdir() if "partial" in path.name or "check" in path.name
    )


@pytest.mark.parametrize("chunk_bytes", [100, 5000, 2**20])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_row_is_kept_and_gets_the_predictors_answer(tmp_path, shared, chunk_bytes, end):
    X = points(30_000 if chunk_bytes > 100 else 300)
    rows = [f"r{i},{x!r},Zürich,{y!r}" for i, (x, y) in enumerate(X.tolist())]
    content = end.join(["id,x,city,y", *rows, ""]).encode()
    out = score(shared, tmp_path / "in.csv", content, chunk_bytes=chunk_bytes)
    expected = ["id,x,city,y,label,certainty,version"]
    expected += [f"{row},{ending}" for row, ending in zip(rows, endings(shared, X), strict=True)]
    assert out.read_text(encoding="utf-8") == "\n".join([*expected, ""])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


CELLS = st.text(
    st.one_of(st.sampled_from(',"\n ;ä😀'), st.characters(exclude_categories=["Cs", "Cc"])),
    max_size=5,
)
NUMBERS = st.floats(-2, 2).map(repr) | st.integers(-2, 2).map("{:+05d}".format)


@given(
    rows=st.lists(st.tuples(CELLS, NUMBERS, CELLS, NUMBERS)),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    chunk_bytes=st.sampled_from([200, 2**20]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
@settings(deadline=None, max_examples=60)
def test_quoted_cells_of_any_text_come_out_as_they_went_in(
    tmp_path_factory, shared, rows, quoting, end, chunk_bytes, mark
):
    lines = []
    for row in [("note", "x", "other", "y"), *rows]:
        line = io.StringIO(newline="")
        csv.writer(line, quoting=quoting).writerow(row)
        lines.append(line.getvalue().removesuffix("\r\n").encode())
    path = tmp_path_factory.mktemp("quoted") / "in.csv"
    content = mark + end.encode().join(lines)
    out = score(shared, path, content, chunk_bytes=chunk_bytes)
    X = np.array([(float(row[1]), float(row[3])) for row in rows]).reshape(-1, 2)
    added = ["label,certainty,version", *endings(shared, X)]
    expected = [b"%s,%s\n" % pair for pair in zip(lines, map(str.encode, added), strict=True)]
    assert out.read_bytes() == mark + b"".join(expected)
    frame = pd.read_csv(out, keep_default_na=False)
    assert frame["label"].tolist() == list(shared.predictor.predict(X))


@pytest.mark.parametrize("n_classes", [2, 13])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_classes_of_any_name_in_any_precision(tmp_path, registry, n_classes, dtype):
    names = ["plain", 'with "quotes", a comma', "Zürich", " ", "two\nlines"]
    names += [f"{i}" * i for i in range(n_classes)]
    outputs, loss = (
        (1, "sigmoid_cross_entropy") if n_classes == 2 else (13, "softmax_cross_entropy")
    )
    network = Network.dense([2, 30, outputs], activations=["tanh"], loss=loss, dtype=dtype)
    network.parameters.flat[:] = np.random.default_rng(0).normal(size=len(network.parameters.flat))
    predictor = Predictor(network, names[:n_classes])
    model = registry.publish("m", predictor, record(predictor), SELF_TEST_INPUTS)
    X = points(20_000)
    frame = pd.DataFrame(X, columns=["x", "y"])
    frame.to_csv(tmp_path / "in.csv", index=False)
    frame.to_parquet(tmp_path / "in.parquet")
    P = predictor.probabilities(X).max(axis=1)
    for path in (tmp_path / "in.csv", tmp_path / "in.parquet"):
        out = score(model, path)
        is_csv = path.suffix == ".csv"
        read = pd.read_csv(out, keep_default_na=False) if is_csv else pd.read_parquet(out)
        assert read["label"].tolist() == list(predictor.predict(X))
        assert (read["version"] == 1).all()
        atol = 2 * np.finfo(dtype).eps + (5e-7 if is_csv else 0.0)
        np.testing.assert_allclose(read["certainty"], P, rtol=0, atol=atol)


@given(st.lists(st.floats(0, 1) | st.integers(0, 2**21).map(lambda n: n / 2**21), min_size=1))
def test_certainties_are_rounded_as_python_rounds(certainties):
    from types import SimpleNamespace

    from pipeline.scoring.csv_output import CsvOutput
    from pipeline.scoring.output import AddedColumns

    added = AddedColumns(("label", "certainty", "version"), ("I",), 1)
    output = CsvOutput(SimpleNamespace(schema=b"x", delimiter=",", decimal="."), added)
    winners = np.zeros(len(certainties), np.intp)
    written = output.encode([b"x"] * len(certainties), winners, np.array(certainties))
    assert written.decode().splitlines() == [f"x,I,{p:.6f},1" for p in certainties]


def odd_table(X):
    n = len(X)
    text = pa.array([None if i % 7 == 0 else f"Zürich {i % 50}" for i in range(n)])
    return pa.table(
        {
            "id": pa.array(range(n), pa.int64()),
            "y": X[:, 1],
            "when": pa.array(np.arange(n), pa.timestamp("us")),
            "tags": pa.array([[i, None] if i % 3 else None for i in range(n)]),
            "city": text.dictionary_encode(),
            "price": pa.array([Decimal(i) / 100 for i in range(n)], pa.decimal128(12, 2)),
            "nested": pa.array([{"a": i, "b": str(i)} for i in range(n)]),
            "x": X[:, 0],
        }
    ).replace_schema_metadata({"owner": "us"})


def test_parquet_columns_of_every_kind_come_out_as_they_went_in(tmp_path, shared):
    X = points(50_000)
    table = odd_table(X)
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=17_000)
    table = pq.read_table(tmp_path / "in.parquet")
    out = score(shared, tmp_path / "in.parquet", chunk_bytes=10_000)
    read = pq.read_table(out)
    assert read.select(table.column_names).equals(table, check_metadata=True)
    assert read.column_names[-3:] == ["label", "certainty", "version"]
    assert read["label"].to_pylist() == shared.predictor.predict(X).tolist()
    expected = shared.predictor.probabilities(X).max(axis=1)
    np.testing.assert_allclose(read["certainty"], expected, rtol=1e-15)
    assert set(read["version"].to_pylist()) == {1}
    # Readers that take a part only find it too.
    file = pq.ParquetFile(out)
    assert file.num_row_groups > 3
    middle = file.read_row_group(2, columns=["x"])["x"].to_pylist()
    start = sum(file.metadata.row_group(i).num_rows for i in range(2))
    assert middle == X[start : start + len(middle), 0].tolist()
    filtered = pq.read_table(out, filters=[("id", ">=", 49_990)])
    assert filtered["id"].to_pylist() == list(range(49_990, 50_000))


@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view(), pa.large_string()])
def test_columns_of_views_come_out_as_they_went_in_with_rows_put_aside_too(tmp_path, shared, kind):
    X = points(20_000)
    X[[0, 1, 5000, 19_999], 0] = np.nan
    text = pa.array([None if i % 5 == 0 else f"Zürich {i}".encode() for i in range(len(X))])
    text = text.cast(pa.string()) if kind != pa.binary_view() else text
    table = pa.table({"x": X[:, 0], "y": X[:, 1], "text": text.cast(kind)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=9000)
    read = pq.read_table(score(shared, tmp_path / "in.parquet", on_error="skip"))
    good = np.isfinite(X).all(axis=1)
    assert read.schema.field("text").type == kind
    expected = [value for value, kept in zip(text.to_pylist(), good, strict=True) if kept]
    assert read["text"].to_pylist() == expected
    assert read["label"].to_pylist() == shared.predictor.predict(X[good]).tolist()


@pytest.mark.parametrize("name", ["in.csv", "in.parquet"])
def test_an_output_that_is_a_link_stays_one_and_its_file_is_written(tmp_path, shared, name):
    path = tmp_path / name
    frame = pd.DataFrame(points(100), columns=["x", "y"])
    (frame.to_csv if path.suffix == ".csv" else frame.to_parquet)(path, index=False)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    link, real = tmp_path / f"out{path.suffix}", elsewhere / f"answered{path.suffix}"
    link.symlink_to(real)  # which is not there yet
    score(shared, path)
    whole = real.read_bytes()
    real.write_bytes(b"old")
    with pytest.raises(OutputExists, match="exists already"):
        score(shared, path)
    score(shared, path, overwrite=True)
    assert link.is_symlink()
    assert real.read_bytes() == whole
    assert [p.name for p in elsewhere.iterdir()] == [real.name]
    # An input by another name is still the input.
    link.unlink()
    link.symlink_to(path)
    with pytest.raises(ConfigurationError, match=r"is the input\. Choose another name"):
        score(shared, path, overwrite=True)


def test_rows_labels_of_pandas_survive(tmp_path, shared):
    frame = pd.DataFrame(points(10), columns=["x", "y"], index=pd.Index(range(5, 15), name="id"))
    frame.to_parquet(tmp_path / "in.parquet")
    out = pd.read_parquet(score(shared, tmp_path / "in.parquet"))
    pd.testing.assert_frame_equal(out[["x", "y"]], frame)


def test_a_file_without_rows_gives_one_without_rows(tmp_path, shared):
    out = score(shared, tmp_path / "in.csv", b"x,y\n")
    assert out.read_bytes() == b"x,y,label,certainty,version\n"
    pd.DataFrame({"x": [], "y": []}).to_parquet(tmp_path / "in.parquet")
    read = pq.read_table(score(shared, tmp_path / "in.parquet"))
    assert (len(read), read.column_names) == (0, ["x", "y", "label", "certainty", "version"])


def overflowing(registry, loss, dtype="float64"):
    """Publish a relu network in which large values overflow; return the model."""
    classes, outputs = ["low", "mid", "high"], 3
    if loss == "sigmoid_cross_entropy, one output":
        classes, outputs, loss = ["no", "yes"], 1, "sigmoid_cross_entropy"
    network = Network.dense([2, 8, outputs], activations=["relu"], loss=loss, dtype=dtype)
    network.parameters.flat[:] = np.random.default_rng(1).normal(
        size=len(network.parameters.flat), scale=3.0
    )
    predictor = Predictor(network, classes)
    return registry.publish("m", predictor, record(predictor), SELF_TEST_INPUTS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "loss",
    ["softmax_cross_entropy", "sigmoid_cross_entropy", "sigmoid_cross_entropy, one output"],
)
def test_a_row_that_overflows_in_the_network_gets_no_label_as_from_the_server(
    tmp_path, registry, loss, dtype
):
    model = overflowing(registry, loss, dtype)
    X = points(2000)
    huge = {0: (1e308, 1e308), 7: (1e308, -1e308), 1999: (-1.7e308, 1.7e308)}
    for row, values in huge.items():
        X[row] = values
    frame = pd.DataFrame(X, columns=["x", "y"])
    frame.to_csv(tmp_path / "in.csv", index=False)
    frame.to_parquet(tmp_path / "in.parquet")
    publish(registry)  # what the server answers by default
    with ServerProcess(registry.root) as server:
        request = inference_client.raw(X, model="m", model_version="1")
        answer = inference_client.InferenceStub(server.channel).ModelInfer(request)
    labels = [name.decode() for name in inference_client.outputs(answer)["label"]]
    unanswered = [row for row in huge if labels[row] == ""]
    assert unanswered, labels[:8]
    assert {row for row, label in enumerate(labels) if not label} <= huge.keys()

    done = quadnet(
        "score", "m:1", tmp_path / "in.csv", tmp_path / "out.csv", "--registry", registry.root
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith(f"{len(unanswered)} of them have no answer")
    scored = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert scored["label"].tolist() == labels
    assert [row for row, cell in enumerate(scored["certainty"]) if cell == ""] == unanswered
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert all(lines[row + 1].endswith(",,,1") for row in unanswered)
    certainties = pd.to_numeric(scored["certainty"]).dropna()
    assert certainties.between(0, 1).all()

    read = pq.read_table(score(model, tmp_path / "in.parquet", suffix="-p"))
    assert read["label"].to_pylist() == [label or None for label in labels]
    assert read["label"].null_count == read["certainty"].null_count == len(unanswered)
    assert not np.isnan(read["certainty"].drop_null().to_numpy()).any()
    assert set(read["version"].to_pylist()) == {1}


BAD = b'x,y,note\n1,1,a\nabc,1,"b, ""c"""\n-1,1,d\n1,,e\n1,2\n-1,-1,caf\xe9\n1,-1,"f\n2,2,g\n'


def test_a_bad_row_stops_it_and_nothing_is_kept(tmp_path, shared):
    with pytest.raises(InvalidInput) as caught:
        score(shared, tmp_path / "in.csv", BAD)
    assert str(caught.value) == (
        f"{tmp_path / 'in.csv'}, line 3, column x: expected a number, got 'abc'"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize("chunk_bytes", [30, 2**20])
def test_bad_rows_can_be_put_aside_with_number_and_reason(tmp_path, shared, chunk_bytes):
    out = score(shared, tmp_path / "in.csv", BAD, on_error="skip", chunk_bytes=chunk_bytes)
    assert [line.split(b",")[:4] for line in out.read_bytes().splitlines()] == [
        [b"x", b"y", b"note", b"label"],
        [b"1", b"1", b"a", b"I"],
        [b"-1", b"1", b"d", b"II"],
        [b"2", b"2", b"g", b"I"],
    ]
    rejected = (tmp_path / "out.rejected.csv").read_text(encoding="latin-1")
    unclosed = "expected every quote to be closed, got one that is not"
    assert list(csv.reader(io.StringIO(rejected))) == [
        ["line", "reason", "content"],
        ["3", "column x: expected a number, got 'abc'", 'abc,1,"b, ""c"""'],
        ["5", "column y: expected a number, got an empty cell", "1,,e"],
        ["6", "expected 3 cells, got 2", "1,2"],
        ["7", "expected UTF-8, got the byte 0xe9 at byte 10 of the row", "-1,-1,caf\xe9"],
        ["8", unclosed, '1,-1,"f'],
    ]
    # What is fixed of them can be scored, but not into the same file's name.
    with pytest.raises(ConfigurationError, match=r"is the input\. Choose another name"):
        score_file(shared, tmp_path / "out.rejected.csv", out, overwrite=True)


def test_a_row_longer_than_a_chunk_is_a_bad_one(tmp_path, shared):
    lines = [b"1,1,a"] * 3 + [b"1,1," + b"b" * 5000] + [b"-1,1,c"] * 2 + [b'1,1,"' + b"d" * 5000]
    content = b"\n".join([b"x,y,note", *lines, b"-1,-1,e"])
    out = score(shared, tmp_path / "in.csv", content, on_error="skip", chunk_bytes=1000)
    labels = [line.split(b",")[3] for line in out.read_bytes().splitlines()[1:]]
    assert labels == [b"I"] * 3 + [b"II"] * 2 + [b"III"]
    rejected = pd.read_csv(tmp_path / "out.rejected.csv")
    assert rejected["line"].tolist() == [5, 8]
    too_long = "expected a row of at most 1,000 bytes, got a longer one"
    assert rejected["reason"].tolist() == [too_long, too_long]


def test_bad_rows_of_parquet_are_put_aside_too(tmp_path, shared):
    X = points(20_000)
    X[[3, 12_345], [0, 1]] = np.nan
    table = pa.table(
        {"n": range(20_000), "x": X[:, 0], "y": pa.array(X[:, 1], mask=X[:, 0] > 0.999)}
    )
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1) | (X[:, 0] > 0.999))
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=9000)
    with pytest.raises(InvalidInput, match=f"row {bad[0] + 1}, column "):
        score(shared, tmp_path / "in.parquet")
    out = score(shared, tmp_path / "in.parquet", on_error="skip", chunk_bytes=1000)
    kept = np.delete(np.arange(20_000), bad)
    read = pq.read_table(out)
    assert read["n"].to_pylist() == kept.tolist()
    assert read["label"].to_pylist() == shared.predictor.predict(X[kept]).tolist()
    rejected = pd.read_csv(tmp_path / "out.rejected.csv")
    assert rejected["row"].tolist() == (bad + 1).tolist()
    by_row = dict(zip(rejected["row"], rejected["reason"], strict=True))
    assert by_row[4] == "column x: expected a finite number, got nan"
    assert by_row[12_346] == "column y: expected a finite number, got nan"
    assert "column y: expected a number, got a null" in by_row.values()
    assert json.loads(rejected["content"][0])["n"] == bad[0]


def test_columns_that_are_there_already_need_a_prefix(tmp_path, shared):
    content = b"label,x,y\na,1,1\n"
    with pytest.raises(ConfigurationError) as caught:
        score(shared, tmp_path / "in.csv", content)
    assert caught.value.kind is ErrorKind.COLUMN_EXISTS
    assert str(caught.value) == (
        f"{tmp_path / 'in.csv'} already has a column label: the added columns need another prefix."
    )
    out = score(shared, tmp_path / "in.csv", content, prefix="predicted_")
    header = out.read_text().splitlines()[0]
    assert header == "label,x,y,predicted_label,predicted_certainty,predicted_version"


def test_columns_are_found_by_name_and_missing_ones_are_reported(tmp_path, shared):
    with pytest.raises(InvalidInput, match="column y: expected such a column, found only"):
        score(shared, tmp_path / "in.csv", b"x,z\n1,2\n")
    pq.write_table(pa.table({"x": ["1"], "y": [1]}), tmp_path / "in.parquet")
    with pytest.raises(InvalidInput, match="column x: expected numbers, got values of type string"):
        score(shared, tmp_path / "in.parquet")
    assert leftovers(tmp_path) == []


def test_invalid_file_names_are_reported(tmp_path, shared):
    source = tmp_path / "in.csv"
    source.write_bytes(b"x,y\n1,1\n")
    (tmp_path / "dir.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for kind, names, message in [
        (ConfigurationError, ("in.csv", "out.parquet"), "must both end in .csv or both in"),
        (ConfigurationError, ("in.csv", "out"), "must both end in .csv or both in .parquet"),
        (FileUnusable, ("no.csv", "out.csv"), "no.csv cannot be read: No such file"),
        (FileUnusable, ("pipe.csv", "out.csv"), "pipe.csv cannot be read: it is a device or a"),
        (FileUnusable, ("in.csv", "dir.csv"), "dir.csv cannot be written: it is a directory"),
        (FileUnusable, ("in.csv", "no/out.csv"), "no/out.csv cannot be written: No such file"),
        (ConfigurationError, ("in.csv", "in.csv"), "in.csv is the input. Choose another name"),
    ]:
        with pytest.raises(kind) as caught:
            score_file(shared, *(tmp_path / name for name in names))
        assert message in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"in\.csv is the input\. Choose another"):
        score_file(shared, source, source, overwrite=True)
    assert source.read_bytes() == b"x,y\n1,1\n"
    assert leftovers(tmp_path) == []


def test_an_output_is_replaced_only_with_overwrite_and_only_when_complete(tmp_path, shared):
    source = tmp_path / "in.csv"
    out = score(shared, source, b"x,y\n1,1\n1\n", on_error="skip")
    before, rejected = out.read_bytes(), tmp_path / "out.rejected.csv"
    source.write_bytes(b"x,y\n1,1\n1,q\n")
    with pytest.raises(InvalidInput):
        score(shared, source, overwrite=True)
    assert out.read_bytes() == before
    out.unlink()
    with pytest.raises(OutputExists, match=r"out\.rejected\.csv exists already") as caught:
        score(shared, source)
    assert caught.value.kind is ErrorKind.OUTPUT_EXISTS
    assert leftovers(tmp_path) == []
    score(shared, source, b"x,y\n-1,1\n", overwrite=True)
    assert b"II" in out.read_bytes()
    # The previous run's rejected rows are removed.
    assert not rejected.exists()


class Stop(Exception):
    """Ends a run from its progress callback, as Ctrl-C would."""


def score_interrupted(model, path, after=6, **options):
    """Score `after` chunks, with a checkpoint every few chunks."""
    calls = iter(range(after))

    def progress(rows, done, total):
        assert 0 < done <= total
        if next(calls, None) is None:
            raise Stop

    with pytest.raises(Stop):
        score(model, path, progress=progress, chunk_bytes=5000, checkpoint_bytes=12_000, **options)


def lines(n, seed=0):
    rows = [f"{i},{x!r},{y!r}" for i, (x, y) in enumerate(points(n, seed).tolist())]
    return "\n".join(["id,x,y", *rows, ""]).encode()


def test_an_interrupted_run_is_resumed_only_with_resume(tmp_path, model):
    path = tmp_path / "in.csv"
    whole = score(model, path, lines(2000), suffix="-whole", chunk_bytes=5000).read_bytes()
    score_interrupted(model, path)
    assert leftovers(tmp_path) == [
        "out.csv.checkpoint", "out.csv.partial", "out.rejected.csv.partial",
    ]  # fmt: skip
    assert not (tmp_path / "out.csv").exists()
    with pytest.raises(OutputExists) as caught:
        score(model, path)
    assert caught.value.kind is ErrorKind.OUTPUT_UNFINISHED
    assert str(caught.value) == f"{tmp_path / 'out.csv'} is unfinished."
    seen = []
    out = score(
        model, path, resume=True, chunk_bytes=5000,
        progress=lambda rows, *_: seen.append(rows),
    )  # fmt: skip
    assert out.read_bytes() == whole
    assert 0 < seen[0] < 2000
    assert seen[-1] == 2000
    assert leftovers(tmp_path) == []


def test_a_run_with_other_facts_cannot_resume(tmp_path, model, registry):
    path = tmp_path / "in.csv"
    path.write_bytes(lines(2000))
    score_interrupted(model, path)
    other = publish(registry, scale=3.0)
    size = {"chunk_bytes": 5000}
    for options, message in [
        ({"model": other}, "the model was version 1 of 'quadrants' ("),
        ({"on_error": "skip"}, "the treatment of bad rows was stop then and is skip now"),
        ({"prefix": "p_"}, "the prefix was '' then and is 'p_' now"),
        ({"chunk_bytes": 6000}, "the size of a chunk was 5000 then and is 6000 now"),
    ]:
        chosen = {"model": model, "path": path, **size, **options}
        with pytest.raises(ResumeRefused) as caught:
            score(**chosen, resume=True)
        assert f"Cannot resume {tmp_path / 'out.csv'}: {message}" in str(caught.value)
        assert caught.value.kind is ErrorKind.OUTPUT_NOT_RESUMABLE
    time_before = path.stat().st_mtime_ns
    os.utime(path, ns=(time_before, time_before + 1))
    with pytest.raises(ResumeRefused, match="the input's time of change was"):
        score(model, path, resume=True, **size)
    with path.open("ab") as file:
        file.write(b"1,1,1\n")
    with pytest.raises(ResumeRefused, match="the input's size was"):
        score(model, path, resume=True, **size)
    path.write_bytes(lines(2000).replace(b"id", b"ix"))
    with pytest.raises(ResumeRefused, match="the input's header was"):
        score(model, path, resume=True, **size)
    whole = score(model, path, suffix="-whole", **size).read_bytes()
    assert score(model, path, overwrite=True, **size).read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "checkpoint is damaged"),
        (b"[]", "checkpoint is damaged"),
        (b'{"format": 1}', "checkpoint is damaged"),
        (None, "partial has 10 bytes, fewer than the"),
    ],
)
def test_a_damaged_checkpoint_or_output_cannot_be_resumed(tmp_path, shared, content, message):
    path = tmp_path / "in.csv"
    path.write_bytes(lines(2000))
    score_interrupted(shared, path)
    if content is None:
        os.truncate(tmp_path / "out.csv.partial", 10)
    else:
        (tmp_path / "out.csv.checkpoint").write_bytes(content)
    with pytest.raises(ResumeRefused, match=message):
        score(shared, path, resume=True, chunk_bytes=5000)


def test_two_runs_do_not_write_one_output(tmp_path, shared):
    path = tmp_path / "in.csv"
    path.write_bytes(lines(2000))

    def progress(*_):
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(FileUnusable, match=r"out\.csv is being written by another"):
                score(shared, path, **options)

    whole = score(shared, path, suffix="-whole", chunk_bytes=20_000).read_bytes()
    assert score(shared, path, progress=progress, chunk_bytes=20_000).read_bytes() == whole


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, shared):
    path = tmp_path / "in.csv"
    path.write_bytes(lines(2000))

    def progress(*_):
        with path.open("ab") as file:
            file.write(b"1,1,1\n")

    with pytest.raises(
        InvalidInput, match="expected an unchanged file, but it changed during the run"
    ):
        score(shared, path, progress=progress)
    assert [p.name for p in tmp_path.iterdir() if p.name != "registry"] == ["in.csv"]


@pytest.fixture
def in_memory():
    """Return a directory where a flush takes no time, if the system has one: many are to come."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as directory:
        yield Path(directory)


KILLED = """
import os, signal, sys
from pathlib import Path

import pyarrow.compute  # here, so that not every child must

from pipeline.scoring.scoring_job import score_file
from pipeline.data.files.arrow import parquet
from quadnet.registry import Registry

root, source, whole = map(Path, sys.argv[1:4])
model = Registry(root).load("quadrants", 1)
target = source.with_name("out" + source.suffix)
rejected = source.with_name("out.rejected.csv")
events = 0


def tick(limit):
    global events
    events += 1
    if events == limit:
        os.kill(os.getpid(), signal.SIGKILL)


def child(limit, **options):
    # Dies at the event that has this number: a chunk, a flush, or a file opened, renamed, removed.
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    flush = os.fsync
    os.fsync = lambda fd: (tick(limit), flush(fd), tick(limit))

    def hook(name, arguments):
        if name in ("open", "os.rename", "os.remove"):
            if str(arguments[0]).startswith(str(target.parent)):
                tick(limit)

    sys.addaudithook(hook)
    score_file(
        model, source, target, on_error="skip", chunk_bytes=int(sys.argv[4]),
        checkpoint_bytes=int(sys.argv[5]), progress=lambda *_: tick(limit), **options,
    )
    os._exit(events % 251 if limit < 0 else 0)


n = child(-1)
expected = target.read_bytes(), rejected.read_bytes()
assert expected[0] == whole.read_bytes()
killed = resumed = 0
for limit in sorted({*range(1, n, max(1, n // 20)), *range(n - 11, n + 1)}):
    for path in source.parent.glob("out*"):
        path.unlink()
    assert child(limit) == -signal.SIGKILL
    killed += 1
    partial = target.with_name(target.name + ".partial")
    if partial.exists():
        # A power failure may leave such bytes after the flushed ones.
        with partial.open("ab") as file:
            file.write(b"torn")
    if target.exists():
        assert target.read_bytes() == expected[0]
        assert rejected.read_bytes() == expected[1]
        continue
    # Kill the resumed run too.
    code = child(limit // 2 + 3, resume=True)
    assert code in (0, -signal.SIGKILL), code
    if code:
        resumed += target.with_name(target.name + ".checkpoint").exists()
        assert target.exists() or child(0, resume=True) == 0
    assert (target.read_bytes(), rejected.read_bytes()) == expected, limit
    assert not list(source.parent.glob("*.partial"))
print(killed, resumed)
"""


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_run_killed_anywhere_resumes_to_the_same_bytes(
    tmp_path, in_memory, model, registry, kind
):
    source = in_memory / f"in.{kind}"
    sizes = {"chunk_bytes": 2000, "checkpoint_bytes": 6000}
    if kind == "csv":
        content = lines(2000).splitlines(keepends=True)
        content[5] = content[777] = content[1999] = b"1,q,2\n"
        source.write_bytes(b"".join(content))
    else:
        X = points(40_000)
        X[[5, 33_333]] = np.nan
        columns = {"x": X[:, 0], "y": X[:, 1], "id": np.arange(40_000)}
        pq.write_table(pa.table(columns), source, row_group_size=3000)
        sizes["checkpoint_bytes"] = 100_000
    whole = tmp_path / f"whole.{kind}"
    score_file(model, source, whole, on_error="skip", chunk_bytes=2000)
    done = subprocess.run(
        [
            # pyarrow has threads, of which a child that only calls what is here needs none.
            sys.executable, "-W", "ignore::DeprecationWarning", "-c", KILLED,
            registry.root, source, whole,
            *map(str, sizes.values()),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stderr == ""
    killed, resumed = map(int, done.stdout.split())
    assert killed >= 30
    assert resumed >= 10
    if kind == "parquet":
        X = X[np.isfinite(X).all(axis=1)]
        read = pq.read_table(whole)
        assert read["label"].to_pylist() == model.predictor.predict(X).tolist()


OTHER_BATCHES = """
import os, signal, sys
from pathlib import Path

from pipeline.scoring.scoring_job import score_file
from pipeline.data.files.arrow import parquet
from quadnet.registry import Registry

# As in another release of Quadnet or pyarrow, which reads batches of another length.
parquet._BATCH_ROWS = parquet.MOST_ROWS = int(sys.argv[3])
calls = iter(range(int(sys.argv[4])))


def progress(*_):
    if next(calls, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)


model = Registry(Path(sys.argv[1])).load("quadrants", 1)
source = Path(sys.argv[2])
score_file(model, source, source.with_name("out.parquet"), progress=progress, checkpoint_bytes=1)
"""


@pytest.mark.parametrize("rows_a_batch", [1, 777, 4096, 8191, 9000, 30_001])
@pytest.mark.parametrize("rows_a_group", [5000, 24_000, 200_000])
def test_parquet_resumed_off_a_batch_boundary_keeps_every_row_once(
    tmp_path, in_memory, model, registry, rows_a_batch, rows_a_group
):
    n, source = 100_000, in_memory / "in.parquet"
    X = points(n)
    table = pa.table({"x": X[:, 0], "y": X[:, 1], "id": np.arange(n)})
    pq.write_table(table, source, row_group_size=rows_a_group)
    done = subprocess.run(
        [sys.executable, "-c", OTHER_BATCHES, registry.root, source, str(rows_a_batch), "2"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    summary = score_file(model, source, in_memory / "out.parquet", resume=True)
    assert 0 < summary.rows_before < n
    assert summary.rows == n
    read = pq.read_table(in_memory / "out.parquet")
    assert read["id"].to_pylist() == list(range(n))
    assert read["label"].to_pylist() == model.predictor.predict(X).tolist()


@pytest.mark.parametrize("row", [0, 1, 8191, 8192, 8193, 19_999, 20_000])
def test_parquet_rows_from_any_place_are_the_rest_of_the_file(tmp_path, row):
    from pipeline.data.files.arrow.parquet import ParquetSource

    X = points(20_000)
    table = pa.table({"x": X[:, 0], "y": X[:, 1]})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=20_000)
    source = ParquetSource(tmp_path / "in.parquet", chunk_bytes=2**20)
    chunks = list(source.chunks(["x", "y"], {"group": 0, "row": row}))
    read = np.concatenate([np.empty((0, 2)), *(chunk.X for chunk in chunks)])
    np.testing.assert_array_equal(read, X[row:])
    with pytest.raises(InvalidInput, match=r"expected row 20001 in row group 0, got row groups"):
        next(source.chunks(["x", "y"], {"group": 0, "row": 20_001}))
    source.close()


def test_parquet_with_other_row_groups_is_not_resumed(tmp_path, shared):
    X, path = points(40_000), tmp_path / "in.parquet"
    table = pa.table({"x": X[:, 0], "y": X[:, 1]})

    pq.write_table(table, path, row_group_size=3000)
    score_interrupted(shared, path, after=2)
    status = path.stat()
    pq.write_table(table, path, row_group_size=4000, compression="zstd")
    # The file has the same size and the same modification time.
    with path.open("r+b") as file:
        content = file.read()
        length = int.from_bytes(content[-8:-4], "little") + 8
        body, footer = content[:-length], content[-length:]
        assert len(content) < status.st_size
        file.seek(0)
        file.write(body + b"\0" * (status.st_size - len(content)) + footer)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    with pytest.raises(ResumeRefused, match="the input's header was"):
        score(shared, path, resume=True, chunk_bytes=5000)


def on_a_small_disk(directory, size):
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", directory], capture_output=True, check=False
    ).returncode == 0  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_full_disk_is_reported_and_the_run_resumes_with_free_space(tmp_path, shared, kind):
    source, disk = tmp_path / f"in.{kind}", tmp_path / "disk"
    disk.mkdir()
    frame = pd.DataFrame(points(60_000), columns=["x", "y"])
    getattr(frame, f"to_{kind}")(source, index=False)
    sizes = {"chunk_bytes": 10_000, "checkpoint_bytes": 100_000}
    whole = score(shared, source, suffix="-whole", **sizes).read_bytes()
    if not on_a_small_disk(disk, "size=1m"):
        pytest.skip("a small disk can be made by root only")
    try:
        with pytest.raises(FileUnusable) as caught:
            score_file(shared, source, disk / source.name, **sizes)
        assert caught.value.kind is ErrorKind.OUTPUT_INTERRUPTED
        assert str(caught.value) == (
            f"{disk / source.name} cannot be written: No space left on device."
        )
        assert not (disk / source.name).exists()
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        summary = score_file(shared, source, disk / source.name, resume=True, **sizes)
        assert (disk / source.name).read_bytes() == whole
        assert 0 < summary.rows_before < summary.rows == 60_000
    finally:
        subprocess.run(["umount", disk], check=True)


MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
sys.exit(code)
"""


def megabytes(registry, source, target):
    """Score in a new process and return its largest resident memory."""
    words = [*QUADNET, "score", "quadrants", source, target, "--registry", registry.root]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return int(done.stdout.split()[-1])


def test_a_million_rows_take_little_memory_and_a_kill_loses_little(tmp_path, model, registry):
    source = tmp_path / "in.csv"
    block = lines(10_000).partition(b"\n")[2]
    with source.open("wb") as file:
        file.write(b"id,x,y\n")
        for _ in range(100):
            file.write(block)
    assert megabytes(registry, source, tmp_path / "whole.csv") < 150
    whole = (tmp_path / "whole.csv").read_bytes()
    assert whole.count(b"\n") == 1_000_001

    words = ["score", "quadrants", source, tmp_path / "out.csv", "--registry", registry.root]
    with subprocess.Popen([*QUADNET, *map(str, words)], stdout=subprocess.PIPE) as process:
        checkpoint = tmp_path / "out.csv.checkpoint"
        while not checkpoint.exists():
            assert process.poll() is None
            time.sleep(0.002)  # a file tells nobody that it appears; the loop ends with the process
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out.csv").exists()
    done = quadnet(*words, "--resume")
    assert done.stderr == ""
    assert done.stdout.startswith("1,000,000 rows scored, ")
    assert " of them before, 0 skipped, " in done.stdout
    assert (tmp_path / "out.csv").read_bytes() == whole


@pytest.mark.parametrize("kind", ["wide", "long cells", "quoted", "parquet", "wide parquet"])
def test_memory_does_not_depend_on_how_wide_rows_are(tmp_path, model, registry, kind):
    source = tmp_path / ("in.parquet" if "parquet" in kind else "in.csv")
    if kind == "wide":
        names = ",".join(f"c{i}" for i in range(20_000))
        source.write_text(f"x,y,{names}\n" + ("0.5,0.5" + ",1.25" * 20_000 + "\n") * 500)
    elif kind == "long cells":
        source.write_text("x,y,note\n" + ("0.5,0.5," + "n" * 900_000 + "\n") * 60)
    elif kind == "quoted":
        source.write_text("x,y,note\n" + ('0.5,0.5,"' + 'n""\n' * 100_000 + '"\n') * 50)
    elif kind == "parquet":
        X = points(300_000)
        text = pa.array([f"{i:0600d}" for i in range(300)] * 1000)
        pq.write_table(
            pa.table({"x": X[:, 0], "y": X[:, 1], "text": text}), source, row_group_size=2**20
        )
    else:
        X = points(10_000)
        columns = {f"c{i}": np.zeros(10_000) for i in range(500)}
        pq.write_table(pa.table({"x": X[:, 0], "y": X[:, 1], **columns}), source)
    assert megabytes(registry, source, source.with_name(f"out{source.suffix}")) < 300


def test_the_command_prints_its_result(tmp_path, model, registry):
    (tmp_path / "in.csv").write_bytes(BAD)
    words = ["score", "quadrants", "in.csv", "out.csv", "--registry", registry.root]
    done = quadnet(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "quadnet score: in.csv, line 3, column x: expected a number, got 'abc'\n"
    )
    done = quadnet(*words, "--on-error", "skip", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("3 rows scored, 5 skipped (see out.rejected.csv), ")
    assert done.stdout.endswith(" rows/s: out.csv\n")
    done = quadnet("score", "quadrants", "in.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "expected MODEL INPUT OUTPUT" in done.stderr


def test_the_model_may_be_a_version_or_an_alias(tmp_path, model, registry):
    second = publish(registry, scale=0.1, alias="")
    alias_changes.set_aliases(
        registry, "quadrants", {"candidate": second.manifest.version}, reason="test"
    )
    (tmp_path / "in.csv").write_bytes(b"x,y\n1,1\n")
    for name, version in (("quadrants", 1), ("quadrants:candidate", 2)):
        words = [name, "in.csv", "out.csv", "--overwrite", "--registry", registry.root]
        assert quadnet("score", *words, cwd=tmp_path).returncode == 0
        assert (tmp_path / "out.csv").read_text().endswith(f",{version}\n")
    done = quadnet(
        "score", "quadrants:7", "in.csv", "new.csv", "--registry", registry.root, cwd=tmp_path
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "has no version 7" in done.stderr
