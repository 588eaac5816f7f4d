"""`quadnet.publish` and `quadnet.load`, as a user calls them."""

import doctest
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import calibration_curve
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.metrics import get_scorer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted

import quadnet
from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from quadnet.errors import (
    ConfigurationError,
    GateFailed,
    InvalidInput,
    NotComparable,
    NotFound,
    Unsupported,
)
from quadnet.registry import Registry
from quadnet.registry.version_files import read_version
from tests.support.serving import quadnet as run


def make_shop(n_rows=300, seed=0):
    """Return rows with texts and gaps, and whether each customer stays."""
    rng = np.random.default_rng(seed)
    city = rng.choice(np.array(["Oslo", "Rome", "Bern"], object), n_rows)
    age = np.where(rng.random(n_rows) < 0.1, np.nan, rng.normal(40, 10, n_rows))
    frame = pd.DataFrame({"age": age, "city": city, "visits": rng.integers(0, 9, n_rows)})
    frame["code"] = rng.integers(0, 10**6, n_rows)
    stays = (frame["visits"] > 3) ^ (frame["city"] == "Rome")
    return frame, pd.Series(np.where(stays, "stays", "goes"), name="outcome")


X, Y = make_shop()
PARTS = train_test_split(X, Y, random_state=0)


def fit_shop():
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "visits"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
    )
    net = MLPClassifier((8,), solver="lbfgs", random_state=0, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(columns, net).fit(PARTS[0], PARTS[2])


SHOP = fit_shop()


def publish_shop(folder, **changes):
    return quadnet.publish(SHOP, PARTS[1], PARTS[3], name="shop", registry=folder, **changes)


def test_a_pipeline_is_published_and_loaded(tmp_path):
    version = publish_shop(tmp_path, gate={"accuracy": 0.9})
    assert (version.name, version.version, version.alias) == ("shop", 1, "champion")
    assert repr(version).startswith("<shop:1, champion: ")
    assert "right on 75 held-out rows" in str(version)
    assert "accuracy" in version.summary
    store = Registry(tmp_path)
    assert store.target("shop").manifest_sha256 == version.digest == store.digest("shop", 1)
    model = quadnet.load("shop", registry=tmp_path)
    rows = PARTS[1].drop(columns="code")
    expected = SHOP.predict_proba(PARTS[1])
    np.testing.assert_allclose(model.predict_proba(rows), expected, rtol=1e-9, atol=1e-12)
    assert (model.predict(rows) == SHOP.predict(PARTS[1])).all()
    assert model.score(rows, PARTS[3]) == SHOP.score(PARTS[1], PARTS[3])
    assert model.classes_.tolist() == ["goes", "stays"]
    assert model.feature_names_in_.tolist() == ["age", "city", "visits"]
    assert repr(model) == "PublishedClassifier('shop', version=1)"


def test_rows_in_any_form_get_the_same_answers(tmp_path):
    publish_shop(tmp_path)
    model = quadnet.load("shop", tmp_path, version=1)
    rows = PARTS[1].drop(columns="code")
    expected = model.predict_proba(rows)
    for form in (rows[["visits", "age", "city"]], pl.DataFrame(rows), rows.to_dict("list")):
        np.testing.assert_array_equal(model.predict_proba(form), expected)
    np.testing.assert_array_equal(model.predict_proba(rows.to_numpy(object)), expected)
    assert model.predict({"age": [31], "city": ["Oslo"], "visits": [9]}).tolist() == ["stays"]
    with pytest.raises(InvalidInput, match=r"code: the model has no column 'code'; it has age"):
        model.predict(PARTS[1])
    with pytest.raises(InvalidInput, match="visits: is missing"):
        model.predict(rows[["age", "city"]])


def test_test_rows_may_have_any_form(tmp_path):
    rows = PARTS[1].reset_index(drop=True)
    rows.loc[::7, "city"] = None
    train = PARTS[0].copy()
    train.loc[train.index[::5], "city"] = None
    shop = clone(SHOP).fit(train, PARTS[2])
    taken = rows.to_numpy(object)
    for i, form in enumerate((rows[rows.columns[::-1]], pl.DataFrame(rows), taken), start=1):
        found = quadnet.publish(shop, form, PARTS[3], name="shop", registry=tmp_path)
        assert found.version == i
        metrics = Registry(tmp_path).load("shop", i).manifest.metrics["test"]
        assert metrics.accuracy == shop.score(rows, PARTS[3])


def test_the_manifest_card_and_report_state_the_origin(tmp_path):
    publish_shop(tmp_path, X_train=PARTS[0], y_train=PARTS[2])
    store = Registry(tmp_path)
    model = store.load("shop", 1)
    manifest = model.manifest
    config = manifest.config
    assert (config["source"], config["estimator"]["kind"]) == ("Python", "Pipeline")
    assert config["estimator"]["parameters"]["mlpclassifier__solver"] == "lbfgs"
    assert manifest.data.train.rows == len(PARTS[0])
    assert manifest.metrics["train"].accuracy == SHOP.score(PARTS[0], PARTS[2])
    assert manifest.metrics["test"].accuracy == SHOP.score(PARTS[1], PARTS[3])
    assert manifest.training.epochs == SHOP[-1].n_iter_
    age = manifest.encoder.columns[0]
    assert (age.low, age.high) == (PARTS[0]["age"].min(), PARTS[0]["age"].max())
    card = store.attachment(model, "card.md").decode()
    assert "trained elsewhere, and published from Python as a Pipeline" in card
    assert "--retrain" not in card
    assert 'quadnet.load("shop", version=1)' in card.replace("\\", "")
    assert b"Pipeline" in store.attachment(model, "report.html")
    # Readers see the same bytes.
    assert read_version(store.path("shop", 1)).digest == model.digest


def test_without_training_rows_the_ranges_are_those_of_the_test_rows(tmp_path):
    publish_shop(tmp_path)
    store = Registry(tmp_path)
    model = store.load("shop", 1)
    assert model.manifest.data.train.rows == 0
    assert "train" not in model.manifest.metrics
    age = model.manifest.encoder.columns[0]
    assert (age.low, age.high) == (PARTS[1]["age"].min(), PARTS[1]["age"].max())
    card = store.attachment(model, "card.md").decode()
    assert "Its training rows are unknown: the ranges of columns" in card
    assert re.search(r"\| Column .*\| Categories, or range in the test rows \| Gaps \|", card)
    assert re.search(r"\| age .*\| filled \|", card)
    assert re.search(r"\| visits .*\| filled \|", card)
    assert "Outside the range of the test rows a prediction is a guess" in card
    assert "in training" not in card.lower().replace("rows in training", "")
    # scikit-learn's estimators record neither updates, nor the best epoch, nor why they stopped.
    assert re.search(rf"\| Epochs \| {SHOP[-1].n_iter_} \|", card)
    assert not re.search("Updates|Stopped because|not recorded|the best one|test.seed", card)
    assert "have their defaults" not in card


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_without_training_rows_the_range_of_the_number_is_that_of_the_test_rows(tmp_path):
    X, y = load_diabetes(return_X_y=True)
    net = NeuralNetworkRegressor(scale=True, max_iter=60, random_state=0).fit(X[:300], y[:300])
    quadnet.publish(
        net,
        X[300:],
        y[300:],
        name="sugar",
        registry=tmp_path,
        gate={"better_than_constant": False, "r2": -99},
    )
    store = Registry(tmp_path)
    card = store.attachment(store.load("sugar", 1), "card.md").decode()
    low, high = y[300:].min(), y[300:].max()
    assert f"In the test rows the number was between {low:.0f} and {high:.0f}." in card
    assert re.search(r"\| Feature \| Lowest in the test rows \| Highest in the test rows \|", card)
    # Our own estimators record how they were trained.
    assert re.search(rf"\| Updates \| {net.n_updates_:,} \|", card)
    assert "Stopped because" in card


def test_the_gate_decides(tmp_path):
    with pytest.raises(
        GateFailed, match=r"failed its gate on 75 test rows: log loss is .*, expected at most 1e-09"
    ):
        publish_shop(tmp_path, gate={"log_loss": 1e-9})
    assert Registry(tmp_path).versions("shop") == []
    version = publish_shop(tmp_path, gate={"log_loss": 1e-9}, force="only one there is")
    assert Registry(tmp_path).load("shop", version.version).manifest.forced == "only one there is"


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (
            {"acuracy": 0.9},
            r"there is no key gate.acuracy.*accuracy.*The keys there are: accuracy,",
        ),
        ({"accuracy": "high"}, r"gate.accuracy: .*got 'high'"),
        ({"accuracy": 2.0}, r"gate.accuracy: .*less than or equal to 1, got 2.0"),
        ({"rmse": 2.0}, r"gate.rmse: task = 'classification' has the limits accuracy"),
    ],
)
def test_wrong_keys_of_the_gate_are_named(tmp_path, gate, message):
    with pytest.raises(ConfigurationError, match=message):
        publish_shop(tmp_path, gate=gate)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("alias", "latest", "'latest' cannot be an alias: expected a lower-case letter"),
        ("alias", "My Alias", "'My Alias' cannot be an alias"),
        ("alias", None, "'None' cannot be an alias"),
        ("gate", 0.9, "gate must be a mapping of limits"),
        ("force", True, "force must be the reason .* as a text; got 'True'"),
        ("force", " ", "force must be the reason"),
    ],
)
def test_a_wrong_argument_is_refused_before_a_version_is_published(
    tmp_path, argument, value, message
):
    with pytest.raises(ConfigurationError, match=message):
        publish_shop(tmp_path, **{argument: value})
    assert Registry(tmp_path).versions("shop") == []


def test_a_champion_that_is_better_stays(tmp_path):
    publish_shop(tmp_path)
    worse = make_pipeline(
        make_column_transformer((StandardScaler(), ["visits", "code"])),
        MLPClassifier((2,), max_iter=1, random_state=0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        worse.fit(PARTS[0], PARTS[2])
    with pytest.raises(NotComparable, match="only the champion has the features age, city"):
        quadnet.publish(worse, PARTS[1], PARTS[3], name="shop", registry=tmp_path)
    weak = fit_shop()
    weak[-1].coefs_[-1][...] *= 1e-3
    weak[-1].intercepts_[-1][...] = -0.01
    gate = {"better_than_majority": False}
    with pytest.raises(GateFailed, match=r"accuracy \(champion: version 1\)"):
        quadnet.publish(weak, PARTS[1], PARTS[3], name="shop", registry=tmp_path, gate=gate)
    again = publish_shop(tmp_path, alias="candidate")
    assert (again.version, again.alias) == (2, "candidate")
    assert quadnet.load("shop", tmp_path).version == 1
    assert quadnet.load("shop", tmp_path, alias="candidate").version == 2
    assert quadnet.load("shop", tmp_path, alias="latest").version == 2


def test_too_few_test_rows_are_refused(tmp_path):
    rows, classes = PARTS[1][:20], PARTS[3][:20]
    with pytest.raises(GateFailed, match=r"at least 30 distinct rows.*It has 20.*allow_small=True"):
        quadnet.publish(SHOP, rows, classes, name="shop", registry=tmp_path)
    quadnet.publish(SHOP, rows, classes, name="shop", registry=tmp_path, allow_small=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": X.drop(columns="age")}, r"X_test, column age: is missing"),
        ({"X": X.assign(age="old")}, r"X_test, column age\[0\]: expected numbers, got 'old'"),
        ({"X": X.assign(more=1)}, r"X_test, column more: the model has no column 'more'"),
        ({"X": X[:9]}, r"y_test: must have 9 rows, as X has; got 300"),
        (
            {"y": Y.replace("goes", "went")},
            r"y_test\[\d+\]: must be one of.*goes, stays; got 'went'",
        ),
        ({"y": Y.where(Y == "goes")}, r"y_test\[\d+\]: must be one of.*got a missing value"),
        ({"y": np.ones((300, 2))}, r"y_test: must have one value for each row, got the shape"),
    ],
)
def test_wrong_rows_are_named(tmp_path, changes, message):
    with pytest.raises(InvalidInput, match=message):
        quadnet.publish(
            SHOP, changes.get("X", X), changes.get("y", Y), name="shop", registry=tmp_path
        )


def test_a_gate_without_limits_is_passed(tmp_path):
    gate = {"better_than_majority": False}
    published = publish_shop(tmp_path, gate=gate, allow_small=True)
    assert (published.version, "The gate" in published.summary) == (1, False)


def test_a_version_that_readers_would_refuse_is_not_published(tmp_path):
    rows = pd.DataFrame({"city": [f"city {i}" for i in range(20_000)]})
    classes = np.where(rows.index < 10_000, "a", "b")
    model = make_pipeline(OneHotEncoder(), MLPClassifier((1,), max_iter=1, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, classes)
    gate = {"better_than_majority": False}
    few = [*range(20), *range(10_000, 10_020)]
    with pytest.raises(Unsupported, match=r"shop was not published: manifest.json would have"):
        quadnet.publish(
            model, rows.iloc[few], classes[few], name="shop", registry=tmp_path, gate=gate,
            allow_small=True,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coefs_": None}, r"what was fitted does not fit together \(TypeError"),
        ({"coefs_": [np.ones((4, 8))]}, "what was fitted does not fit together"),
        ({"intercepts_": [np.ones(2), np.ones(1)]}, "what was fitted does not fit together"),
        ({"activation": "cubic"}, "what was fitted does not fit together"),
        ({"intercepts_": [np.full(8, np.nan), np.ones(1)]}, "weights that are NaN or infinite"),
        ({"intercepts_": [np.full(8, np.inf), np.ones(1)]}, "weights that are NaN or infinite"),
    ],
)
def test_damaged_estimators_are_refused(tmp_path, changes, message):
    model = pickle.loads(pickle.dumps(SHOP))
    vars(model[-1]).update(changes)
    with pytest.raises(Unsupported, match=message):
        quadnet.publish(model, X, Y, name="shop", registry=tmp_path)


def test_a_damaged_step_is_refused(tmp_path):
    rows = X[["visits", "code"]]
    model = make_pipeline(StandardScaler(), MLPClassifier((3,), max_iter=2, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, Y)
    for name, value in [("mean_", None), ("mean_", np.ones(1)), ("scale_", np.zeros(2))]:
        damaged = pickle.loads(pickle.dumps(model))
        setattr(damaged[0], name, value)
        with pytest.raises(Unsupported, match=r"cannot (become a version|be encoded)"):
            quadnet.publish(damaged, rows, Y, name="shop", registry=tmp_path)


def test_whole_numbers_as_classes_become_texts(tmp_path):
    rows, kinds = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(rows, kinds, random_state=0)
    net = NeuralNetworkClassifier((8,), scale=True, solver="lbfgs", random_state=0)
    net.fit(X_train, y_train)
    quadnet.publish(net, X_test, y_test, name="wine", registry=tmp_path)
    model = quadnet.load("wine", tmp_path)
    assert Registry(tmp_path).load("wine", 1).encoder is None
    assert model.classes_.tolist() == ["0", "1", "2"]
    assert model.predict(X_test).tolist() == [str(kind) for kind in net.predict(X_test)]
    assert model.score(X_test, y_test) == net.score(X_test, y_test)
    np.testing.assert_allclose(model.predict_proba(X_test), net.predict_proba(X_test), rtol=1e-6)


def test_truth_values_that_scikit_learn_read_as_numbers(tmp_path):
    X, y = load_wine(return_X_y=True)
    y = pd.Series(y == 1, dtype="boolean")
    net = make_pipeline(StandardScaler(), MLPClassifier((4,), solver="lbfgs", random_state=0))
    net.fit(X[::2], y[::2])
    quadnet.publish(net, X[1::2], y[1::2], name="wine", registry=tmp_path, gate={"accuracy": 0.8})
    assert quadnet.load("wine", tmp_path).classes_.tolist() == ["0", "1"]


def test_whole_numbers_as_categories_are_no_constant_of_the_card(tmp_path):
    rows = pd.DataFrame({"rooms": [1, 2, 3] * 40})
    y = np.where(rows["rooms"] == 2, "two", "other")
    net = make_pipeline(OneHotEncoder(), MLPClassifier((4,), solver="lbfgs", random_state=0))
    quadnet.publish(net.fit(rows, y), rows, y, name="rooms", registry=tmp_path, allow_small=True)
    store = Registry(tmp_path)
    card = store.attachment(store.load("rooms", 1), "card.md").decode()
    assert "never varied" not in card
    assert re.search(r"\| rooms \| category \| 1, 2, 3 \|", card)


def test_numbers_and_quantiles(tmp_path):
    rows, numbers = load_diabetes(return_X_y=True, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(rows, numbers, random_state=0)
    net = NeuralNetworkRegressor(
        loss="quantile", quantiles=(0.1, 0.5, 0.9), hidden_layer_sizes=(4,), scale=True,
        scale_target=True, max_iter=100, learning_rate_init=0.01, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(X_train, y_train)
    version = quadnet.publish(
        net, pl.DataFrame(X_test), pl.Series("target", y_test), name="sugar", registry=tmp_path
    )
    assert version.summary.startswith("RMSE ")
    model = quadnet.load("sugar", tmp_path)
    np.testing.assert_allclose(model.predict_quantiles(X_test), net.predict_quantiles(X_test))
    np.testing.assert_allclose(model.predict(X_test), net.predict(X_test))
    assert model.quantiles == (0.1, 0.5, 0.9)
    assert model.manifest.signature.target.name == "target"
    assert is_regressor(model)
    assert not hasattr(model, "predict_proba")
    assert model.score(X_test, y_test) == pytest.approx(net.score(X_test, y_test))
    other = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=9, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other.fit(X_train, y_train)
    with pytest.raises(NotComparable, match="only the champion has the target target"):
        quadnet.publish(other, X_test, y_test.to_numpy(), name="sugar", registry=tmp_path)


def test_several_labels(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 3))
    labels = pd.DataFrame({"left": rows[:, 0] < 0, "high": rows[:, 1] > 0}).astype(int)
    net = MLPClassifier((6,), solver="lbfgs", random_state=0).fit(rows[:120], labels[:120])
    quadnet.publish(net, rows[120:], labels[120:], name="tags", registry=tmp_path)
    model = quadnet.load("tags", tmp_path)
    assert model.classes_.tolist() == ["left", "high"]
    np.testing.assert_array_equal(model.predict(rows), net.predict(rows))
    assert model.score(rows[120:], labels[120:]) == net.score(rows[120:], labels[120:])


def test_scikit_learn_takes_a_loaded_model(tmp_path):
    publish_shop(tmp_path)
    model = quadnet.load("shop", tmp_path)
    rows = PARTS[1].drop(columns="code")
    check_is_fitted(model)
    assert is_classifier(model)
    assert clone(model) is model
    found = permutation_importance(model, rows, PARTS[3], n_repeats=2, random_state=0)
    assert found.importances_mean.shape == (3,)
    assert found.importances_mean[2] > 0.1
    certainties = model.predict_proba(rows)[:, 1]
    assert len(calibration_curve(PARTS[3] == "stays", certainties, n_bins=3)) == 2
    assert get_scorer("roc_auc")(model, rows, PARTS[3]) > 0.9
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(rows), model.predict_proba(rows))
    with pytest.raises(Unsupported, match="shop version 1 is published, and is not trained again"):
        model.fit(rows, PARTS[3])


@pytest.mark.parametrize("function", [quadnet.publish, quadnet.load])
def test_the_examples_run(function):
    tests = doctest.DocTestFinder().find(function)
    assert doctest.DocTestRunner().run(tests[0]).failed == 0
    assert tests[0].examples


def test_a_wrong_reference_is_refused(tmp_path):
    publish_shop(tmp_path)
    with pytest.raises(NotFound, match="no version 7"):
        quadnet.load("shop", tmp_path, version=7)
    with pytest.raises(NotFound, match="Give the version or the alias apart from the name"):
        quadnet.load("shop:1", tmp_path)
    with pytest.raises(NotFound, match=f"'shop': the registry {tmp_path}/other holds no model"):
        quadnet.load("shop", tmp_path / "other")
    with pytest.raises(NotFound, match="no alias 'staging'"):
        quadnet.load("shop", tmp_path, alias="staging")
    with pytest.raises(
        ConfigurationError, match="Expected a version or an alias of shop, got both"
    ):
        quadnet.load("shop", tmp_path, version=1, alias="champion")
    with pytest.raises(NotFound, match="cannot be a model's name"):
        quadnet.publish(SHOP, PARTS[1], PARTS[3], name="My Shop", registry=tmp_path)


def test_the_verbs_know_a_version_that_was_trained_elsewhere(tmp_path):
    publish_shop(tmp_path)
    registry = ["--registry", str(tmp_path)]
    verified = run("models", "verify", "shop:1", "--retrain", *registry)
    assert "not checked, it was trained elsewhere" in verified.stdout
    assert run("models", "diff", "shop:1", "shop:1", *registry).returncode == 0
    assert "shop" in run("models", "list", *registry).stdout
