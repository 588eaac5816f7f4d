"""Runs that predict numbers and several labels, from the file to the version and its uses."""

import csv
import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.datasets import load_diabetes, load_linnerud

from pipeline.config.run_config import RunConfig
from pipeline.data.splits import make_splits
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.evaluation.run_checks import check_before_training
from pipeline.evaluation.version_diff import compare_numbers
from pipeline.publishing.candidate_publishing import publish_candidate
from pipeline.publishing.onnx_export import check_answers, export_onnx, to_onnx
from pipeline.scoring.scoring_job import score_file
from pipeline.training.candidate_training import resolve_config, train_candidate
from pipeline.training.retraining import Outcome, retrain_version
from pipeline.wording import to_plain_text
from quadnet.errors import (
    ConfigurationError,
    GateFailed,
    NotComparable,
    UnsuitableData,
    Unsupported,
)
from quadnet.registry import Registry
from tests.pipeline.report.page_parser import parse, tables
from tests.support.serving import quadnet

NETWORK = {
    "hidden_layer_sizes": [8], "max_iter": 60, "learning_rate_init": 0.01, "scale_target": True,
}  # fmt: skip
LABELS = {"hidden_layer_sizes": [8], "max_iter": 60, "learning_rate_init": 0.01}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the folder of two files: diabetes, and which patients are worse off and heavier."""
    folder = tmp_path_factory.mktemp("files")
    frame = load_diabetes(as_frame=True).frame
    frame.to_csv(folder / "numbers.csv", index=False)
    labels = frame.drop(columns="target")
    labels["worse"], labels["heavy"] = (frame.target > 140) * 1, (frame.bmi > 0) * 1
    labels["both"] = labels.worse * labels.heavy
    labels.to_csv(folder / "labels.csv", index=False)
    return folder


def numbers_run(files, **changes):
    return RunConfig.model_validate(
        {
            "name": "numbers", "task": "regression", "scale": True, "validation": 0.1,
            "data": {"kind": "csv", "path": str(files / "numbers.csv"), "label": "target"},
            "network": NETWORK | changes.pop("network", {}), "gate": changes.pop("gate", {}),
            **changes,
        }
    )  # fmt: skip


def labels_run(files, **changes):
    label = changes.pop("label", ["worse", "heavy", "both"])
    return RunConfig.model_validate(
        {
            "name": "labels", "task": "multilabel", "scale": True,
            "data": {"kind": "csv", "path": str(files / "labels.csv"), "label": label},
            "network": LABELS | changes.pop("network", {}), "gate": changes.pop("gate", {}),
            **changes,
        }
    )  # fmt: skip


def publish(config, registry, champion=None, **options):
    judged = evaluate_candidate(train_candidate(config), champion)
    return judged, publish_candidate(judged, registry, **options)


QUANTILES = {"loss": "quantile", "quantiles": [0.05, 0.5, 0.95]}


@pytest.fixture(scope="module")
def published(files, tmp_path_factory):
    """Return a registry with versions of numbers, of quantiles and of labels."""
    registry = Registry(tmp_path_factory.mktemp("models") / "registry")
    done = {
        "numbers": publish(numbers_run(files), registry),
        "quantiles": publish(numbers_run(files, name="quantiles", network=QUANTILES), registry),
        "labels": publish(labels_run(files), registry),
    }
    # A second version, worse and forced, without a comparison.
    gate = {"champion": False, "better_than_constant": False}
    publish(numbers_run(files, network={"max_iter": 5}, gate=gate), registry, alias="candidate")
    return registry, done


def test_the_version_is_measured_as_by_scikit_learn(published):
    registry, done = published
    judged, _ = done["numbers"]
    model = registry.load("numbers", 1)
    y, P = judged.test.y, model.predictor.predict(judged.test.X)
    found = model.manifest.metrics["test"]
    assert found.rmse == pytest.approx(metrics.root_mean_squared_error(y, P), rel=1e-9)
    assert found.r2 == pytest.approx(metrics.r2_score(y, P), rel=1e-9)
    assert found.r2 > 0.3
    train = judged.candidate.splits.train
    target = model.manifest.signature.target
    assert (target.name, target.min, target.max) == ("target", train.y.min(), train.y.max())
    content = json.loads(registry.attachment(model, "evaluation.json"))
    assert content["test"]["metrics"]["rmse"] == found.rmse
    assert sum(each["rows"] for each in content["test"]["residuals"]) == len(y)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "huber", "poisson", "quantile"]
)
def test_every_loss_is_trained_published_and_retrained_bit_for_bit(files, registry, loss, dtype):
    network = {"loss": loss, "scale_target": loss != "poisson", "max_iter": 5}
    gate = {"better_than_constant": False}
    _, model = publish(numbers_run(files, network=network, gate=gate, dtype=dtype), registry)
    assert model.predictor.dtype == dtype
    assert retrain_version(model).outcome is Outcome.BIT_IDENTICAL


def test_labels_are_retrained_bit_for_bit_and_in_another_order_compared(files, published, tmp_path):
    registry, _ = published
    model = registry.load("labels", 1)
    assert retrain_version(model).outcome is Outcome.BIT_IDENTICAL
    other = labels_run(files, label=["both", "worse", "heavy"])
    judged = evaluate_candidate(train_candidate(other), model)
    assert judged.baseline.metrics == model.manifest.metrics["test"]


def test_changed_numbers_are_found_by_retraining(files, tmp_path):
    registry = Registry(tmp_path / "registry")
    (tmp_path / "numbers.csv").write_text((files / "numbers.csv").read_text())
    gate = {"better_than_constant": False}
    _, model = publish(numbers_run(tmp_path, network={"max_iter": 2}, gate=gate), registry)
    frame = pd.read_csv(tmp_path / "numbers.csv")
    frame.loc[0, "target"] += 1
    frame.to_csv(tmp_path / "numbers.csv", index=False)
    result = retrain_version(model)
    assert result.outcome is Outcome.DIFFERENT
    assert "part had other content" in result.cause


def test_the_gate_stops_a_worse_model_and_lets_a_better_one_pass(files, published):
    registry, _ = published
    champion = registry.load("numbers", 1)
    worse = evaluate_candidate(
        train_candidate(numbers_run(files, network={"learning_rate_init": 1e-6})), champion
    )
    assert worse.missed == ["RMSE (champion: version 1)", "RMSE (better_than_constant)"]
    with pytest.raises(GateFailed, match="RMSE"):
        publish_candidate(worse, registry)
    assert registry.versions("numbers") == [1, 2]
    same = evaluate_candidate(train_candidate(numbers_run(files)), champion)
    assert same.passed
    limit = champion.manifest.metrics["test"].rmse * 0.99
    assert not evaluate_candidate(train_candidate(numbers_run(files, gate={"rmse": limit}))).passed


def test_other_tasks_and_targets_are_not_compared(files, published):
    registry, _ = published
    champion = registry.load("numbers", 1)
    frame = pd.read_csv(files / "numbers.csv").rename(columns={"target": "progress"})
    frame.to_csv(files / "renamed.csv", index=False)
    data = {"kind": "csv", "path": str(files / "renamed.csv"), "label": "progress"}
    config = resolve_config(numbers_run(files, data=data))
    with pytest.raises(NotComparable, match="only the champion has the target target"):
        list(check_before_training(config, make_splits(config), champion))
    config = resolve_config(labels_run(files))
    with pytest.raises(
        NotComparable, match="is a model for regression, and this run is for multil"
    ):
        list(check_before_training(config, make_splits(config), champion))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"loss": "log"}}, "loss"),
        ({"network": {"quantiles": [0.5]}}, "quantiles"),
        ({"network": {"class_weight": "balanced"}}, "There is no key network.class_weight"),
        ({"network": {"calibration_fraction": 0.1}}, "no key network.calibration_fraction"),
        ({"gate": {"coverage": 0.1}}, "gate.coverage: expected a network that predicts at least 2"),
        ({"gate": {"pinball": 0.1}}, "gate.pinball: expected a network that predicts at least 1"),
    ],
)
def test_a_wrong_parameter_is_reported_before_the_data_is_read(files, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        resolve_config(numbers_run(files / "missing", **changes))


def test_too_many_quantiles_are_refused_before_training(files):
    quantiles = np.linspace(0, 1, 30_002)[1:-1].tolist()
    network = {"loss": "quantile", "quantiles": quantiles}
    config = resolve_config(numbers_run(files, network=network))
    with pytest.raises(
        ConfigurationError, match=r"could not be published: manifest\.json would have"
    ):
        list(check_before_training(config, make_splits(config)))


def test_several_columns_of_numbers_are_refused(tmp_path):
    load_linnerud(as_frame=True).frame.to_csv(tmp_path / "linnerud.csv", index=False)
    data = {"kind": "csv", "path": str(tmp_path / "linnerud.csv"), "label": ["Weight", "Waist"]}
    with pytest.raises(ValueError, match=r"data.label: expected the name of one column"):
        RunConfig.model_validate({"name": "l", "task": "regression", "data": data, "gate": {}})


def test_numbers_are_trained_with_weights(files):
    """Rows of weight 0 count as no rows."""
    config = resolve_config(numbers_run(files, validation=0.0, network={"solver": "lbfgs"}))
    splits = make_splits(config)
    chosen = np.arange(len(splits.train)) % 3 > 0
    weighted = replace(splits, train=replace(splits.train, weights=chosen.astype(float)))
    few = replace(splits, train=splits.train.rows(chosen))
    config = config.model_copy(update={"scale": False})
    one, other = (train_candidate(config, data=each).predictor for each in (weighted, few))
    np.testing.assert_allclose(
        one.predict(splits.train.X), other.predict(splits.train.X), rtol=1e-6
    )


def test_list_show_and_diff_of_numbers(published, files):
    registry, _ = published
    listed = quadnet("models", "list", "--registry", registry.root).stdout
    rmse = registry.load("numbers", 1).manifest.metrics["test"].rmse
    assert f"RMSE {rmse:.4g}" in listed
    done = quadnet("models", "diff", "numbers:1", "numbers:2", "--registry", registry.root)
    assert done.returncode == 0, done.stderr
    a, b = (registry.load("numbers", version) for version in (1, 2))
    found = compare_numbers(a, b)
    changes = found.values[1] - found.values[0]
    assert f"by {np.abs(changes).max():.4g} at most" in done.stdout
    assert f"{changes.mean():+.4g} on average" in done.stdout
    width = 0.01 * (found.high - found.low)
    assert f"for {(np.abs(changes) > width).mean():.3%}" in done.stdout
    other = quadnet("models", "diff", "numbers:1", "labels:1", "--registry", registry.root)
    assert other.returncode == 1
    assert "they predict different things: numbers version 1 is for regression" in other.stderr
    same = quadnet("models", "diff", "labels:1", "labels:1", "--registry", registry.root)
    assert "0.000% of answers change" in same.stdout


@pytest.mark.parametrize("name", ["numbers", "quantiles", "labels"])
def test_the_page_and_the_card_are_accessible_and_have_the_metrics(published, name):
    registry, _ = published
    model = registry.load(name, 1)
    page = parse(registry.attachment(model, "report.html").decode())
    images = page.all("img")
    assert all(image.attributes["alt"].strip() for image in images)
    # In the sections on predictions, errors and quantiles, the table has the figure's numbers.
    for section in page.all("section"):
        if section.all("img"):
            assert section.all("table"), section.attributes["id"]
    anchors = {node.attributes["href"] for node in page.all("a")}
    assert anchors == {f"#{section.attributes['id']}" for section in page.all("section")}
    card = registry.attachment(model, "card.md").decode()
    found = model.manifest.metrics["test"]
    text = page.text
    if name == "labels":
        assert {"worse", "heavy", "both"} <= {
            row[0].strip() for row in tables(page)["Labels, on the test part"]
        }
        assert f"{found.f1_micro:.2%}" in card
        return
    assert len(images) == (4 if name == "numbers" else 5)
    assert f"{found.rmse:.4g}" in text
    assert f"{found.rmse:.4g}" in card
    assert "The number: target" in card


@pytest.mark.parametrize("name", ["numbers", "quantiles", "labels"])
def test_the_exported_file_gives_the_same_answers_in_onnxruntime(published, files, tmp_path, name):
    registry, done = published
    model = registry.load(name, 1)
    path = tmp_path / "model.onnx"
    export_onnx(model, path)
    session = onnxruntime.InferenceSession(path)
    X = done[name][0].test.X
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"x": X}), strict=True))
    if name == "labels":
        np.testing.assert_array_equal(found["label"], model.predictor.predict(X))
        P = model.classifier.probabilities(X)
        np.testing.assert_allclose(found["probabilities"], P, atol=1e-9)
        return
    np.testing.assert_allclose(found["value"], model.predictor.predict(X), rtol=1e-9)
    assert ("quantiles" in found) == (name == "quantiles")
    if name == "quantiles":
        expected = model.predictor.predict_quantiles(X)
        np.testing.assert_allclose(found["quantiles"], expected, rtol=1e-9)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["target"]) == "target"
    assert json.loads(metadata["quantiles"]) == list(model.predictor.quantiles)


def test_an_exported_file_with_other_numbers_is_refused(published):
    registry, _ = published
    one, other = registry.load("numbers", 1), registry.load("numbers", 2)
    with pytest.raises(Unsupported, match="failed row 0 of the self-test: the numbers differ by"):
        check_answers(to_onnx(other), one)


@pytest.mark.parametrize("name", ["numbers", "quantiles", "labels"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_scored_file_has_the_predictions(published, files, tmp_path, name, suffix):
    registry, _ = published
    model = registry.load(name, 1)
    frame = pd.read_csv(files / ("labels.csv" if name == "labels" else "numbers.csv"))
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    frame.to_csv(source, index=False) if suffix == "csv" else frame.to_parquet(source)
    score_file(model, source, target)
    scored = pd.read_csv(target) if suffix == "csv" else pd.read_parquet(target)
    X = frame[[feature.name for feature in model.manifest.signature.features]].to_numpy()
    added = {
        "numbers": ["value"],
        "quantiles": ["value", "quantile_0.05", "quantile_0.5", "quantile_0.95"],
        "labels": [
            f"{what}_{label}"
            for label in ("worse", "heavy", "both")
            for what in ("label", "probability")
        ],
    }[name]
    assert scored.columns.tolist() == [*frame.columns, *added, "version"]
    assert (scored["version"] == 1).all()
    np.testing.assert_allclose(scored[frame.columns], frame)
    if name == "labels":
        assert scored["label_worse"].dtype == np.int64
        np.testing.assert_array_equal(scored[added[::2]], model.predictor.predict(X))
        np.testing.assert_allclose(
            scored[added[1::2]], model.classifier.probabilities(X), rtol=1e-12
        )
        return
    np.testing.assert_allclose(scored["value"], model.predictor.predict(X), rtol=1e-12)
    if name == "quantiles":
        np.testing.assert_allclose(
            scored[added[1:]], model.predictor.predict_quantiles(X), rtol=1e-12
        )


def test_a_row_that_overflows_has_empty_cells(files, registry, tmp_path):
    gate = {"better_than_constant": False}
    network = {"max_iter": 5, "activation": "relu"}
    config = numbers_run(files, dtype="float32", network=network, gate=gate, scale=False)
    _, model = publish(config, registry)
    frame = pd.read_csv(files / "numbers.csv").head(3)
    frame.loc[1, frame.columns[:-1]] = 3e38
    frame.to_csv(tmp_path / "in.csv", index=False)
    assert score_file(model, tmp_path / "in.csv", tmp_path / "o.csv").unanswered == 1
    with (tmp_path / "o.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] == "" for row in rows] == [False, True, False]
    assert [row["version"] for row in rows] == ["1"] * 3


def test_an_ensemble_of_regressors_is_one_version(files, registry):
    gate = {"better_than_constant": False}
    config = numbers_run(files, network={"n_ensemble": 3, "max_iter": 5}, gate=gate)
    judged, model = publish(config, registry)
    assert retrain_version(model).outcome is Outcome.BIT_IDENTICAL
    session = onnxruntime.InferenceSession(to_onnx(model))
    (value,) = session.run(None, {"x": judged.test.X})
    np.testing.assert_allclose(value, model.predictor.predict(judged.test.X), rtol=1e-9)


@pytest.mark.parametrize("name", ["quantiles", "labels"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_interrupted_score_gives_the_same_bytes(published, files, tmp_path, name, suffix):
    registry, _ = published
    model = registry.load(name, 1)
    frame = pd.concat([pd.read_csv(files / "numbers.csv")] * 5, ignore_index=True)
    source = tmp_path / f"in.{suffix}"
    frame.to_csv(source, index=False) if suffix == "csv" else frame.to_parquet(
        source, row_group_size=200
    )
    small = {"chunk_bytes": 20_000, "checkpoint_bytes": 40_000}
    score_file(model, source, tmp_path / f"whole.{suffix}", **small)

    class Stop(Exception):
        pass

    def stop(rows, done, total):
        if rows > 1000:
            raise Stop

    target = tmp_path / f"part.{suffix}"
    with pytest.raises(Stop):
        score_file(model, source, target, progress=stop, **small)
    assert not target.exists()
    summary = score_file(model, source, target, resume=True, **small)
    assert 0 < summary.rows_before < summary.rows == len(frame)
    assert target.read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("dtype", "shift", "advice"),
    [("float32", 1.7e9, 'set dtype = "float64"'), ("float64", 1e18, "subtract a constant")],
)
def test_numbers_with_more_digits_than_the_type_are_warned_of(
    files, tmp_path, dtype, shift, advice
):
    frame = pd.read_csv(files / "numbers.csv")
    frame["target"] += shift
    frame.to_csv(tmp_path / "numbers.csv", index=False)
    config = resolve_config(numbers_run(tmp_path, dtype=dtype))
    notices = [to_plain_text(n) for n in check_before_training(config, make_splits(config))]
    assert any(f"{dtype} has too few digits for the numbers to predict" in n for n in notices)
    assert any(advice in notice for notice in notices)
    plain = resolve_config(numbers_run(files, dtype=dtype))
    assert not [*check_before_training(plain, make_splits(plain))]


def test_numbers_whose_squares_overflow_are_refused(files, tmp_path):
    frame = pd.read_csv(files / "numbers.csv")
    frame["target"] *= 1e200
    frame.to_csv(tmp_path / "numbers.csv", index=False)
    config = resolve_config(numbers_run(tmp_path))
    with pytest.raises(UnsuitableData, match="The numbers to predict are too large"):
        list(check_before_training(config, make_splits(config)))
