"""What the columns of a table are found to be."""

import numpy as np
import pytest

from pipeline.config import held_out_rows
from pipeline.config.table_data import TableData
from pipeline.data.columns.table_loading import load_table
from quadnet.errors import ConfigurationError, InvalidInput
from quadnet.tables.columns import Texts
from tests.support.tables import write_table


def load(path, label="y", task="classification", test=None, **settings):
    data = TableData.model_validate({"kind": "table", "path": str(path), "label": label} | settings)
    return load_table(data, task, held_out_rows.TestPart.model_validate(test or {}))


N = 40
Y = ["yes", "no"] * (N // 2)
DRESSED = "look like numbers but cannot be read as such: remove signs and separators of thousands"
RNG_VALUES = [round(float(v), 3) for v in np.random.default_rng(0).normal(size=N)]


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (RNG_VALUES, "number", "40 different numbers"),
        (
            [f"${i + 1},{i:03d}.50" for i in range(N)],
            "ignored",
            f"its texts, such as '$1,000.50', {DRESSED}",
        ),
        (
            [f"{i % 7} %" for i in range(N)],
            "ignored",
            f"its texts, such as '0 %', {DRESSED}",
        ),
        (["3a", "4b", "5c", "EUR"] * 10, "category", "4 categories"),
        (["1.2.3", "1.2.4", "10.0.0.1", "2.0.0"] * 10, "category", "4 categories"),
        ([*RNG_VALUES[:-3], "", "NA", "?"], "number", "37 different numbers, 3 gaps"),
        (["a", "b", "c", "d"] * 10, "category", "4 categories"),
        (["a", "b", "c", ""] * 10, "category", "3 categories, 10 gaps"),
        (["true", "false"] * 20, "category", "2 categories"),
        ([f"2024-01-{i % 28 + 1:02d}" for i in range(N)], "date", "dates, ISO 8601"),
        ([f"{i % 28 + 1:02d}.02.2024" for i in range(N)], "date", "dates, %d.%m.%Y"),
        (["2024-01-01T10:00:00Z", ""] * 20, "date", "dates, ISO 8601, 20 gaps"),
        (
            [f"0{i % 9 + 1}/02/2024" for i in range(N)],
            "ignored",
            "its dates may be %d/%m/%Y or %m/%d/%Y; set its format in data.columns",
        ),
        ([""] * N, "ignored", "it is empty"),
        (["Oslo"] * N, "ignored", "it is 'Oslo' in every row"),
        ([7] * N, "ignored", "it is '7' in every row"),
        (["7", "7.0"] * 20, "ignored", "it is 7 in every row"),
        (
            [f"person {i}" for i in range(N)],
            "ignored",
            "40 different texts in 40 rows: names or free text",
        ),
        (
            ["A long text about nothing in particular, number " + str(i % 25) for i in range(N)],
            "category",
            "25 categories",
        ),
        (
            ["A longer text about nothing at all in particular, number " + str(i % 25)
             for i in range(N)],
            "ignored",
            "25 different texts in 40 rows, 58 characters on average: free text",
        ),
    ],
)  # fmt: skip
def test_kind_of_a_column(tmp_path, values, kind, reason):
    path = write_table(tmp_path, {"x": values, "other": RNG_VALUES, "y": Y})
    decision = load(path).decisions[0]
    assert (decision.name, decision.kind, decision.reason) == ("x", kind, reason)


@pytest.mark.parametrize("name", ["id", "ID", "PassengerId", "customer_id", "rownames", "key"])
def test_numbers_of_rows_are_ignored_by_their_names(tmp_path, name):
    path = write_table(tmp_path, {name: range(1, N + 1), "x": RNG_VALUES, "y": Y})
    assert [each.kind for each in load(path).decisions] == ["ignored", "number"]


@pytest.mark.parametrize("name", ["humid", "void", "days"])
def test_other_counters_are_kept_with_a_warning(tmp_path, name):
    path = write_table(tmp_path, {name: range(1, N + 1), "x": RNG_VALUES, "y": Y})
    table = load(path)
    assert [each.kind for each in table.decisions] == ["number", "number"]
    assert "".join(table.notices[0]).startswith(f"Column {name} only numbers the rows, ")


def test_a_few_words_in_a_column_of_numbers_are_errors_with_their_lines(tmp_path):
    path = write_table(tmp_path, {"x": [*RNG_VALUES[:-1], "unknown"], "y": Y})
    with pytest.raises(InvalidInput) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}, line 41, column x: expected a number, got 'unknown'. Correct it, add it to "
        'data.read.missing, or set data.columns."x" = "category"'
    )
    table = load(path, read={"missing": ["unknown"]})
    assert np.isnan(table.rows.table["x"][-1])
    assert load(path, columns={"x": "category"}).decisions[0].reason == "set in data.columns"


def test_a_few_words_in_a_column_of_dates_are_errors_with_their_lines(tmp_path):
    days = [f"{i % 28 + 1:02d}.02.2024" for i in range(N)]
    path = write_table(tmp_path, {"day": [*days[:-1], "00.00.0000"], "x": RNG_VALUES, "y": Y})
    with pytest.raises(InvalidInput) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}, line 41, column day: expected a date in the format %d.%m.%Y, got '00.00.0000'. "
        'Correct it, add it to data.read.missing, or set the format of data.columns."day"'
    )
    assert np.isnat(load(path, read={"missing": ["00.00.0000"]}).rows.table["day"][-1])


def test_set_kinds_win(tmp_path):
    path = write_table(
        tmp_path, {"x": [1, 2] * 20, "day": ["01/02/2024"] * 20 + ["03/04/2024"] * 20, "y": Y}
    )
    table = load(
        path,
        columns={"x": "category", "day": {"kind": "date", "format": "%d/%m/%Y"}},
    )
    assert table.rows.table["x"].values == ("1", "2")
    assert table.rows.table["day"][0] == np.datetime64("2024-02-01", "us")
    assert list(load(path, drop=["day"]).rows.table) == ["x"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drop": ["otter"]}, "found only: x, other, y. Did you mean other?"),
        ({"drop": ["z"]}, "column z: expected such a column, found only: x, other, y"),
        ({"columns": {"z": "number"}}, "column z: expected such a column, found only: x, other, y"),
        ({"label": "z"}, "column z: expected such a column, found only: x, other, y"),
        ({"weight": "z"}, "column z: expected such a column, found only: x, other, y"),
        ({"test": {"by": "z"}}, "column z: expected such a column, found only: x, other, y"),
        (
            {"drop": ["x"], "columns": {"other": "ignored"}},
            "got 0 ('x': dropped by data.drop; 'other': set in data.columns)",
        ),
        ({"weight": "x"}, "line 2, column x: expected a weight of at least 0, got "),
        ({"task": "multilabel", "label": ["x", "y"]}, "line 2, column x: expected true or false"),
        ({"columns": {"x": "date"}}, "line 2, column x: expected a date in the format ISO 8601"),
    ],
)
def test_settings_that_do_not_fit_the_table_are_refused(tmp_path, settings, message):
    values = [-1.5, *RNG_VALUES[1:]]
    path = write_table(tmp_path, {"x": values, "other": RNG_VALUES, "y": Y})
    with pytest.raises(InvalidInput) as caught:
        load(path, **settings)
    assert message in str(caught.value)


def test_group_that_is_the_label_is_refused(tmp_path):
    path = write_table(tmp_path, {"x": RNG_VALUES, "y": Y})
    with pytest.raises(ConfigurationError, match=r"test\.by: column 'y' is also the label"):
        load(path, test={"by": "y"})


def test_rows_without_a_label_are_left_out_with_a_warning(tmp_path):
    path = write_table(tmp_path, {"x": RNG_VALUES, "y": ["", *Y[1:-1], "NA"]})
    table = load(path)
    assert len(table.rows) == N - 2
    assert table.rows.places[0] == 3
    assert "".join(table.notices[0]) == (
        "2 rows of 40 without a value in y are left out. Words such as NA count as no value: "
        "data.read.missing sets them."
    )


def test_empty_cells_are_gaps_whatever_the_words_are(tmp_path):
    path = write_table(tmp_path, {"x": ["", -9, *RNG_VALUES[2:]], "y": Y})
    table = load(path, read={"missing": ["-9"]})
    assert np.isnan(table.rows.table["x"][:2]).all()
    assert not np.isnan(table.rows.table["x"][2:]).any()


def test_one_class_besides_gaps_is_explained(tmp_path):
    path = write_table(tmp_path, {"x": RNG_VALUES, "y": ["None", "Mild"] * 20})
    message = (
        "column y: expected several classes, got only 'Mild', and 20 rows without a value. If a "
        "word such as None is a class, set data.read.missing"
    )
    with pytest.raises(InvalidInput, match=message):
        load(path)
    assert load(path, read={"missing": [""]}).rows.class_rows == {"Mild": 20, "None": 20}


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"task": "regression"}, '. Correct it, add it to data.read.missing, or set task = "class'),
        ({"label": "x", "weight": "y"}, "got 'one'. Correct it"),
    ],
)
def test_a_word_among_numbers_of_the_target_or_the_weight(tmp_path, settings, hint):
    path = write_table(tmp_path, {"x": Y, "other": RNG_VALUES, "y": [*RNG_VALUES[1:], "one"]})
    with pytest.raises(InvalidInput) as caught:
        load(path, **settings)
    assert "line 41, column y: expected a number" in str(caught.value)
    assert hint in str(caught.value)
    assert "data.columns" not in str(caught.value)


def test_targets_of_each_task(tmp_path):
    path = write_table(
        tmp_path,
        {"x": RNG_VALUES, "n": range(N), "a": ["yes", "no"] * 20, "b": [0, 1] * 20, "w": [2] * N},
    )
    numbers = load(path, label="n", task="regression", weight="w")
    np.testing.assert_array_equal(numbers.rows.number_target.values, np.arange(N))
    np.testing.assert_array_equal(numbers.rows.weights, np.full(N, 2.0))
    assert "w" not in numbers.rows.table
    labels = load(path, label=["a", "b"], task="multilabel", drop=["n"])
    np.testing.assert_array_equal(labels.rows.labels_target.Y[:2], [[1, 0], [0, 1]])


def test_labels_are_stripped_and_typed_as_written(tmp_path):
    path = write_table(tmp_path, {"x": RNG_VALUES, "y": [" 1", "2 "] * 20})
    assert load(path).rows.class_target.classes.tolist() == ["1", "2"]


def test_texts_of_a_column_stay_as_written(tmp_path):
    path = write_table(tmp_path, {"x": ["é", "中文", "a,b", 'q"q', "two\nlines"] * 8, "y": Y})
    column = load(path).rows.table["x"]
    assert isinstance(column, Texts)
    assert set(column.values) == {"é", "中文", "a,b", 'q"q', "two\nlines"}
