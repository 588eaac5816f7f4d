"""Methods that an object's parameters can rule out.

`sklearn.utils.metaestimators.available_if` does the same with an error that has no reason in its
message and is no ValueError. scikit-learn's own tests need both: those of its MLP call
`partial_fit` with early_stopping=True and expect a ValueError with the reason, and its estimator
checks call every `partial_fit` that exists. `available_if` alone fails one of the former; a method
that exists and raises ValueError fails six of the latter.
"""

from collections.abc import Callable
from functools import update_wrapper
from types import MethodType
from typing import Any


class Unavailable(AttributeError, ValueError):
    """A method that the parameters rule out.

    An AttributeError for ``hasattr``, and a ValueError because scikit-learn's MLP raises one.
    """


class _Method:
    def __init__(self, method: Callable[..., Any], reason: Callable[[Any], str | None]) -> None:
        self._method, self._reason = method, reason
        update_wrapper(self, method)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self._method
        reason = self._reason(instance)
        if reason:
            raise Unavailable(reason)
        return MethodType(self._method, instance)


def unless(reason: Callable[[Any], str | None]) -> Callable[[Callable[..., Any]], Any]:
    """Make a method available only while ``reason(self)`` returns None.

    Any other value is the message of the error that using the method then raises.
    """
    return lambda method: _Method(method, reason)
