"""What a version is meant for and where it must not be relied on, as its own data show."""

from collections.abc import Iterator

import numpy as np

from pipeline.config.run_config import DigitsData, QuadrantsData, RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.splits import distinct_rows_by_class, row_hashes
from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.evaluation.gate import class_entropy
from pipeline.training.weight_folding import describe_lost_digits
from pipeline.wording import Name, Sentence, counted, interval, listed, number, percent
from quadnet.registry.manifest import Record
from quadnet.types import FloatArray

_FEW_ROWS = 30
_FAR = 10.0
_ROWS_ASKED = 2000
_MISCALIBRATED = 0.02
_OVERFITTED = 0.02


def purpose(trial: CandidateEvaluation, record: Record) -> list[Sentence]:
    """Return what the model is, what it learnt from, and so what it is meant for."""
    n_features, n_classes = len(record.signature.features), len(record.signature.classes)
    return [
        _sentence(
            f"A neural network that takes {counted(n_features, 'number')} and gives the "
            f"probability of each of {n_classes:,} classes.",
        ),
        (*_origin(trial.candidate.config), " It is meant for rows that come from there too."),
    ]


def known(trial: CandidateEvaluation, record: Record) -> Iterator[Sentence]:
    """Yield what its data say against relying on it."""
    train = trial.candidate.parts.train
    yield from trial.candidate.parts.notices
    yield from describe_lost_digits(trial.candidate.config, train)
    yield from _of_the_labels(trial.candidate.config, train)
    yield from _of_the_range(trial, record)
    yield from _of_the_classes(trial, record)
    yield from _of_the_measures(trial, record)
    yield _sentence(
        "The test part comes from where the part to train on comes from: how the model fares on "
        "data of another origin was not measured.",
    )


def _origin(config: RunConfig) -> Sentence:
    data = config.data
    if isinstance(data, QuadrantsData):
        where = "at the quadrants' centres" if data.placement == "centres" else "at random"
        return _sentence(
            f"It learnt from points {where} in the square from -1 to 1, labelled with their "
            "quadrant; a point on an axis has none.",
        )
    if isinstance(data, DigitsData):
        return _sentence(
            "It learnt from scikit-learn's scans of handwritten digits: 8 x 8 pixels, upright, "
            "centred, one digit each.",
        )
    return _sentence(
        "It learnt from rows of the file ",
        Name(data.path),
        ", whose column ",
        Name(data.label),
        " is the label. What they stand for, this page cannot know.",
    )


def _of_the_labels(config: RunConfig, train: Dataset) -> Iterator[Sentence]:
    data = config.data
    if isinstance(data, QuadrantsData) and data.label_noise:
        yield _sentence(
            f"{percent(data.label_noise)} of the points to train on were given a wrong label on "
            "purpose; those to test by were not.",
        )
        return
    # Equal rows have equal hashes, and a table of rows would be too large to sort.
    places, numbers = np.unique(row_hashes(train.X, 0), return_inverse=True)
    labels = train.codes
    lowest = np.full(len(places), len(train.classes))
    highest = np.full(len(places), -1)
    np.minimum.at(lowest, numbers, labels)
    np.maximum.at(highest, numbers, labels)
    contradicted = int((lowest != highest)[numbers].sum())
    if contradicted:
        yield _sentence(
            f"{counted(contradicted, 'row')} to train on "
            f"({percent(contradicted / len(train))}) have the features of another row that is "
            "labelled otherwise: no answer can be right for both.",
        )


def _of_the_range(trial: CandidateEvaluation, record: Record) -> Iterator[Sentence]:
    features = record.signature.features
    yield _sentence(
        "Outside the range seen in training an answer is a guess, and its certainty means nothing"
        f"{_far_away(trial)}.",
    )
    constant = [Name(f.name) for f in features if f.min == f.max]
    if constant:
        yield _sentence(
            *listed(constant),
            " never varied in training: what another value of it means was not learnt.",
        )


def _far_away(trial: CandidateEvaluation) -> str:
    """Return how certain the network is where it has seen nothing."""
    X, train = trial.test.X[:_ROWS_ASKED], trial.candidate.parts.train.X
    low, high = train.min(axis=0), train.max(axis=0)
    with np.errstate(all="ignore"):
        middle: FloatArray = low / 2 + high / 2
        P = trial.candidate.predictor.probabilities(middle + _FAR * (X - middle))
    if not np.isfinite(P).all():
        return ""
    return (
        f": with test rows moved {_FAR:.0f} times as far from the middle of that range, it is "
        f"{percent(float(P.max(axis=1).mean()))} certain on the average"
    )


def _of_the_classes(trial: CandidateEvaluation, record: Record) -> Iterator[Sentence]:
    classes = record.metrics["test"].classes
    distinct = distinct_rows_by_class(trial.test)
    unseen = [Name(name) for name, measured in classes.items() if not measured.rows]
    if unseen:
        yield _sentence(
            "No test row is of ", *listed(unseen), ": how it is recognised was not measured."
        )
    small = [(n, Name(name)) for name, n in distinct.items() if 0 < n < _FEW_ROWS]
    if small:
        fewest = min(small)[0]
        yield _sentence(
            f"Fewer than {_FEW_ROWS} test rows are of ",
            *listed([name for _, name in sorted(small)]),
            f", without copies: with {counted(fewest, 'row')}, one more mistake lowers a recall by "
            f"{100 / fewest:.3g} points.",
        )


def _of_the_measures(trial: CandidateEvaluation, record: Record) -> Iterator[Sentence]:
    test, rows = record.metrics["test"], record.data.test.rows
    distinct = trial.evaluations["test"].distinct_rows
    low, high = interval(test.accuracy, distinct)
    yield _sentence(
        f"Measured on {counted(rows, 'row')}, {distinct:,} of them distinct, its accuracy on "
        f"further ones lies between {percent(low)} and {percent(high)} with a confidence of 95%.",
    )
    most = max(m.rows for m in test.classes.values())
    yield _sentence(
        f"Always giving the most frequent class would be right on {percent(most / rows)} of them; "
        f"always giving each class its share of them, the log loss {number(class_entropy(test))}.",
    )
    if test.accuracy <= most / rows and test.log_loss >= class_entropy(test):
        yield _sentence("It does no better than always giving the most frequent class.")
    train = record.metrics.get("train")
    if train is not None and train.accuracy - test.accuracy > _OVERFITTED:
        yield _sentence(
            f"It has learnt its own rows by heart to some degree: it is right on "
            f"{percent(train.accuracy)} of those it was trained on, and on "
            f"{percent(test.accuracy)} of those it was not.",
        )
    if test.calibration_error > _MISCALIBRATED:
        bins = trial.evaluations["test"].reliability
        surplus = sum(b.rows * (b.certainty - b.accuracy) for b in bins)
        yield _sentence(
            f"Its certainties are off by {number(100 * test.calibration_error)} points on the "
            f"average, and on the whole too {'high' if surplus > 0 else 'low'}: do not take them "
            "for frequencies.",
        )


def _sentence(*parts: str) -> Sentence:
    return parts
