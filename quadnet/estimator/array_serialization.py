"""A fitted network as plain arrays, for any file format and without pickle."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.estimator.targets import Labels
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.losses import LOSSES
from quadnet.nn.network import Network

_FORMAT = 1


@dataclass(frozen=True)
class Plain:
    """What the arrays hold: the network, its labels, the columns' names, and parameters."""

    network: Network
    labels: Labels
    feature_names: NDArray[np.str_] | None
    parameters: dict[str, Any]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name.

        Raises
        ------
        ValueError
            If the classes are of a kind that no plain array holds.
        """
        classes = np.array(self.labels.classes.tolist())
        if classes.dtype.hasobject or not np.array_equal(classes, self.labels.classes):
            raise ValueError(
                "classes_ must be strings, numbers or booleans alone to be put into a plain "
                f"array. Got {self.labels.classes.tolist()!r}."
            )
        description = {
            "format": _FORMAT,
            "activations": list(self.network.activation_names),
            "loss": self.network.loss_name,
            "bias": self.network.parameters.bias,
            "parameters": {
                name: plain
                for name, value in self.parameters.items()
                if _is_json(plain := _plain(value))
            },
        }
        arrays: dict[str, NDArray[Any]] = {"estimator": np.array(json.dumps(description))}
        parameters = self.network.parameters
        arrays |= {f"weights.{i}": W.copy() for i, W in enumerate(parameters.weights)}
        arrays |= {f"biases.{i}": b.copy() for i, b in enumerate(parameters.biases)}
        arrays["classes"] = classes
        if self.feature_names is not None:
            arrays["feature_names"] = self.feature_names
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Plain":
        """Rebuild what `to_arrays` was called on.

        Raises
        ------
        ValueError
            If an array is missing or does not fit the others.
        """
        try:
            return cls._parsed(arrays)
        except KeyError as error:
            raise ValueError(f"These are no arrays of to_arrays(): {error} is missing.") from None
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"These are no arrays of to_arrays(): {error}.") from error

    @classmethod
    def _parsed(cls, arrays: Mapping[str, NDArray[Any]]) -> "Plain":
        description = json.loads(str(arrays["estimator"]))
        if description["format"] != _FORMAT:
            raise ValueError(f"format {description['format']}, this release reads {_FORMAT}")
        n_layers = len(description["activations"]) + 1
        weights = [np.asarray(arrays[f"weights.{i}"]) for i in range(n_layers)]
        biases = [np.asarray(arrays[f"biases.{i}"]) for i in range(n_layers)]
        for i, array in enumerate((*weights, *biases)):
            if array.dtype not in (np.float32, np.float64) or not np.isfinite(array).all():
                kind = "weights" if i < n_layers else "biases"
                raise ValueError(
                    f"{kind}.{i % n_layers} must be finite float32 or float64, got {array.dtype}"
                )
        for name, known in (("activations", ACTIVATIONS), ("loss", LOSSES)):
            said = description[name]
            unknown = {said} - known.keys() if name == "loss" else set(said) - known.keys()
            if unknown:
                raise ValueError(f"{name} {sorted(unknown)[0]!r} is none that this release knows")
        network = Network(
            [weights[0].shape[0], *(W.shape[1] for W in weights)],
            activations=description["activations"],
            loss=description["loss"],
            bias=description["bias"],
            dtype=weights[0].dtype,
        )
        network.parameters.assign(weights, biases)
        classes = np.asarray(arrays["classes"])
        if classes.ndim != 1 or not np.array_equal(np.unique(classes), classes):
            raise ValueError("classes must be one row of sorted, distinct labels")
        labels = Labels(classes, multilabel=network.loss.multilabel)
        if labels.n_outputs != network.layer_sizes[-1]:
            raise ValueError(f"{len(classes)} classes for {network.layer_sizes[-1]} outputs")
        names = np.asarray(arrays["feature_names"]) if "feature_names" in arrays else None
        if names is not None and names.shape != (network.layer_sizes[0],):
            raise ValueError(
                f"feature_names of shape {names.shape} for {network.layer_sizes[0]} features"
            )
        return cls(
            network,
            labels,
            names,
            {name: _back(value) for name, value in description["parameters"].items()},
        )


def _plain(value: Any) -> Any:
    """Return NumPy's numbers and arrays as Python's, and a dict as pairs of key and value."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {"pairs": [[_plain(k), _plain(v)] for k, v in value.items()]}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    return value


def _back(value: Any) -> Any:
    return dict(value["pairs"]) if isinstance(value, dict) else value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
