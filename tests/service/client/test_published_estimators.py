"""A pipeline that was published from Python, served: the library's answers, to the last bit."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import quadnet
from quadnet.errors import InvalidInput
from service.client import ModelClient
from tests.support.serving import ServerProcess


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Return the registry with a published pipeline, the pipeline, and rows."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(400) < 0.1, np.nan, rng.normal(40, 10, 400)),
            "city": rng.choice(np.array(["Oslo", "Rome", "Bern"], object), 400),
            "grade": rng.integers(0, 3, 400),
        }
    )
    y = np.where((frame["grade"] == 1) ^ (frame["city"] == "Rome"), "yes", "no")
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (OneHotEncoder(), ["grade"]),
    )
    model = make_pipeline(columns, MLPClassifier((9,), solver="lbfgs", random_state=0))
    model.fit(frame[:200], y[:200])
    registry = tmp_path_factory.mktemp("published") / "models"
    quadnet.publish(model, frame[200:], y[200:], name="shop", registry=registry)
    return registry, model, frame


def test_a_server_answers_as_the_loaded_model_and_the_pipeline(published):
    registry, model, frame = published
    loaded = quadnet.load("shop", registry)
    rows = pd.concat([frame] * 40, ignore_index=True)  # several slices
    with (
        ServerProcess(registry, "--model", "shop") as server,
        ModelClient(server.address) as client,
    ):
        answers = client.predict("shop", rows.to_dict("list"))
        np.testing.assert_array_equal(answers.probabilities, loaded.predict_proba(rows))
        assert answers.labels.tolist() == loaded.predict(rows).tolist()
        expected = model.predict_proba(rows)
        np.testing.assert_allclose(answers.probabilities, expected, rtol=1e-9, atol=1e-12)
        # What the pipeline refuses, fills or ignores, the server does, too.
        odd = {"age": [None], "city": ["Lima"], "grade": [2]}
        answers = client.predict("shop", odd)
        assert answers.unknown_categories == {"city": 1}
        np.testing.assert_array_equal(answers.probabilities, loaded.predict_proba(odd))
        with pytest.raises(InvalidInput, match=r"grade\[0\]: must be one of 0, .*got '7'"):
            client.predict("shop", {**odd, "grade": [7]})
