"""What comes before training: data, labels, weights and a network to begin with, all checked."""

import copy
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from sklearn.metrics import check_scoring
from sklearn.utils.validation import check_consistent_length, column_or_1d, validate_data

from quadnet.estimator import constraints
from quadnet.estimator.early_stopping import HeldOut, Scorer
from quadnet.estimator.network_builder import initializer_for, network_for
from quadnet.estimator.prediction import Answers
from quadnet.estimator.sample_weights import row_weights, with_class_weights
from quadnet.estimator.scorers import row_scorer
from quadnet.estimator.targets import Labels
from quadnet.nn.network import Network
from quadnet.types import FloatArray


class Preparation(Answers):
    """The part of an estimator that a fit can still be refused in."""

    def _has_weights(self) -> bool:
        """Whether there are weights to go on from: trained, or put in by hand."""
        if hasattr(self, "coefs_") != hasattr(self, "intercepts_"):
            raise ValueError("coefs_ and intercepts_ must both be there, or neither of them.")
        return hasattr(self, "coefs_")

    def _check_same_classes(self, labels: Labels) -> None:
        known, before = getattr(self, "classes_", None), getattr(self, "_labels", None)
        if known is not None and not np.array_equal(labels.classes, known):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {known}, `y` has {labels.classes}"
            )
        if before is not None and labels.multilabel != before.multilabel:
            expected = "a column for each label" if before.multilabel else "one label a row"
            raise ValueError(f"warm_start can only be used where `y` has {expected}, as before.")

    def _columns(self) -> dict[str, Any]:
        names = ("n_features_in_", "feature_names_in_")
        return {name: vars(self)[name] for name in names if name in vars(self)}

    def _restore_columns(self, columns: dict[str, Any]) -> None:
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
        self.__dict__.update(columns)

    def _validated(self, X: Any, y: Any, *, going_on: bool) -> tuple[Any, Any]:
        rows, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            dtype=(np.float64, np.float32),
            order="C",
            # Weights put in before the first fit do not yet say what the columns are.
            reset=not going_on or not self.__sklearn_is_fitted__(),
        )
        if going_on:
            # The network goes on in the type it is in.
            dtype = np.float32 if self.coefs_[0].dtype == np.float32 else np.float64
            rows = rows.astype(dtype, copy=False)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return rows, y

    def _given_rows(self, X: Any, y: Any, sample_weight: Any, labels: Labels) -> HeldOut | None:
        """Return the caller's own validation rows."""
        if X is None and y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val is provided, but X_val and y_val were not.")
            return None
        if X is None or y is None:
            given, missing = ("y_val", "X_val") if X is None else ("X_val", "y_val")
            raise ValueError(f"{given} is provided, but {missing} was not provided.")
        check_consistent_length(X, y)
        rows = validate_data(
            self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False
        )
        if not hasattr(y, "toarray"):
            y = np.asarray(y) if labels.multilabel else column_or_1d(y)
        try:
            labels.check_part(y)
        except ValueError as error:
            raise ValueError(f"y_val: {error}") from None
        weights = self._weights(sample_weight, rows, y, labels, "sample_weight_val")
        return HeldOut(rows, y, labels, weights=weights)

    def _weights(
        self, sample_weight: Any, rows: Any, y: Any, labels: Labels, name: str
    ) -> FloatArray | None:
        weights = row_weights(sample_weight, rows, name)
        return with_class_weights(weights, self.class_weight, y, labels, rows.dtype)

    def _starting_network(
        self,
        parameters: dict[str, Any],
        rows: Any,
        labels: Labels,
        rng: RandomState,
        *,
        going_on: bool,
    ) -> Network:
        """Return a new network, with the weights there are if it is to go on from them."""
        network = network_for(parameters, rows, labels)
        if not going_on:
            network.initialize(initializer_for(self.init, self.activation), rng)
            return network
        try:
            network.parameters.assign(self.coefs_, self.intercepts_)
        except ValueError as error:
            raise ValueError(
                "The network to go on with has another architecture than the parameters say: "
                f"{error}. Set hidden_layer_sizes and fit_intercept to what they were, or "
                "warm_start=False."
            ) from None
        return network

    def _scorer(self, held_out: HeldOut) -> Scorer:
        """Return what early stopping maximises."""
        if self.scoring == "accuracy":
            return lambda network, held: held.accuracy(network)
        if self.scoring == "loss":
            return lambda network, held: -held.loss(network)
        try:
            scorer = check_scoring(self, self.scoring)
        except ValueError:
            raise constraints.invalid(
                type(self).__name__,
                "scoring",
                self.scoring,
                "'accuracy', 'loss', a name from sklearn.metrics.get_scorer_names() or a callable",
            ) from None
        score_rows = row_scorer(scorer, held_out.y, held_out.labels, held_out.weights)

        def score(network: Network, held: HeldOut) -> float:
            shown = self._copy_with(copy.deepcopy(network), held.labels)
            value = score_rows(shown, held.X, held.y)
            number = np.asarray(float(value) if isinstance(value, Real) else value)
            if number.ndim or number.dtype.kind not in "biuf" or np.isnan(number):
                raise ValueError(
                    f"scoring must return a number. Got {value!r} from {self.scoring!r}."
                )
            return float(number)

        return score

    def _copy_with(self, network: Network, labels: Labels) -> Self:
        """Return an estimator of the same parameters that is fitted with this network."""
        # Without the constructor, which may be a subclass's own; and without column names, because
        # rows are held out as plain arrays.
        copied: Self = object.__new__(type(self))
        names = [n for n in vars(self) if not n.startswith("_") and not n.endswith("_")]
        copied.__dict__.update({name: vars(self)[name] for name in names})
        copied.n_features_in_ = self.n_features_in_
        copied._adopt(network, labels)
        return copied
