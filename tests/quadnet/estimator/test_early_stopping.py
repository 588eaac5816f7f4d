"""Early stopping's held-out rows, where they lack classes or are few, and its scorers."""

import inspect
import warnings
from functools import partial

import numpy as np
import pytest
from sklearn import metrics
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer_names, make_scorer

from quadnet import NeuralNetworkClassifier
from tests.support.oracle import fit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
Y = np.array(["a", "b", "c", "d"])[np.r_[3, RNG.integers(0, 4, 119)]]
X_VAL = RNG.normal(size=(40, 4))
CLASSES = ["a", "b", "c", "d"]

COMPARING = {"average_precision", "d2_brier_score", "d2_log_loss_score", "roc_auc"} | {
    f"roc_auc_{way}{average}" for way in ("ovo", "ovr") for average in ("", "_weighted")
}
OF_PROBABILITIES = sorted(
    COMPARING & set(get_scorer_names()) | {"neg_log_loss", "neg_brier_score", "top_k_accuracy"}
)
if "labels" not in inspect.signature(metrics.brier_score_loss).parameters:
    OF_PROBABILITIES.remove("neg_brier_score")  # before 1.7 for two classes only


def scored(scoring, y, y_val, **options):
    """Return a network that scored rows labelled y_val for two epochs, and its last score."""
    net = NeuralNetworkClassifier(
        (4,),
        early_stopping=True,
        scoring=scoring,
        max_iter=2,
        learning_rate_init=0.1,
        random_state=0,
    )
    fit(net, X, y, X_val=X_VAL, y_val=y_val, **options)
    return net, net.best_validation_score_


def areas(y_val, scores, classes, metric=metrics.roc_auc_score):
    """Return the metric of each class that y_val has against the rest, and the class's share."""
    columns = [(y_val == label, scores[:, k]) for k, label in enumerate(classes)]
    columns = [(true, score) for true, score in columns if true.any()]
    return [metric(*column) for column in columns], [true.mean() for true, _ in columns]


@pytest.mark.parametrize("present", [("a", "b", "d"), ("b", "c"), ("c", "d", "a")])
def test_scorers_of_probabilities_do_without_a_class(present):
    y_val = np.array(present)[RNG.integers(0, len(present), 40)]

    def expected(scoring, net):
        P, precision = net.predict_proba(X_VAL), metrics.average_precision_score
        one_hot = (y_val[:, np.newaxis] == CLASSES).astype(float)
        each, shares = areas(y_val, P, CLASSES)
        best_two = np.argsort(P, axis=1)[:, -2:]
        return {
            "roc_auc_ovr": np.mean(each),
            "roc_auc_ovr_weighted": np.average(each, weights=shares),
            "average_precision": np.mean(
                areas(y_val, net.decision_function(X_VAL), CLASSES, precision)[0]
            ),
            "neg_log_loss": np.log(P[one_hot == 1]).mean(),
            "neg_brier_score": -((P - one_hot) ** 2).sum(axis=1).mean(),
            "top_k_accuracy": np.mean([CLASSES.index(y_val[i]) in best_two[i] for i in range(40)]),
        }.get(scoring)

    for scoring in OF_PROBABILITIES:
        if scoring == "roc_auc":
            continue  # for two classes only
        net, score = scored(scoring, Y, y_val)
        by_hand = expected(scoring, net)
        assert np.isfinite(score), scoring
        assert by_hand is None or score == pytest.approx(by_hand), scoring


def test_a_scorer_of_ones_own_gets_all_classes_too():
    y_val = np.array(["a", "c"])[np.arange(40) % 2]
    own = make_scorer(metrics.log_loss, greater_is_better=False, response_method="predict_proba")
    net, score = scored(own, Y, y_val)
    assert score == scored("neg_log_loss", Y, y_val)[1]
    assert score == -metrics.log_loss(y_val, net.predict_proba(X_VAL), labels=CLASSES)
    # What its maker has fixed stays.
    fixed = make_scorer(
        metrics.top_k_accuracy_score, response_method="predict_proba", k=4, labels=CLASSES
    )
    with pytest.warns(UndefinedMetricWarning, match="greater than or equal"):
        assert scored(fixed, Y, y_val)[1] == 1.0


@pytest.mark.parametrize("scoring", OF_PROBABILITIES)
@pytest.mark.parametrize("labels", [CLASSES, CLASSES[:2]])
def test_rows_of_one_class_are_scored_or_refused_in_words(scoring, labels):
    y = np.where(np.isin(Y, labels), Y, labels[0])
    y_val = np.full(40, "a")
    if scoring in COMPARING:
        with pytest.raises(ValueError, match=r"all held-out rows have the class 'a'"):
            scored(scoring, y, y_val)
    elif not (scoring == "top_k_accuracy" and len(labels) == 2):  # two of two are always right
        assert np.isfinite(scored(scoring, y, y_val)[1])


@pytest.mark.parametrize("scoring", [*OF_PROBABILITIES, "neg_brier_score"])
def test_two_classes_may_have_any_names(scoring):
    if scoring == "top_k_accuracy":
        pytest.skip("two of two classes are always right")
    y, y_val = Y > "b", RNG.integers(0, 2, 40) > 0
    names = np.array(["no", "yes"])
    score = scored(scoring, names[y.astype(int)], names[y_val.astype(int)])[1]
    assert score == scored(scoring, y.astype(int), y_val.astype(int))[1]


@pytest.mark.parametrize("scoring", ["roc_auc", "roc_auc_ovo", "roc_auc_ovr", "average_precision"])
def test_a_label_that_all_or_no_held_out_rows_have_does_not_count(scoring):
    targets = RNG.integers(0, 2, (120, 4))
    y_val = RNG.integers(0, 2, (40, 4))
    y_val[:, 1], y_val[:, 2] = 0, 1
    net, score = scored(scoring, targets, y_val)
    counted = [0, 3] if "roc" in scoring else [0, 2, 3]
    metric = metrics.roc_auc_score if "roc" in scoring else metrics.average_precision_score
    answers = net.decision_function(X_VAL)
    assert score == pytest.approx(np.mean([metric(y_val[:, k], answers[:, k]) for k in counted]))
    with pytest.raises(ValueError, match="There is no such label"):
        scored(scoring, targets, np.zeros((40, 4), int))


@pytest.mark.parametrize("scoring", [*OF_PROBABILITIES, "adjusted_rand_score", "accuracy"])
def test_weights_are_for_the_scorers_that_take_them(scoring):
    if scoring == "roc_auc":
        pytest.skip("for two classes only")
    y_val = np.array(["a", "b", "d"])[np.arange(40) % 3]
    # The rows of class b do not count.
    weights = np.where(y_val == "b", 0.0, 1.5)
    options = {"sample_weight": np.ones(120), "sample_weight_val": weights}
    unweighted = "ovo" in scoring or scoring == "adjusted_rand_score"
    other = np.where(y_val == "b", "a", y_val)
    same = scored(scoring, Y, y_val, **options)[1] == scored(scoring, Y, other, **options)[1]
    assert same != unweighted


@pytest.mark.parametrize("n_classes", [3, 5])
def test_held_out_rows_have_their_share_of_every_class(n_classes):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 3))
    y = rng.choice(n_classes, p=[0.5, 0.44] + [0.06 / (n_classes - 2)] * (n_classes - 2), size=400)
    y[:n_classes] = np.arange(n_classes)
    for seed in range(10):
        seen = []

        def scorer(estimator, X, y_held, seen=seen):
            seen.append(np.bincount(y_held, minlength=n_classes))
            return 0.0

        net = NeuralNetworkClassifier(
            (3,), early_stopping=True, scoring=scorer, validation_fraction=0.2, max_iter=1,
            random_state=seed,
        )  # fmt: skip
        fit(net, rows, y)
        assert (np.abs(seen[0] - 0.2 * np.bincount(y)) < 1).all()


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc_ovr", "average_precision", "loss"])
def test_a_rare_class_stops_no_fit(scoring):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 4))
    y = rng.choice(3, p=[0.5, 0.48, 0.02], size=400)
    once = np.where(np.arange(400) == 7, 3, y)  # a class of one row cannot be stratified
    for seed in range(4):
        for labels in (y, once):
            net = NeuralNetworkClassifier(
                early_stopping=True, scoring=scoring, max_iter=2, random_state=seed
            )
            fit(net, rows, labels)
            assert np.isfinite(net.best_validation_score_)


def test_many_classes_in_few_held_out_rows_are_no_regression():
    rng = np.random.default_rng(0)
    rows, y = rng.normal(size=(300, 3)), np.arange(300) % 100
    net = NeuralNetworkClassifier(
        early_stopping=True, scoring="neg_log_loss", max_iter=1, random_state=0
    )
    fit(net, rows, y)  # the tests make errors of warnings
    fit(net, rows, y, X_val=rows[:60], y_val=y[:60])
    assert np.isfinite(net.best_validation_score_)


@pytest.mark.parametrize("value", [None, "high", np.nan, [0.5, 0.6], np.array([0.5, 0.6]), 1j])
def test_a_score_must_be_a_number(value):
    with pytest.raises(ValueError, match=r"scoring must return a number\. Got"):
        scored(lambda net, X, y: value, Y, Y[:40])
    for number in (1, np.float32(0.5), True, np.True_, np.array(0.5)):
        assert scored(lambda net, X, y, number=number: number, Y, Y[:40])[1] == number


@pytest.mark.parametrize(
    ("scoring", "reason"),
    [("roc_auc", "multi_class must be in"), ("f1", "(Target is multiclass|pos_label=1 is not)")],
)
def test_a_scorer_unfit_for_the_labels_is_named(scoring, reason):
    with pytest.raises(ValueError, match=f"scoring='{scoring}' failed on the held-out.*{reason}"):
        scored(scoring, Y, Y[:40])


def test_a_metric_may_be_a_partial_function():
    y_val = np.array(["a", "c", "d"])[np.arange(40) % 3]
    for name, fixed in (("roc_auc_ovr", {"multi_class": "ovr"}), ("roc_auc_ovo", {})):
        metric = partial(metrics.roc_auc_score, **({"multi_class": "ovo"} | fixed))
        own = make_scorer(metric, response_method="predict_proba")
        assert scored(own, Y, y_val)[1] == scored(name, Y, y_val)[1]


def test_a_score_of_minus_infinity_in_every_epoch_is_refused():
    net = NeuralNetworkClassifier(
        early_stopping=True, scoring=lambda net, X, y: -np.inf, max_iter=3, random_state=0
    )
    with pytest.raises(ValueError, match=r"no epoch had a score above -inf"):
        fit(net, X, Y)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc_ovr", "average_precision"])
def test_two_labels_are_scored_as_two_labels_not_as_two_classes(scoring):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    Y = (X[:, :2] > [0, 0.5]).astype(int)
    net = NeuralNetworkClassifier(
        (4,), early_stopping=True, scoring=scoring, max_iter=1, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(X, Y, X_val=X, y_val=Y)
        P = net.predict_proba(X)
        expected = {
            "neg_log_loss": lambda: -metrics.log_loss(Y, P),
            "roc_auc_ovr": lambda: metrics.roc_auc_score(Y, P),
            "average_precision": lambda: metrics.average_precision_score(Y, P),
        }[scoring]()
    assert net.validation_scores_ == pytest.approx([expected], rel=1e-12)


@pytest.mark.parametrize("scoring", ["f1", "precision", "recall", "jaccard"])
def test_scorers_of_one_class_take_the_second_of_two_named_classes(scoring):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    net = NeuralNetworkClassifier(
        (3,), early_stopping=True, scoring=scoring, max_iter=3, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        named = net.fit(X, np.where(X[:, 0] > 0, "yes", "no")).validation_scores_
        numbered = net.fit(X, (X[:, 0] > 0).astype(int)).validation_scores_
    assert named == numbered
