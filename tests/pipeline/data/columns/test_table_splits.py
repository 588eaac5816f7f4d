"""The splits of a table, and what is warned of."""

from datetime import date, timedelta

import numpy as np
import pytest

from pipeline.config.run_config import RunConfig
from pipeline.data.splits import make_splits
from quadnet.errors import ConfigurationError, InvalidInput, UnsuitableData
from tests.support.tables import write_table

N = 400
RNG = np.random.default_rng(3)
X = np.round(RNG.normal(size=N), 4).tolist()
CUSTOMERS = [f"c{i}" for i in RNG.integers(60, size=N)]
DAYS = [str(date(2025, 1, 1) + timedelta(days=int(d))) for d in RNG.integers(300, size=N)]
Y = np.where(np.array(X) + RNG.normal(size=N) > 0, "yes", "no").tolist()
TABLE = {"x": X, "customer": CUSTOMERS, "day": DAYS, "y": Y}


def split(path, task="classification", label="y", validation=0.2, test=None, **data):
    run = {
        "name": "t",
        "task": task,
        "validation": validation,
        "data": {"kind": "table", "path": str(path), "label": label, **data},
        "test": test or {},
        "gate": {"accuracy": 0.0} if task != "regression" else {},
    }
    splits = make_splits(RunConfig.model_validate(run))
    return splits, [splits.train, splits.validation, splits.test.open()]


def notices(splits):
    return ["".join(notice) for notice in splits.notices]


def test_rows_keep_their_part_when_rows_and_columns_change_places(tmp_path):
    _, (train, validation, test) = split(write_table(tmp_path, TABLE))
    assert len(train) + len(validation) + len(test) == N
    assert 0.1 < len(test) / N < 0.3
    order = RNG.permutation(N)
    moved = {name: [TABLE[name][i] for i in order] for name in ("day", "y", "customer", "x")}
    _, parts = split(write_table(tmp_path, moved, "moved.csv"))
    for old, new in zip((train, validation, test), parts, strict=True):
        assert sorted(old.table["x"]) == sorted(new.table["x"])


def test_no_group_is_in_two_parts(tmp_path):
    path = write_table(tmp_path, TABLE)
    for stratify in (False, True):
        _, parts = split(path, test={"by": "customer", "stratify": stratify})
        groups = [set(part.groups.to_array()) for part in parts]
        assert sum(map(len, groups)) == len(set(CUSTOMERS))
        assert not groups[0] & groups[1]
        assert not (groups[0] | groups[1]) & groups[2]
        assert all("customer" not in part.table for part in parts)


def test_latest_rows_are_the_test_part(tmp_path):
    path = write_table(tmp_path, TABLE)
    for test in ({"time": "day"}, {"after": "day"}):
        _, (train, validation, later) = split(path, test=test)
        assert train.times.max() < validation.times.min()
        assert validation.times.max() < later.times.min()
        # Rows of one day stay together, so the share is exact but for the last day's rows.
        assert 0.2 <= len(later) / N < 0.22


def test_rows_after_a_date_are_the_test_part(tmp_path):
    path = write_table(tmp_path, TABLE)
    _, (train, validation, later) = split(path, test={"after": "2025-09-01"})
    assert len(later) == sum(day >= "2025-09-01" for day in DAYS)
    assert (later.table["day"] >= np.datetime64("2025-09-01")).all()
    assert max(part.table["day"].max() for part in (train, validation)) < np.datetime64(
        "2025-09-01"
    )


def test_own_test_file_matches_columns_by_name(tmp_path):
    path = write_table(tmp_path, TABLE)
    own = {name: TABLE[name][:50] for name in ("y", "day", "x", "customer")}
    own["x"] = [*own["x"][:-1], "NA"]
    other = write_table(tmp_path, own | {"more": ["m"] * 50}, "test.csv")
    splits, (train, validation, test) = split(path, test={"path": str(other)})
    assert (len(train) + len(validation), len(test)) == (N, 50)
    assert test.features == train.features
    assert any("of the test part also occur in the training part" in n for n in notices(splits))
    del own["x"]
    other = write_table(tmp_path, own, "test.csv")
    with pytest.raises(InvalidInput, match=r"test\.csv, column x: expected such a column"):
        split(path, test={"path": str(other)})


def test_a_test_file_of_one_class_is_read(tmp_path):
    """A part that lacks classes is refused before training, unless the run allows it."""
    path = write_table(tmp_path, TABLE)
    own = {name: values[:50] for name, values in TABLE.items()} | {"y": ["yes"] * 50}
    other = write_table(tmp_path, own, "test.csv")
    splits, _ = split(path, test={"path": str(other)})
    assert "The test part has no row of no." in notices(splits)


def test_class_that_only_the_test_file_has_is_refused(tmp_path):
    path = write_table(tmp_path, TABLE)
    own = {name: values[:50] for name, values in TABLE.items()} | {"y": ["maybe"] + Y[1:50]}
    other = write_table(tmp_path, own, "test.csv")
    with pytest.raises(UnsuitableData, match="The test part has rows of class 'maybe'"):
        split(path, test={"path": str(other)})


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"by": "customer", "time": "day"}, "got two: test.by and test.time"),
        ({"time": "customer"}, "test.time: expected a column of dates or numbers, got 'customer'"),
        ({"after": "2026-13-01"}, "test.after a date such as 2026-01-31, got '2026-13-01'."),
        ({"time": "dya"}, "a column of dates or numbers that is used, or for test.after"),
        ({"after": 3.0}, "test.after: expected a date, such as 2026-01-31, as column 'day' has"),
        ({"after": "2025-01-01", "time": "x"}, "test.after: expected a number, as column 'x' has"),
        ({"path": "t.csv", "share": 0.1}, "test.path decides on the test rows"),
        ({"time": "day", "stratify": True}, "test.stratify: it has no meaning with test.time"),
    ],
)
def test_settings_of_the_test_part_that_do_not_fit(tmp_path, test, message):
    path = write_table(tmp_path, TABLE)
    with pytest.raises((ConfigurationError, ValueError)) as caught:
        split(path, test=test)
    assert message in str(caught.value)


def test_after_needs_one_column_of_dates(tmp_path):
    path = write_table(tmp_path, {"x": X, "y": Y})
    with pytest.raises(
        ConfigurationError, match="expected a table with one column of dates, got 0"
    ):
        split(path, test={"after": "2025-09-01"})


def test_missing_time_is_an_error_with_its_line(tmp_path):
    path = write_table(tmp_path, TABLE | {"day": ["", *DAYS[1:]]})
    with pytest.raises(InvalidInput, match="line 2, column day: expected a value, got a gap"):
        split(path, test={"time": "day"})


@pytest.mark.parametrize("test", [{}, {"by": "customer"}, {"after": "2025-09-01"}])
def test_statistics_of_the_encoder_are_those_of_the_training_rows_alone(tmp_path, test):
    splits, (train, validation, held) = split(write_table(tmp_path, TABLE), test=test)
    number = splits.encoder.columns[0]
    assert number.centre == pytest.approx(train.table["x"].mean(), abs=1e-12)
    assert number.scale == pytest.approx(train.table["x"].std(), abs=1e-12)
    assert (number.low, number.high) == (train.table["x"].min(), train.table["x"].max())
    # Other values in the other rows, of the same hash: here, of the same group or day.
    if test:
        others = set(held.places) | set(validation.places)
        changed = [1e6 if i + 2 in others else x for i, x in enumerate(X)]
        again, _ = split(write_table(tmp_path, TABLE | {"x": changed}), test=test)
        assert again.encoder.to_specs() == splits.encoder.to_specs()


def test_columns_that_give_the_target_away_are_reported(tmp_path):
    noise = np.round(RNG.normal(size=N), 3).tolist()
    code = {"yes": "Y!", "no": "N!"}
    leaks = {
        "copy": Y,
        "code": [code[y] for y in Y],
        "number": [float(y == "yes") + 0.01 * e for y, e in zip(Y, noise, strict=True)],
    }
    splits, _ = split(write_table(tmp_path, leaks | {"noise": noise, "y": Y}))
    found = [text for text in notices(splits) if "alone predicts the target" in text]
    assert [text.split()[1] for text in found] == ["copy", "code", "number"]
    assert "it is right on 100% of the rows" in found[0]
    assert "data.drop" in found[0]


def test_leaks_of_numbers_to_predict_are_reported(tmp_path):
    target = np.round(RNG.normal(size=N), 4)
    table = {
        "euro": (1.1 * target + 3).tolist(),
        "curve": np.exp(target).tolist(),
        "half": np.round(target + RNG.normal(size=N), 3).tolist(),
        "price": target.tolist(),
    }
    splits, _ = split(write_table(tmp_path, table), task="regression", label="price")
    found = [text.split()[1] for text in notices(splits) if "alone predicts" in text]
    assert found[0] == "euro"
    assert "half" not in found


@pytest.mark.parametrize("scale", [1e308, 1e200, 1e-300, 5e-324])
def test_leaks_of_numbers_of_any_size_are_reported(tmp_path, scale):
    columns = {"x": X, "copy": [x / 5 * scale for x in X], "y": [x / 4 * scale for x in X]}
    path = write_table(tmp_path, {"day": DAYS} | columns)
    splits, _ = split(path, "regression")
    found = [text.split()[1] for text in notices(splits) if "alone predicts" in text]
    assert ("copy" in found) == (scale > 1e-310)


def test_identifiers_of_rows_are_no_leak(tmp_path):
    """Each text occurs in few rows, so it tells nothing about other rows."""
    rare = [f"r{i // 2}" for i in range(N)]
    splits, _ = split(write_table(tmp_path, {"rare": rare, "x": X, "y": Y}))
    assert not [text for text in notices(splits) if "alone predicts" in text]


def test_copies_are_reported(tmp_path):
    table = {"a": [i % 10 for i in range(N)], "b": ["u", "v"] * (N // 2), "y": Y}
    splits, _ = split(write_table(tmp_path, table), test={"stratify": True})
    assert "repeat the features of another row. Equal rows stay" in " ".join(notices(splits))


@pytest.mark.parametrize(
    ("columns", "test", "message"),
    [
        ({"customer": ["c"] * N}, {"by": "customer"}, "test.by has 1 group, each of which is in"),
        ({"y": [f"name {i}" for i in range(N)]}, {"stratify": True}, "400 classes in 400 rows: ex"),
    ],
)
def test_an_empty_part_is_explained(tmp_path, columns, test, message):
    with pytest.raises(UnsuitableData, match=message):
        split(write_table(tmp_path, TABLE | columns), test=test)
