"""Versions with encoders: compared on a table's own columns, each through its own encoder."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.metrics import root_mean_squared_error

from pipeline.config.run_config import RunConfig
from pipeline.data.splits import make_splits
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.evaluation.run_checks import check_before_training
from pipeline.evaluation.version_diff import compare_numbers
from pipeline.publishing.candidate_publishing import publish_candidate
from pipeline.training.candidate_training import resolve_config, train_candidate
from pipeline.training.retraining import Outcome, retrain_version
from quadnet.errors import ConfigurationError, NotComparable
from quadnet.nn.network import Network
from quadnet.nn.predictor import RegressionPredictor
from quadnet.tables.columns import Texts
from quadnet.tables.encoder import fit_encoder
from tests.support.exact_models import record


def make_table(seed, n_rows=50):
    rng = np.random.default_rng(seed)
    return {
        "size": rng.normal(seed, 1.0 + seed, n_rows),
        "city": Texts(rng.integers(0, 3, n_rows), ("Bern", "Oslo", "Rome")),
        "since": np.datetime64("2020-01-01", "us") + rng.integers(0, 900, n_rows).astype("m8[D]"),
    }


def publish_sum(registry, name, table, *, oslo=0.0):
    """Publish a network of ``2 * size + days since 1970 + oslo * (city == "Oslo")``."""
    encoder = fit_encoder(table)
    network = Network.dense([encoder.n_outputs, 1], activations=[], loss="squared_error")
    weights = dict.fromkeys(encoder.output_names, 0.0)
    size = encoder.columns[0]
    days = next(part for part in encoder.columns[2].parts if part.part == "elapsed")
    weights |= {"size": 2.0 * size.scale, "since: elapsed": days.scale, "city = Oslo": oslo}
    network.parameters.weights[0][:, 0] = list(weights.values())
    network.parameters.biases[0][:] = 2.0 * size.centre + days.centre
    predictor = RegressionPredictor(network, None)
    made = record(predictor, encoder.n_outputs).model_copy(update={"encoder": encoder})
    return registry.publish(name, predictor, made, encoder.transform(table)[:8])


def test_two_encoders_of_one_function_change_nothing(registry):
    a, b = (publish_sum(registry, "m", make_table(seed)) for seed in (1, 2))
    assert a.encoder != b.encoder
    found = compare_numbers(a, b)
    assert len(found.changes) == 10_000
    assert np.abs(found.changes).max() < 1e-6
    assert np.ptp(found.values[0]) > 500


def test_a_change_for_one_category_is_found(registry):
    a, b = (publish_sum(registry, "m", make_table(seed), oslo=10.0 * seed) for seed in (1, 2))
    changes = compare_numbers(a, b).changes
    assert set(np.round(changes, 6).tolist()) == {0.0, 10.0}
    assert (changes > 5).mean() == pytest.approx(0.25, abs=0.03)


def test_other_columns_are_not_compared(registry):
    a = publish_sum(registry, "m", make_table(1))
    table = make_table(1)
    table["size"] = Texts.from_values(["big", "small"] * 25)
    encoder = fit_encoder(table)
    network = Network.dense([encoder.n_outputs, 1], activations=[], loss="squared_error")
    predictor = RegressionPredictor(network, None)
    made = record(predictor, encoder.n_outputs).model_copy(update={"encoder": encoder})
    b = registry.publish("m", predictor, made, encoder.transform(table)[:8])
    with pytest.raises(NotComparable, match="column 'size' is of the kind number in m version 1"):
        compare_numbers(a, b)


@pytest.fixture
def patients(tmp_path):
    """Write a table with texts and gaps, and return its path."""
    frame = load_diabetes(as_frame=True).frame
    rng = np.random.default_rng(0)
    frame["weight"] = pd.cut(frame.pop("bmi"), 3, labels=["low", "middle", "high"]).astype(str)
    frame.loc[rng.random(len(frame)) < 0.1, "bp"] = np.nan
    frame.to_csv(tmp_path / "patients.csv", index=False)
    return tmp_path / "patients.csv"


def configure(path, kind="table", **changes):
    data = {"kind": kind, "path": str(path), "label": "target", **changes.pop("data", {})}
    network = {
        "hidden_layer_sizes": [6], "max_iter": 30, "scale_target": True, "learning_rate_init": 0.02,
        "random_state": 0,
    }  # fmt: skip
    return RunConfig.model_validate(
        {
            "name": "patients",
            "task": "regression",
            "data": data,
            "network": network,
            "gate": {},
            **changes,
        }
    )


def test_the_champion_gets_the_test_rows_through_its_own_encoder(patients, registry):
    champion = publish_candidate(evaluate_candidate(train_candidate(configure(patients))), registry)
    assert retrain_version(champion).outcome is Outcome.BIT_IDENTICAL
    config = configure(patients, test={"share": 0.2, "seed": 7})
    judged = evaluate_candidate(train_candidate(config), champion)
    assert judged.candidate.encoder != champion.encoder
    test = judged.test
    inputs = champion.encoder.transform(test.table)
    expected = root_mean_squared_error(test.y, champion.predictor.predict(inputs))
    assert judged.baseline.metrics.rmse == pytest.approx(expected, rel=1e-12)
    assert expected < 70
    record = judged.make_record()
    assert record.encoder == judged.candidate.encoder


def test_a_champion_of_plain_numbers_is_compared_where_the_table_has_no_gaps(tmp_path, registry):
    frame = load_diabetes(as_frame=True).frame
    frame.to_csv(tmp_path / "plain.csv", index=False)
    plain = configure(tmp_path / "plain.csv", kind="csv", scale=True)
    champion = publish_candidate(evaluate_candidate(train_candidate(plain)), registry)
    judged = evaluate_candidate(train_candidate(configure(tmp_path / "plain.csv")), champion)
    columns = [feature.name for feature in champion.manifest.signature.features]
    X = np.column_stack([judged.test.table[name] for name in columns])
    expected = root_mean_squared_error(judged.test.y, champion.predictor.predict(X))
    assert judged.baseline.metrics.rmse == pytest.approx(expected, rel=1e-12)
    frame.loc[::5, "bp"] = np.nan
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    with pytest.raises(NotComparable, match="it takes columns of numbers without gaps"):
        evaluate_candidate(train_candidate(configure(tmp_path / "gaps.csv")), champion)


def configure_classes(tmp_path, **data):
    settings = {
        "name": "t",
        "validation": 0.2,
        "network": {"max_iter": 2, "hidden_layer_sizes": [2]},
        "test": {"share": 0.2, "allow_small": True},
        "gate": {"accuracy": 0.0, "better_than_majority": False},
        "data": {"kind": "table", "path": str(tmp_path / "t.csv"), "label": "y"} | data,
    }
    return resolve_config(RunConfig.model_validate(settings))


def test_columns_of_other_kinds_than_the_champions_are_refused_before_training(tmp_path, registry):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(100, 2)), columns=["x", "z"])
    frame["y"] = rng.choice(["a", "b"], 100)
    config = configure_classes(tmp_path)
    frame.to_csv(tmp_path / "t.csv", index=False)
    champion = publish_candidate(evaluate_candidate(train_candidate(config)), registry)
    frame.assign(x=rng.choice(["u", "v"], 100)).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(NotComparable, match="x: must be a column of kind number, got category"):
        list(check_before_training(config, make_splits(config), champion))


def test_a_table_with_too_many_inputs_for_a_version_gets_advice_that_it_can_follow(tmp_path):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(1700, 20)), columns=list("abcdefghijklmnopqrst"))
    frame.assign(y=rng.choice(["u", "v"], 1700)).to_csv(tmp_path / "t.csv", index=False)
    config = configure_classes(tmp_path, numbers={"n_pieces": 1000})
    with pytest.raises(ConfigurationError, match=r"Set data\.numbers\.n_pieces = 0, add columns"):
        list(check_before_training(config, make_splits(config)))
    few = configure_classes(tmp_path, numbers={"n_pieces": 0})
    list(check_before_training(few, make_splits(few)))
