"""Scoring of tables with a version that has an encoder."""

import csv
import gzip
import io

import numpy as np
import pandas as pd
import pytest

from pipeline.commands.table_run import make_table_run
from pipeline.commands.train import execute_run
from pipeline.scoring.scoring_job import score_file
from quadnet.errors import ConfigurationError, InvalidInput
from quadnet.registry import Registry
from tests.support.serving import quadnet
from tests.support.tables import write_table

N = 240
RNG = np.random.default_rng(7)
AGE = np.round(RNG.normal(40, 12, N), 1)
CITY = RNG.choice(["Oslo", "Rome", "Zürich"], N)
DAY = np.datetime64("2024-01-01") + RNG.integers(0, 700, N)
PAID = np.round(AGE * 2 + 10 * (CITY == "Rome") + RNG.normal(0, 3, N), 2)
FRAME = pd.DataFrame(
    {
        "age": np.where(np.arange(N) % 11, AGE, np.nan),
        "city": np.where(np.arange(N) % 13, CITY, None),
        "day": [f"{d.day:02d}.{d.month:02d}.{d.year}" for d in pd.DatetimeIndex(DAY)],
        "buys": np.where(np.median(PAID) < PAID, "yes", "no"),
        "paid": PAID,
    }
)
FAST = ["network.max_iter=8", "network.n_ensemble=1", "gate.better_than_majority=false"]


def publish(folder, label, *changes):
    """Train on the frame's file, and return the version."""
    frame = FRAME.drop(columns={"buys", "paid"} - {label})
    path = folder / f"{label}.csv"
    frame.to_csv(path, index=False)
    run = make_table_run(str(path), [label])
    registry = Registry(folder / "models")
    execute_run(run.parse([*FAST, *changes]), registry, table=run.raw)
    return registry.load(label, 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return publish(tmp_path_factory.mktemp("buys"), "buys")


@pytest.fixture(scope="module")
def number_model(tmp_path_factory):
    changes = ["network.loss=quantile", "network.quantiles=[0.1,0.5,0.9]"]
    changes += ["gate.better_than_constant=false", "gate.r2=-100"]
    return publish(tmp_path_factory.mktemp("paid"), "paid", *changes)


def score(model, source, folder, name="out.csv", **options):
    """Score a file; return the summary and the output as a data frame of texts."""
    target = folder / name
    done = score_file(model, source, target, overwrite=True, **options)
    return done, target


@pytest.fixture(scope="module")
def expected(model):
    """The answers by the library: the encoder and the network, from the frame itself."""
    return predict(model, FRAME)


def predict(model, frame):
    from quadnet.tables.columns import Texts

    day = pd.to_datetime(frame["day"], format="%d.%m.%Y").to_numpy("M8[us]")
    city = Texts.from_values([None if pd.isna(x) else x for x in frame["city"]])
    table = {"day": day, "city": city, "age": frame["age"].to_numpy(np.float64)}
    return model.predictor.predict(model.encoder.transform(table))


def test_answers_are_those_of_the_encoder_and_the_network(model, expected, tmp_path):
    source = tmp_path / "rows.csv"
    FRAME.to_csv(source, index=False)
    done, target = score(model, source, tmp_path)
    assert (done.rows, done.skipped, done.unknown) == (N, 0, {})
    out = pd.read_csv(target)
    assert out["label"].tolist() == expected.tolist()
    # The input's part of each row is unchanged.
    rows = [line.rsplit(",", 3)[0] for line in target.read_text().splitlines()]
    assert rows == source.read_text().splitlines()


def test_columns_may_be_in_any_order_with_others_between(model, expected, tmp_path):
    source = tmp_path / "rows.csv"
    moved = FRAME[["paid", "day", "buys", "city", "age"]].assign(more=1, day2="x")
    moved.to_csv(source, index=False)
    _, target = score(model, source, tmp_path)
    assert pd.read_csv(target)["label"].tolist() == expected.tolist()


def test_a_missing_column_is_named(model, tmp_path):
    source = tmp_path / "rows.csv"
    FRAME.drop(columns="city").to_csv(source, index=False)
    with pytest.raises(InvalidInput, match="column city: expected such a column, found only: age"):
        score(model, source, tmp_path)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("dialect", ["excel", "latin-1", "utf-16", "gzip", "tab"])
def test_dialects_of_the_input_are_those_of_the_output(model, expected, dialect, tmp_path):
    source, delimiter, decimal = tmp_path / "rows.csv", ";", ","
    encoding = dialect if dialect in ("latin-1", "utf-16") else "utf-8"
    if dialect == "tab":
        delimiter, decimal = "\t", "."
    text = FRAME.to_csv(index=False, sep=delimiter, decimal=decimal, lineterminator="\n")
    content = text.encode(encoding)
    source.write_bytes(gzip.compress(content) if dialect == "gzip" else content)
    _, target = score(model, source, tmp_path)
    out = pd.read_csv(target, sep=delimiter, decimal=decimal)
    assert out["label"].tolist() == expected.tolist()
    assert out["certainty"].between(0.5, 1).all()
    assert out["city"].dropna().tolist() == FRAME["city"].dropna().tolist()


def test_parquet_has_the_same_answers_and_types(model, expected, tmp_path):
    source = tmp_path / "rows.parquet"
    frame = FRAME.assign(city=FRAME["city"].astype("category"), day=pd.DatetimeIndex(DAY))
    frame.to_parquet(source)
    _, target = score(model, source, tmp_path, "out.parquet")
    out = pd.read_parquet(target)
    assert out["label"].tolist() == expected.tolist()
    assert out["city"].dtype == "category"


def test_several_files_and_the_standard_input(model, expected, tmp_path):
    for i in (0, 1):
        part = FRAME.iloc[i * 100 : i * 100 + 100 + 40 * i]
        part.to_csv(tmp_path / f"part-{i}.csv", index=False)
    _, target = score(model, tmp_path / "part-*.csv", tmp_path)
    assert pd.read_csv(target)["label"].tolist() == expected.tolist()


def test_an_existing_output_of_several_files_is_replaced_unless_it_is_one_of_them(model, tmp_path):
    FRAME.to_csv(tmp_path / "part-1.csv", index=False)
    for _ in range(2):
        done, target = score(model, tmp_path / "part-*.csv", tmp_path)
        assert len(pd.read_csv(target)) == done.rows == N
    before = (tmp_path / "part-1.csv").read_bytes()
    with pytest.raises(ConfigurationError, match="is the input"):
        score(model, tmp_path / "part-*.csv", tmp_path, "part-1.csv")
    assert (tmp_path / "part-1.csv").read_bytes() == before


def test_columns_that_are_directories_are_used_and_said_to_be_missing(model, expected, tmp_path):
    known = FRAME["city"].notna()
    for city, part in FRAME[known].groupby("city", sort=True):
        folder = tmp_path / "hive" / f"city={city}"
        folder.mkdir(parents=True)
        part.drop(columns="city").to_parquet(folder / "part-0.parquet", index=False)
    done, target = score(model, tmp_path / "hive", tmp_path, "out.parquet")
    assert done.directories == ("city",)
    order = FRAME["city"][known].argsort(kind="stable")
    assert pd.read_parquet(target)["label"].tolist() == expected[known][order].tolist()


def test_unknown_categories_are_counted_also_over_a_resumption(model, tmp_path):
    source = tmp_path / "rows.csv"
    frame = FRAME.assign(city=["Paris" if i % 10 == 0 else c for i, c in enumerate(FRAME["city"])])
    frame.to_csv(source, index=False)
    done, target = score(model, source, tmp_path, chunk_bytes=1000, checkpoint_bytes=1000)
    assert done.unknown == {"city": 24}
    whole = target.read_bytes()
    calls = []

    def interrupt(rows, n_bytes, total):
        calls.append(rows)
        if len(calls) == 4:
            raise KeyboardInterrupt

    options = {"chunk_bytes": 1000, "checkpoint_bytes": 1000}
    with pytest.raises(KeyboardInterrupt):
        score(model, source, tmp_path, progress=interrupt, **options)
    done = score_file(model, source, target, resume=True, overwrite=True, **options)
    assert done.rows_before > 0
    assert done.unknown == {"city": 24}
    assert target.read_bytes() == whole
    # As missing: the answers are those of gaps.
    gaps = frame.assign(city=frame["city"].where(frame["city"] != "Paris"))
    assert pd.read_csv(target)["label"].tolist() == predict(model, gaps).tolist()


def test_bad_cells_are_errors_or_rejected_rows(model, tmp_path):
    source = tmp_path / "rows.csv"
    frame = FRAME.assign(age=FRAME["age"].astype(object), day=FRAME["day"])
    frame.loc[3, "age"], frame.loc[5, "day"] = "young", "31.02.2024"
    frame.to_csv(source, index=False)
    with pytest.raises(InvalidInput, match="line 5, column age: expected a number, got 'young'"):
        score(model, source, tmp_path)
    done, _ = score(model, source, tmp_path, on_error="skip")
    assert (done.rows, done.skipped) == (N - 2, 2)
    rejected = list(csv.reader(io.StringIO((tmp_path / "out.rejected.csv").read_text())))
    assert [row[0] for row in rejected] == ["line", "5", "7"]
    assert rejected[2][1].startswith("column day: expected a date in the format %d.%m.%Y")


def test_numbers_and_their_quantiles(number_model, tmp_path):
    source = tmp_path / "rows.csv"
    FRAME.to_csv(source, index=False, sep=";", decimal=",")
    _, target = score(number_model, source, tmp_path)
    out = pd.read_csv(target, sep=";", decimal=",")
    values = out[["quantile_0.1", "quantile_0.5", "quantile_0.9"]].to_numpy()
    assert (np.diff(values, axis=1) >= 0).all()
    np.testing.assert_array_equal(out["value"], values[:, 1])


@pytest.mark.parametrize("name", ["out.parquet", "out", "out.json"])
def test_output_of_another_format_is_refused(model, name, tmp_path):
    source = tmp_path / "rows.csv"
    FRAME.to_csv(source, index=False)
    with pytest.raises(ConfigurationError, match=r"expected a name that ends in \.csv or"):
        score(model, source, tmp_path, name)


def test_a_new_user_types_three_commands(tmp_path):
    table = {"age": AGE.tolist(), "city": CITY.tolist(), "buys": FRAME["buys"].tolist()}
    write_table(tmp_path, table, "shop.csv")
    changes = [word for change in FAST for word in ("--set", change)]
    trained = quadnet("train", "shop.csv", "--label", "buys", *changes, cwd=tmp_path)
    assert "Published shop version 1 in models, alias champion." in trained.stdout, trained.stderr
    shown = quadnet("models", "show", "shop", cwd=tmp_path).stdout
    assert "A neural network that takes 2 columns and gives the probability of each" in shown
    assert "| city | category | `Oslo, Rome, Zürich` | none in training |" in shown
    scored = quadnet("score", "shop", "shop.csv", "out.csv", cwd=tmp_path)
    assert "240 rows scored, 0 skipped" in scored.stdout
    verified = quadnet("models", "verify", "shop", "--retrain", cwd=tmp_path)
    assert "shop version 1, retrained: bit-identical" in verified.stdout
    served = quadnet("train", "-", "--label", "buys", "--dry-run", cwd=tmp_path)
    assert served.returncode == 1
    assert "Traceback" not in served.stderr
