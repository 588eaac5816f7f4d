"""A model that is exact by construction, and functions to publish it."""

import hashlib
import json

import numpy as np

from quadnet import quadrants
from quadnet.model_names import CHAMPION
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor, RegressionPredictor
from quadnet.registry import alias_changes
from quadnet.registry.manifest import (
    Data,
    Feature,
    Folded,
    Lineage,
    Part,
    Record,
    Signature,
    Training,
    Verdict,
)
from quadnet.registry.metric_records import (
    ClassMetrics,
    LabelMetrics,
    LabelsMetrics,
    Metrics,
    NumberMetrics,
    QuantileMetrics,
)

SELF_TEST_INPUTS = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5], [0.0, 0.0]])


def exact_predictor(scale=10.0, classes=quadrants.NAMES):
    """Return a 2-4 network that is exact on every point: a class's weights are its signs."""
    network = Network.dense([2, 4], activations=[], loss="softmax_cross_entropy")
    by_name = {q.name: (q.x_sign, q.y_sign) for q in quadrants.QUADRANTS}
    signs = [by_name.get(name, (1, 1)) for name in classes]
    network.parameters.weights[0][:] = scale * np.array(signs).T
    return Predictor(network, classes)


def measure(predictor):
    """Return metrics of an imaginary test part, of the predictor's task."""
    if isinstance(predictor, RegressionPredictor):
        return NumberMetrics(
            rmse=2.0, mae=1.5, median_absolute_error=1.0, r2=0.5, constant_error=1.0,
            judged_by="pinball" if predictor.quantiles else "rmse",
            quantiles=[
                QuantileMetrics(level=q, pinball=0.5, share_up_to=q) for q in predictor.quantiles
            ],
        )  # fmt: skip
    names = [str(name) for name in predictor.classes]
    if predictor.network.loss.multilabel:
        label = LabelMetrics(rows=1, precision=1.0, recall=1.0, f1=1.0, log_loss=0.1)
        return LabelsMetrics(
            accuracy=1.0, log_loss=0.1, f1_micro=1.0, f1_macro=1.0, majority=0.5,
            constant_log_loss=0.7, labels=dict.fromkeys(names, label),
        )  # fmt: skip
    return Metrics(
        accuracy=1.0,
        log_loss=0.1,
        calibration_error=0.0,
        classes={name: ClassMetrics(rows=1, precision=1.0, recall=1.0) for name in names},
    )


def find_task(predictor):
    """Return the task of a predictor."""
    if isinstance(predictor, RegressionPredictor):
        return "regression"
    return "multilabel" if predictor.network.loss.multilabel else "classification"


def record(predictor, n_features=2):
    """Return the record of an imaginary run."""
    task = find_task(predictor)
    return Record(
        task=task,
        signature=Signature(
            features=[
                Feature(name=name, min=-1.0, max=1.0)
                for name in ["x", "y", "z", *(f"x{i}" for i in range(3, n_features))][:n_features]
            ],
            classes=[str(name) for name in getattr(predictor, "classes", ())],
            target=Feature(name="price", min=0.0, max=10.0) if task == "regression" else None,
        ),
        training=Training(
            epochs=1, updates=10, best_epoch=1, stop_reason="max_iter", loss=0.5, seconds=0.1
        ),
        folded=Folded(),
        data=Data(
            train=Part(rows=4, sha256="0" * 64),
            test=Part(rows=4, sha256="1" * 64),
        ),
        metrics={"test": measure(predictor)},
        gate=[Verdict(metric="accuracy", comparison="at least", limit=0.9, value=1.0, passed=True)],
        baseline=None,
        forced=None,
        config={"name": "quadrants"},
        config_sha256="2" * 64,
        lineage=Lineage(
            quadnet="0",
            python="3",
            platform="test",
            cpu="test",
            libraries={"numpy": "2"},
            blas=[],
            threads=1,
            git=None,
        ),
    )


def publish(registry, model="quadrants", *, scale=10.0, alias=CHAMPION, **options):
    """Publish an exact model, point the alias at it, and return it."""
    predictor = exact_predictor(scale, **options)
    published = registry.publish(model, predictor, record(predictor), SELF_TEST_INPUTS)
    if alias:
        alias_changes.set_aliases(
            registry, model, {alias: published.manifest.version}, reason="test"
        )
    return published


def publish_wide(registry):
    """Publish the model "wide", which takes a minute for half a million points."""
    if "wide" in registry.models():
        return
    wide = Network.dense([2, 2048, 2048, 4], activations=["relu"] * 2, loss="softmax_cross_entropy")
    rng = np.random.default_rng(0)
    wide.parameters.flat[:] = rng.normal(size=wide.parameters.flat.size) / 100
    predictor = Predictor(wide, quadrants.NAMES)
    registry.publish("wide", predictor, record(predictor), np.zeros((1, 2)))


def signed(values):
    """Return the bytes of a manifest or alias map with these values and a valid checksum."""
    rest = {key: value for key, value in values.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, indent=1) + "\n"
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return (json.dumps({**rest, "checksum": checksum}, sort_keys=True, indent=1) + "\n").encode()


def append_aliases_by_hand(registry, content):
    """Append a generation with any content to the model's alias log, and return its number.

    It appears in one step, as in the registry, because a server that polls could read half a file.
    """
    directory = registry.root / "models/quadrants/aliases"
    generation = max(int(path.stem) for path in directory.glob("*.json")) + 1
    written = directory / "by-hand"
    written.write_bytes(content)
    written.rename(directory / f"{generation:08d}.json")
    return generation


def point_champion_by_hand(registry, version):
    """Point the alias at a corrupt version, which the registry would refuse."""
    manifest = registry.root / f"models/quadrants/versions/{version:06d}/manifest.json"
    target = {
        "version": version,
        "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
    }
    generation = registry.aliases("quadrants").generation + 1
    append_aliases_by_hand(
        registry, signed({"generation": generation, "aliases": {"champion": target}})
    )
