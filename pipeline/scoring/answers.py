"""The answers that scoring adds to rows: of classes, of numbers, of several labels."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from pipeline.data.files.source import Kind
from pipeline.scoring.csv_output import CsvNumberOutput, CsvOutput
from pipeline.scoring.output import AddedColumns, AddedNumbers, NumberOutput, Output
from quadnet.nn.predictor import (
    AnyPredictor,
    Predictor,
    RegressionPredictor,
    choose_labels,
    find_middle,
)
from quadnet.registry.answer_names import list_added_names
from quadnet.registry.version_files import Model
from quadnet.types import BoolArray, FloatArray, IntArray

# Values of the widest layer in a batch: about the size of the processor's cache.
_BATCH_VALUES = 2**17


class Answers(Protocol):
    """Computes the answers for rows, and encodes them as the bytes of a file."""

    def begin(self) -> bytes:
        """Return the bytes before all rows."""

    def encode(self, rows: Any, X: FloatArray) -> tuple[bytes, int]:
        """Return the rows with their answers, and the number of rows without an answer."""

    def end(self, read: Callable[[int, int], bytes], n_bytes: int) -> bytes:
        """Return the bytes after all rows, as `Output.end` does."""


def list_added_columns(model: Model) -> list[str]:
    """Return the names of the columns that scoring with this version adds.

    For classes they are the label and its certainty; for numbers the value and its quantiles, such
    as ``quantile_0.05``; for several labels ``label_NAME``, which is 0 or 1, and
    ``probability_NAME`` of each. The last one is the version.
    """
    predictor = model.predictor
    return list_added_names(
        classes=model.manifest.signature.classes,
        quantiles=predictor.quantiles if isinstance(predictor, RegressionPredictor) else (),
        multilabel=model.manifest.task == "multilabel",
    )


def make_answers(model: Model, reader: Any, kind: Kind, names: tuple[str, ...]) -> Answers:
    """Return the answers of this version for the rows of an open file.

    Parameters
    ----------
    model : Model
    reader : Source
    kind : "csv" or "parquet"
    names : tuple of str
        The names of the added columns.
    """
    version = model.manifest.version
    if model.manifest.task == "classification":
        added = AddedColumns(names, tuple(model.manifest.signature.classes), version)
        return _ClassAnswers(model.classifier, _make_output(reader, kind, added))
    whole = frozenset[int]()
    if model.manifest.task == "multilabel":
        whole = frozenset(range(0, len(names) - 1, 2))
    numbers = _make_number_output(reader, kind, AddedNumbers(names, whole, version))
    return _NumberAnswers(model.predictor, numbers)


class _ClassAnswers:
    """A label and its certainty for each row."""

    def __init__(self, predictor: Predictor, output: Output) -> None:
        self._predictor, self._output = predictor, output
        self.begin, self.end = output.begin, output.end

    def encode(self, rows: Any, X: FloatArray) -> tuple[bytes, int]:
        """Return the rows with their answers, and the number of rows without an answer."""
        winners, certainties = predict_rows(self._predictor, X)
        content = self._output.encode(rows, winners, certainties)
        return content, int(np.count_nonzero(winners < 0))


class _NumberAnswers:
    """Numbers for each row: values and quantiles, or labels and probabilities."""

    def __init__(self, predictor: AnyPredictor, output: NumberOutput) -> None:
        self._predictor, self._output = predictor, output
        self.begin, self.end = output.begin, output.end

    def encode(self, rows: Any, X: FloatArray) -> tuple[bytes, int]:
        """Return the rows with their answers, and the number of rows without an answer."""
        values = predict_columns(self._predictor, X)
        answered: BoolArray = np.all(np.isfinite(values), axis=1)
        content = self._output.encode(rows, values, answered)
        return content, int(len(X) - np.count_nonzero(answered))


def predict_columns(predictor: AnyPredictor, X: FloatArray) -> FloatArray:
    """Return the numbers of each row, of shape (n_rows, n_columns).

    They are the value and the quantiles, if there are any; or of each label whether the row has it,
    0 or 1, and its probability. The network runs only once.
    """
    step = max(1, _BATCH_VALUES // predictor.network.widest)
    parts = []
    for begin in range(0, max(1, len(X)), step):
        with np.errstate(all="ignore"):
            part = X[begin : begin + step].astype(predictor.dtype)
            if isinstance(predictor, RegressionPredictor):
                numbers = predictor.outputs(part)
                if predictor.quantiles:
                    middle = find_middle(predictor.quantiles)
                    numbers = np.hstack([numbers[:, [middle]], numbers])
                parts.append(numbers)
            else:
                network = predictor.network
                Z = network.logits(part)
                labels = choose_labels(Z, predictor.classes, multilabel=True)
                P = network.loss.probabilities(np.ascontiguousarray(Z.T)).T
                pairs = np.stack([labels.astype(P.dtype), P], axis=2)
                parts.append(pairs.reshape(len(part), -1))
    values: FloatArray = np.concatenate(parts)
    return values


def predict_rows(predictor: Predictor, X: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return the index of each row's class, and that class's probability.

    The class is the one that the predictor chooses by the logits, and the network runs only once.
    A row whose values overflow in the network gets the index -1 and the probability NaN.
    """
    network, n_classes = predictor.network, len(predictor.classes)
    step = max(1, _BATCH_VALUES // network.widest)
    winners, certainties = np.empty(len(X), np.intp), np.ones(len(X), predictor.dtype)
    for begin in range(0, len(X), step):
        part = slice(begin, begin + step)
        with np.errstate(all="ignore"):
            Z = network.logits(X[part].astype(predictor.dtype))
            chosen = choose_labels(Z, np.arange(n_classes), multilabel=network.loss.multilabel)
            winners[part] = chosen
            if n_classes > 1:
                # The losses are several times faster on contiguous rows than on columns.
                P = network.loss.probabilities(np.ascontiguousarray(Z.T))
                certainties[part] = P[chosen, np.arange(len(chosen))]
    winners[np.isnan(certainties)] = -1
    return winners, certainties


def _make_output(reader: Any, kind: Kind, added: AddedColumns) -> Output:
    if kind == "parquet":
        from pipeline.scoring.parquet_output import ParquetOutput

        return ParquetOutput(reader, added)
    return CsvOutput(reader, added)


def _make_number_output(reader: Any, kind: Kind, added: AddedNumbers) -> NumberOutput:
    if kind == "parquet":
        from pipeline.scoring.parquet_output import ParquetNumberOutput

        return ParquetNumberOutput(reader, added)
    return CsvNumberOutput(reader, added)
