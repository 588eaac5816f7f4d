"""A candidate: a network trained as its configuration says, ready to be judged."""

import json
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.splits import DataSplits, make_splits
from pipeline.training import weight_folding
from pipeline.training.provenance import collect_lineage
from pipeline.training.weight_folding import find_coarse_features
from quadnet import NeuralNetworkClassifier
from quadnet.errors import ConfigurationError, TrainingFailed
from quadnet.estimator import constraints
from quadnet.estimator.history import History
from quadnet.estimator.hyperparameters import CONSTRAINTS
from quadnet.nn.predictor import Predictor
from quadnet.registry import version_files
from quadnet.registry.manifest import Feature, Folded, Lineage, Signature, Training
from quadnet.types import FloatArray

OnEpoch = Callable[[History], object]

_SCORES = ("accuracy", "loss")
"""Early stopping's scores that name no class."""


@dataclass(frozen=True)
class Candidate:
    """A network trained as its configuration says, and not yet judged.

    `config` is the resolved one, with every parameter of the network; `epochs` is a record an
    epoch; `predictor` is what would be published, with all folded in.
    """

    config: RunConfig
    predictor: Predictor
    splits: DataSplits
    folded: Folded
    training: Training
    epochs: list[dict[str, float]]
    lineage: Lineage
    scaler: Mapping[str, FloatArray] = field(default_factory=dict)
    """What was folded into the first layer, by the names in the weights file; may be empty."""

    @property
    def signature(self) -> Signature:
        """What the network takes and gives, with the ranges seen in training."""
        part = self.splits.train
        return Signature(
            features=[
                Feature(name=name, min=float(column.min()), max=float(column.max()))
                for name, column in zip(part.features, part.X.T, strict=True)
            ],
            classes=[str(label) for label in self.predictor.classes],
        )

    def summary(self) -> str:
        """Return what the run's user wants to know first."""
        shape = "-".join(map(str, self.predictor.network.layer_sizes))
        return (
            f"Trained a {shape} network on {len(self.splits.train):,} rows: "
            f"{self.training.updates:,} updates in {self.training.seconds:.2f} s."
        )


def train_candidate(
    config: RunConfig, on_epoch: OnEpoch | None = None, *, data: DataSplits | None = None
) -> Candidate:
    """Train a network as the configuration says; the test part stays sealed.

    Parameters
    ----------
    config : RunConfig
    on_epoch : callable, optional
    data : DataSplits, optional
        What the configuration's data are, if they have been read.

    Raises
    ------
    ConfigurationError
        If the network's parameters are not the estimator's.
    TrainingFailed
        If they do not fit each other, training diverges, or memory is too small.
    UnsuitableData, FileUnusable, InvalidInput
        As `make_splits` raises them.
    """
    config = resolve_config(config)
    own = make_splits(config) if data is None else data
    parameters: dict[str, Any] = dict(config.network)
    network = NeuralNetworkClassifier(**parameters)
    start = time.perf_counter()
    try:
        found = fit_network(network, own.train, own.validation, config, on_epoch=on_epoch)
    except (ValueError, TypeError) as error:  # parameters that do not fit each other, divergence
        raise TrainingFailed(f"The network cannot be trained so. {error}") from error
    except (MemoryError, OverflowError) as error:
        sizes = config.network["hidden_layer_sizes"]
        raise TrainingFailed(
            f"The network cannot be trained so: with network.hidden_layer_sizes = {sizes} on "
            f"{len(own.train):,} rows it does not fit into memory. Make its layers smaller."
        ) from error
    return Candidate(
        config=config,
        predictor=found.predictor,
        splits=own,
        folded=Folded(temperature=found.temperature),
        training=Training(
            epochs=network.n_iter_,
            updates=network.n_updates_,
            best_epoch=network.best_iteration_,
            stop_reason=network.stop_reason_,
            loss=network.loss_,
            seconds=time.perf_counter() - start,
        ),
        epochs=_list_epochs(network),
        lineage=collect_lineage(),
        scaler=found.scaler,
    )


@dataclass(frozen=True)
class FittedNetwork:
    """A predictor with the scaler and the temperature folded in, and what those were."""

    predictor: Predictor
    scaler: Mapping[str, FloatArray]
    temperature: float


def fit_network(
    network: NeuralNetworkClassifier,
    train: Dataset,
    validation: Dataset | None,
    config: RunConfig,
    *,
    on_epoch: OnEpoch | None = None,
) -> FittedNetwork:
    """Fit the network, and return it with the scaler and the temperature folded in.

    Parameters
    ----------
    network : NeuralNetworkClassifier
        With the parameters that it is to have; left fitted.
    train, validation : Dataset
    config : RunConfig
        Says whether to scale and to calibrate, and in which type to compute.
    on_epoch : callable, optional

    Raises
    ------
    ValueError
        If a parameter is out of its range, or training diverges.
    """
    size = network.batch_size
    if isinstance(size, int):
        # What the estimator would do with a warning.
        network.set_params(batch_size=min(size, len(train)))
    # On more threads the same sums come in another order, and no run could be repeated.
    with threadpool_limits(1), warnings.catch_warnings():
        # A run asks for a number of epochs; whether they were enough is the gate's business.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Training interrupted")
        scaler = StandardScaler().fit(train.X) if config.scale else None

        def rows(part: Dataset) -> FloatArray:
            X: FloatArray = part.X if scaler is None else scaler.transform(part.X)
            return X.astype(config.dtype)

        # Indices, unless a class is asked for by its name: labels as text take the longest one's
        # room in every row. Sorted as the names are, they train the same network.
        classes = train.classes[np.unique(train.codes)]
        by_name = isinstance(network.class_weight, dict) or network.scoring not in _SCORES

        def labels(part: Dataset) -> NDArray[np.generic]:
            return part.y if by_name else part.indices(classes)

        held_out: dict[str, Any] = {}
        if validation is not None:
            held_out = {"X_val": rows(validation), "y_val": labels(validation)}
        network.fit(rows(train), labels(train), **held_out, on_epoch=on_epoch)
        if network.stop_reason_ == "interrupted":
            # Of a run the half is nothing: it could not be repeated.
            raise KeyboardInterrupt
        predictor = Predictor(network.freeze().network, classes)
        if scaler is not None:
            coarse = find_coarse_features(scaler.mean_, scaler.scale_, config.dtype).any()
            # Trained on small numbers, it must answer from large ones.
            dtype = np.float64 if coarse else predictor.dtype
            predictor = weight_folding.fold_scaler(
                predictor, scaler.mean_, scaler.scale_, dtype=dtype
            )
        temperature = 1.0
        if config.calibrate and validation is not None:
            temperature = weight_folding.fit_temperature(predictor, validation)
            predictor = weight_folding.fold_temperature(predictor, temperature)
    scaled = () if scaler is None else (scaler.mean_, scaler.scale_)
    return FittedNetwork(
        predictor, dict(zip(version_files.SCALER, scaled, strict=False)), temperature
    )


def resolve_config(config: RunConfig) -> RunConfig:
    """Return the configuration with every parameter of the network in it.

    A run without a seed could not be repeated: it gets seed 0.
    """
    known = NeuralNetworkClassifier().get_params()
    unknown = sorted(config.network.keys() - known.keys())
    if unknown:
        raise ConfigurationError(
            f"There is no key network.{unknown[0]}. The keys there are: {', '.join(known)}."
        )
    network = known | {"random_state": 0} | config.network
    # Here, and not when it is fitted: the data may take long to read.
    try:
        constraints.check_parameters(NeuralNetworkClassifier.__name__, CONSTRAINTS, network)
    except ValueError as error:
        raise ConfigurationError(f"The network cannot be trained so. {error}") from error
    # Through JSON, where tuples become the lists that a manifest gives back.
    network = json.loads(json.dumps(network))
    return RunConfig.model_validate(config.model_dump() | {"network": network})


def _list_epochs(estimator: NeuralNetworkClassifier) -> list[dict[str, float]]:
    curves = {
        "loss": estimator.loss_curve_,
        "learning_rate": estimator.learning_rate_curve_,
        "validation_loss": estimator.validation_loss_curve_,
        "validation_score": estimator.validation_scores_,
    }
    return [
        {"epoch": i + 1} | {name: float(curve[i]) for name, curve in curves.items() if curve}
        for i in range(len(estimator.loss_curve_))
    ]
