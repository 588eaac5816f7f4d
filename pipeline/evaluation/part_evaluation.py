"""Measure a predictor of any task on one part of the data."""

from pipeline.data.datasets import Dataset
from pipeline.evaluation.label_metrics import LabelsEvaluation, measure_labels
from pipeline.evaluation.model_metrics import PartEvaluation, measure_model
from pipeline.evaluation.number_metrics import NumberEvaluation, measure_numbers
from quadnet.nn.predictor import AnyPredictor, RegressionPredictor

AnyEvaluation = PartEvaluation | NumberEvaluation | LabelsEvaluation


def measure_part(predictor: AnyPredictor, part: Dataset) -> AnyEvaluation:
    """Measure the predictor on this part, whose target is of the predictor's task."""
    if isinstance(predictor, RegressionPredictor):
        return measure_numbers(predictor, part)
    if predictor.network.loss.multilabel:
        return measure_labels(predictor, part)
    return measure_model(predictor, part)
