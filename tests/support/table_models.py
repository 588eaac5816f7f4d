"""Small versions with an encoder, published without training, and what the library answers.

The weights are drawn: only that every path gives the same numbers matters.
"""

from datetime import date, timedelta

import numpy as np

from quadnet.model_names import CHAMPION
from quadnet.nn.layers.stack import make_dense_layers
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor, RegressionPredictor
from quadnet.nn.row_slices import compute_answers, row_slices
from quadnet.registry import alias_changes
from quadnet.tables.columns import Texts, column_kind, table_length, take_table_rows
from quadnet.tables.encoder import fit_encoder
from tests.support.exact_models import record

CITIES = ["Oslo", "Rome", "Ünicode", "12"]

QUANTILES = (0.1, 0.5, 0.9)

LOSSES = {
    "classes": ("softmax_cross_entropy", {}),
    "labels": ("multilabel_cross_entropy", {}),
    "numbers": ("squared_error", {}),
    "quantiles": ("quantile", {"quantiles": [*QUANTILES], "scales": [1.0]}),
}
"""The loss and its settings of what a version can predict."""

NAMES = ["no", "yes", "Ünsure"]


def training_table(n=60):
    """Return the rows that the encoder of mixed columns is fitted to.

    The columns "age", "city" and "since" have gaps; "income" and "plan" have none.
    """
    rng = np.random.default_rng(5)
    age = rng.uniform(18, 90, n)
    age[::7] = np.nan
    city = [None if i % 9 == 0 else CITIES[i % 4] for i in range(n)]
    since = np.array(
        [date(2020, 1, 1) + timedelta(days=17 * i) for i in range(n)], "datetime64[us]"
    )
    since[::11] = np.datetime64("NaT")
    return {
        "age": age,
        "income": rng.normal(3e4, 1e4, n),
        "city": Texts.from_values(city),
        "plan": Texts.from_values([f"plan {i % 3}" for i in range(n)]),
        "since": since,
    }


def training_numbers(n=60):
    """Return the rows that the encoder of numbers is fitted to; "height" has gaps."""
    rng = np.random.default_rng(6)
    height, weight = rng.normal(170, 10, n), rng.normal(70, 10, n)
    height[::5] = np.nan
    return {"height": height, "weight": weight}


def make_predictor(n_features, predicts, dtype="float64"):
    """Return a network of this many inputs with drawn weights; `predicts` is a key of LOSSES."""
    loss, settings = LOSSES[predicts]
    n_outputs = {"numbers": 1, "quantiles": len(QUANTILES)}.get(predicts, len(NAMES))
    network = Network(
        make_dense_layers([n_features, 6, n_outputs], ["tanh"]),
        (n_features,),
        loss=loss,
        loss_settings=settings,
        dtype=dtype,
    )
    flat = network.parameters.flat
    flat[:] = np.random.default_rng(7).normal(size=flat.size)
    if n_outputs == len(NAMES) and predicts != "quantiles":
        return Predictor(network, NAMES)
    return RegressionPredictor(network, None)


def publish_table_model(
    registry, name, predicts="classes", *, table=None, encoder=None, dtype="float64"
):
    """Publish a version with an encoder as the champion, and return it.

    Parameters
    ----------
    registry : Registry
    name : str
    predicts : {"classes", "labels", "numbers", "quantiles"}
    table : mapping of str to Column, optional
        The rows to fit the encoder to; by default `training_table`.
    encoder : TableEncoder, optional
        The encoder, in place of one that is fitted.
    dtype : str
    """
    encoder = encoder or fit_encoder(training_table() if table is None else table)
    predictor = make_predictor(encoder.n_outputs, predicts, dtype)
    made = record(predictor, encoder.n_outputs).model_copy(update={"encoder": encoder})
    inputs = np.random.default_rng(8).normal(size=(3, encoder.n_outputs))
    published = registry.publish(name, predictor, made, inputs)
    number = published.manifest.version
    alias_changes.set_aliases(registry, name, {CHAMPION: number}, reason="test")
    return published


def publish_table_models(registry):
    """Publish a version of mixed columns for everything that a version can predict.

    "body" has columns of numbers only, and its network computes in float32. Returns the versions by
    name.
    """
    models = {predicts: publish_table_model(registry, predicts, predicts) for predicts in LOSSES}
    models["body"] = publish_table_model(
        registry, "body", "classes", table=training_numbers(), dtype="float32"
    )
    return models


def sample_table(n, seed=0):
    """Return rows of mixed columns as a caller has them: with gaps, and unknown categories."""
    rng = np.random.default_rng(seed)
    age = np.where(rng.uniform(size=n) < 0.2, np.nan, rng.uniform(0, 120, n))
    city = rng.choice([*CITIES, "Paris", None], n)
    days = rng.integers(-20_000, 40_000, n).astype("datetime64[D]").astype("datetime64[us]")
    since = np.where(rng.uniform(size=n) < 0.2, np.datetime64("NaT", "us"), days)
    return {
        "age": age,
        "income": rng.normal(3e4, 2e4, n),
        "city": Texts.from_values(city.tolist()),
        "plan": Texts.from_values(rng.choice(["plan 0", "plan 1", "plan 2", "free"], n).tolist()),
        "since": since,
    }


def to_values(table):
    """Return a table as lists of Python values, with None for missing and dates in ISO 8601."""
    values = {}
    for name, column in table.items():
        if isinstance(column, Texts):
            values[name] = column.to_array().tolist()
        elif column_kind(column) == "date":
            texts = np.datetime_as_string(column).tolist()
            values[name] = [None if text == "NaT" else text for text in texts]
        else:
            values[name] = [None if np.isnan(number) else number for number in column.tolist()]
    return values


def library_answers(model, table):
    """Return the outputs that the library computes for a table, by the names of the protocol."""
    slices = [
        compute_answers(model.predictor, model.encoder.transform(take_table_rows(table, rows)))
        for rows in row_slices(model.predictor.network, table_length(table))
    ]
    numbers = np.concatenate([each.numbers for each in slices])
    if model.manifest.task == "multilabel":
        labels = np.concatenate([each.choose_labels() for each in slices])
        return {"probabilities": numbers, "label": labels}
    if model.manifest.task == "classification":
        names = np.array([*NAMES, ""], object)
        places = np.concatenate([each.choose_classes() for each in slices])
        return {"probabilities": numbers, "label": names[places]}
    found = {"value": numbers[:, len(model.predictor.quantiles) // 2]}
    return found | ({"quantiles": numbers} if model.predictor.quantiles else {})
