"""Warnings that point at the user's line of code."""

import inspect
import warnings

_INTERNAL = {"quadnet", "sklearn", "numpy", "contextlib"}


def warn_user(sentence: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user's code that called the estimator.

    The number of frames in between depends on the release of scikit-learn, whose callbacks wrap
    `fit`.
    """
    level, frame = 2, inspect.currentframe()
    frame = frame and frame.f_back
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in _INTERNAL:
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, category, stacklevel=level)
