"""Load the scikit-learn model that a folder of MLflow holds.

A pickle can run any code when it is read. So it is read only by a caller that trusts it. A file in
the format of skops names its types, and is read without trust if all of them are known.
"""

import pickle
import warnings
from pathlib import Path
from typing import Any

from pipeline.mlflow_store.store import StoredModel
from quadnet.errors import ErrorKind, FileUnusable, Unsupported, listing, shorten
from quadnet.extras import missing_extra

TRUSTED_TYPES = (
    "quadnet.NeuralNetworkClassifier",
    "quadnet.NeuralNetworkRegressor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)
"""Types that skops does not know, and whose objects run no code when they are read."""


def load_estimator(model: StoredModel, *, trust: bool) -> Any:
    """Return the fitted estimator of a model.

    Parameters
    ----------
    model : StoredModel
    trust : bool
        Whether a pickle may be read, which can run any code.

    Raises
    ------
    Unsupported
        If it is no model of scikit-learn, or cannot be read without trust.
    FileUnusable
        If the file cannot be read.
    """
    flavors = model.description.get("flavors")
    flavors = flavors if isinstance(flavors, dict) else {}
    flavor = flavors.get("sklearn")
    if not isinstance(flavor, dict):
        raise Unsupported(
            f"{model.folder} holds no model of scikit-learn: expected the flavor sklearn, found "
            f"{listing([str(name) for name in flavors])}."
        )
    path = _find_file(model.folder, flavor)
    if path.suffix == ".skops" or flavor.get("serialization_format") == "skops":
        return _load_skops(path, trust=trust)
    if not trust:
        raise Unsupported(
            f"{path} is a pickle, which can run any code when it is read. Read it only if you "
            "trust every user with access to the store.",
            kind=ErrorKind.MODEL_NOT_TRUSTED,
        )
    return _load_pickle(path)


def _find_file(folder: Path, flavor: dict[str, Any]) -> Path:
    """Return the file of the model, which must be in its folder."""
    name = flavor.get("pickled_model")
    path = folder / name if isinstance(name, str) and "\0" not in name else None
    if path is None or not path.resolve().is_relative_to(folder.resolve()):
        # Not the text of a list, which may be endless.
        found = shorten(name) if isinstance(name, str) else type(name).__name__
        raise FileUnusable(
            f"The file MLmodel in {folder} was expected to name a file of this folder in "
            f"pickled_model, got {found}."
        )
    if not path.is_file():
        raise FileUnusable(f"{path} cannot be read: No such file or directory.")
    return path


def _load_skops(path: Path, *, trust: bool) -> Any:
    try:
        import skops.io as skops
    except ImportError as error:
        raise missing_extra(
            "Reading a model in the format of skops", "mlflow", cause=error
        ) from None
    try:
        found = skops.get_untrusted_types(file=path)
    except Exception as error:  # any damage, and any version that is too new
        raise _make_unreadable(path, error) from error
    unknown = [each for each in found if each not in TRUSTED_TYPES]
    if unknown and not trust:
        raise Unsupported(
            f"{path} has objects of types that may run code when they are read: "
            f"{listing(unknown)}. Read it only if you trust every user with access to the "
            "store.",
            kind=ErrorKind.MODEL_NOT_TRUSTED,
        )
    try:
        return skops.load(path, trusted=[*TRUSTED_TYPES, *unknown])
    except Exception as error:
        raise _make_unreadable(path, error) from error


def _load_pickle(path: Path) -> Any:
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other versions, which the command warns of
            return pickle.load(file)  # noqa: S301 - the caller trusts it
    except Exception as error:  # a pickle may raise anything
        raise _make_unreadable(path, error) from error


def _make_unreadable(path: Path, error: Exception) -> FileUnusable:
    reason = " ".join(str(error).split())[:300]
    return FileUnusable(
        f"{path} cannot be read here ({type(error).__name__}: {reason}). Read it with the versions "
        "of packages that wrote it, which requirements.txt in its folder lists."
    )
