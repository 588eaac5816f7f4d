"""One run: data -> fit -> evaluate -> gate -> publish."""

import platform
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning

from pipeline import datasets, evaluation
from pipeline.config import RunConfig
from pipeline.datasets import Dataset
from quadnet import NeuralNetworkClassifier, __version__
from quadnet.artifact import Model
from quadnet.errors import GateFailed, InvalidSetting
from quadnet.manifest import Data, Feature, Lineage, Record, Signature, Training, Verdict
from quadnet.names import CHAMPION
from quadnet.predictor import Predictor
from quadnet.registry import Registry
from quadnet.types import FloatArray


@dataclass(frozen=True)
class Trial:
    """A network trained and judged as its configuration says, and not published."""

    config: RunConfig
    predictor: Predictor
    training_part: Dataset
    test_part: Dataset
    training: Training
    metrics: dict[str, float]
    gate: list[Verdict]

    @property
    def passed(self) -> bool:
        """Whether every limit of the gate was met."""
        return all(verdict.passed for verdict in self.gate)

    def report(self) -> str:
        """Return what the run's user wants to know first."""
        shape = "-".join(map(str, self.predictor.network.layer_sizes))
        return (
            f"Trained a {shape} network on {len(self.training_part.y):,} rows: "
            f"{self.training.updates:,} updates in {self.training.seconds:.2f} s.\n"
            f"{self.metrics['accuracy']:.2%} right on {len(self.test_part.y):,} held-out rows."
        )

    def verdicts(self) -> str:
        """Return each limit of the gate with what was measured."""
        return ", ".join(
            f"{v.metric} {v.value:.4f} {'reaches' if v.passed else 'misses'} the gate's {v.limit:g}"
            for v in self.gate
        )

    def record(self) -> Record:
        """Return what the published version's manifest keeps of this run."""
        training_part, test_part = self.training_part, self.test_part
        return Record(
            signature=Signature(
                features=[
                    Feature(name=name, min=float(column.min()), max=float(column.max()))
                    for name, column in zip(training_part.features, training_part.X.T, strict=True)
                ],
                classes=[str(label) for label in self.predictor.classes],
            ),
            training=self.training,
            data=Data(
                train_rows=len(training_part.y),
                train_sha256=training_part.sha256(),
                test_rows=len(test_part.y),
                test_sha256=test_part.sha256(),
            ),
            metrics=self.metrics,
            gate=self.gate,
            config=self.config.model_dump(mode="json"),
            config_sha256=self.config.sha256(),
            lineage=Lineage(
                quadnet=__version__,
                python=platform.python_version(),
                numpy=np.__version__,
                scikit_learn=sklearn.__version__,
                platform=platform.platform(),
            ),
        )


def attempt(config: RunConfig) -> Trial:
    """Train and judge a network as the configuration says.

    Raises
    ------
    InvalidSetting
        If the network's parameters are not the estimator's, a class has no training row, or
        training diverges.
    """
    estimator = _estimator(config)
    training_part, test_part = datasets.parts(config)
    unseen = sorted(set(test_part.y) - set(training_part.y))
    if unseen:
        raise InvalidSetting(
            f"No training row is of class {unseen[0]}: {len(training_part.y)} rows are too few."
        )
    seconds = _fit(estimator, training_part)
    predictor = estimator.freeze()
    metrics = evaluation.evaluate(predictor, test_part)
    return Trial(
        config=config,
        predictor=predictor,
        training_part=training_part,
        test_part=test_part,
        training=Training(
            epochs=estimator.n_iter_,
            updates=estimator.n_updates_,
            loss=estimator.loss_,
            seconds=seconds,
        ),
        metrics=metrics,
        gate=evaluation.judge(config.gate, metrics),
    )


def publish(trial: Trial, registry: Registry) -> Model:
    """Publish the trial under its configuration's name and make it the champion.

    Raises
    ------
    GateFailed
        If the trial did not pass its gate; nothing is published.
    """
    name = trial.config.name
    if not trial.passed:
        raise GateFailed(
            f"{name} was not published: {trial.verdicts()} on {len(trial.test_part.y):,} "
            "held-out rows. Train it longer, change its settings, or lower the limit in [gate]."
        )
    model = registry.publish(
        name, trial.predictor, trial.record(), _self_test_inputs(trial.training_part)
    )
    registry.set_alias(name, CHAMPION, model.manifest.version, reason="passed its gate")
    return model


def _estimator(config: RunConfig) -> NeuralNetworkClassifier:
    known = NeuralNetworkClassifier().get_params()
    unknown = sorted(config.network.keys() - known.keys())
    if unknown:
        raise InvalidSetting(
            f"There is no key network.{unknown[0]}. The keys there are: {', '.join(known)}."
        )
    # What each may be is the estimator's to say, when it is fitted.
    parameters: dict[str, Any] = dict(config.network)
    return NeuralNetworkClassifier(**parameters)


def _fit(estimator: NeuralNetworkClassifier, part: Dataset) -> float:
    """Fit the estimator and return the seconds it took."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        # A run asks for a number of epochs; whether they were enough is the gate's business.
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            estimator.fit(part.X, part.y)
        except ValueError as error:  # a parameter out of its range, or training that diverged
            raise InvalidSetting(f"The network cannot be trained so. {error}") from error
    return time.perf_counter() - start


def _self_test_inputs(training: Dataset) -> FloatArray:
    """Return rows whose answers every reader checks: trained on, in the middle, and far outside."""
    low, high = training.X.min(axis=0), training.X.max(axis=0)
    special = np.array([low, high, (low + high) / 2, 100 * low, 100 * high])
    return np.vstack([training.X[:32], special])
