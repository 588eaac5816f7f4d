"""Quadnet: a neural network written from scratch in NumPy.

Names are imported on first use, so that a server can import this package without scikit-learn.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quadnet.estimator import NeuralNetworkClassifier, NeuralNetworkRegressor
    from quadnet.nn.predictor import Predictor, RegressionPredictor

__all__ = [
    "NeuralNetworkClassifier",
    "NeuralNetworkRegressor",
    "Predictor",
    "RegressionPredictor",
    "__version__",
    "register_onnx_converter",
]

__version__ = version("quadnet")


def register_onnx_converter() -> None:
    """Teach skl2onnx to convert Quadnet's estimators, alone and at the end of a pipeline.

    Needs the extra ``onnx``. Call it once, before ``skl2onnx.to_onnx(pipeline, X)``.

    Raises
    ------
    MissingExtra
        If skl2onnx is not installed.
    """
    from quadnet.estimator import NeuralNetworkClassifier, NeuralNetworkRegressor
    from quadnet.onnx_export.skl2onnx_converter import register

    register(NeuralNetworkClassifier, NeuralNetworkRegressor)


def __getattr__(name: str) -> Any:
    if name == "NeuralNetworkClassifier":
        from quadnet.estimator import NeuralNetworkClassifier

        return NeuralNetworkClassifier
    if name == "NeuralNetworkRegressor":
        from quadnet.estimator import NeuralNetworkRegressor

        return NeuralNetworkRegressor
    if name == "Predictor":
        from quadnet.nn.predictor import Predictor

        return Predictor
    if name == "RegressionPredictor":
        from quadnet.nn.predictor import RegressionPredictor

        return RegressionPredictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
