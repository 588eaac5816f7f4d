"""Targets of a file: numbers and labels, their errors, and digests that must never change."""

import csv

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.datasets import load_diabetes, load_linnerud

from pipeline.config.data_sections import DigitsData
from pipeline.config.presets import load_preset
from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import load_dataset
from pipeline.data.splits import make_splits
from pipeline.data.table import read_table
from pipeline.training.candidate_training import resolve_config
from quadnet.errors import InvalidInput


def write(path, kind, frame):
    if kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


def run(path, *, kind="csv", **changes):
    data = {"kind": kind, "path": str(path), "label": changes.pop("label", "target")}
    return {"name": "t", "task": "regression", "data": data, "gate": {}, **changes}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_label_column_is_read_as_numbers(tmp_path, kind):
    frame = load_diabetes(as_frame=True).frame
    path = write(tmp_path / f"diabetes.{kind}", kind, frame)
    table = read_table(path, kind, label="target", features=None, task="regression")
    assert table.features == tuple(frame.columns[:-1])
    np.testing.assert_array_equal(table.X, frame.iloc[:, :-1])
    np.testing.assert_array_equal(table.y, frame["target"])
    assert table.places.tolist() == list(
        range(1 + (kind == "csv"), len(frame) + 1 + (kind == "csv"))
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_several_columns_of_0_and_1_are_labels(tmp_path, kind):
    frame = load_linnerud(as_frame=True).frame
    frame["heavy"], frame["broad"] = (
        frame.pop("Weight") > 180,
        (frame.pop("Waist") > 35).astype(int),
    )
    if kind == "csv":
        frame["heavy"] = frame["heavy"].astype(int)
    path = write(tmp_path / f"linnerud.{kind}", kind, frame)
    table = read_table(path, kind, label=["heavy", "broad"], features=None, task="multilabel")
    assert table.features == ("Chins", "Situps", "Jumps", "Pulse")
    np.testing.assert_array_equal(table.y, frame[["heavy", "broad"]].astype(int))
    assert table.target.class_rows == {"heavy": frame["heavy"].sum(), "broad": frame["broad"].sum()}


@pytest.mark.parametrize(
    ("task", "label", "rows", "message"),
    [
        ("regression", "y", [[1, 2], [1, "no"]], "line 3, column y: expected a number, got 'no'"),
        ("regression", "y", [[1, ""]], "line 2, column y: expected a number, got an empty cell"),
        ("regression", "y", [[1, "inf"]], "line 2, column y: expected a finite number, got 'inf'"),
        ("regression", "y", [[1, 7], [2, 7]], "column y: expected several numbers, got only 7"),
        ("regression", "w", [[1, 7]], "column w: expected such a column"),
        (
            "multilabel",
            ["y", "z"],
            [[1, 0, 1], [1, 1, 2]],
            "line 3, column z: expected 0 or 1, got",
        ),
        ("multilabel", ["y", "z"], [[1, 0, 1], [1, 1, 1]], "column z: expected rows of 0 and of 1"),
        ("multilabel", ["y", "x"], [[5, 0, 1]], "line 2, column x: expected 0 or 1, got 5"),
    ],
)
def test_a_wrong_target_is_reported_with_its_place(tmp_path, task, label, rows, message):
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["x", "y", "z"][: len(rows[0])], *rows])
    with pytest.raises(InvalidInput) as caught:
        read_table(path, "csv", label=label, features=None, task=task)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "sorting"}, "Input should be 'classification', 'regression' or 'multilabel'"),
        ({"gate": {"accuracy": 0.5}}, "gate.accuracy: task = 'regression' has the limits rmse"),
        ({"task": "classification"}, "the key gate.accuracy is missing"),
        ({"task": "classification", "gate": {"accuracy": 0.5, "r2": 0.5}}, "gate.r2: task ="),
        ({"task": "multilabel"}, "data.label: expected a list of at least 2 columns"),
        ({"label": ["a", "b"]}, "data.label: expected the name of one column"),
        ({"task": "multilabel", "label": ["a", "b", "a"]}, "data.label: expected each column once"),
        ({"calibrate": True, "validation": 0.1}, "calibrate: expected false"),
        ({"test": {"stratify": True}}, "test.stratify: expected false"),
        ({"data": {"kind": "digits"}}, "task: expected 'classification', because the data of kind"),
    ],
)  # fmt: skip
def test_keys_that_do_not_fit_the_task_are_refused(tmp_path, changes, message):
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate(run(tmp_path / "t.csv", **changes))
    assert message in str(caught.value)


def test_parts_have_the_numbers_of_their_rows(tmp_path):
    frame = load_diabetes(as_frame=True).frame
    config = RunConfig.model_validate(
        run(write(tmp_path / "d.csv", "csv", frame), validation=0.2, test={"share": 0.25})
    )
    splits = make_splits(config)
    test = splits.test.open()
    parts = [splits.train, splits.validation, test]
    assert sum(map(len, parts)) == len(frame)
    values = frame.set_index(list(frame.columns[:-1]))["target"]
    for part in parts:
        np.testing.assert_array_equal(part.y, values.loc[list(map(tuple, part.X))])
    assert len({part.sha256() for part in parts}) == 3
    changed = pd.DataFrame(frame)
    changed.loc[0, "target"] += 1
    write(tmp_path / "d.csv", "csv", changed)
    again = make_splits(config)
    digests = [part.sha256() for part in (again.train, again.validation, again.test.open())]
    assert sum(new != old.sha256() for new, old in zip(digests, parts, strict=True)) == 1


def test_digests_of_classes_are_those_of_earlier_releases():
    digits = load_dataset(DigitsData(kind="digits"))
    assert digits.sha256() == "d300a8d09d01abeaf1cdbef917de4029443a3e167f925daafb2de991ad530f19"
    config = {
        "name": "digits",
        "data": {"kind": "digits"},
        "gate": {"accuracy": 0.5, "recall": 0.25},
    }
    assert (
        RunConfig.model_validate(config).sha256()
        == "79a68fcbc96920a6cf457bae4147bb7e07edcc86d0a1ad9098a9172e417c5a18"
    )


@pytest.mark.parametrize(
    ("preset", "digest"),
    [
        ("quadrants", "005b7049ab3f3b6ff6e93e02de42f09d15b2aa0682ad191032795d9b5e7d3069"),
        ("digits", "993d068d4aaab59131467c7a30e560cae40dbc4131a2d87aaf105926a115dab1"),
        ("article-2", "c7a2c5787e55d82917b9fc028d06733be2939faf43273237c8f9617b466d2c49"),
    ],
)
def test_resolved_presets_are_those_of_earlier_releases(preset, digest):
    """A key that is added later must be left out at its default: see `quadnet.records.Frozen`."""
    assert resolve_config(load_preset(preset)).sha256() == digest


def test_generated_points_are_those_of_earlier_releases():
    splits = make_splits(load_preset("quadrants", ["data.points=400"]))
    train = "49998cc93a2a001bf3d18fe5f42c53c232ee80035ae8e487025d3c89750bfcba"
    test = "bc48ccee7117919be9e29f55fda328f0d6dfb51ce03197b67d86251c1189b77e"
    assert (splits.train.sha256(), splits.test.open().sha256()) == (train, test)
