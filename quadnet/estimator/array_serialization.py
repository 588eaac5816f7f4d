"""A fitted network as a dictionary of arrays, for any file format and without pickle."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.estimator.targets.encoding import TargetEncoding
from quadnet.estimator.targets.labels import Labels
from quadnet.estimator.targets.numbers import Numbers
from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.kinds import layer_from_spec
from quadnet.nn.layers.layer import Layer, Shape
from quadnet.nn.layers.stack import find_shapes
from quadnet.nn.losses.of_classes import LOSSES
from quadnet.nn.losses.of_numbers import REGRESSION_LOSSES
from quadnet.nn.network import Network
from quadnet.tables.encoder import TableEncoder

_FORMAT = 2


@dataclass(frozen=True, slots=True)
class SerializedEstimator:
    """The parts of a fitted estimator that predicting needs, and the constructor's parameters."""

    network: Network
    encoding: TargetEncoding
    feature_names: NDArray[np.str_] | None
    parameters: dict[str, Any]
    calibration: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """A regressor's held-out rows: the arrays of its intervals, by their names in a file."""
    encoder: TableEncoder | None = None
    """What makes the network's inputs of the caller's columns."""


def serialize_arrays(estimator: SerializedEstimator) -> dict[str, NDArray[Any]]:
    """Return the arrays by name.

    Raises
    ------
    ValueError
        If the classes cannot be held by an array without pickle.
    """
    network, encoding = estimator.network, estimator.encoding
    parameters = {name: _to_json(value) for name, value in estimator.parameters.items()}
    description = {
        "format": _FORMAT,
        "layers": [layer.to_spec() for layer in network.layers],
        "input_shape": list(network.input_shape),
        "loss": network.loss_name,
        "dtype": network.parameters.flat.dtype.name,
        "parameters": {name: value for name, value in parameters.items() if _is_json(value)},
    }
    if network.loss_settings:
        description["loss_settings"] = network.loss_settings
    if isinstance(encoding, Numbers):
        description["numbers"] = encoding.to_dict()
    if estimator.encoder is not None:
        description["encoder"] = estimator.encoder.to_specs()
    arrays: dict[str, NDArray[Any]] = {"estimator": np.array(json.dumps(description))}
    arrays |= {name: array.copy() for name, array in network.parameters.named()}
    if isinstance(encoding, Labels):
        arrays["classes"] = _serialize_classes(encoding)
    if estimator.feature_names is not None:
        arrays["feature_names"] = estimator.feature_names
    return arrays | {name: array.copy() for name, array in estimator.calibration.items()}


def _serialize_classes(labels: Labels) -> NDArray[Any]:
    classes = np.array(labels.classes.tolist())
    if classes.dtype.hasobject or not np.array_equal(classes, labels.classes):
        raise ValueError(
            "classes_ must be all strings, all numbers or all booleans to be stored as an array. "
            f"Got {labels.classes.tolist()!r}."
        )
    return classes


def deserialize_arrays(
    arrays: Mapping[str, NDArray[Any]], known_parameters: Sequence[str]
) -> SerializedEstimator:
    """Return what `serialize_arrays` was called on.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    known_parameters : sequence of str
        The names of the constructor's parameters.

    Raises
    ------
    ValueError
        If an array is missing or does not fit the others.
    """
    try:
        return _parse_arrays(arrays, known_parameters)
    except KeyError as error:
        raise _invalid_arrays(f"{error} is missing") from None
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise _invalid_arrays(error) from error


def _invalid_arrays(problem: object) -> ValueError:
    reason = str(problem).rstrip(".")
    return ValueError(f"Expected the arrays that to_arrays() returns: {reason}.")


def _parse_arrays(
    arrays: Mapping[str, NDArray[Any]], known_parameters: Sequence[str]
) -> SerializedEstimator:
    description = _parse_description(str(arrays["estimator"]))
    if description["format"] not in _READERS:
        raise ValueError(
            f"this release reads the formats {', '.join(map(str, _READERS))}, got format "
            f"{description['format']}"
        )
    parameters = description["parameters"]
    is_classifier = "numbers" not in description
    _check_known("loss", [description["loss"]], LOSSES if is_classifier else REGRESSION_LOSSES)
    _check_known("parameter", parameters, known_parameters)
    network = _READERS[description["format"]](description, arrays)
    input_shape = parameters.get("input_shape")
    if input_shape is not None and np.prod(input_shape) != network.n_features:
        raise ValueError(
            f"the parameter input_shape is {input_shape}, but the network has "
            f"{network.n_features} inputs"
        )
    if is_classifier:
        encoding: TargetEncoding = _parse_labels(np.asarray(arrays["classes"]), network)
    else:
        encoding = _parse_numbers(description["numbers"], network)
    names = np.asarray(arrays["feature_names"]) if "feature_names" in arrays else None
    encoder, n_features = None, network.n_features
    if "encoder" in description:
        encoder = TableEncoder.from_specs(description["encoder"])
        if encoder.n_outputs != n_features:
            raise ValueError(
                f"the encoder has {encoder.n_outputs} outputs, but the network has {n_features} "
                "inputs"
            )
        n_features = len(encoder.columns)
    if names is not None and names.shape != (n_features,):
        raise ValueError(f"feature_names of shape {names.shape} for {n_features} features")
    return SerializedEstimator(
        network,
        encoding,
        names,
        {name: _from_json(value) for name, value in parameters.items()},
        _parse_calibration(arrays, encoding),
        encoder,
    )


def _read_format_1(description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Network:
    """Return the network of a file that a release before 0.3 wrote, with dense layers alone."""
    activations = description["activations"]
    _check_known("activation", activations, ACTIVATIONS)
    n_layers = len(activations) + 1
    weights = [np.asarray(arrays[f"weights.{i}"]) for i in range(n_layers)]
    biases = [np.asarray(arrays[f"biases.{i}"]) for i in range(n_layers)]
    for i in range(n_layers):
        _check_array(f"weights.{i}", weights[i], n_dimensions=2)
        _check_array(f"biases.{i}", biases[i], n_dimensions=1)
    network = Network.dense(
        [weights[0].shape[0], *(W.shape[1] for W in weights)],
        activations=activations,
        loss=description["loss"],
        bias=description["bias"],
        dtype=weights[0].dtype,
    )
    network.parameters.assign(weights, biases)
    return network


def _read_format_2(description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Network:
    shape = description["input_shape"]
    if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
        raise ValueError(f"input_shape must be a list of whole numbers above 0, got {shape!r}")
    specs, dtype = description["layers"], description["dtype"]
    _check_known("dtype", [dtype], ("float32", "float64"))
    try:
        layers = [layer_from_spec(spec, name=f"layers[{i}]") for i, spec in enumerate(specs)]
    except RecursionError:
        raise ValueError("layers has too many layers inside each other") from None
    if not layers or not isinstance(layers[-1], Dense):
        raise ValueError("layers must end with a dense layer, the output layer")
    # Before anything is allocated: the description must not claim more than the arrays have.
    for name, expected in _name_shapes(layers, tuple(shape)):
        given = np.asarray(arrays[name])
        _check_array(name, given, n_dimensions=len(expected))
        if given.shape != expected or given.dtype.name != dtype:
            raise ValueError(
                f"{name} must have the shape {expected} and the type {dtype}, got {given.shape} "
                f"and {given.dtype}"
            )
    network = Network(
        layers,
        tuple(shape),
        loss=description["loss"],
        loss_settings=description.get("loss_settings"),
        dtype=dtype,
    )
    for name, values in network.parameters.named():
        values[...] = arrays[name]
    return network


def _name_shapes(layers: Sequence[Layer], input_shape: Shape) -> Iterator[tuple[str, Shape]]:
    """Yield the name and the shape of each array, as `Parameters.named` names them."""
    number = 0
    for layer, shape in zip(layers, find_shapes(layers, input_shape), strict=False):
        specs = layer.array_specs(shape)
        for name, spec in specs.items():
            yield f"{name}.{number}", spec.shape
        number += bool(specs)


_READERS = {1: _read_format_1, 2: _read_format_2}


def _check_known(what: str, names: Sequence[str], known: Sequence[str] | Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; this release has {', '.join(known)}")


def _parse_description(text: str) -> dict[str, Any]:
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"estimator must be a JSON text: {error}") from None
    if not isinstance(description, dict):
        raise TypeError(f"estimator must be a JSON object, got {text[:40]}")
    return description


def _check_array(name: str, array: NDArray[Any], *, n_dimensions: int) -> None:
    if array.ndim != n_dimensions:
        raise ValueError(f"{name} must have {n_dimensions} dimensions, got the shape {array.shape}")
    if array.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name} must be finite float32 or float64, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")


def _parse_labels(classes: NDArray[Any], network: Network) -> Labels:
    if classes.ndim != 1 or not np.array_equal(np.unique(classes), classes):
        raise ValueError(
            "classes must be a one-dimensional array of sorted, distinct labels, got "
            f"{classes.tolist()!r}"
        )
    labels = Labels(classes, multilabel=network.loss.multilabel)
    if labels.n_outputs != network.n_outputs:
        raise ValueError(f"{len(classes)} classes for {network.n_outputs} outputs")
    return labels


def _parse_numbers(values: Mapping[str, Any], network: Network) -> Numbers:
    numbers = Numbers.from_dict(values)
    _check_known("loss", [numbers.loss], REGRESSION_LOSSES)
    n_columns = numbers.n_columns
    if n_columns is not None and (type(n_columns) is not int or n_columns < 1):
        raise ValueError(f"n_columns must be an integer above 0, got {n_columns!r}")
    if numbers.n_outputs != network.n_outputs:
        raise ValueError(f"{numbers.n_outputs} numbers for {network.n_outputs} outputs")
    for name in ("means", "deviations"):
        each = getattr(numbers, name)
        if len(each) not in ({numbers.n_targets} if numbers.scale else {0}):
            raise ValueError(f"{name} of {len(each)} columns for {numbers.n_targets}")
        if not np.isfinite(np.array(each, np.float64)).all():
            raise ValueError(f"{name} must be finite")
    return numbers


def _parse_calibration(
    arrays: Mapping[str, NDArray[Any]], encoding: TargetEncoding
) -> dict[str, NDArray[Any]]:
    if not isinstance(encoding, Numbers) or "residuals" not in arrays:
        return {}
    residuals = np.asarray(arrays["residuals"])
    _check_array("residuals", residuals, n_dimensions=2)
    if residuals.shape[1] != encoding.n_outputs:
        raise ValueError(f"residuals of {residuals.shape[1]} outputs for {encoding.n_outputs}")
    if "residual_weights" not in arrays:
        return {"residuals": residuals}
    weights = np.asarray(arrays["residual_weights"])
    _check_array("residual_weights", weights, n_dimensions=1)
    if len(weights) != len(residuals) or (weights < 0).any():
        raise ValueError("residual_weights must have one weight of at least 0 for each residual")
    return {"residuals": residuals, "residual_weights": weights}


def _to_json(value: Any) -> Any:
    """Return NumPy's numbers and arrays as Python's, layers as specs, and a dict as pairs."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Layer):
        return value.to_spec()
    if isinstance(value, Mapping):
        return {"pairs": [[_to_json(k), _to_json(v)] for k, v in value.items()]}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_to_json(entry) for entry in value]
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(entry) for entry in value]
    if isinstance(value, dict):
        return layer_from_spec(value) if "kind" in value else dict(value["pairs"])
    return value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
