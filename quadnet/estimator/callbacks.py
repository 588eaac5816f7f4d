"""scikit-learn's callbacks, where it has them (from 1.9 on): each epoch is one of their tasks.

The protocol is still experimental in scikit-learn; this module alone depends on it.
"""

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    SUPPORTED = True
except ImportError:  # scikit-learn before 1.9
    SUPPORTED = False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """An estimator of a scikit-learn without callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


__all__ = ["SUPPORTED", "CallbackSupportMixin", "EpochTasks", "with_callbacks"]


class EpochTasks:
    """Tells an estimator's callbacks when its `fit` and each epoch of it begin and end.

    Parameters
    ----------
    estimator : estimator
    max_epochs : int
    X, y, sample_weight
        What `fit` was given, for callbacks that ask for it.
    """

    def __init__(
        self, estimator: Any, max_epochs: int, *, X: Any, y: Any, sample_weight: Any
    ) -> None:
        self._estimator = estimator
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._data = {"X": X, "y": y, "metadata": metadata}
        self._fit: Any = None
        self._epoch: Any = None
        if SUPPORTED:
            self._fit = estimator._init_callback_context(max_subtasks=max_epochs)  # noqa: SLF001
            self._fit.call_on_fit_task_begin(estimator=estimator, **self._data)
        # Contexts cost microseconds an epoch: none are made for nobody.
        self._watched = SUPPORTED and hasattr(estimator, "_skl_callbacks")

    def begin_epoch(self) -> None:
        """Announce an epoch."""
        if self._watched:
            self._epoch = self._fit.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def end_epoch(self, fitted: Callable[[], dict[str, Any]]) -> bool:
        """Announce its end; return whether a callback asks to stop.

        `fitted` returns the attributes that make a copy of the estimator a fitted one, as if
        training had stopped here; it is called only if a callback wants such a copy.
        """
        if not self._watched:
            return False
        return bool(
            self._epoch.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=fitted, **self._data
            )
        )

    def end_fit(self, fitted: Callable[[], dict[str, Any]]) -> None:
        """Announce that the fit is over."""
        if self._fit is not None:
            self._fit.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=fitted, **self._data
            )
