"""Datasets and splits: training rows are never test rows."""

from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from pipeline.config.presets import load_preset
from pipeline.data import datasets
from pipeline.data.datasets import Dataset
from pipeline.data.row_hashes import hash_rows
from pipeline.data.splits import (
    _check_splits,
    count_distinct_rows_by_class,
    make_splits,
    measure_size,
)
from pipeline.data.stratification import choose_stratified_rows
from pipeline.data.targets import ClassTarget
from quadnet import quadrants
from quadnet.errors import UnsuitableData


def make_preset_splits(name, *changes):
    return make_splits(load_preset(name, ["validation=0", "calibrate=false", *changes]))


def test_centres_are_the_four_points_and_draws_pick_among_them():
    train = make_preset_splits("article-1").train
    points, counts = np.unique(train.X, axis=0, return_counts=True)
    assert points.tolist() == [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]
    assert counts.sum() == 10_000
    assert counts.min() > 2300


@pytest.mark.parametrize(("train_seed", "test_seed"), [(0, 0), (1, 1), (0, 1), (1, 0)])
def test_points_to_be_judged_by_are_never_trained_on(train_seed, test_seed):
    own = make_preset_splits(
        "quadrants", f"data.seed={train_seed}", f"test.seed={test_seed}", "validation=0.3"
    )
    train, validation, test = (
        {tuple(x) for x in part.X} for part in (own.train, own.validation, own.test.open())
    )
    assert train.isdisjoint(test)
    assert validation.isdisjoint(test | train)
    assert len(train) + len(validation) == 50_000
    assert len(validation) == pytest.approx(15_000, rel=0.05)


def test_the_test_part_is_read_once():
    own = make_preset_splits("quadrants", "data.points=100")
    own.test.open()
    with pytest.raises(AssertionError, match="has already been opened"):
        own.test.open()


def test_scans_put_aside_are_a_fifth_and_not_trained_on():
    own = make_preset_splits("digits", "validation=0.1")
    train, validation, test = own.train, own.validation, own.test.open()
    assert len(train.y) + len(validation.y) + len(test.y) == 1797
    assert len(test.y) == pytest.approx(360, rel=0.1)
    assert len(validation.y) == pytest.approx(144, rel=0.15)
    assert {x.tobytes() for x in train.X}.isdisjoint(x.tobytes() for x in test.X)
    assert set(test.y) == set("0123456789")
    assert train.features[:2] == ("pixel_0_0", "pixel_0_1")


def test_a_row_stays_in_its_part_whatever_is_around_it():
    X = np.random.default_rng(0).normal(size=(1000, 3))
    places = hash_rows(X, seed=4)
    np.testing.assert_array_equal(hash_rows(X[200:300], seed=4), places[200:300])
    shuffled = np.random.default_rng(1).permutation(1000)
    np.testing.assert_array_equal(hash_rows(X[shuffled], seed=4), places[shuffled])
    assert not np.allclose(hash_rows(X, seed=5), places)


def test_places_are_spread_evenly_and_depend_on_every_column():
    X = np.random.default_rng(0).normal(size=(20_000, 3))
    places = hash_rows(X, seed=0)
    counts, _ = np.histogram(places, bins=20, range=(0, 1))
    # 1,000 expected in each, give or take 31: six standard deviations.
    assert np.abs(counts - 1000).max() < 190
    assert places.max() < 1
    for column in range(3):
        moved = X.copy()
        moved[:, column] = np.nextafter(moved[:, column], 9)
        others = hash_rows(moved, seed=0)
        assert abs(np.corrcoef(places, others)[0, 1]) < 0.05
    np.testing.assert_array_equal(hash_rows(X[:, ::-1], 0)[:5] == places[:5], [False] * 5)


def test_minus_zero_is_zero_to_the_split():
    assert len(set(hash_rows(np.array([[0.0, 1.0], [-0.0, 1.0]]), seed=0))) == 1


def test_the_same_hashes_on_every_machine():
    # Worked by hand for one value with Python's unbounded integers.
    def mixed(state):
        mask = 2**64 - 1
        state = (state + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        return state ^ (state >> 31)

    bits = int(np.array(0.5).view(np.uint64))
    assert hash_rows(np.array([[0.5]]), seed=7)[0] == mixed(mixed(7) ^ bits) / 2.0**64


def make_table_with_copies(seed, rows=2000, kinds=6, rare=0.05):
    """Return rows with many copies, in two common classes and a rare third class."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, kinds, (rows, 3)).astype(float)
    y = np.where(rng.random(rows) < 0.2 + 0.1 * X[:, 0], "yes", "no")
    y[rng.random(rows) < rare] = "rare"
    return Dataset(("a", "b", "c"), X, ClassTarget.from_labels(y))


def as_rows(part):
    return {tuple(x) for x in part.X}


@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
@pytest.mark.parametrize("seed", range(4))
def test_a_stratified_part_has_its_share_of_each_class_and_whole_groups(seed, share):
    data = make_table_with_copies(seed)
    chosen = choose_stratified_rows(data, hash_rows(data.X, seed), share)
    one, other = data.rows(chosen), data.rows(~chosen)
    assert as_rows(one).isdisjoint(as_rows(other))
    assert len(one) / len(data) == pytest.approx(share, abs=0.02)
    for name, n in data.class_rows.items():
        assert one.class_rows[name] / n == pytest.approx(share, abs=0.08)
    # The split depends only on the rows' values, not on their order or the labels' names.
    order = np.random.default_rng(9).permutation(len(data))
    again = Dataset(
        data.features, data.X[order], ClassTarget.from_labels(np.char.add("k-", data.y[order]))
    )
    found = choose_stratified_rows(again, hash_rows(again.X, seed), share)
    np.testing.assert_array_equal(found, chosen[order])


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_every_class_of_two_distinct_rows_is_in_both_stratified_parts(share):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    y = np.array(["a"] * 100 + ["b"] * 17 + ["c"] * 2 + ["d"])
    data = Dataset(("x", "y"), X, ClassTarget.from_labels(y))
    chosen = choose_stratified_rows(data, hash_rows(X, 0), share)
    assert {"a", "b", "c"} <= set(y[chosen])
    assert {"a", "b", "c", "d"} == set(y[~chosen])


def test_distinct_rows_are_as_evenly_split_as_scikit_learn_splits_them():
    X = np.random.default_rng(0).normal(size=(1000, 3))
    y = np.repeat(["a", "b", "c"], [700, 280, 20])
    chosen = choose_stratified_rows(
        Dataset(tuple("xyz"), X, ClassTarget.from_labels(y)), hash_rows(X, 0), 0.2
    )
    _, test = train_test_split(y, test_size=0.2, stratify=y, random_state=0)
    assert Counter(y[chosen].tolist()) == Counter(test.tolist())


def test_a_huge_group_of_equal_rows_stays_on_the_larger_side():
    X = np.r_[np.zeros(600), np.arange(1.0, 401)][:, np.newaxis]
    data = Dataset(("x",), X, ClassTarget.from_labels(np.tile(["a", "b"], 500)))
    for seed in range(10):
        chosen = choose_stratified_rows(data, hash_rows(X, seed), 0.1)
        assert not chosen[:600].any()
        assert chosen.sum() == 100


def test_a_parts_size_counts_distinct_rows_and_missing_classes():
    part = Dataset(
        ("x",),
        np.array([[1.0], [1.0], [-0.0], [0.0]]),
        ClassTarget.from_labels(["a", "b", "a", "a"]),
    )
    size = measure_size(part, ["a", "b", "c"], 0.01, 0.2)
    assert (size.rows, size.distinct_rows, size.missing_classes) == (4, 2, ("c",))
    assert (size.is_small, size.is_far_off) == (True, True)
    assert count_distinct_rows_by_class(part) == {"a": 2, "b": 1}


def test_the_margin_keeps_points_to_train_on_away_from_the_axes():
    own = make_preset_splits("quadrants", "data.margin=0.2")
    assert np.abs(own.train.X).min() >= 0.2
    assert np.abs(own.train.X).max() < 1
    assert np.abs(own.test.open().X).min() < 0.001
    plain = make_preset_splits("quadrants")
    np.testing.assert_array_equal(np.sign(plain.train.X), np.sign(own.train.X))


def test_label_noise_has_its_share_and_only_in_training():
    own = make_preset_splits("quadrants", "data.label_noise=0.25")
    truth = quadrants.label_quadrants(own.train.X)
    assert (own.train.y != truth).mean() == pytest.approx(0.25, abs=0.01)
    for name in quadrants.NAMES:
        taken_for, counts = np.unique(own.train.y[truth == name], return_counts=True)
        assert len(taken_for) == 4
        wrong = counts[taken_for != name] / counts.sum()
        np.testing.assert_allclose(wrong, 0.25 / 3, atol=0.01)
    test = own.test.open()
    np.testing.assert_array_equal(test.y, quadrants.label_quadrants(test.X))
    np.testing.assert_array_equal(own.train.X, make_preset_splits("quadrants").train.X)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.points=4", "validation=0.01"], "the validation part has 0 rows"),
        (["data.points=6", "validation=0.5"], "but the training part"),
    ],
)
def test_too_few_rows_are_reported(changes, message):
    with pytest.raises(UnsuitableData, match=message):
        make_preset_splits("quadrants", *changes)


def test_rows_in_common_are_refused():
    part = Dataset(
        ("x",), np.array([[1.0], [2.0], [-0.0]]), ClassTarget.from_labels(["a", "b", "a"])
    )
    other = Dataset(("x",), np.array([[3.0], [0.0]]), ClassTarget.from_labels(["a", "a"]))
    with pytest.raises(
        UnsuitableData, match="1 rows of the test part are also in the training part"
    ):
        list(_check_splits(part, None, other))


def test_the_digest_of_a_dataset_follows_its_content():
    part = make_preset_splits("quadrants", "data.points=100").train
    assert part.sha256() == make_preset_splits("quadrants", "data.points=100").train.sha256()
    moved = part.X.copy()
    moved[3, 1] = np.nextafter(moved[3, 1], 2)
    assert datasets.Dataset(part.features, moved, part.target).sha256() != part.sha256()
    swapped = part.y.copy()
    swapped[0] = "I" if swapped[0] != "I" else "II"
    assert (
        datasets.Dataset(part.features, part.X, ClassTarget.from_labels(swapped)).sha256()
        != part.sha256()
    )
