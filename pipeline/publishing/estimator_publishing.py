"""`quadnet.publish`: a fitted estimator as a version, through the gate that `train` has."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.adoption.adopted_model import AdoptedModel, adopt_model
from pipeline.adoption.networks import texts_of_classes
from pipeline.config.published_config import NOT_RECORDED, PublishedConfig, make_published_config
from pipeline.data.datasets import Dataset
from pipeline.data.splits import DataSplits, SealedTestPart, measure_size
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.evaluation.run_checks import describe_small_part
from pipeline.publishing.candidate_publishing import load_champion, publish_candidate
from pipeline.publishing.estimator_rows import list_forms, name_labels, read_rows, with_ranges
from pipeline.training.candidate_training import Candidate
from pipeline.training.provenance import collect_lineage
from pipeline.wording import Sentence, format_count, make_sentence
from quadnet.errors import (
    ConfigurationError,
    ErrorKind,
    GateFailed,
    InvalidInput,
    Unsupported,
    Violation,
    shorten,
)
from quadnet.model_names import CHAMPION, check_alias
from quadnet.nn.predictor import Predictor
from quadnet.registry import Registry
from quadnet.registry.manifest import Folded, Training, Verdict

_LONGEST_TEXT = 200

_SAME = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 1e-3}
"""Largest difference between the answers of an estimator and of its version, as a share."""


@dataclass(frozen=True)
class PublishedVersion:
    """A version that was published.

    Attributes
    ----------
    name : str
        The model's name.
    version : int
    digest : str
        The sha256 of the version's manifest, by which aliases point to it.
    alias : str
        The alias that points to it now.
    summary : str
        What was measured on the test rows, and the verdicts of the gate.
    """

    name: str
    version: int
    digest: str
    alias: str
    summary: str

    def __repr__(self) -> str:
        measured = self.summary.partition("\n")[0]
        return f"<{self.name}:{self.version}, {self.alias}: {measured}>"

    def __str__(self) -> str:
        return f"{self.name} version {self.version}, alias {self.alias}.\n{self.summary}"


def publish_estimator(
    estimator: Any,
    X_test: Any,
    y_test: Any,
    *,
    name: str,
    registry: str | Path = "models",
    gate: Mapping[str, Any] | None = None,
    alias: str = CHAMPION,
    force: str | None = None,
    X_train: Any = None,
    y_train: Any = None,
    target: str | None = None,
    allow_small: bool = False,
    source: Literal["Python", "MLflow"] = "Python",
    origin: Mapping[str, JsonValue] | None = None,
) -> PublishedVersion:
    """Publish a fitted estimator: see `quadnet.publish`, which has all parameters but the last two.

    Parameters
    ----------
    source : {"Python", "MLflow"}
    origin : mapping of str to object, optional
        What the manifest records on the source.
    """
    store = Registry(Path(registry))
    _check_arguments(store, name, alias, gate, force)
    model = name_labels(adopt_model(estimator), y_test)
    test = read_rows(model, X_test, y_test, "test")
    train: Dataset | None = None
    if (X_train is None) != (y_train is None):
        raise ConfigurationError("X_train and y_train must both be given, or neither of them.")
    if X_train is not None:
        train = read_rows(model, X_train, y_train, "train").part
    _compare_answers(estimator, model, X_test, test.part)
    config = make_published_config(
        name=name,
        task=model.task,
        target=(target or test.target_name) if model.task == "regression" else None,
        source=source,
        estimator={"kind": type(estimator).__name__, "parameters": read_parameters(estimator)},
        origin=dict(origin or {}),
        test={"allow_small": allow_small},
        gate={} if gate is None else dict(gate),
    )
    store.prepare(name)
    candidate = _make_candidate(model, config, train, test.part)
    size = candidate.splits.test.size
    if size.is_small and not allow_small and force is None:
        raise GateFailed(
            f"{name} was not published: {describe_small_part(size)} Pass more test rows, or "
            "allow_small=True to accept these."
        )
    champion = load_champion(store, name, store.aliases(name), forced=force is not None)
    evaluation = evaluate_candidate(candidate, champion)
    if not evaluation.passed and force is None:
        measured = f"on {format_count(len(evaluation.test), 'test row')}"
        raise GateFailed(
            f"{name} was not published: it failed its gate {measured}: "
            f"{'; '.join(_describe_failure(each) for each in evaluation.gate if not each.passed)}.",
            kind=ErrorKind.GATE_NOT_PASSED,
        )
    published = publish_candidate(evaluation, store, alias=alias, forced=force)
    return PublishedVersion(
        name, published.manifest.version, published.digest, alias, evaluation.summary()
    )


def _describe_failure(verdict: Verdict) -> str:
    value = "cannot be measured" if verdict.value is None else f"is {verdict.value:.6g}"
    return f"{verdict.metric} {value}, expected {verdict.comparison} {verdict.limit:.6g}"


def _check_arguments(store: Registry, name: Any, alias: Any, gate: Any, force: Any) -> None:
    """Refuse wrong arguments before anything is computed, and before a version is published."""
    if not isinstance(name, str):
        raise ConfigurationError(f"name must be a text, got {shorten(str(name))}.")
    store.home(name)  # refuses a wrong name
    try:
        check_alias(alias)
    except ValueError as error:
        raise ConfigurationError(f"{shorten(str(alias))} cannot be an alias: {error}.") from None
    if gate is not None and not isinstance(gate, Mapping):
        raise ConfigurationError(
            'gate must be a mapping of limits, such as {"accuracy": 0.9}; got '
            f"{shorten(str(gate))}."
        )
    if force is not None and not (isinstance(force, str) and force.strip()):
        raise ConfigurationError(
            "force must be the reason to publish a version that fails its gate, as a text; got "
            f"{shorten(str(force))}."
        )


def read_parameters(estimator: Any) -> dict[str, JsonValue]:
    """Return the parameters of an estimator, nested ones too, as JSON has them.

    The steps of a pipeline are left out, because their parameters are listed by themselves.
    """
    return {
        name: _to_json(value)
        for name, value in sorted(estimator.get_params(deep=True).items())
        if name.rpartition("__")[2] not in {"steps", "transformers", "memory", "verbose"}
        and not hasattr(value, "get_params")
    }


def _to_json(value: Any) -> JsonValue:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)[:_LONGEST_TEXT]
    found: JsonValue = json.loads(text) if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT]
    return found


def _make_candidate(
    model: AdoptedModel, config: PublishedConfig, train: Dataset | None, test: Dataset
) -> Candidate:
    encoder, reference = model.encoder, test if train is None else train
    notices: tuple[Sentence, ...] = ()
    if train is None:
        notices = (
            make_sentence(
                "Its training rows are unknown: the ranges of columns and of the target are those "
                "of the test rows."
            ),
        )
    if encoder is not None:
        assert reference.table is not None
        encoder = with_ranges(encoder, reference.table)
    known = test.rows(np.zeros(len(test), np.bool_)) if train is None else train
    # Every class of the model counts, and not only those of the test rows.
    classes = list(test.class_rows)
    if isinstance(model.predictor, Predictor):
        classes = [str(each) for each in model.predictor.classes]
    sealed = SealedTestPart(test, measure_size(test, classes))
    return Candidate(
        config=config,
        predictor=model.predictor,
        splits=DataSplits(known, None, sealed, notices, encoder=encoder),
        folded=Folded(),
        training=_describe_training(model.network),
        epochs=_list_losses(model.network),
        lineage=collect_lineage(),
        encoder=encoder,
        reference=reference,
    )


def _describe_training(network: Any) -> Training:
    """Return what a fitted network knows about its training."""
    epochs = int(getattr(network, "n_iter_", 0))
    loss = float(getattr(network, "loss_", 0.0))
    return Training(
        epochs=epochs,
        updates=int(getattr(network, "n_updates_", 0)),
        best_epoch=int(getattr(network, "best_iteration_", epochs)),
        stop_reason=str(getattr(network, "stop_reason_", NOT_RECORDED)),
        loss=loss if math.isfinite(loss) else 0.0,
        seconds=0.0,
    )


def _list_losses(network: Any) -> list[dict[str, float]]:
    """Return the loss of each epoch, as far as the network has it."""
    losses = [float(loss) for loss in getattr(network, "loss_curve_", None) or ()]
    if not np.isfinite(losses).all():
        return []
    return [{"epoch": i, "loss": loss} for i, loss in enumerate(losses, start=1)]


def _compare_answers(estimator: Any, model: AdoptedModel, X: Any, part: Dataset) -> None:
    """Compare the answers of the version with those of the estimator, for the test rows.

    Raises
    ------
    InvalidInput
        If the estimator takes the rows in no form.
    Unsupported
        If they differ. This is a defect of Quadnet, not of the model.
    """
    if isinstance(X, Mapping):
        return  # which estimators do not take
    if isinstance(model.predictor, Predictor):
        found = model.predictor.probabilities(part.X)
    else:
        found = model.predictor.predict(part.X)
    refusal: InvalidInput | None = None
    difference = math.inf
    for rows in list_forms(model, X):
        try:
            expected = _predict(estimator, model, rows)
        except InvalidInput as error:
            refusal = refusal or error
            continue
        precision = max(_SAME.get(array.dtype, 1e-3) for array in (found, expected))
        difference = min(difference, float(np.abs(found - expected).max()))
        if difference <= precision * max(float(np.abs(expected).max()), 1e-300):
            return
    if refusal is not None and math.isinf(difference):
        raise refusal
    raise Unsupported(
        f"The {type(estimator).__name__} cannot become a version: on the test rows the version "
        f"would answer otherwise, by up to {difference:.3g}. Report this with the pipeline's "
        "steps. Nothing was published."
    )


def _predict(estimator: Any, model: AdoptedModel, X: Any) -> NDArray[Any]:
    """Return the answers of the estimator itself, with its classes in the order of the version.

    Raises
    ------
    InvalidInput
        If it refuses the rows.
    """
    try:
        if not isinstance(model.predictor, Predictor):
            return np.asarray(estimator.predict(X)).reshape(-1)
        expected = np.asarray(estimator.predict_proba(X))
        if model.task == "classification":
            expected = expected[:, _order_of(estimator, model.predictor)]
    except (LookupError, TypeError, ValueError) as error:
        reason = f"the {type(estimator).__name__} refuses it: {' '.join(str(error).split())[:300]}"
        raise InvalidInput([Violation("X_test", reason)]) from error
    return expected


def _order_of(estimator: Any, predictor: Predictor) -> list[int]:
    """Return for each class of the version its place among those of the estimator."""
    texts = texts_of_classes(estimator.classes_)
    return [texts.index(str(name)) for name in predictor.classes]
