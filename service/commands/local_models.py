"""The models of a registry, which this process reads and computes: without a server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.model_names import CHAMPION
from quadnet.nn.predictor import RegressionPredictor
from quadnet.nn.row_slices import choose_values, compute_answers, row_slices
from quadnet.registry import Registry
from quadnet.registry.version_files import Model
from quadnet.tables.table_reading import read_columns
from quadnet.types import FloatArray
from service.client.model_description import ModelDescription
from service.client.predictions import Predictions, join_predictions
from service.client.row_tensors import stack_numbers


class LocalModels:
    """Describes models and predicts with them, as `ModelClient` does with a server.

    Parameters
    ----------
    root : Path
        The directory of the registry.
    """

    def __init__(self, root: Path) -> None:
        self._registry = Registry(root)
        self._models: dict[tuple[str, int], Model] = {}

    def describe(
        self, model: str, *, version: int | None = None, alias: str = ""
    ) -> ModelDescription:
        """Return the columns that a version takes."""
        found = self._load(model, version, alias)
        manifest, predictor = found.manifest, found.predictor
        classes = tuple(manifest.signature.classes)
        kinds = dict.fromkeys(manifest.columns, "number")
        if found.encoder is not None:
            kinds = {column.name: column.kind for column in found.encoder.columns}
        quantiles = predictor.quantiles if isinstance(predictor, RegressionPredictor) else ()
        return ModelDescription(
            model=manifest.model,
            version=manifest.version,
            versions=tuple(self._registry.versions(manifest.model)),
            digest=found.digest,
            columns=kinds,
            has_encoder=found.encoder is not None,
            outputs=_list_outputs(
                len(classes), len(quantiles), multilabel=manifest.task == "multilabel"
            ),
            classes=classes,
            quantiles=tuple(quantiles),
        )

    def predict(
        self, model: str, rows: Any, *, version: int | None = None, alias: str = ""
    ) -> Predictions:
        """Return a version's answers for columns by their names.

        Raises
        ------
        InvalidInput
            If a value is of another kind, or has no meaning to the model. The message names the
            column and the row.
        """
        described = self.describe(model, version=version, alias=alias)
        found = self._load(model, version, alias)
        table = read_columns(rows, described.columns)
        unknown: dict[str, int] = {}
        if found.encoder is None:
            X = stack_numbers(table)
        else:
            found.encoder.refuse_unseen_gaps(table)
            X = found.encoder.transform(table)
            counts = found.encoder.count_unknown(table)
            unknown = {name: count for name, count in counts.items() if count}
        return join_predictions(list(_compute(found, X)), described, unknown)

    def _load(self, model: str, version: int | None, alias: str) -> Model:
        number = self._registry.resolve(f"{model}:{version or alias or CHAMPION}")
        if number not in self._models:
            self._models[number] = self._registry.load(*number)
        return self._models[number]


def _list_outputs(
    n_classes: int, n_quantiles: int, *, multilabel: bool
) -> dict[str, tuple[int, ...]]:
    """Return the sizes of each output of the protocol; -1 stands for the number of rows."""
    if not n_classes:
        return {"value": (-1,)} | ({"quantiles": (-1, n_quantiles)} if n_quantiles else {})
    return {
        "probabilities": (-1, n_classes),
        "label": (-1, n_classes) if multilabel else (-1,),
    }


def _compute(model: Model, X: FloatArray) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the outputs of the protocol for slices of the inputs of a network."""
    predictor = model.predictor
    # The last one is for rows without an answer, whose place is -1.
    names = np.array([*model.manifest.signature.classes, ""])
    for rows in row_slices(predictor.network, len(X)):
        with np.errstate(all="ignore"):
            answers = compute_answers(predictor, X[rows])
        if isinstance(predictor, RegressionPredictor):
            outputs = {"value": choose_values(predictor.quantiles, answers.numbers)}
            yield outputs | ({"quantiles": answers.numbers} if predictor.quantiles else {})
        elif predictor.network.loss.multilabel:
            yield {"probabilities": answers.numbers, "label": answers.choose_labels()}
        else:
            yield {"probabilities": answers.numbers, "label": names[answers.choose_classes()]}
