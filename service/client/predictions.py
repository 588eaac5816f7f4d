"""The answers of a model for rows, as arrays and as columns of a data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.registry.answer_names import (
    LABEL,
    VALUE,
    name_label,
    name_probability,
    name_quantile,
)
from quadnet.types import FloatArray
from service.client.model_description import ModelDescription


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers for rows, and the version that answered.

    Attributes
    ----------
    model : str
    version : int
    digest : str
        SHA-256 of the version's manifest.
    classes : tuple of str
        The classes or labels, in the order of the columns of `probabilities`.
    labels : ndarray or None
        Of a classifier, the most probable class of each row, shape (n_rows,); "" where the values
        are so large that the network overflows. Of a model of several labels, whether each row has
        each label, shape (n_rows, n_labels). None for a model of numbers.
    probabilities : ndarray of shape (n_rows, n_classes), or None
    values : ndarray of shape (n_rows,), or None
        The number of each row; of a model of quantiles, the middle one.
    quantile_levels : tuple of float
    quantiles : ndarray of shape (n_rows, n_quantiles), or None
    unknown_categories : mapping of str to int
        For each column where there were any, the number of cells with a category that did not occur
        in training.
    """

    model: str
    version: int
    digest: str
    classes: tuple[str, ...] = ()
    labels: NDArray[Any] | None = None
    probabilities: FloatArray | None = None
    values: FloatArray | None = None
    quantile_levels: tuple[float, ...] = ()
    quantiles: FloatArray | None = None
    unknown_categories: Mapping[str, int] = field(default_factory=dict)

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Return the answers as columns of shape (n_rows,) by name.

        They are ``label`` and ``probability_CLASS`` of each class; or ``label_NAME`` and
        ``probability_NAME`` of each label; or ``value`` and ``quantile_LEVEL`` of each quantile.
        """
        columns: dict[str, NDArray[Any]] = {}
        if self.values is not None:
            columns[VALUE] = self.values
            if self.quantiles is not None:
                for level, numbers in zip(self.quantile_levels, self.quantiles.T, strict=True):
                    columns[name_quantile(level)] = numbers
            return columns
        assert self.labels is not None
        assert self.probabilities is not None
        if self.labels.ndim == 1:
            columns[LABEL] = self.labels
            for name, numbers in zip(self.classes, self.probabilities.T, strict=True):
                columns[name_probability(name)] = numbers
            return columns
        for name, has, numbers in zip(
            self.classes, self.labels.T, self.probabilities.T, strict=True
        ):
            columns[name_label(name)] = has
            columns[name_probability(name)] = numbers
        return columns


def join_predictions(
    outputs: Sequence[Mapping[str, NDArray[Any]]],
    described: ModelDescription,
    unknown_categories: Mapping[str, int],
) -> Predictions:
    """Return the answers of several calls, in order, as one.

    Parameters
    ----------
    outputs : sequence of mappings
        The outputs of each call by their names in the protocol.
    described : ModelDescription
        The version that answered.
    unknown_categories : mapping of str to int
    """
    joined = {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}
    return Predictions(
        model=described.model,
        version=described.version,
        digest=described.digest,
        classes=described.classes,
        labels=joined.get("label"),
        probabilities=joined.get("probabilities"),
        values=joined.get("value"),
        quantile_levels=described.quantiles,
        quantiles=joined.get("quantiles"),
        unknown_categories=unknown_categories,
    )
