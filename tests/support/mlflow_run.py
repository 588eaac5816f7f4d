"""Log models into an MLflow file store, in an environment that has MLflow.

Usage: python mlflow_run.py FOLDER. Writes FOLDER/mlruns, FOLDER/test.csv and FOLDER/runs.json, with
the id of each run by name. Models of ours are logged if quadnet can be imported.
"""

import json
import sys
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

OPTIMIZER = "sklearn.neural_network._stochastic_optimizers.AdamOptimizer"


def make_rows(n_rows, seed):
    rng = np.random.default_rng(seed)
    city = rng.choice(np.array(["Oslo", "Rome"], object), n_rows)
    frame = pd.DataFrame({"age": rng.normal(40, 10, n_rows), "city": city})
    frame["stays"] = np.where((frame["age"] > 40) ^ (city == "Rome"), "yes", "no")
    return frame


def main(folder):
    warnings.simplefilter("ignore")
    mlflow.set_tracking_uri((folder / "mlruns").as_uri())
    train, test = make_rows(400, 0), make_rows(200, 1)
    test.to_csv(folder / "test.csv", index=False)
    columns = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["city"]))
    net = MLPClassifier((8,), max_iter=300, learning_rate_init=0.05, random_state=0)
    pipeline = make_pipeline(columns, net).fit(train[["age", "city"]], train["stays"])
    models = {
        "skops": (pipeline, {"serialization_format": "skops", "skops_trusted_types": [OPTIMIZER]}),
        "pickle": (pipeline, {"serialization_format": "cloudpickle"}),
        "forest": (
            RandomForestClassifier(3).fit(train[["age"]], train["stays"]),
            {"serialization_format": "cloudpickle"},
        ),
    }
    try:
        from quadnet import NeuralNetworkClassifier
    except ImportError:
        pass
    else:
        ours = NeuralNetworkClassifier(
            (8,), max_iter=60, scale=True, categorical_features=["city"], random_state=0,
            learning_rate_init=0.05,
        )  # fmt: skip
        ours.fit(train[["age", "city"]], train["stays"])
        models["ours"] = (ours, {"serialization_format": "cloudpickle"})
    runs = {}
    for name, (model, options) in models.items():
        with mlflow.start_run(run_name=f"{name}-run") as run:
            mlflow.log_param("alpha", 0.1)
            mlflow.log_param("group/units", 8)
            mlflow.log_metric("loss", 0.9, step=0)
            mlflow.log_metric("loss", 0.25, step=1)
            mlflow.sklearn.log_model(model, name="model", pip_requirements=[], **options)
            runs[name] = run.info.run_id
    expected = pipeline.predict_proba(test[["age", "city"]]).tolist()
    (folder / "runs.json").write_text(json.dumps({"runs": runs, "expected": expected}))


main(Path(sys.argv[1]))
