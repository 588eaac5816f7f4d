"""Methods that an object's parameters can rule out."""

from collections.abc import Callable
from functools import update_wrapper
from types import MethodType
from typing import Any


class Unavailable(AttributeError, ValueError):
    """A method that the parameters rule out.

    To ``hasattr`` it is not there (AttributeError), and to who calls it all the same, it is a
    ValueError, as scikit-learn's MLP raises.
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
    """Let a method be there only while ``reason(self)`` returns None.

    Otherwise it returns why not, in words, which `sklearn.utils.metaestimators.available_if` would
    hide behind a message of its own.
    """
    return lambda method: _Method(method, reason)
