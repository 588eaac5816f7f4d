"""Refuse, before training, a run whose model could not be published."""

from collections.abc import Iterator

import numpy as np

from pipeline.config.layer_stacks import make_hidden_stack
from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.splits import FEWEST_DISTINCT_ROWS, DataSplits, PartSize
from pipeline.data.targets import LabelsTarget
from pipeline.evaluation import gate
from pipeline.evaluation.champion import check_comparable, encode_for
from pipeline.evaluation.gate import judge_candidate
from pipeline.training.candidate_training import count_quantiles, target_name
from pipeline.training.weight_folding import describe_lost_digits
from pipeline.wording import Sentence, format_count
from quadnet.errors import ConfigurationError, GateFailed, shorten
from quadnet.nn.layers.dense import Dense
from quadnet.registry import version_files
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

_SELF_TEST_ROWS = 40
"""At least as many rows as a version's self-test has."""

_SOME_ROWS = 1000
"""Enough rows to show whether the champion takes columns of these kinds."""

_REORDERED = (
    "Clients that send values by position must use the new order, unless data.features lists the "
    "old one."
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
        raise GateFailed(
            f"{describe_small_part(splits.test.size)} Nothing was trained. Use more data, set "
            "test.stratify = true to choose rows by class, or increase test.share or test.points. "
            "To accept this test part, set test.allow_small = true."
        )
    if champion is not None and config.gate.champion:
        columns = splits.train.columns
        check_comparable(champion, config, columns, _list_classes(splits.train))
        encode_for(champion, splits.train.rows(np.arange(len(splits.train)) < _SOME_ROWS))
        # A version with an encoder takes its columns by name.
        if splits.encoder is None and champion.manifest.columns != [*columns]:
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


def describe_small_part(size: PartSize) -> str:
    """Return what was expected of a test part that is too small, and what was found."""
    lacks = f"It has {format_count(size.distinct_rows, 'distinct row')} ({size.rows:,} with copies)"
    if size.missing_classes:
        lacks += f" and no row of the class {shorten(size.missing_classes[0])}"
    return (
        "The test part is too small: expected at least "
        f"{FEWEST_DISTINCT_ROWS} distinct rows, and one of each class. {lacks}."
    )
