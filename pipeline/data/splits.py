"""The splits of a run's data: the training part, the validation part and the sealed test part."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.config.data_sections import FashionData, QuadrantsData
from pipeline.config.held_out_rows import TestPart
from pipeline.config.run_config import RunConfig
from pipeline.config.table_data import TableData
from pipeline.data.columns.encoding_settings import make_settings
from pipeline.data.columns.kinds import ColumnDecision
from pipeline.data.columns.leakage import find_copies, find_leaks
from pipeline.data.columns.table_loading import LoadedTable, load_table, load_test_table
from pipeline.data.columns.times import find_later_rows
from pipeline.data.datasets import Dataset, load_dataset, make_test_points, make_training_points
from pipeline.data.fashion_mnist import load_fashion
from pipeline.data.files.raw_table import RawTable
from pipeline.data.row_hashes import hash_table
from pipeline.data.stratification import choose_stratified_rows
from pipeline.data.targets import ClassTarget
from pipeline.wording import Sentence, UserText, format_count, join_names
from quadnet.errors import UnsuitableData, shorten
from quadnet.tables.encoder import TableEncoder, fit_encoder
from quadnet.types import FloatArray

FEWEST_DISTINCT_ROWS = 30
"""Fewer distinct rows are too few to evaluate a model on."""


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
    data: TableData | None = None
    """The section `data` of a table, with all that was found out about the file."""
    decisions: tuple[ColumnDecision, ...] = ()
    """What each column of a table is, and why."""
    encoder: TableEncoder | None = None
    """Made X of a table's columns, by the statistics of the training part alone."""


@dataclass(frozen=True)
class _Parts:
    """The test rows and the rest, with the places that decide on the validation rows."""

    rest: Dataset
    test: Dataset
    places: FloatArray
    share: float | None = None
    """The configured share of the test rows, if there is one."""
    notices: tuple[Sentence, ...] = ()
    table: LoadedTable | None = None


def make_splits(config: RunConfig, *, table: RawTable | None = None) -> DataSplits:
    """Make or read the data, and split it.

    Parameters
    ----------
    config : RunConfig
    table : RawTable, optional
        The file of the configuration's table, if it has already been read.

    Raises
    ------
    UnsuitableData
        If a part has no rows, or shares rows with another part.
    FileUnusable
        If a file cannot be read.
    InvalidInput
        If a file is malformed.
    """
    parts = _read_parts(config, table)
    rest, test, notices = parts.rest, parts.test, parts.notices
    chosen = np.zeros(len(rest), np.bool_)
    if config.validation and config.test.stratify:
        chosen = choose_stratified_rows(rest, parts.places, config.validation)
    elif config.validation:
        chosen = parts.places < config.validation
    train = rest.rows(~chosen)
    validation = rest.rows(chosen) if config.validation else None
    notices += tuple(_check_splits(train, validation, test))
    encoder = None
    if parts.table is not None and train.table is not None:
        notices += (*find_leaks(train), *find_copies(train))
        encoder = fit_encoder(train.table, make_settings(parts.table.data))
        encoder = _accept_gaps(encoder, [part for part in (validation, test) if part is not None])
        train, test = train.encode(encoder), test.encode(encoder)
        validation = None if validation is None else validation.encode(encoder)
    size = measure_size(test, train.class_rows, len(test) / (len(rest) + len(test)), parts.share)
    notices += tuple(_describe_size("test", size))
    if validation is not None:
        held_out = measure_size(
            validation, train.class_rows, len(validation) / len(rest), config.validation
        )
        notices += tuple(_describe_size("validation", held_out))
    sealed = SealedTestPart(test, size)
    if parts.table is None:
        return DataSplits(train, validation, sealed, notices)
    data, decisions = parts.table.data, parts.table.decisions
    return DataSplits(train, validation, sealed, notices, data, decisions, encoder)


def _accept_gaps(encoder: TableEncoder, held_out: Sequence[Dataset]) -> TableEncoder:
    """Return the encoder, which fills gaps in columns that have some in held-out rows only.

    The model was judged on such rows. So a server must answer for them, and not refuse them as
    gaps that were never seen.
    """
    columns: list[Any] = []
    given: Any = encoder.columns
    for column in given:
        has_gaps = any(
            column.find_unseen_gaps(part.table[column.name]).any()
            for part in held_out
            if part.table is not None
        )
        columns.append(replace(column, gaps="filled") if has_gaps else column)
    return TableEncoder(tuple(columns))


def _read_parts(config: RunConfig, raw: RawTable | None) -> _Parts:
    """Make or read the data, and choose the test rows."""
    data, test, seed = config.data, config.test, config.test.seed
    if isinstance(data, QuadrantsData):
        points = make_training_points(data)
        assert test.points is not None
        test_points = make_test_points(data, test.points, seed)
        return _Parts(points, test_points, points.split_places(seed))
    if isinstance(data, FashionData):
        rest, official = load_fashion(data)
        return _Parts(rest, official, rest.split_places(seed))
    if not isinstance(data, TableData):
        rows = load_dataset(data, config.task)
        return _choose_share(rows, test, rows.notices)
    table = load_table(data, config.task, test, raw=raw)
    rows, notices = table.rows, table.notices
    if test.path is not None:
        others = load_test_table(table, test.path, config.task)
        return _Parts(
            rows, others.rows, rows.split_places(seed), None, notices + others.notices, table
        )
    if test.after is not None:
        later = find_later_rows(rows, test.after)
        rest = rows.rows(~later)
        return _Parts(rest, rows.rows(later), rest.split_places(seed), None, notices, table)
    return _choose_share(rows, test, notices, table)


def _choose_share(
    rows: Dataset, test: TestPart, notices: tuple[Sentence, ...], table: LoadedTable | None = None
) -> _Parts:
    """Choose the configured share of the rows."""
    assert test.share is not None
    places = rows.split_places(test.seed)
    if test.stratify:
        chosen = choose_stratified_rows(rows, places, test.share)
        left = places[~chosen]
    else:
        chosen = places < test.share
        # Stretch the rest of the unit interval to the whole of it, for the validation split.
        left = (places[~chosen] - test.share) / (1.0 - test.share)
    rest = rows.rows(~chosen)
    if rest.times is not None:
        left = rest.split_places(test.seed)
    return _Parts(rest, rows.rows(chosen), left, test.share, notices, table)


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
        len(part), len(np.unique(part.row_hashes(0))), len(names), missing, share, wanted_share
    )


def count_distinct_rows_by_class(part: Dataset) -> dict[str, int]:
    """Return the number of distinct rows of each class that has any."""
    target = part.class_target
    n_classes = len(target.classes)
    _, group_of = np.unique(part.row_hashes(0), return_inverse=True)
    pairs = np.unique(group_of * n_classes + target.codes)
    counts = np.bincount(pairs % n_classes, minlength=n_classes).tolist()
    return {str(name): n for name, n in zip(target.classes, counts, strict=True) if n}


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


def _check_splits(train: Dataset, validation: Dataset | None, test: Dataset) -> Iterator[Sentence]:
    """Yield warnings about rows that two parts share; raise UnsuitableData for unusable parts."""
    named = {"train": train, "validation": validation, "test": test}
    parts = {name: part for name, part in named.items() if part is not None}
    for name, part in parts.items():
        if not len(part):
            sizes = ", ".join(f"{len(other):,} {what}" for what, other in parts.items())
            raise UnsuitableData(
                f"There are too few rows: the {name} part has 0 rows ({sizes}). "
                f"{_advise_on_empty_part(list(parts.values()))}"
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
        if common and test.table is None:
            raise UnsuitableData(
                f"{common:,} rows of the {name} part are also in the training part, so the model "
                "cannot be evaluated on them. Remove the copies, or use other data."
            )
        if common:
            # Different customers may have equal rows, and so may different days.
            text = f"{format_count(common, 'row')} of the {len(parts[name]):,} of the {name} part"
            yield (f"{text} also occur in the training part.",)


def _advise_on_empty_part(parts: Sequence[Dataset]) -> str:
    """Return what to do if one of these parts of a dataset has no rows."""
    groups = [hash_table({"": part.groups}, 0) for part in parts if part.groups is not None]
    if groups:
        n_groups = format_count(len(np.unique(np.concatenate(groups))), "group")
        return f"The column of test.by has {n_groups}, each of which is in one part: use another."
    n_rows, n_classes = sum(map(len, parts)), len({c for part in parts for c in part.class_rows})
    if isinstance(parts[0].target, ClassTarget) and 2 * n_classes > n_rows:
        return (
            f"The label has {n_classes:,} classes in {n_rows:,} rows: expected several rows of "
            "each class."
        )
    return (
        "Use more data, or change `validation` and the section [test]. If the data has many copies "
        "of few rows, set test.stratify = true."
    )


def _count_common_rows(one: Dataset, other: Dataset) -> int:
    """Return the number of rows of `other` whose features also occur in `one`."""
    # Comparing all rows themselves takes ten times as long where there are hundreds of columns.
    known, candidates = one.row_hashes(0), other.row_hashes(0)
    shared = np.isin(candidates, known)
    if one.table is not None:
        return int(np.count_nonzero(shared))
    # Among billions of pairs, two different rows may have one hash: only equal rows count.
    rows = {row.tobytes() for row in one.X[np.isin(known, candidates[shared])] + 0.0}
    return sum(row.tobytes() in rows for row in other.X[shared] + 0.0)
