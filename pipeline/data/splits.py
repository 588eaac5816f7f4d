"""The splits of a run's data: the training part, the validation part and the sealed test part."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config.run_config import FashionData, QuadrantsData, RunConfig
from pipeline.data.datasets import Dataset, load_dataset, make_test_points, make_training_points
from pipeline.data.fashion_mnist import load_fashion
from pipeline.wording import Sentence, UserText, format_count, join_names
from quadnet.errors import UnsuitableData, shorten
from quadnet.types import FloatArray, IntArray

FEWEST_DISTINCT_ROWS = 30
"""Fewer distinct rows are too few to evaluate a model on."""

_ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class PartSize:
    """The size of a part of the data: rows, distinct rows and classes.

    `wanted_share` is the configured share of the rows; None for generated rows and for an official
    test part.
    """

    rows: int
    distinct_rows: int
    n_classes: int
    missing_classes: tuple[str, ...]
    share: float = 1.0
    wanted_share: float | None = None

    @property
    def is_far_off(self) -> bool:
        """Whether the part's share of the rows is outside 0.5 to 1.5 times the wanted share."""
        wanted = self.wanted_share
        return wanted is not None and not 0.5 * wanted <= self.share <= 1.5 * wanted

    @property
    def has_many_copies(self) -> bool:
        """Whether the part has enough rows, but too few distinct ones."""
        return self.distinct_rows < FEWEST_DISTINCT_ROWS <= self.rows

    @property
    def is_small(self) -> bool:
        """Whether the part is too small to evaluate a model on."""
        return self.distinct_rows < FEWEST_DISTINCT_ROWS or bool(self.missing_classes)


class SealedTestPart:
    """The test part, which can be opened once, for the final evaluation. Its size is public."""

    def __init__(self, part: Dataset, size: PartSize | None = None) -> None:
        self._part: Dataset | None = part
        self.size = size or measure_size(part, part.class_rows)

    def open(self) -> Dataset:
        """Return the part. To open it twice is a programming error: nothing may be tuned on it."""
        assert self._part is not None, "the test part has already been opened"
        part, self._part = self._part, None
        return part


@dataclass(frozen=True)
class DataSplits:
    """The training part, the validation part if there is one, and the test part of a run's data.

    `notices` are warnings about the data, for the user.
    """

    train: Dataset
    validation: Dataset | None
    test: SealedTestPart
    notices: tuple[Sentence, ...] = ()


def make_splits(config: RunConfig) -> DataSplits:
    """Make or read the data, and split it.

    Raises
    ------
    UnsuitableData
        If a part has no rows, or shares rows with another part.
    FileUnusable
        If a file cannot be read.
    InvalidInput
        If a file is malformed.
    """
    data, seed, stratify = config.data, config.test.seed, config.test.stratify
    notices: tuple[Sentence, ...] = ()
    if isinstance(data, QuadrantsData):
        rest = make_training_points(data)
        assert config.test.points is not None
        test = make_test_points(data, config.test.points, seed)
        n_rows, share = len(test), None
        places = hash_rows(rest.X, seed)
    elif isinstance(data, FashionData):
        rest, test = load_fashion(data)
        n_rows, share = len(rest) + len(test), None
        places = hash_rows(rest.X, seed)
    else:
        everything = load_dataset(data, config.task)
        notices = everything.notices
        n_rows, share = len(everything), config.test.share
        assert share is not None
        places = hash_rows(everything.X, seed)
        chosen = choose_stratified_rows(everything, places, share) if stratify else places < share
        test, rest = everything.rows(chosen), everything.rows(~chosen)
        places = places[~chosen]
        if not stratify:
            # Stretch the rest of the unit interval to the whole of it, for the validation split.
            places = (places - share) / (1.0 - share)
    chosen = np.zeros(len(rest), np.bool_)
    if config.validation:
        held = choose_stratified_rows(rest, places, config.validation) if stratify else None
        chosen = places < config.validation if held is None else held
    train = rest.rows(~chosen)
    validation = rest.rows(chosen) if config.validation else None
    _check_splits(train, validation, test)
    size = measure_size(test, train.class_rows, len(test) / n_rows, share)
    notices += tuple(_describe_size("test", size))
    if validation is not None:
        held_out = measure_size(
            validation, train.class_rows, len(validation) / len(rest), config.validation
        )
        notices += tuple(_describe_size("validation", held_out))
    return DataSplits(train, validation, SealedTestPart(test, size), notices)


def measure_size(
    part: Dataset,
    classes: Iterable[str],
    share: float = 1.0,
    wanted_share: float | None = None,
) -> PartSize:
    """Return the size of a part of data with these classes."""
    names, rows = list(classes), part.class_rows
    missing = tuple(name for name in names if name not in rows)
    return PartSize(
        len(part), count_distinct_rows(part.X), len(names), missing, share, wanted_share
    )


def count_distinct_rows(X: FloatArray) -> int:
    """Return the number of distinct rows of X, of shape (n_rows, n_features)."""
    return len(np.unique(hash_rows(X, 0)))


def count_distinct_rows_by_class(part: Dataset) -> dict[str, int]:
    """Return the number of distinct rows of each class that has any."""
    target = part.class_target
    n_classes = len(target.classes)
    _, group_of = np.unique(hash_rows(part.X, 0), return_inverse=True)
    pairs = np.unique(group_of * n_classes + target.codes)
    counts = np.bincount(pairs % n_classes, minlength=n_classes).tolist()
    return {str(name): n for name, n in zip(target.classes, counts, strict=True) if n}


def choose_stratified_rows(part: Dataset, places: FloatArray, share: float) -> NDArray[np.bool_]:
    """Choose the share of each class's rows, as nearly as possible while equal rows stay together.

    Groups of equal rows are visited in the order of their hashes. A group is chosen as a whole if
    the classes then come nearer to their shares, by the sum of squared distances over expected
    counts. So the labels decide how many rows of each class are chosen, but never between two
    equal rows. At least one group of each class is not chosen, and at least one is chosen if the
    class has two.

    Parameters
    ----------
    part : Dataset
    places : ndarray of shape (n_rows,)
        Each row's hash, from `hash_rows`.
    share : float

    Returns
    -------
    ndarray of bool, shape (n_rows,)
    """
    _, group_of = np.unique(places, return_inverse=True)
    groups = _Groups(part, group_of, share)
    for group in range(len(groups.chosen)):
        if groups.gain(group) > 0:
            groups.choose(group)
    groups.choose_of_absent_classes()
    return groups.chosen[group_of]


class _Groups:
    """Groups of equal rows, and which of them are chosen for a part."""

    def __init__(self, part: Dataset, group_of: IntArray, share: float) -> None:
        target = part.class_target
        n_classes = len(target.classes)
        pairs, counts = np.unique(group_of * n_classes + target.codes, return_counts=True)
        groups, classes = np.divmod(pairs, n_classes)
        self._rows_of: list[list[tuple[int, int]]] = [[] for _ in range(groups[-1] + 1)]
        for group, code, n in zip(groups.tolist(), classes.tolist(), counts.tolist(), strict=True):
            self._rows_of[group].append((code, n))
        self.chosen = np.zeros(len(self._rows_of), np.bool_)
        totals = np.bincount(target.codes, minlength=n_classes)
        self._totals: list[int] = totals.tolist()
        self._lacking: list[float] = (share * totals).tolist()
        # For each class, the number of groups with it that are not chosen.
        self._left: list[int] = np.bincount(classes, minlength=n_classes).tolist()
        self._absent = {code for code, total in enumerate(self._totals) if total}
        self._with_class = groups, classes

    def gain(self, group: int) -> float:
        """Return how much nearer the part would come to its shares with this group."""
        return sum(
            n * (2.0 * self._lacking[code] - n) / self._totals[code]
            for code, n in self._rows_of[group]
        )

    def choose(self, group: int) -> None:
        """Choose the group, unless it is the last with one of its classes."""
        if any(self._left[code] < 2 for code, _ in self._rows_of[group]):
            return
        self.chosen[group] = True
        for code, n in self._rows_of[group]:
            self._lacking[code] -= n
            self._left[code] -= 1
            self._absent.discard(code)

    def choose_of_absent_classes(self) -> None:
        """Choose one group of each class that has no group yet: the one with the largest gain."""
        groups, classes = self._with_class
        for code in sorted(self._absent):
            for group in sorted(groups[classes == code].tolist(), key=self.gain, reverse=True):
                if code in self._absent:
                    self.choose(group)


def _describe_size(name: str, size: PartSize) -> Iterator[Sentence]:
    """Yield warnings about a part that is smaller than its number of rows suggests."""
    if size.is_far_off:
        text = f"The {name} part has {size.share:.1%} of the rows, not {size.wanted_share:.1%}: "
        distinct = format_count(size.distinct_rows, "distinct row")
        yield (f"{text}equal rows stay together, and it has {distinct}.",)
    elif size.distinct_rows < FEWEST_DISTINCT_ROWS and (name == "test" or size.has_many_copies):
        text = f"The {name} part has {format_count(size.distinct_rows, 'distinct row')}"
        yield (f"{text} ({size.rows:,} with copies): what is measured on it is uncertain.",)
    if size.missing_classes:
        names = [UserText(each) for each in size.missing_classes]
        yield (f"The {name} part has no row of ", *join_names(names), ".")


def hash_rows(X: FloatArray, seed: int) -> FloatArray:
    """Return a number in [0, 1) for each row of X (n_rows, n_features), by its values alone.

    Equal rows therefore stay in one part, and a row's part does not depend on other rows. Each
    value's bits go through the mixing function of SplitMix64 (Steele, Lea and Flood, 2014).
    """
    hashes = np.empty(len(X))
    # A few rows at a time: for many columns, copies of the whole table would be large, and values
    # that stay in the cache are mixed several times faster.
    for start in range(0, len(X), _ROWS_AT_A_TIME):
        block = X[start : start + _ROWS_AT_A_TIME]
        state = _mix_bits(np.full(len(block), seed, np.uint64))
        # Adding 0 gives -0.0 the same bits as 0.0, because the two are equal.
        for column in np.ascontiguousarray((block.astype("<f8") + 0.0).T):
            state = _mix_bits(state ^ column.view(np.uint64))
        hashes[start : start + _ROWS_AT_A_TIME] = state / 2.0**64
    return hashes


def _mix_bits(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _check_splits(train: Dataset, validation: Dataset | None, test: Dataset) -> None:
    named = {"train": train, "validation": validation, "test": test}
    parts = {name: part for name, part in named.items() if part is not None}
    for name, part in parts.items():
        if not len(part):
            sizes = ", ".join(f"{len(other):,} {what}" for what, other in parts.items())
            raise UnsuitableData(
                f"There are too few rows: the {name} part has 0 rows ({sizes}). Use more data, "
                "or change `validation` and `test.share`. If the data has many copies of few rows, "
                "set test.stratify = true."
            )
        unseen = sorted(part.class_rows.keys() - train.class_rows.keys())
        if unseen:
            raise UnsuitableData(
                f"The {name} part has rows of class {shorten(unseen[0])}, but the training part "
                f"({len(train):,} rows) has 0. Use more data, set test.stratify = true, or "
                "change test.seed."
            )
    for name in ("validation", "test"):
        common = _count_common_rows(train, parts[name]) if name in parts else 0
        if common:
            raise UnsuitableData(
                f"{common:,} rows of the {name} part are also in the training part, so the model "
                "cannot be evaluated on them. Remove the copies, or use other data."
            )


def _count_common_rows(one: Dataset, other: Dataset) -> int:
    """Return the number of rows of `other` whose features also occur in `one`."""
    # Comparing all rows themselves takes ten times as long where there are hundreds of columns.
    known, candidates = hash_rows(one.X, 0), hash_rows(other.X, 0)
    shared = np.isin(candidates, known)
    # Among billions of pairs, two different rows may have one hash: only equal rows count.
    rows = {row.tobytes() for row in one.X[np.isin(known, candidates[shared])] + 0.0}
    return sum(row.tobytes() in rows for row in other.X[shared] + 0.0)
