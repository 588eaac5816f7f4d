"""The table of layer kinds, and the layers that files describe."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.convolution import Conv2D
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.dropout import Dropout
from quadnet.nn.layers.ensemble import Ensemble
from quadnet.nn.layers.flatten import Flatten
from quadnet.nn.layers.layer import Layer
from quadnet.nn.layers.normalization import BatchNorm, LayerNorm
from quadnet.nn.layers.pooling import AveragePool2D, GlobalAveragePool2D, MaxPool2D
from quadnet.nn.layers.residual import Residual

LAYER_KINDS: dict[str, type[Layer]] = {
    kind.kind: kind
    for kind in (
        Dense,
        Activation,
        Conv2D,
        MaxPool2D,
        AveragePool2D,
        GlobalAveragePool2D,
        Flatten,
        Dropout,
        BatchNorm,
        LayerNorm,
        Residual,
        Ensemble,
    )
}
"""The kinds of layers by their names in files. A new kind is one more row."""


def layer_from_spec(spec: Any, *, name: str = "layer") -> Layer:
    """Return the layer that `Layer.to_spec` was called on.

    Parameters
    ----------
    spec : mapping of str to object
    name : str
        What to call the layer in errors, such as "layers[2]".

    Raises
    ------
    ValueError
        If it is not such a mapping, the kind is unknown, or a setting is wrong.
    """
    if not isinstance(spec, Mapping):
        raise ValueError(f"{name} must be a mapping with a kind, got {spec!r}")  # noqa: TRY004
    settings = dict(spec)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in LAYER_KINDS:
        raise ValueError(
            f"{name} is of the unknown kind {kind!r}; this release has {', '.join(LAYER_KINDS)}"
        )
    for key, value in settings.items():
        if isinstance(value, (list, tuple)):
            settings[key] = tuple(
                layer_from_spec(each, name=f"{name}.{key}[{i}]")
                if isinstance(each, Mapping)
                else each
                for i, each in enumerate(value)
            )
    try:
        _check_names(kind, settings)
        return LAYER_KINDS[kind](**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}, of kind {kind!r}, has a wrong setting: {error}") from None


def _check_names(kind: str, settings: Mapping[str, Any]) -> None:
    """Raise ValueError if a setting is unknown, or one without a default is missing."""
    known = fields(LAYER_KINDS[kind])  # type: ignore[arg-type]
    names = [field.name for field in known]
    unknown = [name for name in settings if name not in names]
    if unknown:
        there = f"The settings are: {', '.join(names)}." if names else "It has no settings."
        raise ValueError(f"there is no setting {unknown[0]!r}. {there}")
    for field in known:
        if field.default is MISSING and field.name not in settings:
            raise ValueError(f"the setting {field.name!r} is missing.")
