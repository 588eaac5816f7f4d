"""scikit-learn's callbacks (from scikit-learn 1.9 on): each epoch is one of their tasks.

The protocol is still experimental in scikit-learn; only this module depends on it.
"""

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    SUPPORTED = True
except ImportError:  # scikit-learn before 1.9
    SUPPORTED = False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """The base class of an estimator without callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Return the method unchanged."""
        return method


__all__ = ["SUPPORTED", "CallbackSupportMixin", "EpochTasks", "with_callbacks"]


class EpochTasks:
    """Reports the begin and end of a fit, and of each epoch, to the estimator's callbacks.

    Parameters
    ----------
    estimator : estimator
    max_epochs : int
    X, y, sample_weight
        The arguments of `fit`, for callbacks that read them.
    task_name : str, default="epoch"
        What a task is: with `n_ensemble` the training of a network.
    """

    def __init__(
        self,
        estimator: Any,
        max_epochs: int,
        *,
        X: Any,
        y: Any,
        sample_weight: Any,
        task_name: str = "epoch",
    ) -> None:
        self._estimator, self._task_name = estimator, task_name
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._data = {"X": X, "y": y, "metadata": metadata}
        self._fit: Any = None
        self._epoch: Any = None
        if SUPPORTED:
            self._fit = estimator._init_callback_context(max_subtasks=max_epochs)  # noqa: SLF001
            self._fit.call_on_fit_task_begin(estimator=estimator, **self._data)
        # A context costs microseconds per epoch: without callbacks there is no context.
        self._watched = SUPPORTED and hasattr(estimator, "_skl_callbacks")

    def begin_epoch(self) -> None:
        """Report the begin of an epoch."""
        if self._watched:
            self._epoch = self._fit.subcontext(task_name=self._task_name)
            self._epoch.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def end_epoch(self, fitted: Callable[[], dict[str, Any]]) -> bool:
        """Report the end of an epoch; return whether a callback stops training.

        `fitted` returns the attributes of an estimator whose training ends with this epoch. It is
        called only if a callback reads a fitted copy of the estimator.
        """
        if not self._watched:
            return False
        return bool(
            self._epoch.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=fitted, **self._data
            )
        )

    def end_fit(self, fitted: Callable[[], dict[str, Any]]) -> None:
        """Report the end of the fit."""
        if self._fit is not None:
            self._fit.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=fitted, **self._data
            )
