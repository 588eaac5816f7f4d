"""Evaluations to report on, with arbitrary names and sizes, of networks that are not trained."""

import numpy as np

from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.splits import DataSplits, SealedTestPart
from pipeline.data.targets import ClassTarget
from pipeline.evaluation.candidate_evaluation import evaluate_candidate
from pipeline.training.candidate_training import Candidate, resolve_config
from pipeline.training.provenance import collect_lineage
from quadnet.nn.network import Network
from quadnet.nn.predictor import Predictor
from quadnet.registry.manifest import Folded, Training

HOSTILE = [
    "<script>alert(1)</script>",
    "</title></style><img src=x onerror=alert(1)>",
    "$x^2$ \\frac",
    "a|b\\|c",
    "two\nlines\r\n| --- |",
    "# not a *heading* `code` ``two`` _u_ ~~s~~",
    "[link](javascript:alert(1)) ![](http://evil.example/x.png)",
    "www.evil.example me@evil.example https://evil.example",
    "&amp; &lt;b&gt; \" ' {{7*7}} ${title} %s",
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd",
    "\u4e2d\u6587 \U0001f9ee \ufffe \ue000 \x00 \x1b[31m",
    " ",
    "x" * 500,
]
"""Names that are chosen to break a page."""


def shown_name(name):
    """Return the name as a page shows it, with invisible characters as escapes."""
    escapes = {
        c: c.encode("unicode_escape").decode() for c in "\n\r\x00\x1b\u202c\u202e\ue000\ufffe"
    }
    return name.translate(str.maketrans(escapes)) if name.strip() else repr(name)


def make_evaluation(
    features,
    classes,
    *,
    rows=300,
    epochs=(),
    predictor=None,
    mistakes=True,
    scale=1.0,
    offset=0.0,
    changes=None,
):
    """Return the evaluation of a linear network of random weights, right on most rows."""
    rng = np.random.default_rng(0)
    classes = sorted(classes)
    X = offset + scale * np.clip(rng.normal(size=(2 * rows, len(features))), -1.79, 1.79)
    predictor = predictor or _linear(rng, len(features), classes)
    y = predictor.predict(X)
    if mistakes:
        y[::7] = rng.choice(classes, len(y[::7]))
        y[: len(classes)] = classes
    train, test = (
        Dataset(tuple(features), X[i::2], ClassTarget.from_labels(y[i::2])) for i in (0, 1)
    )
    config = {
        "name": "strange",
        "data": {"kind": "csv", "path": "<b>|*a*|</b>.csv", "label": "$y$"},
        "gate": {"accuracy": 0.5, "recall": 0.0},
    } | (changes or {})
    return evaluate_candidate(
        Candidate(
            config=resolve_config(RunConfig.model_validate(config)),
            predictor=predictor,
            splits=DataSplits(train, None, SealedTestPart(test)),
            folded=Folded(),
            training=Training(
                epochs=len(epochs),
                updates=1,
                best_epoch=len(epochs),
                stop_reason="max_iter",
                loss=0.5,
                seconds=0.1,
            ),
            epochs=list(epochs),
            lineage=collect_lineage(),
        )
    )


def _linear(rng, n_features, classes):
    # One output for two classes, as in the estimator.
    n_outputs, loss = len(classes), "softmax_cross_entropy"
    if n_outputs == 2:
        n_outputs, loss = 1, "sigmoid_cross_entropy"
    network = Network.dense([n_features, n_outputs], activations=[], loss=loss)
    network.parameters.weights[0][:] = 3 * rng.normal(size=(n_features, n_outputs))
    return Predictor(network, classes)
