"""One fit of a search: read from the ledger, or trained, measured and added to the ledger."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, clone
from threadpoolctl import threadpool_limits

from pipeline.config.layer_stacks import parse_layers
from pipeline.config.run_config import RunConfig
from pipeline.data.datasets import Dataset
from pipeline.data.targets import Target, replace_values
from pipeline.search.ledger import Ledger, LedgerHeader, LedgerLine
from pipeline.search.scores import MEASURED, score_predictor
from pipeline.search.space import to_json_value, to_nested_name
from pipeline.training.candidate_training import Estimator, fit_network
from quadnet.types import BoolArray, FloatArray, IntArray


class RecordedFit(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A run's network as an estimator for scikit-learn's search, trained by `fit_network`.

    Parameters
    ----------
    network : NeuralNetworkClassifier or NeuralNetworkRegressor
        With `layers` as in a run file, if they are searched.
    scale : bool
        From the run file, or a value of the search.
    config : RunConfig
    searched : tuple of str
        The names of the parameters that are searched.
    header : LedgerHeader
    ledger : path
    target : Target
        Without rows: the classes or labels that the encoded values stand for.
    metric : str
        By which the search ranks its candidates.

    Attributes
    ----------
    line_ : LedgerLine or None
        The ledger's record of this fit; None until it is measured.
    predictor_ : Predictor
        The predictor that a run would publish; missing if the ledger had this fit.
    """

    def __init__(
        self,
        network: Estimator,
        *,
        scale: bool,
        config: RunConfig,
        searched: tuple[str, ...],
        header: LedgerHeader,
        ledger: Path,
        target: Target,
        metric: str,
    ) -> None:
        self.network = network
        self.scale, self.config = scale, config
        self.searched, self.header, self.ledger = searched, header, ledger
        self.target, self.metric = target, metric

    def fit(
        self,
        X: FloatArray,
        y: Any,
        *,
        held_out: BoolArray,
        fold_of: IntArray,
        weights: FloatArray | None = None,
    ) -> Self:
        """Train on these rows, unless the ledger has this fit.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            The rows of all folds but one.
        y : ndarray of shape (n_rows,) or (n_rows, n_labels)
            As `encoded_values` returns it.
        held_out : ndarray of bool, shape (n_rows,)
            The rows that the run holds out for validation.
        fold_of : ndarray of int, shape (n_rows,)
            Each row's fold; the fit is measured on the fold that is missing.
        weights : ndarray of shape (n_rows,), optional
        """
        present = np.unique(fold_of)
        self.fold_ = int(np.setdiff1d(np.arange(len(present) + 1), present)[0])
        self.line_ = Ledger(self.ledger).find_line(self._key())
        self.start_ = time.perf_counter()
        if self.line_ is None:
            rows = Dataset((), X, replace_values(self.target, y), weights=weights)
            validation = rows.rows(held_out) if held_out.any() else None
            config = self.config.model_copy(update={"scale": self.scale})
            network = clone(self.network)
            if "layers" in self.searched:
                network.set_params(layers=list(parse_layers(network.layers)))
            try:
                self.predictor_ = fit_network(
                    network, rows.rows(~held_out), validation, config
                ).predictor
            except (ValueError, MemoryError) as error:
                # A candidate that cannot be trained must not end the search.
                self._record(failed=str(error))
        return self

    def measure(self, X: FloatArray, y: Any) -> LedgerLine:
        """Return the record of this fit, measured on the fold that was left out."""
        if self.line_ is None:
            try:
                with threadpool_limits(1):
                    scores = score_predictor(
                        self.predictor_,
                        Dataset((), X, replace_values(self.target, y)),
                        self.metric,
                    )
            except ValueError as error:  # logits that are not finite
                return self._record(failed=str(error))
            return self._record(
                **scores,
                weights=self.predictor_.network.parameters.flat.size,
            )
        return self.line_

    def _record(self, **measured: Any) -> LedgerLine:
        """Add the record of this fit to the ledger."""
        self.line_ = LedgerLine(
            key=self._key(),
            parameters=self._parameters(),
            epochs=int(self.network.max_iter),
            fold=self.fold_,
            seconds=time.perf_counter() - self.start_,
            at=datetime.now(UTC),
            **measured,
        )
        Ledger(self.ledger).append_line(self.line_)
        return self.line_

    def _key(self) -> str:
        return self.header.key(
            self._parameters(), epochs=int(self.network.max_iter), fold=self.fold_
        )

    def _parameters(self) -> dict[str, Any]:
        values = self.get_params()
        return {name: to_json_value(values[to_nested_name(name)]) for name in self.searched}


def score_fit(fit: RecordedFit, X: FloatArray, y: Any) -> dict[str, float]:
    """Return the scores of a fit, as scikit-learn's scorer; NaN if the fit failed."""
    line = fit.measure(X, y)
    if fit.metric not in MEASURED:
        return {"score": np.nan if line.score is None else line.score}
    return {
        "accuracy": np.nan if line.accuracy is None else line.accuracy,
        "neg_log_loss": np.nan if line.log_loss is None else -line.log_loss,
    }
