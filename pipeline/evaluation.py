"""Judging a trained network on the held-out part, and holding the result against the gate."""

from sklearn.metrics import accuracy_score, log_loss

from pipeline.config import Gate
from pipeline.datasets import Dataset
from quadnet.manifest import Verdict
from quadnet.predictor import Predictor


def evaluate(predictor: Predictor, part: Dataset) -> dict[str, float]:
    """Return each metric of the predictor on this part, by name."""
    probabilities = predictor.probabilities(part.X)
    predicted = predictor.classes[probabilities.argmax(axis=1)]
    return {
        "accuracy": float(accuracy_score(part.y, predicted)),
        "log_loss": float(log_loss(part.y, probabilities, labels=list(predictor.classes))),
    }


def judge(gate: Gate, metrics: dict[str, float]) -> list[Verdict]:
    """Return one verdict a limit: the metric must reach it."""
    return [
        Verdict(metric=name, limit=limit, value=metrics[name], passed=metrics[name] >= limit)
        for name, limit in gate.model_dump().items()
    ]
