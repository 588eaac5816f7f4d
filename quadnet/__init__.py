"""Quadnet: a neural network written from scratch in NumPy.

Names are imported on first use, so that a server can import this package without scikit-learn.
"""

from importlib.metadata import version as _version_of
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline.publishing.estimator_publishing import PublishedVersion
    from quadnet.estimator import NeuralNetworkClassifier, NeuralNetworkRegressor
    from quadnet.nn.predictor import Predictor, RegressionPredictor
    from quadnet.published_model import PublishedModel

__all__ = [
    "NeuralNetworkClassifier",
    "NeuralNetworkRegressor",
    "Predictor",
    "RegressionPredictor",
    "__version__",
    "load",
    "publish",
    "register_onnx_converter",
]

__version__ = _version_of("quadnet")


def publish(
    estimator: Any,
    X_test: Any,
    y_test: Any,
    *,
    name: str,
    registry: "str | Path" = "models",
    gate: "Mapping[str, Any] | None" = None,
    alias: str = "champion",
    force: str | None = None,
    X_train: Any = None,
    y_train: Any = None,
    target: str | None = None,
    allow_small: bool = False,
) -> "PublishedVersion":
    """Publish a fitted estimator as the next version of a model.

    The version has the gate, the manifest, the self-test and the card that `quadnet train` gives.
    It takes the columns that the estimator was fitted to, by their names. Needs the extra
    ``pipeline``.

    Parameters
    ----------
    estimator : estimator
        A `NeuralNetworkClassifier` or `NeuralNetworkRegressor`, or scikit-learn's `MLPClassifier`
        or `MLPRegressor`; alone, or at the end of a `Pipeline` of scalers, SimpleImputer,
        OneHotEncoder, OrdinalEncoder and ColumnTransformer. Of a search it is `best_estimator_`.
    X_test : data frame, mapping of str to sequence, or array-like of shape (n_rows, n_columns)
        Rows that the estimator was neither trained on nor chosen by.
    y_test : series, data frame or array-like
        Their classes or numbers; for several labels, a column of 0 and 1 for each.
    name : str
        The model's name: lower-case letters, digits, '_' and '-'.
    registry : path, default="models"
    gate : mapping, optional
        Limits that must be met on the test rows, as in the section ``gate`` of a run file, such as
        ``{"accuracy": 0.9}``. Without limits it must beat the most frequent class, or the best
        constant, and be as good as the champion.
    alias : str, default="champion"
        Points to the version afterwards.
    force : str, optional
        The reason to publish the version even if it fails its gate.
    X_train, y_train : as X_test and y_test, optional
        The rows of training: for the ranges of the columns, and the metrics on them. Without them
        the ranges are those of the test rows.
    target : str, optional
        The name of the number that is predicted; by default that of `y_test`.
    allow_small : bool, default=False
        Whether fewer than 30 distinct test rows, or classes without a test row, are accepted.

    Returns
    -------
    PublishedVersion
        With `name`, `version`, `digest`, `alias` and `summary`.

    Raises
    ------
    Unsupported
        If a step, or the network, cannot be represented exactly. The message names it.
    GateFailed
        If a limit is not met; nothing is published.
    ConfigurationError
        If a key of the gate is wrong.
    InvalidInput
        If the rows are not those of the estimator.
    Conflict
        If the champion has changed since the evaluation, and is better. The version is published,
        but no alias points to it.

    Examples
    --------
    >>> import tempfile
    >>> import quadnet
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> model = make_pipeline(StandardScaler(), MLPClassifier(solver="lbfgs", random_state=0))
    >>> model = model.fit(X_train, y_train)
    >>> registry = tempfile.mkdtemp()
    >>> version = quadnet.publish(
    ...     model, X_test, y_test, name="iris", registry=registry, gate={"accuracy": 0.9}
    ... )
    >>> version.name, version.version, version.alias
    ('iris', 1, 'champion')
    """
    from quadnet.extras import require_extras

    require_extras("quadnet.publish", "pipeline")
    from pipeline.publishing.estimator_publishing import publish_estimator

    return publish_estimator(
        estimator,
        X_test,
        y_test,
        name=name,
        registry=registry,
        gate=gate,
        alias=alias,
        force=force,
        X_train=X_train,
        y_train=y_train,
        target=target,
        allow_small=allow_small,
    )


def load(
    name: str,
    registry: "str | Path" = "models",
    *,
    version: int | None = None,
    alias: str | None = None,
) -> "PublishedModel":
    """Load a published version, which predicts as a scikit-learn estimator does.

    Every byte and the self-test are verified. Its answers equal those of a server to the last bit.
    Needs the extra ``registry``.

    Parameters
    ----------
    name : str
        The model's name.
    registry : path, default="models"
    version : int, optional
        The version's number; by default the one that the alias points to.
    alias : str, optional
        By default "champion". "latest" is the highest version.

    Returns
    -------
    PublishedModel
        With `predict`, `score`, `n_features_in_` and `feature_names_in_`; for classes and labels
        with `predict_proba` and `classes_`, for quantiles with `predict_quantiles`. Classes are
        texts, also those that were numbers. It takes data frames, dictionaries of columns, and
        arrays.

    Raises
    ------
    NotFound
        If there is no such model, version or alias.
    CorruptVersion
        If a file differs from the published one.

    Examples
    --------
    >>> import tempfile
    >>> import quadnet
    >>> net = quadnet.NeuralNetworkRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0.0)
    >>> rows = [[float(i)] for i in range(60)]
    >>> net = net.fit(rows[::2], range(0, 60, 2))
    >>> registry = tempfile.mkdtemp()
    >>> _ = quadnet.publish(net, rows[1::2], range(1, 60, 2), name="line", registry=registry)
    >>> model = quadnet.load("line", registry=registry)
    >>> model
    PublishedRegressor('line', version=1)
    >>> model.predict({"x0": [100.0]}).round(2)
    array([100.])
    """
    from quadnet.extras import require_extras

    require_extras("quadnet.load", "registry")
    from quadnet.published_model import load_model

    return load_model(name, registry, version=version, alias=alias)


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
