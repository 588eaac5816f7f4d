"""Evaluate a candidate on the sealed test part, and compare it with the champion."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.config.layer_stacks import make_hidden_stack
from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.splits import FEWEST_DISTINCT_ROWS, DataSplits, PartSize
from pipeline.data.targets import LabelsTarget
from pipeline.evaluation import gate
from pipeline.evaluation.gate import format_verdicts, judge_candidate
from pipeline.evaluation.label_metrics import LabelsEvaluation
from pipeline.evaluation.model_metrics import PartEvaluation
from pipeline.evaluation.number_metrics import NumberEvaluation
from pipeline.evaluation.part_evaluation import AnyEvaluation, measure_part
from pipeline.evaluation.summary import summarize_part
from pipeline.training.candidate_training import Candidate, count_quantiles, target_name
from pipeline.training.weight_folding import describe_lost_digits
from pipeline.wording import Sentence, format_count
from quadnet.errors import (
    ConfigurationError,
    GateFailed,
    InvalidInput,
    NotComparable,
    listing,
    shorten,
)
from quadnet.nn.layers.dense import Dense
from quadnet.registry import version_files
from quadnet.registry.alias_log import AliasTarget
from quadnet.registry.manifest import (
    Baseline,
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
    AnyMetrics,
    ClassMetrics,
    LabelMetrics,
    LabelsMetrics,
    Metrics,
    NumberMetrics,
    QuantileMetrics,
)
from quadnet.registry.version_files import Model
from quadnet.tables.columns import column_kind
from quadnet.tables.encoder import TableEncoder
from quadnet.types import FloatArray

_SELF_TEST_ROWS = 40
"""At least as many rows as a version's self-test has."""

_SOME_ROWS = 1000
"""Enough rows to show whether the champion takes columns of these kinds."""

_REORDERED = (
    "Clients that send values by position must use the new order, unless data.features lists the "
    "old one."
)


@dataclass(frozen=True)
class CandidateEvaluation:
    """A candidate's metrics and verdicts, and the champion's metrics on the same test part."""

    candidate: Candidate
    test: Dataset
    evaluations: dict[str, AnyEvaluation]
    """By part: "train", "validation" (if there is one) and "test"."""
    baseline: Baseline | None
    gate: list[Verdict]

    @property
    def test_classes(self) -> PartEvaluation:
        """The evaluation on the test part, of a run that predicts classes."""
        measured = self.evaluations["test"]
        assert isinstance(measured, PartEvaluation)
        return measured

    @property
    def test_numbers(self) -> NumberEvaluation:
        """The evaluation on the test part, of a run that predicts numbers."""
        measured = self.evaluations["test"]
        assert isinstance(measured, NumberEvaluation)
        return measured

    @property
    def test_labels(self) -> LabelsEvaluation:
        """The evaluation on the test part, of a run that predicts several labels."""
        measured = self.evaluations["test"]
        assert isinstance(measured, LabelsEvaluation)
        return measured

    @property
    def passed(self) -> bool:
        """Whether every limit of the gate was met."""
        return all(verdict.passed for verdict in self.gate)

    @property
    def missed(self) -> list[str]:
        """The metrics whose limits were not met."""
        return [verdict.metric for verdict in self.gate if not verdict.passed]

    @property
    def judged_against(self) -> AliasTarget | None:
        """The champion that the candidate was compared with, if any."""
        if self.baseline is None:
            return None
        return AliasTarget(
            version=self.baseline.version, manifest_sha256=self.baseline.manifest_sha256
        )

    def judge_against(self, champion: Model | None) -> "CandidateEvaluation":
        """Return the evaluation with verdicts against this champion, on the same test rows.

        Raises
        ------
        NotComparable
            If the champion has other features or other classes.
        """
        config, metrics = self.candidate.config, self.evaluations["test"].metrics
        baseline = None
        if champion is not None and config.gate.champion:
            baseline = _measure_baseline(champion, self.candidate, self.test)
        verdicts = [
            *gate.judge_test_part(config.test, self.candidate.splits.test.size),
            *judge_candidate(config.gate, metrics, baseline),
            *gate.compare_with_constant(config.gate, metrics),
        ]
        return replace(self, baseline=baseline, gate=verdicts)

    def summary(self) -> str:
        """Return the test metrics, and each limit of the gate with the measured value."""
        described = summarize_part(self.evaluations["test"], len(self.test))
        return f"{described}\nThe gate:\n{format_verdicts(self.gate)}"

    def make_record(self, forced: str | None = None) -> Record:
        """Return the record of this run for the published version's manifest."""
        candidate = self.candidate
        train, validation = candidate.splits.train, candidate.splits.validation
        return Record(
            task=candidate.config.task,
            encoder=candidate.encoder,
            signature=candidate.signature,
            training=candidate.training,
            folded=candidate.folded,
            data=Data(
                train=_describe_part(train),
                validation=None if validation is None else _describe_part(validation),
                test=_describe_part(self.test),
            ),
            metrics={name: e.metrics for name, e in self.evaluations.items()},  # type: ignore[misc]
            gate=self.gate,
            baseline=self.baseline,
            forced=forced,
            config=candidate.config.model_dump(mode="json"),
            config_sha256=candidate.config.sha256(),
            lineage=candidate.lineage,
        )


def check_before_training(
    config: RunConfig, splits: DataSplits, champion: Model | None = None, *, forced: bool = False
) -> Iterator[Sentence]:
    """Refuse, before training, a run whose model could not be published.

    Parameters
    ----------
    config : RunConfig
        The resolved configuration.
    splits : DataSplits
    champion : Model, optional
    forced : bool
        Whether the version is to be published even if it fails its gate.

    Yields
    ------
    tuple of str
        Warnings for the user.

    Raises
    ------
    GateFailed
        If the test part is too small.
    NotComparable
        If the champion has other features or other classes.
    ConfigurationError
        If the layers do not fit the data, or the version would be larger than readers accept.
    """
    yield from splits.notices
    _check_size(config, splits, champion if config.gate.champion else None)
    yield from describe_lost_digits(config, splits.train)
    missed = [v for v in gate.judge_test_part(config.test, splits.test.size) if not v.passed]
    if missed and not forced:
        raise GateFailed(_describe_small_part(splits.test.size))
    if champion is not None and config.gate.champion:
        features = _list_columns(splits.train.features, splits.encoder)
        _check_comparable(champion, config, features, _list_classes(splits.train))
        _encode_for(champion, splits.train.rows(np.arange(len(splits.train)) < _SOME_ROWS))
        theirs = _list_columns(_list_features(champion), champion.encoder)
        if theirs != features:
            version = f"version {champion.manifest.version}"
            yield (f"The champion, {version}, has the same columns in another order. {_REORDERED}",)


def _check_size(config: RunConfig, splits: DataSplits, champion: Model | None) -> None:
    """Refuse layers that do not fit the data, or a version that readers would not accept."""
    features = splits.train.features
    try:
        hidden, input_shape = make_hidden_stack(config.network, len(features))
    except ValueError as error:
        raise ConfigurationError(
            f"The network does not fit the data: {error}. Nothing was trained."
        ) from error
    output = Dense(_count_outputs(config, splits.train))
    # The scaler decides in which type the version is published: assume the larger type.
    problem = version_files.find_exceeded_limit(
        _draft_record(config, splits, champion),
        [*hidden, output],
        input_shape,
        "float64",
        _SELF_TEST_ROWS,
    )
    if problem is not None:
        advice = "Choose fewer columns in data.features"
        if splits.encoder is not None:
            advice = "Set data.numbers.n_pieces = 0, add columns to data.drop"
        raise ConfigurationError(
            f"A version of this run could not be published: {problem}. The data has "
            f"{format_count(len(features), 'feature')}{_count_classes(splits.train)}. Nothing was "
            f"trained. {advice}, choose data with fewer classes, or a smaller network."
        )


def _draft_record(config: RunConfig, splits: DataSplits, champion: Model | None) -> Record:
    """Return a record with as many values as the run's, each at least as long in JSON."""
    share, number, digest = 0.12345678901234567, -2.2250738585072014e-308, "0" * 64
    count = len(splits.train) + splits.test.size.rows + 10**9
    metrics = _draft_metrics(config, splits.train, share=share, error=-number, count=count)
    baseline = None
    if champion is not None:
        baseline = Baseline(version=10**9, manifest_sha256=digest, metrics=metrics)
    part = Part(rows=count, sha256=digest)
    return Record(
        task=config.task,
        encoder=splits.encoder,
        signature=Signature(
            features=[Feature(name=n, min=number, max=number) for n in splits.train.features],
            classes=_list_classes(splits.train),
            target=Feature(name=target_name(config), min=number, max=number)
            if config.task == "regression"
            else None,
        ),
        training=Training(
            epochs=count,
            updates=count,
            best_epoch=count,
            stop_reason="no_improvement",
            loss=number,
            seconds=number,
        ),
        folded=Folded(temperature=number),
        data=Data(train=part, validation=part, test=part),
        metrics=dict.fromkeys(("train", "validation", "test"), metrics),
        gate=[
            *gate.judge_test_part(config.test, splits.test.size),
            *judge_candidate(config.gate, metrics, baseline),
            *gate.compare_with_constant(config.gate, metrics),
        ],
        baseline=baseline,
        forced="",
        config=config.model_dump(mode="json"),
        config_sha256=digest,
        lineage=Lineage(
            quadnet="", python="", platform="", cpu="", libraries={}, blas=[], threads=1, git=None
        ),
    )


def _draft_metrics(
    config: RunConfig, train: Dataset, *, share: float, error: float, count: int
) -> AnyMetrics:
    """Return metrics with as many values as the run's."""
    names = _list_classes(train)
    if config.task == "regression":
        levels = np.linspace(0.0, 1.0, _count_outputs(config, train) + 2)[1:-1]
        each_level = [QuantileMetrics(level=q, pinball=error, share_up_to=share) for q in levels]
        return NumberMetrics(
            rmse=error,
            mae=error,
            median_absolute_error=error,
            r2=share,
            judged_by="pinball",
            constant_error=error,
            quantiles=each_level,
            coverage=share,
            width=error,
        )
    if config.task == "multilabel":
        label = LabelMetrics(rows=count, precision=share, recall=share, f1=share, log_loss=error)
        return LabelsMetrics(
            accuracy=share,
            log_loss=error,
            f1_micro=share,
            f1_macro=share,
            majority=share,
            constant_log_loss=error,
            labels=dict.fromkeys(names, label),
        )
    each = ClassMetrics(rows=count, precision=share, recall=share)
    return Metrics(
        accuracy=share,
        log_loss=error,
        calibration_error=share,
        classes=dict.fromkeys(names, each),
    )


def _list_classes(train: Dataset) -> list[str]:
    """Return the classes or the labels, in the order of the version's; empty for numbers."""
    if isinstance(train.target, LabelsTarget):
        return list(train.target.names)
    return sorted(train.class_rows)


def _count_classes(train: Dataset) -> str:
    return f" and {len(_list_classes(train)):,} classes" if train.class_rows else ""


def _count_outputs(config: RunConfig, train: Dataset) -> int:
    """Return the number of the network's outputs."""
    if config.task == "regression":
        return count_quantiles(config.network) or 1
    n_classes = len(_list_classes(train))
    return 1 if config.task == "classification" and n_classes == 2 else n_classes


def _describe_small_part(size: PartSize) -> str:
    lacks = f"It has {format_count(size.distinct_rows, 'distinct row')} ({size.rows:,} with copies)"
    if size.missing_classes:
        lacks += f" and no row of the class {shorten(size.missing_classes[0])}"
    return (
        "The test part is too small: expected at least "
        f"{FEWEST_DISTINCT_ROWS} distinct rows, and one of each class. {lacks}. Nothing was "
        "trained. Use more data, set test.stratify = true to choose rows by class, or increase "
        "test.share or test.points. To accept this test part, set test.allow_small = true."
    )


def evaluate_candidate(candidate: Candidate, champion: Model | None = None) -> CandidateEvaluation:
    """Open the test part, and measure the candidate and the champion on it.

    Raises
    ------
    NotComparable
        If the champion has other features or other classes.
    """
    test = candidate.splits.test.open()
    measured = {"train": candidate.splits.train, "validation": candidate.splits.validation}
    evaluations = {
        name: measure_part(candidate.predictor, part)
        for name, part in [*measured.items(), ("test", test)]
        if part is not None
    }
    unjudged = CandidateEvaluation(
        candidate=candidate, test=test, evaluations=evaluations, baseline=None, gate=[]
    )
    return unjudged.judge_against(champion)


def _describe_part(part: Dataset) -> Part:
    return Part(rows=len(part), sha256=part.sha256())


def _measure_baseline(champion: Model, candidate: Candidate, test: Dataset) -> Baseline:
    signature, config = candidate.signature, candidate.config
    ours = _list_columns(test.features, candidate.encoder)
    _check_comparable(champion, config, ours, signature.classes)
    target = test.target
    if isinstance(target, LabelsTarget):
        target = target.reorder(champion.manifest.signature.classes)
    ordered = Dataset(tuple(_list_features(champion)), _encode_for(champion, test), target)
    return Baseline(
        version=champion.manifest.version,
        manifest_sha256=champion.digest,
        metrics=measure_part(champion.predictor, ordered).metrics,
    )


def _encode_for(champion: Model, test: Dataset) -> FloatArray:
    """Return the test rows as inputs of the champion's network.

    Raises
    ------
    NotComparable
        If it takes columns of another kind, such as numbers in place of texts.
    """
    table = test.table
    if champion.encoder is None and table is None:
        place = {name: i for i, name in enumerate(test.features)}
        return test.X[:, [place[name] for name in _list_features(champion)]]
    if table is None:
        table = dict(zip(test.features, test.X.T, strict=True))
    try:
        if champion.encoder is not None:
            return champion.encoder.transform(table)
        columns = [table[name] for name in _list_features(champion)]
        if all(column_kind(column) == "number" for column in columns):
            X: FloatArray = np.column_stack([np.asarray(column) for column in columns])
            if np.isfinite(X).all():
                return X
        problem = "it takes columns of numbers without gaps"
    except InvalidInput as error:
        problem = str(error).rstrip(".")
    raise NotComparable(
        f"The champion, version {champion.manifest.version}, takes columns of other kinds than "
        f"this run, so the two cannot be compared: {problem}. Publish under another name, or set "
        "gate.champion=false."
    )


def _list_features(model: Model) -> list[str]:
    return [feature.name for feature in model.manifest.signature.features]


def _list_columns(features: Sequence[str], encoder: TableEncoder | None) -> list[str]:
    """Return the user's columns: those of the encoder, or the features themselves."""
    return list(features if encoder is None else encoder.input_names)


def _check_comparable(
    champion: Model, config: RunConfig, features: Sequence[str], classes: Sequence[str]
) -> None:
    """Refuse another task, other columns or other classes than the champion's, in any order."""
    manifest = champion.manifest
    signature = manifest.signature
    if manifest.task != config.task:
        raise NotComparable(
            f"The champion, version {manifest.version}, is a model for {manifest.task}, and this "
            f"run is for {config.task}, so the two cannot be compared. Publish under another name, "
            "or set gate.champion=false."
        )
    compared = {
        "features": (_list_columns(_list_features(champion), champion.encoder), features),
        "classes": (signature.classes, classes),
    }
    if signature.target is not None:
        compared["target"] = ([signature.target.name], [target_name(config)])
    found = {what: _describe_difference(what, *names) for what, names in compared.items()}
    differences = {what: text for what, text in found.items() if text}
    if differences:
        raise NotComparable(
            f"The champion, version {champion.manifest.version}, has other "
            f"{next(iter(differences))} than this run, so the two cannot be compared: "
            f"{'; '.join(differences.values())}. Publish under another name, or set "
            "gate.champion=false."
        )


def _describe_difference(what: str, theirs: Sequence[str], ours: Sequence[str]) -> str:
    """Return which names only one side has; empty if both have the same names, in any order."""
    sides = (
        (f"only the champion has the {what}", set(theirs) - set(ours)),
        (f"only this run has the {what}", set(ours) - set(theirs)),
    )
    return ", ".join(f"{side} {listing(sorted(names))}" for side, names in sides if names)
