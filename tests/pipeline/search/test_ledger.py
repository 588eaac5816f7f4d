"""The ledger: complete lines even after crashes and concurrent writes, and each fit once."""

import json
import resource
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.search.ledger import Ledger, LedgerHeader, LedgerLine
from quadnet.errors import ErrorKind, FileUnusable, NotFound, OutputExists, ResumeRefused
from tests.support.serving import ROOT

HEADER = LedgerHeader(name="mine", config="1" * 64, split="2" * 64)


def make_line(number, **changes):
    parameters = {"alpha": number / 7, "hidden_layer_sizes": [6, number]}
    fields = {
        "key": HEADER.key(parameters, epochs=5, fold=0),
        "parameters": parameters,
        "epochs": 5,
        "fold": 0,
        "accuracy": 0.5 + number / 1000,
        "log_loss": 0.1 * number,
        "weights": 46,
        "seconds": 0.25,
        "at": datetime(2025, 1, 2, 3, 4, 5, number, tzinfo=UTC),
    }
    return LedgerLine(**{**fields, **changes})


def make_ledger(path, n_lines=0):
    """Return a new ledger with `n_lines` lines."""
    path.unlink(missing_ok=True)
    ledger = Ledger(path)
    ledger.begin(HEADER, resume=False)
    for number in range(n_lines):
        ledger.append_line(make_line(number))
    return ledger


def test_what_is_appended_is_read_back_and_found(tmp_path):
    ledger = make_ledger(tmp_path / "l.jsonl", 3)
    failed = make_line(3, accuracy=None, log_loss=None, weights=None, failed="It diverged: “∞”.")
    ledger.append_line(failed)
    assert Ledger(ledger.path).read_lines() == [make_line(0), make_line(1), make_line(2), failed]
    assert ledger.read_lines(since=2) == [make_line(2), failed]
    assert ledger.read_lines(since=9) == []
    assert ledger.find_line(failed.key) == failed
    assert ledger.find_line("f" * 64) is None
    assert ledger.read_header() == HEADER
    # One JSON object a line: any tool can read it.
    rows = [json.loads(row) for row in ledger.path.read_text().splitlines()]
    assert rows[1]["parameters"] == {"alpha": 0.0, "hidden_layer_sizes": [6, 0]}


def test_a_fit_that_is_there_is_not_added_again(tmp_path):
    ledger = make_ledger(tmp_path / "l.jsonl", 2)
    ledger.append_line(make_line(1, seconds=9.0))
    assert ledger.read_lines() == [make_line(0), make_line(1)]


def test_the_key_depends_on_each_of_its_parts_and_not_on_the_order_of_parameters():
    key = HEADER.key({"a": 1, "b": 2}, epochs=5, fold=0)
    assert key == HEADER.key({"b": 2, "a": 1}, epochs=5, fold=0)
    others = {
        HEADER.key({"a": 1, "b": 3}, epochs=5, fold=0),
        HEADER.key({"a": 1, "b": 2}, epochs=6, fold=0),
        HEADER.key({"a": 1, "b": 2}, epochs=5, fold=1),
        HEADER.model_copy(update={"config": "3" * 64}).key({"a": 1, "b": 2}, epochs=5, fold=0),
        HEADER.model_copy(update={"split": "3" * 64}).key({"a": 1, "b": 2}, epochs=5, fold=0),
    }
    assert len(others - {key}) == 5


ONE_FILE = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None
)


@ONE_FILE
@given(share=st.floats(0, 1))
def test_a_truncated_ledger_keeps_its_complete_lines_and_can_be_resumed(tmp_path, share):
    ledger = make_ledger(tmp_path / "l.jsonl", 3)
    content = ledger.path.read_bytes()
    torn = content[: round(share * len(content))]
    ledger.path.write_bytes(torn)
    n_whole = max(torn.count(b"\n") - 1, 0)
    assert ledger.read_lines() == [make_line(i) for i in range(n_whole)]
    ledger.begin(HEADER, resume=True)
    for number in range(3):
        ledger.append_line(make_line(number))
    assert ledger.path.read_bytes() == content


@ONE_FILE
@given(tail=st.binary(min_size=1).filter(lambda tail: b"\n" not in tail))
def test_garbage_after_the_last_newline_is_no_line(tmp_path, tail):
    ledger = make_ledger(tmp_path / "l.jsonl", 1)
    with ledger.path.open("ab") as file:
        file.write(tail)
    assert ledger.read_lines() == [make_line(0)]
    assert ledger.find_line(make_line(1).key) is None
    ledger.append_line(make_line(1))
    assert ledger.read_lines() == [make_line(0), make_line(1)]


@ONE_FILE
@given(garbage=st.binary().filter(lambda row: b"\n" not in row))
def test_any_other_line_that_cannot_be_read_is_named(tmp_path, garbage):
    ledger = make_ledger(tmp_path / "l.jsonl", 2)
    rows = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join([*rows[:2], garbage + b"\n", *rows[2:]]))
    with pytest.raises(FileUnusable, match=r"l\.jsonl, line 3, is not the record of a fit"):
        ledger.read_lines()


@pytest.mark.parametrize(
    "change",
    [
        {"key": 5},
        {"accuracy": "0.5"},
        {"fold": -1},
        {"fold": True},
        {"extra": 1},
        {"seconds": None},
    ],
)
def test_a_line_with_a_wrong_field_is_named(tmp_path, change):
    ledger = make_ledger(tmp_path / "l.jsonl", 1)
    row = json.loads(make_line(1).model_dump_json())
    with ledger.path.open("a") as file:
        file.write(json.dumps({**row, **change}) + "\n")
    with pytest.raises(FileUnusable, match="line 3, is not the record of a fit"):
        ledger.read_lines()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER.model_copy(update={"name": "yours"}), "another search: its name is 'mine'"),
        (HEADER.model_copy(update={"config": "3" * 64}), "another search: its settings differ"),
        (HEADER.model_copy(update={"split": "3" * 64}), "another search: its rows or folds differ"),
    ],
)
@pytest.mark.parametrize("resume", [True, False])
def test_another_searchs_ledger_is_refused(tmp_path, header, message, resume):
    ledger = make_ledger(tmp_path / "l.jsonl", 1)
    content = ledger.path.read_bytes()
    with pytest.raises(ResumeRefused, match=message):
        ledger.begin(header, resume=resume)
    assert ledger.path.read_bytes() == content


def test_a_ledger_is_resumed_only_with_resume(tmp_path):
    ledger = make_ledger(tmp_path / "l.jsonl", 2)
    with pytest.raises(OutputExists, match=r"exists, with 2 finished fits of this search\.$"):
        ledger.begin(HEADER, resume=False)
    ledger.begin(HEADER, resume=True)
    assert ledger.read_lines() == [make_line(0), make_line(1)]


@pytest.mark.parametrize("content", ["hello\n", '{"ledger":2}\n', "\n", "[]\n"])
def test_a_file_that_is_no_ledger_is_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(FileUnusable, match="line 1 does not identify a search"):
        Ledger(path).begin(HEADER, resume=True)
    assert path.read_text() == content


def test_an_unusable_path_is_reported(tmp_path):
    with pytest.raises(FileUnusable, match="cannot be written: No such file or directory"):
        Ledger(tmp_path / "no" / "l.jsonl").begin(HEADER, resume=False)
    with pytest.raises(FileUnusable, match="cannot be written: Is a directory"):
        Ledger(tmp_path).begin(HEADER, resume=False)
    with pytest.raises(NotFound, match="Start the search first"):
        Ledger(tmp_path / "l.jsonl").read_header()


def test_a_full_disk_leaves_complete_lines(tmp_path):
    ledger = make_ledger(tmp_path / "l.jsonl", 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ledger.path.stat().st_size + 10, hard))
    try:
        with pytest.raises(FileUnusable, match="cannot be written: ") as caught:
            ledger.append_line(make_line(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.kind is ErrorKind.LEDGER_UNWRITABLE
    assert ledger.read_lines() == [make_line(0), make_line(1)]
    ledger.append_line(make_line(2))
    assert ledger.read_lines() == [make_line(0), make_line(1), make_line(2)]


WRITER = """
import sys
from pathlib import Path
from pipeline.search.ledger import Ledger
from tests.pipeline.search.test_ledger import make_line
first = int(sys.argv[2])
for number in range(first, first + 60):
    Ledger(Path(sys.argv[1])).append_line(make_line(number))
"""


def test_concurrent_appends_lose_and_repeat_no_line(tmp_path):
    ledger = make_ledger(tmp_path / "l.jsonl")
    # Each overlaps with the next by half.
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, ledger.path, str(first)], cwd=ROOT)
        for first in (0, 30, 60)
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    written = sorted(ledger.read_lines(), key=lambda one: one.at)
    assert written == [make_line(number) for number in range(120)]
