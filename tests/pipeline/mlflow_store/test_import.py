"""`quadnet import mlflow`: models of a file store that MLflow has written, or that is like it."""

import json
import os
import pickle
import subprocess
import warnings

import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import quadnet
from pipeline.mlflow_store.model_files import load_estimator
from pipeline.mlflow_store.store import find_model
from quadnet.errors import FileUnusable, NotFound, Unsupported
from quadnet.registry import Registry
from tests.support.environments import install, make_environment
from tests.support.serving import ROOT
from tests.support.serving import quadnet as run

RUN = "0123456789abcdef0123456789abcdef"


def fit_model():
    rng = np.random.default_rng(0)
    grade = rng.integers(0, 3, 300)
    frame = pd.DataFrame({"age": rng.normal(40, 10, 300), "grade": grade})
    classes = ((frame["age"] > 40) ^ (grade == 1)).astype(int)
    columns = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["grade"]))
    net = MLPClassifier((8,), solver="lbfgs", max_iter=100, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(columns, net).fit(frame, classes), frame.assign(stays=classes)


MODEL, ROWS = fit_model()


def write_store(folder, *, name="model.pkl", flavor="sklearn", below="artifacts/model"):
    """Write what MLflow 2 writes for a run with one model, and return the run's folder."""
    run_folder = folder / "mlruns/0" / RUN
    model = run_folder / below
    for part in (model, run_folder / "params/net", run_folder / "metrics"):
        part.mkdir(parents=True)
    run_folder.joinpath("meta.yaml").write_text(f"run_id: {RUN}\nrun_name: Gentle-Cub\n")
    run_folder.joinpath("params/net/units").write_text("8")
    run_folder.joinpath("metrics/loss").write_text(
        "1795846501697 0.9 0\n1795846501703 0.25 1\n1795846501697 0.9 0\n"
    )
    described = {
        "flavors": {flavor: {"pickled_model": name, "sklearn_version": "1.0.2"}},
        "mlflow_version": "2.9.0",
        "run_id": RUN,
    }
    model.joinpath("MLmodel").write_text(yaml.safe_dump(described))
    path = model / name
    if path.suffix == ".skops":
        skops.io.dump(MODEL, path)
    elif path.parent == model:
        path.write_bytes(pickle.dumps(MODEL))
    return run_folder


def import_run(folder, *words, **options):
    """Run the command in a folder with the store, on rows that pandas has written with gaps."""
    rows = folder / "test.csv"
    ROWS.astype({"grade": float, "stays": float}).to_csv(rows)
    rows_and_label = ["--test", rows, "--label", "stays"]
    return run("import", "mlflow", *words, *rows_and_label, cwd=folder, **options)


def test_a_run_becomes_a_version(tmp_path):
    write_store(tmp_path)
    done = import_run(tmp_path, RUN, "--trust", "--set", "gate.accuracy=0.9")
    assert done.returncode == 0, done.stderr
    assert "Warning: the model was written by scikit-learn 1.0.2, and is read by" in done.stderr
    assert "Published gentle-cub version 1 in models, alias champion." in done.stdout
    model = quadnet.load("gentle-cub", tmp_path / "models")
    rows = ROWS[["age", "grade"]]
    np.testing.assert_allclose(
        model.predict_proba(rows), MODEL.predict_proba(rows), rtol=1e-7, atol=1e-12
    )
    config = model.manifest.config
    assert config["source"] == "MLflow"
    assert config["origin"] == {
        "mlflow": "2.9.0",
        "scikit_learn": "1.0.2",
        "run_id": RUN,
        "run_name": "Gentle-Cub",
        "params": {"net/units": "8"},
        "metrics": {"loss": 0.25},
    }
    card = Registry(tmp_path / "models").attachment(
        Registry(tmp_path / "models").load("gentle-cub", 1), "card.md"
    )
    assert b"published from MLflow as a Pipeline" in card


def test_a_pickle_needs_trust(tmp_path):
    write_store(tmp_path)
    done = import_run(tmp_path, f"mlruns/0/{RUN}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "model.pkl is a pickle, which can run any code when it is read." in done.stderr
    assert done.stderr.endswith("If you do, add --trust.\n")
    assert not (tmp_path / "models").exists()


def test_skops_needs_no_trust(tmp_path):
    write_store(tmp_path, name="model.skops")
    estimator = load_estimator(find_model(RUN, tmp_path / "mlruns"), trust=False)
    rows = ROWS[["age", "grade"]]
    np.testing.assert_array_equal(estimator.predict_proba(rows), MODEL.predict_proba(rows))


def test_unknown_types_of_skops_need_trust(tmp_path):
    folder = write_store(tmp_path, name="model.skops")
    skops.io.dump(make_pipeline(Registry), folder / "artifacts/model/model.skops")
    with pytest.raises(Unsupported, match=r"types that may run code.*quadnet\.registry"):
        load_estimator(find_model(str(folder), tmp_path), trust=False)


@pytest.mark.parametrize(
    "reference",
    [
        "mlruns/0/{}",
        "mlruns/0/{}/artifacts/model",
        "mlruns/0/{}/artifacts/model/MLmodel",
        "{}",
        "runs:/{}/model",
    ],
)
def test_a_model_is_found_by(tmp_path, monkeypatch, reference):
    folder = write_store(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = find_model(reference.format(RUN), tmp_path / "mlruns")
    assert found.folder.resolve() == folder / "artifacts/model"
    assert found.run_name == "Gentle-Cub"


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("nowhere", NotFound, "There is no folder 'nowhere'. Expected the folder of a run"),
        ("f" * 32, NotFound, "There is no run or model f{32} in"),
        ("mlruns", NotFound, "has no model: expected a file MLmodel"),
        ("two", Unsupported, "two has 2 models. Name the folder of one of them: "),
        ("damaged", FileUnusable, "MLmodel is not valid YAML"),
        ("list", FileUnusable, "MLmodel was expected to hold a mapping, got list"),
    ],
)
def test_a_wrong_reference_is_explained(tmp_path, monkeypatch, reference, error, message):
    write_store(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, text in [
        ("two/artifacts/a", ""),
        ("two/artifacts/b", ""),
        ("damaged", "a: [1"),
        ("list", "[1]"),
    ]:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "MLmodel").write_text(text)
    with pytest.raises(error, match=message):
        find_model(reference, tmp_path / "mlruns")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"flavor": "xgboost"}, Unsupported, "no model of scikit-learn: .* found xgboost"),
        ({"name": "../../../../../secret.pkl"}, FileUnusable, "to name a file of this folder"),
    ],
)
def test_other_models_are_refused(tmp_path, changes, error, message):
    folder = write_store(tmp_path, **changes)
    with pytest.raises(error, match=message):
        load_estimator(find_model(str(folder), tmp_path), trust=True)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            BOMB + "run_id: *a9\nmlflow_version: *a9\nflavors: {sklearn: {}}",
            "to name a file of this folder",
        ),
        (BOMB + "flavors: {sklearn: {pickled_model: *a9}}", "in pickled_model, got list"),
        ('flavors: {sklearn: {pickled_model: "a\\0b"}}', "to name a file of this folder"),
        ("a: " + "[" * 5000, "is not valid YAML"),
        ("a: 2020-13-45", "is not valid YAML: month must be in 1..12"),
        ("a: " + "1" * 5000, "is not valid YAML"),
        ("a: !!int ''", "is not valid YAML"),
    ],
)
def test_a_hostile_description_is_refused_at_once(tmp_path, text, message):
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(FileUnusable, match=message):
        load_estimator(find_model(str(tmp_path), tmp_path), trust=True)


def test_a_damaged_pickle_is_explained(tmp_path):
    folder = write_store(tmp_path)
    (folder / "artifacts/model/model.pkl").write_bytes(b"cnowhere\nNothing\n.")
    with pytest.raises(FileUnusable, match=r"model.pkl cannot be read here \(ModuleNotFoundError"):
        load_estimator(find_model(str(folder), tmp_path), trust=True)


def test_the_command_names_what_is_missing(tmp_path):
    write_store(tmp_path)
    done = run("import", "mlflow", RUN)
    assert done.returncode == 2
    assert "expected a run, --test and --label, as in" in done.stderr
    done = import_run(tmp_path, RUN, "--set", "network.max_iter=3")
    assert (done.returncode, "--set: expected a key of the gate" in done.stderr) == (2, True)
    rows = tmp_path / "rows.csv"
    ROWS.drop(columns="age").to_csv(rows, index=False)
    done = run("import", "mlflow", RUN, "--trust", "--test", rows, "--label", "stays", cwd=tmp_path)
    assert done.returncode == 1
    assert "age: is missing in" in done.stderr


@pytest.mark.environment
def test_a_store_of_mlflow_itself(tmp_path):
    programs = make_environment(tmp_path / "environment", "mlflow-skinny", "skops", "pandas")
    install(programs, f"scikit-learn=={version_of('scikit-learn')}", ROOT)
    subprocess.run(
        [programs / "python", ROOT / "tests/support/mlflow_run.py", tmp_path],
        check=True,
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"},
    )
    logged = json.loads((tmp_path / "runs.json").read_text())
    test = ["--test", tmp_path / "test.csv", "--label", "stays"]

    def bring(name, *words):
        return run("import", "mlflow", logged["runs"][name], *test, *words, cwd=tmp_path)

    done = bring("skops", "--set", "gate.accuracy=0.9")
    assert done.returncode == 0, done.stderr
    assert "Published skops-run version 1" in done.stdout
    done = bring("pickle", "--trust", "--name", "skops-run")
    assert "Published skops-run version 2" in done.stdout, done.stderr
    done = bring("ours", "--trust")
    assert "Published ours-run version 1" in done.stdout, done.stderr
    assert (
        "class RandomForestClassifier cannot become a version" in bring("forest", "--trust").stderr
    )
    rows = pd.read_csv(tmp_path / "test.csv")[["age", "city"]]
    for version in (1, 2):
        model = quadnet.load("skops-run", tmp_path / "models", version=version)
        np.testing.assert_allclose(
            model.predict_proba(rows), logged["expected"], rtol=1e-6, atol=1e-12
        )
        origin = model.manifest.config["origin"]
        assert origin["run_id"] == logged["runs"]["skops" if version == 1 else "pickle"]
        assert origin["params"] == {"alpha": "0.1", "group/units": "8"}
        assert origin["metrics"] == {"loss": 0.25}


def version_of(package):
    from importlib.metadata import version

    return version(package)
