"""Evaluate a candidate on the sealed test part, and compare it with the champion."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.config.layer_stacks import make_hidden_stack
from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.splits import FEWEST_DISTINCT_ROWS, DataSplits, PartSize
from pipeline.evaluation import gate
from pipeline.evaluation.gate import format_verdicts, judge_candidate
from pipeline.evaluation.model_metrics import PartEvaluation, measure_model
from pipeline.training.candidate_training import Candidate
from pipeline.training.weight_folding import describe_lost_digits
from pipeline.wording import Sentence, confidence_interval, format_count, format_percent
from quadnet.errors import ConfigurationError, GateFailed, NotComparable, listing, shorten
from quadnet.nn.layers.dense import Dense
from quadnet.registry import version_files
from quadnet.registry.alias_log import AliasTarget
from quadnet.registry.manifest import (
    Baseline,
    ClassMetrics,
    Data,
    Feature,
    Folded,
    Lineage,
    Metrics,
    Part,
    Record,
    Signature,
    Training,
    Verdict,
)
from quadnet.registry.version_files import Model

_SELF_TEST_ROWS = 40
"""At least as many rows as a version's self-test has."""

_REORDERED = (
    "Clients that send values by position must use the new order, unless data.features lists the "
    "old one."
)


@dataclass(frozen=True)
class CandidateEvaluation:
    """A candidate's metrics and verdicts, and the champion's metrics on the same test part."""

    candidate: Candidate
    test: Dataset
    evaluations: dict[str, PartEvaluation]
    """By part: "train", "validation" (if there is one) and "test"."""
    baseline: Baseline | None
    gate: list[Verdict]

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
            *gate.compare_with_majority(config.gate, metrics),
        ]
        return replace(self, baseline=baseline, gate=verdicts)

    def summary(self) -> str:
        """Return the test metrics, and each limit of the gate with the measured value."""
        measured = self.evaluations["test"]
        metrics, distinct = measured.metrics, measured.distinct_rows
        low, high = confidence_interval(metrics.accuracy, distinct)
        return (
            f"{metrics.accuracy:.2%} right on {len(self.test):,} held-out rows, "
            f"{distinct:,} of them distinct (95% confidence: {format_percent(low)} to "
            f"{format_percent(high)}), "
            f"log loss {metrics.log_loss:.4g}, calibration error {metrics.calibration_error:.2%}.\n"
            f"The gate:\n{format_verdicts(self.gate)}"
        )

    def make_record(self, forced: str | None = None) -> Record:
        """Return the record of this run for the published version's manifest."""
        candidate = self.candidate
        train, validation = candidate.splits.train, candidate.splits.validation
        return Record(
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
        features, classes = splits.train.features, sorted(splits.train.class_rows)
        _check_comparable(champion, features, classes)
        theirs = [feature.name for feature in champion.manifest.signature.features]
        if theirs != list(features):
            version = f"version {champion.manifest.version}"
            yield (f"The champion, {version}, has the same columns in another order. {_REORDERED}",)


def _check_size(config: RunConfig, splits: DataSplits, champion: Model | None) -> None:
    """Refuse layers that do not fit the data, or a version that readers would not accept."""
    features, classes = splits.train.features, sorted(splits.train.class_rows)
    try:
        hidden, input_shape = make_hidden_stack(config.network, len(features))
    except ValueError as error:
        raise ConfigurationError(
            f"The network does not fit the data: {error}. Nothing was trained."
        ) from error
    output = Dense(1 if len(classes) == 2 else len(classes))
    # The scaler decides in which type the version is published: assume the larger type.
    problem = version_files.find_exceeded_limit(
        _draft_record(config, splits, champion),
        [*hidden, output],
        input_shape,
        "float64",
        _SELF_TEST_ROWS,
    )
    if problem is not None:
        raise ConfigurationError(
            f"A version of this run could not be published: {problem}. The data has "
            f"{format_count(len(features), 'feature')} and {len(classes):,} classes. Nothing was "
            "trained. Choose fewer columns in data.features, data with fewer classes, or a smaller "
            "network."
        )


def _draft_record(config: RunConfig, splits: DataSplits, champion: Model | None) -> Record:
    """Return a record with as many values as the run's, each at least as long in JSON."""
    share, number, digest = 0.12345678901234567, -2.2250738585072014e-308, "0" * 64
    count = len(splits.train) + splits.test.size.rows + 10**9
    each = ClassMetrics(rows=count, precision=share, recall=share)
    names = sorted(splits.train.class_rows)
    metrics = Metrics(
        accuracy=share,
        log_loss=-number,
        calibration_error=share,
        classes=dict.fromkeys(names, each),
    )
    baseline = None
    if champion is not None:
        baseline = Baseline(version=10**9, manifest_sha256=digest, metrics=metrics)
    part = Part(rows=count, sha256=digest)
    return Record(
        signature=Signature(
            features=[Feature(name=n, min=number, max=number) for n in splits.train.features],
            classes=names,
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
            *gate.compare_with_majority(config.gate, metrics),
        ],
        baseline=baseline,
        forced="",
        config=config.model_dump(mode="json"),
        config_sha256=digest,
        lineage=Lineage(
            quadnet="", python="", platform="", cpu="", libraries={}, blas=[], threads=1, git=None
        ),
    )


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
        name: measure_model(candidate.predictor, part)
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
    signature = candidate.signature
    ours = [feature.name for feature in signature.features]
    _check_comparable(champion, ours, signature.classes)
    place = {name: i for i, name in enumerate(ours)}
    places = [place[feature.name] for feature in champion.manifest.signature.features]
    ordered = Dataset(test.features, test.X[:, places], test.target)
    return Baseline(
        version=champion.manifest.version,
        manifest_sha256=champion.digest,
        metrics=measure_model(champion.predictor, ordered).metrics,
    )


def _check_comparable(champion: Model, features: Sequence[str], classes: Sequence[str]) -> None:
    """Refuse other columns or classes than the champion's; their order does not matter."""
    signature = champion.manifest.signature
    compared = {
        "features": ([feature.name for feature in signature.features], features),
        "classes": (signature.classes, classes),
    }
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
