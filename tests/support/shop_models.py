"""Models that take the columns of a table: numbers with gaps, texts and dates, in every task."""

from datetime import datetime, timedelta

import numpy as np

from quadnet.layers import Activation, Dense
from quadnet.model_names import CHAMPION
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor, RegressionPredictor
from quadnet.registry import alias_changes
from quadnet.tables.columns import Texts
from quadnet.tables.encoder import fit_encoder
from tests.support.exact_models import record

N = 60
QUANTILES = (0.05, 0.5, 0.95)
CLASSES = ("basic", "más", "a,b")

_RNG = np.random.default_rng(5)
_AGES = _RNG.normal(40, 9, N).tolist()
COLUMNS = {
    "age": [
        None if i % 7 == 3 else round(float(v), 1) for i, v in enumerate(_RNG.normal(40, 9, N))
    ],
    "city": [None if i % 9 == 4 else ("Oslo", "Rome", "Zürich")[i % 3] for i in range(N)],
    "day": [
        None if i % 11 == 5 else datetime(2024, 1, 1) + timedelta(days=int(d), minutes=i)
        for i, d in enumerate(_RNG.integers(0, 700, N))
    ],
    "size": np.round(_RNG.uniform(1, 9, N), 2).tolist(),
}
"""Rows as Python values. Only "size" has no gaps."""

TABLE = {
    "age": np.array(COLUMNS["age"], np.float64),
    "city": Texts.from_values(COLUMNS["city"]),
    "day": np.array(COLUMNS["day"], "M8[us]"),
    "size": np.array(COLUMNS["size"]),
}
"""The same rows as the library has them."""


def publish_table_models(registry):
    """Publish "shop" (classes), "prices" (quantiles), "length" (a number) and "tags" (labels)."""
    encoder = fit_encoder(TABLE)
    n = encoder.n_outputs

    def network(n_outputs, loss, dtype="float64", **settings):
        layers = [Dense(6), Activation("tanh"), Dense(n_outputs)]
        made = Network(layers, (n,), loss=loss, loss_settings=settings or None, dtype=dtype)
        made.parameters.flat[:] = np.random.default_rng(3).normal(size=made.parameters.flat.size)
        return made

    quantiles = network(3, "quantile", "float32", quantiles=list(QUANTILES), scales=[1.0])
    predictors = {
        "shop": Predictor(network(3, "softmax_cross_entropy"), CLASSES),
        "prices": RegressionPredictor(quantiles, None),
        "length": RegressionPredictor(network(1, "squared_error"), None),
        "tags": Predictor(network(2, "multilabel_cross_entropy", "float32"), ["old", "new"]),
    }
    for name, predictor in predictors.items():
        made = record(predictor, n).model_copy(update={"encoder": encoder})
        registry.publish(name, predictor, made, encoder.transform(TABLE)[:8])
        alias_changes.set_aliases(registry, name, {CHAMPION: 1}, reason="to be called")


def library_answers(registry, name, table=None):
    """Return the answers of the library, by the names of the protocol's outputs."""
    model = registry.load(name, 1)
    X = model.encoder.transform(TABLE if table is None else table)
    predictor = model.predictor
    if isinstance(predictor, RegressionPredictor):
        answers = {"value": predictor.predict(X)}
        if predictor.quantiles:
            answers["quantiles"] = predictor.predict_quantiles(X)
        return answers
    P = np.ascontiguousarray(predictor.probabilities_by_class(X).T)
    labels = predictor.predict(X)
    return {"probabilities": P, "label": labels.astype(bool) if name == "tags" else labels}
