"""Quadnet: a neural network written from scratch in NumPy.

Names are imported on first use, so that a server can import this package without scikit-learn.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quadnet.estimator import NeuralNetworkClassifier
    from quadnet.nn.predictor import Predictor

__all__ = ["NeuralNetworkClassifier", "Predictor", "__version__"]

__version__ = version("quadnet")


def __getattr__(name: str) -> Any:
    if name == "NeuralNetworkClassifier":
        from quadnet.estimator import NeuralNetworkClassifier

        return NeuralNetworkClassifier
    if name == "Predictor":
        from quadnet.nn.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
