"""A fitted network as plain arrays, for any file format and without pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.labels import Labels
from quadnet.network import Network

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
            "parameters": {name: v for name, v in self.parameters.items() if _is_json(v)},
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
        network = Network(
            [weights[0].shape[0], *(W.shape[1] for W in weights)],
            activations=description["activations"],
            loss=description["loss"],
            bias=description["bias"],
            dtype=weights[0].dtype,
        )
        network.parameters.adopt(weights, biases)
        classes = np.asarray(arrays["classes"])
        labels = Labels(classes, multilabel=network.loss.multilabel)
        if labels.n_outputs != network.layer_sizes[-1]:
            raise ValueError(f"{len(classes)} classes for {network.layer_sizes[-1]} outputs")
        names = np.asarray(arrays["feature_names"]) if "feature_names" in arrays else None
        return cls(network, labels, names, dict(description["parameters"]))


def _is_json(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_json, value))
    return value is None or isinstance(value, (str, bool, int, float))
