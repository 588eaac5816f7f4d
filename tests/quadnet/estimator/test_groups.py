"""`groups` in `fit`: early stopping holds out whole groups."""

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, GroupKFold, GroupShuffleSplit

from quadnet import NeuralNetworkClassifier
from tests.support.oracle import fit

X, Y = load_iris(return_X_y=True)
GROUPS = np.random.default_rng(0).permutation(np.arange(150) % 12)
# Each row has its group as one more column, so that a scorer sees which rows it was given.
MARKED = np.c_[X, GROUPS]


class RecordingScorer:
    """A scorer that keeps the rows that it was called with."""

    def __init__(self):
        self.rows = []

    def __call__(self, estimator, X, y):
        self.rows.append(X)
        return estimator.score(X, y)


def held_out_groups(groups, **options):
    """Return the groups of the rows that were held out, and how many rows these were."""
    scorer = RecordingScorer()
    net = NeuralNetworkClassifier((4,), early_stopping=True, scoring=scorer, max_iter=2, **options)
    fit(net, MARKED, Y, groups=groups)
    held = scorer.rows[0]
    return set(held[:, -1].astype(int).tolist()), len(held)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_no_group_is_on_both_sides(seed, fraction):
    held, n_rows = held_out_groups(GROUPS, random_state=seed, validation_fraction=fraction)
    assert len(held) == np.ceil(fraction * 12)
    assert n_rows == np.isin(GROUPS, list(held)).sum()


def test_the_groups_are_those_of_group_shuffle_split():
    rng = np.random.RandomState(7)
    net = NeuralNetworkClassifier((), early_stopping=True, max_iter=1, random_state=rng)
    after_weights = np.random.RandomState(7)
    bound = np.sqrt(6 / (5 + 3))
    after_weights.uniform(-bound, bound, (5, 3))
    after_weights.uniform(-bound, bound, 3)
    splitter = GroupShuffleSplit(1, test_size=0.1, random_state=after_weights)
    _, held = next(splitter.split(MARKED, Y, GROUPS))
    scorer = RecordingScorer()
    fit(net.set_params(scoring=scorer), MARKED, Y, groups=GROUPS)
    np.testing.assert_array_equal(np.sort(scorer.rows[0], axis=0), np.sort(MARKED[held], axis=0))


@pytest.mark.parametrize(
    "convert", [list, lambda g: g.astype(str), lambda g: g.astype(object), lambda g: g / 2]
)
def test_groups_are_values_of_any_kind(convert):
    expected = held_out_groups(GROUPS, random_state=1)
    # As texts they have another order, so that another group is drawn.
    held, n_rows = held_out_groups(convert(GROUPS), random_state=1)
    assert len(held) == len(expected[0])
    assert n_rows == np.isin(GROUPS, list(held)).sum()


def test_without_groups_nothing_changes():
    nets = [
        NeuralNetworkClassifier((4,), early_stopping=True, max_iter=5, random_state=0)
        for _ in range(2)
    ]
    assert fit(nets[0], X, Y).loss_curve_ == fit(nets[1], X, Y, groups=None).loss_curve_


def test_a_search_passes_the_groups_of_each_fold():
    scorer = RecordingScorer()
    net = NeuralNetworkClassifier(
        (4,), early_stopping=True, scoring=scorer, max_iter=2, random_state=0
    )
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            net.set_fit_request(groups=True), {"alpha": [0.1, 1.0]}, cv=GroupKFold(3), n_jobs=1
        )
        fit(search, MARKED, Y, groups=GROUPS)
    assert search.best_score_ > 0
    for held in scorer.rows:
        for group in set(held[:, -1]):
            assert (held[:, -1] == group).sum() == (group == GROUPS).sum()


WRONG = {
    "length": (
        GROUPS[:-1],
        r"one entry for each row of X, the shape \(150,\)\. Got the .* \(149,\)",
    ),
    "columns": (np.c_[GROUPS, GROUPS], r"the shape \(150,\)\. Got the shape \(150, 2\)"),
    "one group": (np.full(150, "a"), "at least two groups.* Got 'a' for every row"),
    "mixed": ([*GROUPS[:-1], "a", None][-150:], "values of one kind, such as integers or strings"),
    "missing": ([*GROUPS[:-1].astype(float), np.nan], "Got NaN in row 149"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_groups_are_refused(case):
    groups, message = WRONG[case]
    groups = np.array(groups, object) if case == "mixed" else groups
    net = NeuralNetworkClassifier((4,), early_stopping=True)
    with pytest.raises(ValueError, match=message):
        net.fit(X, Y, groups=groups)
    assert not hasattr(net, "n_features_in_")


def test_groups_that_nothing_uses_are_refused():
    with pytest.raises(ValueError, match=r"groups with early_stopping=False\. Set early"):
        NeuralNetworkClassifier().fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match="groups with solver='lbfgs', which holds out no rows"):
        NeuralNetworkClassifier(early_stopping=True, solver="lbfgs").fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match="groups with X_val, which is held out"):
        NeuralNetworkClassifier(early_stopping=True).fit(X, Y, X_val=X, y_val=Y, groups=GROUPS)


def test_a_share_that_leaves_no_group_or_too_few_rows_is_refused():
    net = NeuralNetworkClassifier(early_stopping=True, validation_fraction=0.95)
    with pytest.raises(ValueError, match=r"0\.95 of 12 groups leaves no group to train on"):
        net.fit(X, Y, groups=GROUPS)
    alone = np.arange(150)
    with pytest.raises(ValueError, match="validation set is too small"):
        net.set_params(validation_fraction=0.001).fit(X, Y, groups=alone)
