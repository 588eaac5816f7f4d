"""The purpose of a version and its limits, as far as its own data show them."""

from collections.abc import Iterator

import numpy as np

from pipeline.config.data_sections import DigitsData, FashionData, QuadrantsData
from pipeline.config.published_config import AnyConfig, PublishedConfig
from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.splits import count_distinct_rows_by_class
from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.evaluation.gate import compute_class_entropy
from pipeline.report import labels, numbers
from pipeline.report.ranges import describe_outside, ranges_of
from pipeline.training.weight_folding import describe_lost_digits
from pipeline.wording import (
    Sentence,
    UserText,
    confidence_interval,
    format_count,
    format_number,
    format_percent,
    join_names,
    make_sentence,
)
from quadnet.registry.manifest import Record
from quadnet.registry.metric_records import Metrics, as_class_metrics
from quadnet.types import FloatArray

_FEW_ROWS = 30
_FAR = 10.0
_ROWS_ASKED = 2000
_MISCALIBRATED = 0.02
_OVERFITTED = 0.02


def describe_purpose(evaluation: CandidateEvaluation, record: Record) -> list[Sentence]:
    """Return sentences on what the model is, what it was trained on, and its purpose."""
    gives: Sentence
    takes = "A neural network that takes "
    if record.encoder is None:
        takes += format_count(len(record.signature.features), "number")
    else:
        takes += format_count(len(record.encoder.columns), "column")
    n_classes = len(record.signature.classes)
    if record.signature.target is not None:
        target = UserText(record.signature.target.name)
        gives = make_sentence(f"{takes} and predicts the number ", target, ".")
    elif record.task == "multilabel":
        gives = make_sentence(f"{takes} and gives the probability of each of {n_classes:,} labels.")
    else:
        gives = make_sentence(
            f"{takes} and gives the probability of each of {n_classes:,} classes."
        )
    return [
        gives,
        (
            *_describe_origin(evaluation.candidate.config),
            " It is meant for rows of the same origin.",
        ),
    ]


def list_limits(evaluation: CandidateEvaluation, record: Record) -> Iterator[Sentence]:
    """Yield a sentence for each limit of the model that its data shows."""
    train = evaluation.candidate.splits.train
    yield from evaluation.candidate.splits.notices
    if isinstance(evaluation.candidate.config, RunConfig):
        yield from describe_lost_digits(evaluation.candidate.config, train)
    if record.task == "regression":
        yield from numbers.list_limits(evaluation, record)
    elif record.task == "multilabel":
        yield from labels.list_limits(evaluation, record)
    else:
        yield from _describe_labels(evaluation.candidate.config, train)
        yield make_sentence(
            f"{describe_outside(record)}, and its certainty is meaningless"
            f"{_describe_certainty_outside(evaluation)}.",
        )
        yield from _describe_classes(evaluation, record)
        yield from _describe_metrics(evaluation, record)
    yield from _describe_constants(record)
    origin = "The test part has the same origin as the training part: how"
    if isinstance(evaluation.candidate.config, PublishedConfig):
        origin = "How"
    yield make_sentence(
        f"{origin} well the model predicts data of another origin was not measured."
    )


def _describe_origin(config: AnyConfig) -> Sentence:
    if isinstance(config, PublishedConfig):
        return make_sentence(
            f"It was trained elsewhere, and published from {config.source} as a ",
            UserText(config.estimator.kind),
            ".",
        )
    data = config.data
    if isinstance(data, QuadrantsData):
        where = "at the quadrants' centres" if data.placement == "centres" else "at random"
        return make_sentence(
            f"It was trained on points {where} in the square from -1 to 1, labelled with their "
            "quadrant; a point on an axis has no quadrant.",
        )
    if isinstance(data, DigitsData):
        return make_sentence(
            "It was trained on scikit-learn's scans of handwritten digits: 8 x 8 pixels, upright, "
            "centred, one digit each.",
        )
    if isinstance(data, FashionData):
        return make_sentence(
            "It was trained on Fashion-MNIST: grey pictures of one piece of clothing each, 28 x 28 "
            "pixels from 0 to 1, upright, centred, light on black. The test part is the official "
            "one.",
        )
    return make_sentence(
        "It was trained on rows of the file ",
        UserText(data.path),
        ", whose column ",
        *join_names([UserText(name) for name in data.labels]),
        " is the label. The file does not tell what the rows stand for."
        if len(data.labels) == 1
        else " are the labels. The file does not tell what the rows stand for.",
    )


def _describe_labels(config: AnyConfig, train: Dataset) -> Iterator[Sentence]:
    data = None if isinstance(config, PublishedConfig) else config.data
    if isinstance(data, QuadrantsData) and data.label_noise:
        yield make_sentence(
            f"{format_percent(data.label_noise)} of the training points were given a wrong label "
            "on purpose; the test points were not.",
        )
        return
    # Equal rows have equal hashes, and a table of rows would be too large to sort.
    places, groups = np.unique(train.row_hashes(0), return_inverse=True)
    target = train.class_target
    lowest = np.full(len(places), len(target.classes))
    highest = np.full(len(places), -1)
    np.minimum.at(lowest, groups, target.codes)
    np.maximum.at(highest, groups, target.codes)
    contradicted = int((lowest != highest)[groups].sum())
    if contradicted:
        yield make_sentence(
            f"{format_count(contradicted, 'training row')} "
            f"({format_percent(contradicted / len(train))}) have the features of another row with "
            "another label: no prediction can be right for both.",
        )


def _describe_constants(record: Record) -> Iterator[Sentence]:
    features = record.signature.features
    repeated = set() if record.encoder is None else record.encoder.repeated_outputs
    constant = [UserText(f.name) for f in features if f.min == f.max and f.name not in repeated]
    if constant:
        rows = ranges_of(record)
        verb = "learnt" if rows == "training" else "measured"
        yield make_sentence(
            *join_names(constant),
            f" never varied in {rows}: the effect of another value was not {verb}.",
        )


def _describe_certainty_outside(evaluation: CandidateEvaluation) -> str:
    """Return how certain the network is far outside the training range."""
    X, train = evaluation.test.X[:_ROWS_ASKED], evaluation.candidate.example_rows.X
    low, high = train.min(axis=0), train.max(axis=0)
    with np.errstate(all="ignore"):
        middle: FloatArray = low / 2 + high / 2
        P = evaluation.candidate.classifier.probabilities(middle + _FAR * (X - middle))
    if not np.isfinite(P).all():
        return ""
    return (
        f": with test rows moved {_FAR:.0f} times as far from the middle of that range, it is "
        f"{format_percent(float(P.max(axis=1).mean()))} certain on average"
    )


def _describe_classes(evaluation: CandidateEvaluation, record: Record) -> Iterator[Sentence]:
    classes = as_class_metrics(record.metrics["test"]).classes
    distinct = count_distinct_rows_by_class(evaluation.test)
    unseen = [UserText(name) for name, measured in classes.items() if not measured.rows]
    if unseen:
        yield make_sentence(
            "No test row is of ", *join_names(unseen), ": its recall was not measured."
        )
    small = [(n, UserText(name)) for name, n in distinct.items() if 0 < n < _FEW_ROWS]
    if small:
        fewest = min(small)[0]
        yield make_sentence(
            f"Fewer than {_FEW_ROWS} test rows are of ",
            *join_names([name for _, name in sorted(small)]),
            f", without copies: with {format_count(fewest, 'row')}, one more mistake lowers a "
            f"recall by {100 / fewest:.3g} points.",
        )


def _describe_metrics(evaluation: CandidateEvaluation, record: Record) -> Iterator[Sentence]:
    test, rows = as_class_metrics(record.metrics["test"]), record.data.test.rows
    distinct = evaluation.evaluations["test"].distinct_rows
    low, high = confidence_interval(test.accuracy, distinct)
    yield make_sentence(
        f"Measured on {format_count(rows, 'row')}, {distinct:,} of them distinct, its accuracy on "
        f"new rows lies between {format_percent(low)} and {format_percent(high)} with a "
        "confidence of 95%.",
    )
    most = max(m.rows for m in test.classes.values())
    yield make_sentence(
        "Always predicting the most frequent class would be right on "
        f"{format_percent(most / rows)} of them. Always predicting each class's share of them "
        f"would have a log loss of {format_number(compute_class_entropy(test))}.",
    )
    if test.accuracy <= most / rows and test.log_loss >= compute_class_entropy(test):
        yield make_sentence("It is no better than always predicting the most frequent class.")
    train = record.metrics.get("train")
    if isinstance(train, Metrics) and train.accuracy - test.accuracy > _OVERFITTED:
        yield make_sentence(
            f"It is overfitted to some degree: it is right on "
            f"{format_percent(train.accuracy)} of the training rows, and on "
            f"{format_percent(test.accuracy)} of the test rows.",
        )
    if test.calibration_error > _MISCALIBRATED:
        bins = evaluation.test_classes.reliability
        surplus = sum(b.rows * (b.certainty - b.accuracy) for b in bins)
        yield make_sentence(
            f"Its certainties are off by {format_number(100 * test.calibration_error)} points on "
            f"average, and mostly too {'high' if surplus > 0 else 'low'}: do not use them as "
            "frequencies.",
        )
