"""`categorical_features` and `missing`: against pipelines and boosted trees of scikit-learn."""

import io
import pickle
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import skops.io
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from quadnet.errors import MissingExtra, Unsupported
from tests.support.oracle import fit

ENCODED = {"categorical_features": "from_dtype", "missing": "indicator"}


def passengers(n_rows=300, seed=0):
    """Return a frame of numbers and categories, and labels that need both."""
    rng = np.random.default_rng(seed)
    age, fare = rng.normal(40, 10, n_rows), rng.lognormal(3, 1, n_rows)
    city = rng.choice(["Oslo", "Rome", "Bern", "Kiew"], n_rows, p=[0.4, 0.3, 0.28, 0.02])
    y = (age + 15 * (city == "Oslo") + rng.normal(0, 3, n_rows)) > 46
    age[rng.random(n_rows) < 0.15] = np.nan
    frame = pd.DataFrame({"age": age, "fare": fare, "city": pd.Categorical(city)})
    return frame, np.where(y, "yes", "no")


def make_net(**parameters):
    return NeuralNetworkClassifier(
        **{"hidden_layer_sizes": (8,), "max_iter": 30, "random_state": 0, **parameters}
    )


def encoder_of_scikit_learn(*, scale):
    numbers = [SimpleImputer(), StandardScaler()] if scale else [SimpleImputer()]
    return ColumnTransformer(
        [
            ("age", make_pipeline(*numbers), ["age"]),
            ("gap", MissingIndicator(), ["age"]),
            ("fare", make_pipeline(*numbers), ["fare"]),
            (
                "city",
                OneHotEncoder(min_frequency=2, handle_unknown="ignore", sparse_output=False),
                ["city"],
            ),
        ]
    )


@pytest.mark.parametrize("scale", [False, True])
def test_the_network_is_that_of_a_pipeline(scale):
    frame, y = passengers()
    train, test = frame[:200], frame[200:].assign(city=["Oslo", "Lima"] * 50)
    net = fit(make_net(scale=scale, **ENCODED), train, y[:200])
    peer = make_pipeline(encoder_of_scikit_learn(scale=scale), make_net())
    fit(peer, train, y[:200])
    np.testing.assert_allclose(net.loss_curve_, peer[-1].loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(net.coefs_[0], peer[-1].coefs_[0], rtol=1e-7, atol=1e-10)
    expected = peer.predict_proba(test)
    np.testing.assert_allclose(net.predict_proba(test), expected, rtol=1e-7)
    names = ["age", "age is missing", "fare", "city = Bern", "city = Kiew", "city = Oslo"]
    assert net.encoder_.output_names == (*names, "city = Rome")
    assert net.n_features_in_ == 3
    assert net.feature_names_in_.tolist() == ["age", "fare", "city"]


def test_it_is_as_accurate_as_boosted_trees():
    frame, y = passengers(900)
    net = NeuralNetworkClassifier(
        (16,), scale=True, max_iter=60, learning_rate_init=0.01, random_state=0, **ENCODED
    )
    trees = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    scores = [fit(each, frame[:600], y[:600]).score(frame[600:], y[600:]) for each in (net, trees)]
    assert scores[0] > scores[1] - 0.03
    assert scores[0] > 0.85


def test_every_kind_of_frame_and_array_gives_the_same_network():
    frame, y = passengers(80)
    by_library = [frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)]
    nets = [fit(make_net(**ENCODED), each, y) for each in by_library]
    objects = frame.astype({"city": object}).to_numpy()
    for chosen in ([2], np.array([False, False, True]), (2,)):
        net = make_net(categorical_features=chosen, missing="indicator")
        nets += [fit(net, each, y) for each in (objects, objects.tolist())]
    nets += [fit(make_net(categorical_features=["city"], missing="indicator"), frame, y)]
    expected = nets[0].predict_proba(frame)
    for net in nets[1:]:
        np.testing.assert_array_equal(net.coefs_[0], nets[0].coefs_[0])
    for each in by_library[1:]:
        np.testing.assert_array_equal(nets[0].predict_proba(each), expected)
    np.testing.assert_array_equal(nets[3].predict_proba(objects), expected)
    assert nets[3].encoder_.input_names == ("x0", "x1", "x2")


def test_texts_and_dates_of_a_frame_are_encoded():
    frame, y = passengers(60)
    day = np.datetime64("2024-01-01") + np.arange(60)
    frame = frame.astype({"city": str}).assign(day=day.astype("datetime64[us]"))
    net = fit(make_net(**ENCODED), frame, y)
    assert [name for name in net.encoder_.output_names if name.startswith("day")] == [
        "day: year",
        "day: month",
        "day: weekday",
        "day: elapsed",
    ]
    assert "city = Oslo" in net.encoder_.output_names
    outputs = net.activations(frame)
    assert np.isfinite(outputs[-1]).all()


def test_numbers_that_are_codes_may_have_any_type():
    codes = np.array([[1, 0], [2, 0], [1, 1], [2, 1]] * 10)
    y = codes[:, 0] == 1
    net = fit(make_net(categorical_features=[0]), codes, y)
    expected = net.predict_proba(codes)
    for each in (codes.astype(float), codes.tolist(), codes.astype(np.uint8)):
        np.testing.assert_array_equal(net.predict_proba(each), expected)
    assert net.encoder_.output_names == ("x0 = 1", "x0 = 2", "x1")
    # A code that training did not have, and a gap, are all zeros.
    assert net.predict_proba([[7, 0]]).shape == (1, 2)


def test_float32_arrays_train_in_float32():
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    X[3, 1] = np.nan
    net = fit(make_net(missing="indicator"), X, X[:, 0] > 0)
    assert net.coefs_[0].dtype == np.float32
    assert net.predict_proba(X).dtype == np.float32


def test_a_gap_that_training_did_not_have_is_the_mean():
    X = np.random.default_rng(0).normal(size=(40, 2))
    net = fit(make_net(missing="indicator"), X, X[:, 0] > 0)
    plain = fit(make_net(), X, X[:, 0] > 0)
    np.testing.assert_array_equal(net.coefs_[0], plain.coefs_[0])
    filled = net.predict_proba([[X[:, 0].mean(), 1.0]])
    np.testing.assert_allclose(net.predict_proba([[np.nan, 1.0]]), filled)


def test_scale_leaves_categories_and_gaps_as_they_are():
    frame, y = passengers(100)
    weights = np.arange(1.0, 101)
    net = fit(make_net(scale=True, **ENCODED), frame, y, sample_weight=weights)
    values = SimpleImputer().fit_transform(frame[["age", "fare"]])
    scaler = StandardScaler().fit(values, sample_weight=weights)
    numbers = [0, 2]
    np.testing.assert_allclose(net.column_means_[numbers], scaler.mean_)
    np.testing.assert_allclose(net.column_deviations_[numbers], scaler.scale_)
    others = np.delete(np.arange(len(net.column_means_)), numbers)
    assert (net.column_means_[others] == 0).all()
    assert (net.column_deviations_[others] == 1).all()


def test_a_stored_network_keeps_its_encoder():
    frame, y = passengers(80)
    net = fit(make_net(scale=True, early_stopping=True, **ENCODED), frame, y)
    expected = net.predict_proba(frame)
    dumped = skops.io.dumps(net)
    assert skops.io.get_untrusted_types(data=dumped) == ["quadnet.NeuralNetworkClassifier"]
    trusted = skops.io.loads(dumped, trusted=["quadnet.NeuralNetworkClassifier"])
    for again in (pickle.loads(pickle.dumps(net)), trusted):
        np.testing.assert_array_equal(again.predict_proba(frame), expected)
        assert again.encoder_ == net.encoder_
    assert b"quadnet.tables" not in pickle.dumps(net)
    content = io.BytesIO()
    np.savez(content, **net.to_arrays())
    content.seek(0)
    loaded = NeuralNetworkClassifier.from_arrays(np.load(content))
    np.testing.assert_allclose(loaded.predict_proba(frame), expected, rtol=1e-9)
    assert loaded.feature_names_in_.tolist() == ["age", "fare", "city"]
    assert not hasattr(clone(net), "encoder_")
    assert fit(clone(net), frame, y).encoder_ == net.encoder_


def test_stored_arrays_whose_encoder_does_not_fit_are_refused():
    frame, y = passengers(60)
    arrays = fit(make_net(**ENCODED), frame, y).to_arrays()
    for before, after, message in (
        ('"kind": "category"', '"kind": "colour"', r"encoder\[2\] is of the unknown kind 'colour'"),
        ('"indicator": true', '"indicator": false', "encoder has 6 outputs, but the network has 7"),
    ):
        text = str(arrays["estimator"]).replace(before, after, 1)
        with pytest.raises(ValueError, match=message):
            NeuralNetworkClassifier.from_arrays(arrays | {"estimator": np.array(text)})


def test_later_fits_keep_the_encoder_of_the_first():
    frame, y = passengers(80)
    net = fit(make_net(warm_start=True, **ENCODED), frame[:40], y[:40])
    encoder = net.encoder_
    fit(net, frame[40:], y[40:])
    assert net.encoder_ is encoder
    parts = make_net(scale=True, **ENCODED)
    for rows in (slice(40), slice(40, 80)):
        parts.partial_fit(frame[rows], y[rows], classes=["no", "yes"])
    assert parts.encoder_ == encoder
    parts.partial_fit(frame, np.where(y == "yes", "yes", "maybe"), classes=["maybe", "no", "yes"])
    assert parts.encoder_ == encoder
    assert parts.n_features_in_ == 3
    assert parts.predict_proba(frame).shape == (80, 3)


def test_a_fit_cannot_continue_for_other_inputs():
    X = np.random.default_rng(0).normal(size=(40, 2))
    y = X[:, 0] > 0
    for first, second in (("error", "indicator"), ("indicator", "error")):
        net = fit(make_net(warm_start=True, missing=first), X, y)
        with pytest.raises(ValueError, match="Cannot continue training: the weights are for"):
            net.set_params(missing=second).fit(X, y)
        assert net.predict(X).shape == (40,)


def test_rows_to_validate_and_to_calibrate_are_encoded():
    frame, y = passengers(200)
    net = make_net(early_stopping=True, scoring="roc_auc", **ENCODED)
    fit(net, frame[:150], y[:150], X_val=frame[150:], y_val=y[150:])
    assert len(net.validation_scores_) == net.n_iter_
    target = frame["fare"].to_numpy() * (1 + (frame["city"] == "Oslo"))
    regressor = NeuralNetworkRegressor(
        hidden_layer_sizes=(8,),
        scale=True,
        scale_target=True,
        max_iter=30,
        random_state=0,
        **ENCODED,
    )
    fit(regressor, frame[:100], target[:100], X_cal=frame[100:], y_cal=target[100:])
    lower, upper = regressor.predict_interval(frame)
    assert (lower < upper).all()
    assert regressor.check_gradients(frame[:20], target[:20]) < 1e-5
    again = NeuralNetworkRegressor.from_arrays(regressor.to_arrays())
    np.testing.assert_allclose(again.predict(frame), regressor.predict(frame), rtol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_searches_ensembles_and_importances_take_frames():
    frame, y = passengers(150)
    net = make_net(solver="lbfgs", scale=True, **ENCODED)
    assert cross_val_score(net, frame, y, cv=3).mean() > 0.7
    search = GridSearchCV(net, {"alpha": [0.1, 1.0], "missing": ["indicator"]}, cv=2)
    assert search.fit(frame, y).best_estimator_.n_features_in_ == 3
    found = permutation_importance(search, frame, y, n_repeats=2, random_state=0)
    assert found.importances_mean.shape == (3,)
    assert found.importances_mean[2] > 0
    several = fit(make_net(n_ensemble=2, **ENCODED), frame, y)
    assert several.n_features_in_ == 3
    assert several.encoder_ == several.estimators_[1].encoder_
    again = pickle.loads(pickle.dumps(several))
    np.testing.assert_array_equal(again.predict_proba(frame), several.predict_proba(frame))


def test_a_network_alone_is_refused():
    frame, y = passengers(40)
    net = fit(make_net(**ENCODED), frame, y)
    with pytest.raises(Unsupported, match=r"without the encoder .* store it with to_arrays"):
        net.freeze()


@pytest.mark.parametrize(
    ("parameters", "change", "message"),
    [
        ({"missing": "error"}, {}, r"contains NaN.* in row \d+ of column 'age'. Fill it, or set"),
        ({"categorical_features": ["town"]}, {}, "name 'town', which is not a column of X"),
        (
            {"categorical_features": [3]},
            {},
            r"must be from 0 to 2, because X has 3 columns. Got \[3\]",
        ),
        ({"categorical_features": [-1]}, {}, "must be from 0 to 2"),
        ({"categorical_features": [True]}, {}, r"mask must have the shape \(3,\)"),
        ({"categorical_features": None}, {}, "'city' of X: expected numbers, got 'Oslo' in row"),
        ({"categorical_features": []}, {}, "name it in categorical_features"),
        ({}, {"fare": np.inf}, r"Input X contains infinity: fare\[0\]"),
        ({}, {"age": pd.Timedelta(1, "D")}, "Column 'age' of X: columns of the type Duration"),
        (
            {},
            {"city": [f"name {i}" for i in range(40)]},
            "No text of column 'city' of X occurs twi",
        ),
        (
            {"categorical_features": ["a", 1]},
            {},
            "must be a str among {'from_dtype'} or a sequence",
        ),
        (
            {"categorical_features": "dtype"},
            {},
            "'categorical_features' parameter .* must be a str",
        ),
        ({"categorical_features": [0.5]}, {}, "of names, of indices, or of truth values or None"),
        ({"missing": "mean"}, {}, "'missing' parameter .* must be a str among"),
        ({"input_shape": 3}, {}, "'input_shape' parameter .* must be None with categorical_feat"),
    ],
)
def test_what_cannot_be_encoded_is_refused(parameters, change, message):
    frame, y = passengers(40)
    frame.loc[0, "city"] = "Oslo"
    net = fit(make_net(**ENCODED), frame, y)
    encoder, expected = net.encoder_, net.predict(frame)
    if change:
        frame = frame.assign(**change)
    before = net.get_params()
    with pytest.raises(ValueError, match=message):
        net.set_params(**parameters).fit(frame, y)
    net.set_params(**before)
    if not change:
        np.testing.assert_array_equal(net.predict(frame), expected)
    assert net.encoder_ is encoder


def test_names_need_a_frame_and_rows_the_columns_of_the_fit():
    frame, y = passengers(40)
    with pytest.raises(ValueError, match="has names, but X has no column names"):
        make_net(categorical_features=["city"]).fit(np.zeros((40, 3)), y)
    net = fit(make_net(**ENCODED), frame, y)
    for wrong, message in (
        (frame[["fare", "age", "city"]], "Feature names must be in the same order"),
        (frame[["age", "fare"]], "Feature names seen at fit time, yet now missing:\n- city"),
        (frame[:0], "X must have at least 1 row"),
        (frame.assign(age="old"), "'age' of X: expected numbers, got 'old' in row 0"),
    ):
        with pytest.raises(ValueError, match=message):
            net.predict(wrong)
    with pytest.raises(ValueError, match="X has 2 features, but NeuralNetworkClassifier is expect"):
        fit(make_net(missing="indicator"), np.zeros((40, 3)), y).predict(np.zeros((2, 2)))


def test_tags_say_what_is_taken():
    nets = make_net(), make_net(**ENCODED), make_net(categorical_features=[0])
    tags = [net.__sklearn_tags__().input_tags for net in nets]
    assert [each.sparse for each in tags] == [True, False, False]
    assert [each.allow_nan for each in tags] == [False, True, False]


def test_frames_need_narwhals(monkeypatch):
    # Newer releases of scikit-learn bring it.
    monkeypatch.setitem(sys.modules, "narwhals.stable.v2", None)
    frame, y = passengers(40)
    with pytest.raises(MissingExtra, match="A data frame as X needs packages"):
        make_net(**ENCODED).fit(frame, y)
