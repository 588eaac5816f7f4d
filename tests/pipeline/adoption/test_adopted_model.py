"""Adopted models answer as the estimators do, and refuse the rows that they refuse."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from pipeline.adoption.adopted_model import adopt_model
from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from quadnet.errors import InvalidInput, Unsupported
from quadnet.layers import Conv2D, Flatten
from quadnet.tables.table_reading import read_table

CITIES = ["Oslo", "Rome", "Bern", "Lima", "Bonn", "Köln"]


def make_frame(n_rows=60, seed=0):
    """Return rows with numbers, a time stamp, texts, whole numbers as categories, and gaps."""
    rng = np.random.default_rng(seed)
    city = rng.choice(CITIES, n_rows, p=[0.4, 0.3, 0.15, 0.05, 0.05, 0.05]).astype(object)
    return pd.DataFrame(
        {
            "age": rng.normal(40, 10, n_rows),
            "seen": rng.integers(1_700_000_000, 1_700_500_000, n_rows).astype(float),
            "city": city,
            "grade": rng.integers(0, 4, n_rows),
            "income": np.where(rng.random(n_rows) < 0.2, np.nan, rng.lognormal(3, 1, n_rows)),
            "shop": np.where(
                rng.random(n_rows) < 0.2, np.nan, rng.choice(np.array(["A", "B"], object), n_rows)
            ),
        }
    ).astype({"city": object, "shop": object})


FRAME = make_frame()
CLASSES = np.where(FRAME["age"] + 5 * (FRAME["city"] == "Oslo") > 41, "yes", "no")


def make_odd_rows(frame=FRAME):
    """Return rows with gaps and unknown values, each in one column."""
    rows = []
    for name, value in [
        ("age", np.nan),
        ("seen", np.nan),
        ("city", np.nan),
        ("city", "Paris"),
        ("grade", np.nan),
        ("grade", 9),
        ("income", np.nan),
        ("shop", np.nan),
        ("shop", "C"),
    ]:
        row = frame.iloc[[1]].astype(object)
        row[name] = np.array([value], object)
        rows.append(row)
    return rows


def fit(estimator, X=FRAME, y=CLASSES):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y)


def network(**changes):
    return MLPClassifier((5,), max_iter=3, random_state=0, **changes)


def answer(model, X):
    """Return what a version of the model would answer."""
    rows = X if model.encoder is None else model.encoder.transform(read_table(X, model.encoder))
    if model.task == "regression":
        return model.predictor.predict(np.asarray(rows, float))
    return model.predictor.probabilities(np.asarray(rows, float))


def check(estimator, frame=FRAME):
    """Compare an estimator with what it is adopted as, on usual rows and on odd ones."""
    model = adopt_model(estimator)
    ask = estimator.predict_proba if model.task != "regression" else estimator.predict
    used = frame if model.encoder is None else frame[[*model.encoder.input_names]]
    np.testing.assert_allclose(answer(model, used), ask(frame), rtol=1e-9, atol=1e-12)
    refused = 0
    for odd in make_odd_rows(frame):
        used = odd[[*model.encoder.input_names]]
        row = odd.astype({name: kind for name, kind in frame.dtypes.items() if kind.kind == "f"})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unknown categories
            try:
                expected = ask(row)
            except ValueError:
                expected = None
        if expected is None:
            with pytest.raises(InvalidInput):
                answer(model, used)
            refused += 1
        else:
            np.testing.assert_allclose(answer(model, used), expected, rtol=1e-9, atol=1e-12)
    return model, refused


NUMBERS, TEXTS = ["age", "seen", "income"], ["city", "shop"]

SCALERS = st.sampled_from(
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        MinMaxScaler(),
        MinMaxScaler((-1, 3)),
        MaxAbsScaler(),
        RobustScaler(),
        "passthrough",
        make_pipeline(MinMaxScaler(), StandardScaler()),
        FunctionTransformer(),
    ]
)
IMPUTERS = st.builds(
    SimpleImputer,
    strategy=st.sampled_from(["mean", "median", "most_frequent"]),
    add_indicator=st.booleans(),
) | st.builds(
    SimpleImputer,
    strategy=st.just("constant"),
    fill_value=st.sampled_from([0, -1.5]),
    add_indicator=st.booleans(),
)
TEXT_IMPUTERS = st.sampled_from(
    [
        SimpleImputer(strategy="most_frequent"),
        SimpleImputer(strategy="constant", fill_value="other"),
        SimpleImputer(strategy="constant", fill_value="Rome", add_indicator=False),
        "passthrough",
    ]
)
ONE_HOT = st.builds(
    OneHotEncoder,
    drop=st.sampled_from([None, "first", "if_binary"]),
    min_frequency=st.sampled_from([None, 5]),
    max_categories=st.sampled_from([None, 3]),
    handle_unknown=st.sampled_from(["error", "ignore", "infrequent_if_exist"]),
    sparse_output=st.booleans(),
)
ORDINAL = st.builds(
    OrdinalEncoder,
    handle_unknown=st.just("use_encoded_value"),
    unknown_value=st.sampled_from([-1, np.nan]),
    encoded_missing_value=st.sampled_from([-2, np.nan]),
    min_frequency=st.sampled_from([None, 5]),
) | st.builds(OrdinalEncoder, encoded_missing_value=st.sampled_from([-5, np.nan]))
AFTER_ORDINAL = st.sampled_from(
    [
        "passthrough",
        SimpleImputer(),
        StandardScaler(),
        SimpleImputer(strategy="constant", fill_value=7, add_indicator=True),
        OneHotEncoder(handle_unknown="ignore"),
    ]
)


@st.composite
def pipelines(draw):
    numbers = make_pipeline(draw(IMPUTERS), draw(SCALERS))
    if draw(st.booleans()):
        numbers = make_pipeline(draw(SCALERS), draw(IMPUTERS), draw(SCALERS))
    texts = make_pipeline(draw(TEXT_IMPUTERS), draw(ONE_HOT))
    if draw(st.booleans()):
        texts = make_pipeline(draw(TEXT_IMPUTERS), draw(ORDINAL), draw(AFTER_ORDINAL))
    grade = draw(ONE_HOT | SCALERS | ORDINAL)
    columns = ColumnTransformer(
        [
            (
                "texts",
                texts,
                draw(st.sampled_from([TEXTS, make_column_selector(dtype_include=object)])),
            ),
            ("numbers", numbers, draw(st.sampled_from([NUMBERS, [0, 1, 4]]))),
            (
                "grade",
                grade,
                draw(st.sampled_from([["grade"], slice(3, 4), slice("grade", "grade")])),
            ),
        ],
        remainder=draw(st.sampled_from(["drop", "passthrough"])),
        transformer_weights=draw(st.sampled_from([None, {"numbers": 0.5}])),
    )
    return make_pipeline(
        columns, draw(st.sampled_from(["passthrough", StandardScaler(with_mean=False)]))
    )


@given(pipelines())
@settings(max_examples=15, deadline=None)
def test_any_pipeline(steps):
    estimator = make_pipeline(steps, network())
    try:
        fit(estimator)
    except ValueError:  # a gap that no step fills, or settings that contradict each other
        return
    check(estimator)


ROWS = FRAME[["age", "seen"]].to_numpy()
COUNTS = np.arange(len(FRAME)) % 3


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_networks_of_scikit_learn(activation, named):
    X = FRAME[["age", "seen"]] if named else ROWS
    for y in (CLASSES, COUNTS, np.eye(3, dtype=int)[COUNTS]):
        estimator = fit(make_pipeline(StandardScaler(), network(activation=activation)), X, y)
        model = adopt_model(estimator)
        assert (model.encoder is not None) == named
        np.testing.assert_allclose(answer(model, X), estimator.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_regressors_of_scikit_learn(loss):
    estimator = MLPRegressor(hidden_layer_sizes=(4,), loss=loss, max_iter=3, random_state=0)
    estimator = fit(make_pipeline(MinMaxScaler(), estimator), ROWS, COUNTS)
    model = adopt_model(estimator)
    assert model.encoder is None
    np.testing.assert_allclose(answer(model, ROWS), estimator.predict(ROWS), rtol=1e-9)


@pytest.mark.parametrize(
    "labels", [[2, 10, 9], ["b", "a", "C"], [True, False, True], [2.0, 10.0, 9.0]]
)
def test_classes_are_texts_in_the_order_of_the_alphabet(labels):
    y = np.array(labels)[COUNTS]
    for estimator in (
        network(),
        NeuralNetworkClassifier((4,), max_iter=2, random_state=0, n_ensemble=2, scale=True),
    ):
        fit(estimator, ROWS, y)
        model = adopt_model(estimator)
        texts = [str(each).removesuffix(".0") for each in estimator.classes_.tolist()]
        assert model.predictor.classes.tolist() == sorted(texts)
        order = np.argsort(np.array(texts))
        expected = estimator.predict_proba(ROWS)[:, order]
        np.testing.assert_allclose(answer(model, ROWS), expected, rtol=1e-9, atol=1e-12)


OURS = {"max_iter": 2, "random_state": 0}


@pytest.mark.parametrize(
    "parameters",
    [
        {"scale": True},
        {"scale": True, "n_ensemble": 2},
        {"loss": "binary_cross_entropy"},
        {"loss": "squared_error", "scale": True},
    ],
)
def test_our_classifiers(parameters):
    for X in (FRAME[["age", "seen"]], ROWS):
        estimator = fit(NeuralNetworkClassifier((4,), **OURS, **parameters), X)
        model = adopt_model(estimator)
        np.testing.assert_allclose(answer(model, X), estimator.predict_proba(X), rtol=1e-6)
        behind = make_pipeline(
            StandardScaler(), NeuralNetworkClassifier((4,), **OURS, **parameters)
        )
        fit(behind, X)
        expected = behind.predict_proba(X)
        np.testing.assert_allclose(answer(adopt_model(behind), X), expected, rtol=1e-9)


@pytest.mark.parametrize(
    "parameters",
    [
        {"loss": "quantile", "quantiles": (0.1, 0.5, 0.9)},
        {"loss": "poisson"},
        {"loss": "huber", "scale_target": True, "n_ensemble": 2},
        {"loss": "absolute_error"},
    ],
)
def test_our_regressors(parameters):
    X = FRAME[["age", "seen"]]
    estimator = NeuralNetworkRegressor(hidden_layer_sizes=(4,), scale=True, **OURS, **parameters)
    model = adopt_model(fit(estimator, X, COUNTS))
    np.testing.assert_allclose(answer(model, X), estimator.predict(X), rtol=1e-9)
    rows = model.encoder.transform(read_table(X, model.encoder))
    if "quantiles" in parameters:
        found = model.predictor.predict_quantiles(rows)
        np.testing.assert_allclose(found, estimator.predict_quantiles(X), rtol=1e-9)


@pytest.mark.parametrize("missing", ["error", "indicator"])
def test_our_encoders(missing):
    estimator = NeuralNetworkClassifier(
        (4,), categorical_features=["city", "grade", "shop"], missing=missing, scale=True, **OURS
    )
    frame = FRAME if missing == "indicator" else FRAME.fillna({"income": 0.0, "shop": "A"})
    _, refused = check(fit(estimator, frame), frame)
    # All gaps. Unknown categories are taken as missing.
    assert refused == (6 if missing == "error" else 0)


def test_our_encoder_behind_steps_of_a_pipeline():
    steps = ColumnTransformer(
        [("numbers", StandardScaler(), ["age", "income"])], remainder="passthrough"
    )
    estimator = NeuralNetworkClassifier(
        (4,), categorical_features=[3, 4, 5], missing="indicator", scale=True, **OURS
    )
    model, _ = check(fit(make_pipeline(steps, estimator)))
    assert [each.name for each in model.encoder.columns] == [*FRAME]


def test_columns_of_an_array_keep_their_places():
    rows = FRAME[["age", "city", "grade", "income"]].to_numpy(object)
    steps = ColumnTransformer(
        [("scaled", StandardScaler(), [0]), ("city", OneHotEncoder(), [-3])], remainder="drop"
    )
    estimator = fit(make_pipeline(steps, network()), rows)
    model = adopt_model(estimator)
    assert model.encoder.input_names == ("x0", "x1", "x2", "x3")
    np.testing.assert_allclose(answer(model, rows), estimator.predict_proba(rows), rtol=1e-9)


@pytest.mark.parametrize(
    "encoder", [OneHotEncoder(), OneHotEncoder(drop="first"), OrdinalEncoder()]
)
def test_numbers_as_categories_have_the_texts_of_numbers_and_of_files(encoder):
    grades = FRAME[["grade"]].astype(float)
    estimator = fit(make_pipeline(encoder, network()), grades)
    model = adopt_model(estimator)
    expected = estimator.predict_proba(grades)
    for rows in (
        grades,
        FRAME[["grade"]],
        grades.astype(str),
        FRAME[["grade"]].astype(str),
        FRAME[["grade"]].astype(object),
    ):
        np.testing.assert_allclose(answer(model, rows), expected, rtol=1e-9)
    assert not model.encoder.columns[0].rare


def test_pictures():
    X = pd.DataFrame(np.random.default_rng(0).random((30, 36))).add_prefix("p")
    y = COUNTS[:30]

    def picture(n_columns=6, **changes):
        layers = [Conv2D(2, 3), "relu", Flatten()]
        shape = (6, n_columns)
        return NeuralNetworkClassifier(layers=layers, input_shape=shape, **OURS, **changes)

    for estimator in (
        picture(scale=True),
        make_pipeline(StandardScaler(), picture()),
        make_pipeline(StandardScaler(), MinMaxScaler(), picture()),
    ):
        for rows in (X, X.to_numpy()):
            model = adopt_model(fit(estimator, rows, y))
            np.testing.assert_allclose(answer(model, rows), estimator.predict_proba(rows))
    rare = OneHotEncoder(max_categories=2, handle_unknown="infrequent_if_exist")
    estimator = fit(make_pipeline(rare, StandardScaler(with_mean=False), picture(12)), X, y)
    with pytest.raises(Unsupported, match=r"pictures of the shape 1 x 6 x 12.*cannot absorb"):
        adopt_model(estimator)


def test_time_stamps_keep_their_digits():
    seen = FRAME[["seen"]]
    estimator = fit(make_pipeline(StandardScaler(), network()), seen)
    model = adopt_model(estimator)
    scaler = estimator[0]
    (column,) = model.encoder.columns
    assert (column.centre, column.scale) == (scaler.mean_[0], scaler.scale_[0])
    np.testing.assert_array_equal(
        model.encoder.transform(read_table(seen, model.encoder)), scaler.transform(seen)
    )


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([PCA(1), network()], r"step 'pca' is of the class PCA.*Apply this step.*beforehand"),
        ([RandomForestClassifier()], r"class RandomForestClassifier cannot become a version"),
        ([MinMaxScaler(clip=True), network()], r"'minmaxscaler', a MinMaxScaler.*clip=True"),
        ([SimpleImputer(missing_values=-1), network()], r"missing_values=-1 is a value.*np.nan"),
        ([FunctionTransformer(np.log1p), network()], r"its function 'log1p' is code of yours"),
        (
            [StandardScaler(), OneHotEncoder(handle_unknown="ignore"), network()],
            r"OneHotEncoder.*scaled numbers as categories. Encode them before scaling",
        ),
        (
            [
                ColumnTransformer(
                    [("a", OneHotEncoder(), ["age"]), ("b", StandardScaler(), ["age", "seen"])]
                ),
                network(),
            ],
            r"column 'age' is used both as numbers and as categories",
        ),
        ([make_pipeline("passthrough", make_pipeline(PCA(1))), network()], r"step '.*pca'"),
        ([GridSearchCV(network(), {"alpha": [0.1]}, cv=2)], r"a GridSearchCV.*best_estimator_"),
        ([StandardScaler(), GridSearchCV(network(), {"alpha": [0.1]}, cv=2)], r"best_estimator_"),
    ],
)
def test_what_cannot_be_represented_is_refused_by_name(steps, message):
    estimator = make_pipeline(*steps) if len(steps) > 1 else steps[0]
    with pytest.raises(Unsupported, match=message):
        adopt_model(fit(estimator, FRAME[["age", "seen"]]))


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (network(), r"the MLPClassifier was not fitted. Call fit"),
        (Pipeline([("s", StandardScaler()), ("n", network())]), r"was not fitted"),
        (MLPClassifier, r"got the class MLPClassifier. Create an object of it, and fit it"),
        ("model", r"class str cannot become a version"),
        (GridSearchCV(network(), {}), r"best_estimator_"),
    ],
)
def test_what_is_no_fitted_model_is_refused(estimator, message):
    with pytest.raises(Unsupported, match=message):
        adopt_model(estimator)


def test_a_step_that_was_replaced_is_named():
    estimator = fit(make_pipeline(StandardScaler(), network()), ROWS)
    estimator.steps[0] = ("scale", MinMaxScaler())
    with pytest.raises(Unsupported, match="step 'scale', a MinMaxScaler, was not fitted"):
        adopt_model(estimator)
    estimator.steps[0] = ("scale", StandardScaler().fit(ROWS[:, :1]))
    with pytest.raises(Unsupported, match="MLPClassifier was fitted to 2 columns, but the"):
        adopt_model(estimator)


def test_several_numbers_are_refused():
    y = np.column_stack([COUNTS, COUNTS])
    with pytest.raises(Unsupported, match="MLPRegressor predicts 2 numbers"):
        adopt_model(fit(MLPRegressor(hidden_layer_sizes=(2,), max_iter=2), ROWS, y))
    with pytest.raises(Unsupported, match="predicts 2 columns of numbers"):
        adopt_model(fit(NeuralNetworkRegressor(hidden_layer_sizes=(2,), **OURS), ROWS, y))


def test_a_pipeline_of_20_000_categories_is_adopted_soon():
    texts = pd.DataFrame({"user": [f"u{i:05}" for i in range(20_000)]}, dtype=object)
    estimator = make_pipeline(OneHotEncoder(handle_unknown="ignore"), network(solver="sgd"))
    fit(estimator.set_params(mlpclassifier__max_iter=1), texts, np.arange(20_000) % 2)
    model = adopt_model(estimator)
    some = texts[::1000]
    np.testing.assert_allclose(answer(model, some), estimator.predict_proba(some), rtol=1e-9)
