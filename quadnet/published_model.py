"""`quadnet.load`: a published version that predicts as a scikit-learn estimator does.

It answers as a server does, to the last bit: both compute the same slices of rows. scikit-learn is
imported only by what needs it, such as `score`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quadnet.errors import ConfigurationError, NotFound, Unsupported
from quadnet.model_names import CHAMPION
from quadnet.nn.predictor import Predictor, RegressionPredictor
from quadnet.nn.row_slices import SliceAnswers, choose_values, compute_answers, row_slices
from quadnet.registry import Registry
from quadnet.registry.manifest import Manifest
from quadnet.registry.version_files import Model
from quadnet.tables.encoder import TableEncoder
from quadnet.tables.raw_columns import texts_of_objects
from quadnet.tables.table_reading import make_number_encoder, read_table
from quadnet.types import FloatArray


def load_model(
    name: str,
    registry: str | Path = "models",
    *,
    version: int | None = None,
    alias: str | None = None,
) -> "PublishedModel":
    """Load a published version: see `quadnet.load`, which has the same parameters."""
    if version is not None and alias is not None:
        raise ConfigurationError(
            f"Expected a version or an alias of {name}, got both: version {version} and the alias "
            f"{alias!r}. Leave out one of them."
        )
    store = Registry(Path(registry))
    store.home(name)  # refuses a wrong name
    if not store.models():
        raise NotFound(f"There is no model {name!r}: the registry {store.root} holds no model.")
    if version is None:
        version = store.target(name, alias or CHAMPION).version
    model = store.load(name, version)
    if model.manifest.task != "regression":
        return PublishedClassifier(model)
    if model.manifest.architecture.quantiles:
        return PublishedQuantileRegressor(model)
    return PublishedRegressor(model)


class PublishedModel:
    """A published version, in memory. It is immutable: `fit` is refused.

    Attributes
    ----------
    name : str
    version : int
    manifest : Manifest
        All that the registry records of the version.
    n_features_in_ : int
        The number of the columns.
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Their names.
    """

    _estimator_type: str

    def __init__(self, model: Model) -> None:
        self.manifest: Manifest = model.manifest
        self._predictor = model.predictor
        self._encoder: TableEncoder = model.encoder or make_number_encoder(model.manifest.columns)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.model

    @property
    def version(self) -> int:
        """The version's number."""
        return self.manifest.version

    @property
    def n_features_in_(self) -> int:
        """The number of the columns."""
        return len(self._encoder.columns)

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """The names of the columns."""
        return np.array(self._encoder.input_names, object)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Refuse to train: a published version never changes.

        Raises
        ------
        Unsupported
            Always.
        """
        del X, y
        raise Unsupported(
            f"{self.name} version {self.version} is published, and is not trained again. Fit a new "
            "estimator, and publish it as the next version."
        )

    def _answer(self, X: Any) -> Iterable[SliceAnswers]:
        """Yield the answers of each slice of rows."""
        rows = self._encoder.transform(read_table(X, self._encoder))
        for chosen in row_slices(self._predictor.network, len(rows)):
            yield compute_answers(self._predictor, rows[chosen])

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's
        """Return no parameters: a published version has nothing to set."""
        del deep
        return {}

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> Self:
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        is_classifier = self._estimator_type == "classifier"
        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(multi_label=True) if is_classifier else None,
            regressor_tags=None if is_classifier else RegressorTags(),
            input_tags=InputTags(string=True, categorical=True, allow_nan=True),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, version={self.version})"


class PublishedClassifier(PublishedModel):
    """A published version that predicts classes or labels.

    Attributes
    ----------
    classes_ : ndarray of str, shape (n_classes,)
        The classes as texts, sorted, or the labels. Classes that were numbers are texts, too.
    """

    _estimator_type = "classifier"

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The classes or labels, as texts."""
        assert isinstance(self._predictor, Predictor)
        return self._predictor.classes.astype(str)

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probability of each class or label.

        Parameters
        ----------
        X : data frame, mapping of str to sequence, or array-like of shape (n_rows, n_columns)
            Named columns may be in any order; the columns of an array are in that of
            `feature_names_in_`.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)

        Raises
        ------
        InvalidInput
            If a column is missing, unknown or of another kind. The message names it, and the row.
        """
        return np.concatenate([answers.numbers for answers in self._answer(X)])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row, or its rows of 0 and 1 for several labels.

        Parameters
        ----------
        X : data frame, mapping of str to sequence, or array-like of shape (n_rows, n_columns)

        Returns
        -------
        ndarray of str, shape (n_rows,), or of int, shape (n_rows, n_labels)

        Raises
        ------
        InvalidInput
            As `predict_proba` raises it.
        """
        if self.manifest.task == "multilabel":
            return np.concatenate([each.choose_labels() for each in self._answer(X)]).astype(int)
        chosen = np.concatenate([each.choose_classes() for each in self._answer(X)])
        # Where the probabilities overflowed, all are equal.
        labels: NDArray[np.str_] = self.classes_[np.maximum(chosen, 0)]
        return labels

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on rows whose classes are known.

        Parameters
        ----------
        X : as for `predict`
        y : array-like of shape (n_rows,) or (n_rows, n_labels)
            Classes; numbers and truth values count as their texts.
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        float
        """
        from sklearn.metrics import accuracy_score

        truth = np.asarray(y)
        if self.manifest.task != "multilabel":
            truth = texts_of_objects(truth.tolist()).to_array().astype(str)
        return float(accuracy_score(truth, self.predict(X), sample_weight=sample_weight))


class PublishedRegressor(PublishedModel):
    """A published version that predicts numbers."""

    _estimator_type = "regressor"

    def predict(self, X: Any) -> FloatArray:
        """Return the number of each row; of several quantiles the one nearest to the median.

        Parameters
        ----------
        X : data frame, mapping of str to sequence, or array-like of shape (n_rows, n_columns)
            Named columns may be in any order; the columns of an array are in that of
            `feature_names_in_`.

        Returns
        -------
        ndarray of shape (n_rows,)

        Raises
        ------
        InvalidInput
            If a column is missing, unknown or of another kind. The message names it, and the row.
        """
        assert isinstance(self._predictor, RegressionPredictor)
        quantiles = self._predictor.quantiles
        return np.concatenate([choose_values(quantiles, each.numbers) for each in self._answer(X)])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination on rows whose numbers are known.

        Parameters
        ----------
        X : as for `predict`
        y : array-like of shape (n_rows,)
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        float
        """
        from sklearn.metrics import r2_score

        return float(r2_score(y, self.predict(X), sample_weight=sample_weight))


class PublishedQuantileRegressor(PublishedRegressor):
    """A published version that predicts quantiles.

    Attributes
    ----------
    quantiles : tuple of float
    """

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The quantiles that are predicted."""
        return self.manifest.architecture.quantiles

    def predict_quantiles(self, X: Any) -> FloatArray:
        """Return the quantiles of each row, each at least the one before.

        Parameters
        ----------
        X : as for `predict`

        Returns
        -------
        ndarray of shape (n_rows, n_quantiles)
        """
        return np.concatenate([answers.numbers for answers in self._answer(X)])
