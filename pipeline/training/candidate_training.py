"""Train a candidate: a network that has not been evaluated yet."""

import json
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from pipeline.config.layer_stacks import DENSE_KEYS, describe_layers, parse_layers
from pipeline.config.published_config import AnyConfig, PublishedConfig
from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.splits import DataSplits, make_splits
from pipeline.data.targets import ClassTarget, LabelsTarget
from pipeline.training import weight_folding
from pipeline.training.provenance import collect_lineage
from quadnet import NeuralNetworkClassifier, NeuralNetworkRegressor
from quadnet.errors import ConfigurationError, TrainingFailed
from quadnet.estimator import constraints
from quadnet.estimator.fitting.history import History
from quadnet.estimator.hyperparameters import (
    CONSTRAINTS,
    REGRESSOR_CONSTRAINTS,
    check_regressor_parameters,
    find_input_shape,
)
from quadnet.estimator.regressor import DEFAULT_QUANTILES
from quadnet.name_display import suggest_name
from quadnet.nn.layers.affine_folding import find_coarse_features
from quadnet.nn.predictor import AnyPredictor, Predictor
from quadnet.registry import version_files
from quadnet.registry.manifest import Feature, Folded, Lineage, Signature, Training
from quadnet.tables.encoder import TableEncoder
from quadnet.types import FloatArray, Task

Estimator = NeuralNetworkClassifier | NeuralNetworkRegressor

OnEpoch = Callable[[History], object]

ESTIMATORS: dict[Task, type[Estimator]] = {
    "classification": NeuralNetworkClassifier,
    "regression": NeuralNetworkRegressor,
    "multilabel": NeuralNetworkClassifier,
}

_EXCLUDED = {"scale", "calibration_fraction", "categorical_features", "missing"}
"""Parameters of the estimators that a run has a key of its own for, or cannot publish."""

_SCORES = ("accuracy", "loss")
"""Early stopping's scores that do not depend on class names."""


@dataclass(frozen=True)
class Candidate:
    """A trained network that has not been evaluated yet.

    `config` is the resolved configuration, with every parameter of the network. `epochs` has one
    record per epoch, if they are known. `predictor` is the one to publish, with scaler and
    temperature folded in.
    """

    config: AnyConfig
    predictor: AnyPredictor
    splits: DataSplits
    folded: Folded
    training: Training
    epochs: list[dict[str, float]]
    lineage: Lineage
    scaler: Mapping[str, FloatArray] = field(default_factory=dict)
    """The arrays folded into the first layer, by their names in the weights file; may be empty."""
    encoder: TableEncoder | None = None
    """Makes the network's inputs of the user's columns."""
    reference: Dataset | None = None
    """Rows like those that it was trained on, if these are unknown: the training part is empty."""

    @property
    def example_rows(self) -> Dataset:
        """The rows that show its ranges: the training part, or rows like it."""
        return self.splits.train if self.reference is None else self.reference

    @property
    def classifier(self) -> Predictor:
        """The predictor of a run that predicts classes or labels."""
        assert isinstance(self.predictor, Predictor)
        return self.predictor

    @property
    def signature(self) -> Signature:
        """The network's features, with their ranges in training, and what it predicts."""
        part, predictor = self.example_rows, self.predictor
        features = [
            _describe_column(name, column)
            for name, column in zip(part.features, part.X.T, strict=True)
        ]
        if isinstance(predictor, Predictor):
            return Signature(features=features, classes=[str(name) for name in predictor.classes])
        target = _describe_column(target_name(self.config), part.number_target.values)
        return Signature(features=features, classes=[], target=target)

    def summary(self) -> str:
        """Return the size of the network, the number of rows and updates, and the time."""
        shape = str(self.predictor.network)
        return (
            f"Trained a {shape} network on {len(self.splits.train):,} rows: "
            f"{self.training.updates:,} updates in {self.training.seconds:.2f} s."
        )


def _describe_column(name: str, column: FloatArray) -> Feature:
    return Feature(name=name, min=float(column.min()), max=float(column.max()))


def target_name(config: AnyConfig) -> str:
    """Return the name of the column of numbers that is predicted."""
    if isinstance(config, PublishedConfig):
        label = config.target
    else:
        label = getattr(config.data, "label", None)
    assert isinstance(label, str)
    return label


def train_candidate(
    config: RunConfig, on_epoch: OnEpoch | None = None, *, data: DataSplits | None = None
) -> Candidate:
    """Train a network with this configuration; the test part stays sealed.

    Parameters
    ----------
    config : RunConfig
    on_epoch : callable, optional
    data : DataSplits, optional
        The configuration's data, if they have already been read.

    Raises
    ------
    ConfigurationError
        If a parameter of the network is unknown or out of range.
    TrainingFailed
        If parameters contradict each other, training diverges, or memory runs out.
    UnsuitableData, FileUnusable, InvalidInput
        As `make_splits` raises them.
    """
    config = resolve_config(config)
    own = make_splits(config) if data is None else data
    if own.data is not None:
        # With what was found out about the file, so that a repeated run reads it alike.
        config = config.model_copy(update={"data": own.data})
    network = make_estimator(config.task, config.network)
    start = time.perf_counter()
    try:
        found = fit_network(network, own.train, own.validation, config, on_epoch=on_epoch)
    except (ValueError, TypeError) as error:  # contradictory parameters, divergence
        raise TrainingFailed(f"The network cannot be trained: {error}") from error
    except (MemoryError, OverflowError) as error:
        stack = config.network.get("layers")
        sizes = f"hidden_layer_sizes = {config.network.get('hidden_layer_sizes')}"
        layers = sizes if stack is None else f"layers = {', '.join(describe_layers(stack))}"
        raise TrainingFailed(
            f"The network cannot be trained: with network.{layers} and {len(own.train):,} rows it "
            "does not fit into memory. Use smaller layers."
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
        encoder=own.encoder,
    )


@dataclass(frozen=True)
class FittedNetwork:
    """A predictor with the scaler and the temperature folded in, and these two."""

    predictor: AnyPredictor
    scaler: Mapping[str, FloatArray]
    temperature: float


def fit_network(
    network: Estimator,
    train: Dataset,
    validation: Dataset | None,
    config: RunConfig,
    *,
    on_epoch: OnEpoch | None = None,
) -> FittedNetwork:
    """Fit the network, and return it with the scaler and the temperature folded in.

    Parameters
    ----------
    network : NeuralNetworkClassifier or NeuralNetworkRegressor
        Unfitted, with its final parameters. Fitted by this call.
    train, validation : Dataset
    config : RunConfig
        Only `scale`, `calibrate` and `dtype` are used.
    on_epoch : callable, optional

    Raises
    ------
    ValueError
        If a parameter is out of its range, or training diverges.
    """
    size = network.batch_size
    if isinstance(size, int):
        # The estimator would do the same, but with a warning.
        network.set_params(batch_size=min(size, len(train)))
    # More BLAS threads would sum in another order, and a run could not be reproduced.
    with threadpool_limits(1), warnings.catch_warnings():
        # The run file sets the number of epochs; the gate decides whether they were enough.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Training interrupted")
        scaler = None
        if config.scale:
            shape = find_input_shape(network.get_params(deep=False))
            scaler = weight_folding.fit_scaler(train.X, shape)

        def rows(part: Dataset) -> FloatArray:
            X: FloatArray = part.X if scaler is None else scaler.transform(part.X)
            return X.astype(config.dtype)

        targets = _choose_targets(network, train)
        held_out: dict[str, Any] = {}
        if validation is not None:
            held_out = {"X_val": rows(validation), "y_val": targets(validation)}
        network.fit(
            rows(train),
            targets(train),
            sample_weight=train.weights,
            **held_out,
            on_epoch=on_epoch,
        )
        if network.stop_reason_ == "interrupted":
            # An interrupted run could not be reproduced, so it must not be published.
            raise KeyboardInterrupt
        predictor: AnyPredictor = network.freeze()
        if isinstance(train.target, ClassTarget) and isinstance(predictor, Predictor):
            predictor = Predictor(predictor.network, train.target.present_classes)
        elif isinstance(train.target, LabelsTarget) and isinstance(predictor, Predictor):
            predictor = Predictor(predictor.network, train.target.names)
        predictor = weight_folding.fold_normalization(predictor)
        if scaler is not None:
            coarse = find_coarse_features(scaler.mean_, scaler.scale_, config.dtype).any()
            # The network was trained on scaled numbers, but will get the large original ones.
            dtype = np.float64 if coarse else predictor.dtype
            predictor = weight_folding.fold_scaler(
                predictor, scaler.mean_, scaler.scale_, dtype=dtype
            )
        temperature = 1.0
        if config.calibrate and validation is not None and isinstance(predictor, Predictor):
            temperature = weight_folding.fit_temperature(predictor, validation)
            predictor = weight_folding.fold_temperature(predictor, temperature)
    scaled = () if scaler is None else (scaler.mean_, scaler.scale_)
    return FittedNetwork(
        predictor, dict(zip(version_files.SCALER, scaled, strict=False)), temperature
    )


def _choose_targets(network: Estimator, train: Dataset) -> Callable[[Dataset], NDArray[np.generic]]:
    """Return the function that gives the y of a part for a fit on `train`.

    Classes are indices, unless a parameter names a class: an array of text takes the longest
    label's memory in every row. Indices in the order of the names train the same network.
    """
    target = train.target
    if not isinstance(target, ClassTarget) or not isinstance(network, NeuralNetworkClassifier):
        return lambda part: part.y
    if isinstance(network.class_weight, dict) or network.scoring not in _SCORES:
        return lambda part: part.y
    classes = target.present_classes
    return lambda part: part.class_target.indices(classes)


def make_estimator(task: Task, network: Mapping[str, JsonValue]) -> Estimator:
    """Return the estimator of the task with these parameters, as a run file has them."""
    parameters: dict[str, Any] = dict(network)
    if parameters.get("layers") is not None:
        parameters["layers"] = list(parse_layers(parameters["layers"]))
    return ESTIMATORS[task](**parameters)


def network_constraints(task: Task) -> dict[str, constraints.Constraint]:
    """Return the parameters that the section `network` of a run of this task may have."""
    known = dict(REGRESSOR_CONSTRAINTS if task == "regression" else CONSTRAINTS)
    for name in _EXCLUDED & known.keys():
        del known[name]
    return known


def resolve_config(config: RunConfig) -> RunConfig:
    """Return the configuration with every parameter of the network filled in.

    A run without a seed could not be reproduced, so it gets seed 0. Layers get their default
    settings, and replace the parameters of dense layers.
    """
    if "scale" in config.network:
        raise ConfigurationError(
            "There is no key network.scale. Set the key scale, which is outside of network."
        )
    allowed, estimator = network_constraints(config.task), ESTIMATORS[config.task]
    known = {name: v for name, v in estimator().get_params().items() if name in allowed}
    unknown = sorted(config.network.keys() - known.keys())
    if unknown:
        raise ConfigurationError(
            f"There is no key network.{unknown[0]}.{suggest_name(unknown[0], known)} "
            f"The keys there are: {', '.join(known)}."
        )
    network = known | {"random_state": 0} | config.network
    # Checked here and not in `fit`, because reading the data may take long.
    try:
        constraints.check_parameters(estimator.__name__, allowed, network)
        if config.task == "regression":
            check_regressor_parameters(estimator.__name__, estimator().get_params() | network)
    except ValueError as error:
        raise ConfigurationError(f"The network cannot be trained: {error}") from error
    _check_quantiles(config, network)
    if network["layers"] is not None:
        network["layers"] = [layer.to_spec() for layer in parse_layers(network["layers"])]
        network = {name: value for name, value in network.items() if name not in DENSE_KEYS}
    # Newer parameters are left out at their default, so that older ledgers can be resumed.
    for name, default in (
        ("layers", None),
        ("input_shape", None),
        ("label_smoothing", 0.0),
        ("n_ensemble", 1),
    ):
        if name in network and network[name] == default:
            del network[name]
    # Through JSON, so that tuples become lists, as in a configuration read from a manifest.
    network = json.loads(json.dumps(network))
    return RunConfig.model_validate(config.model_dump() | {"network": network})


def count_quantiles(network: Mapping[str, Any]) -> int:
    """Return how many quantiles a network of these parameters predicts."""
    if network.get("loss") != "quantile":
        return 0
    return len(network["quantiles"] or DEFAULT_QUANTILES)


def _check_quantiles(config: RunConfig, network: Mapping[str, Any]) -> None:
    """Refuse limits of the gate on quantiles that the network does not predict."""
    n_quantiles = count_quantiles(network)
    for name, least in (("pinball", 1), ("coverage", 2)):
        if getattr(config.gate, name) is not None and n_quantiles < least:
            raise ConfigurationError(
                f"gate.{name}: expected a network that predicts at least {least} of the quantiles, "
                f'got one that predicts {n_quantiles}. Set network.loss = "quantile", or remove '
                f"gate.{name}."
            )


def _list_epochs(estimator: Estimator) -> list[dict[str, float]]:
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
