"""The manifest's format 1, in which every network is dense. Versions of it are read for ever."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.stack import make_hidden_layers

if TYPE_CHECKING:
    ActivationName: TypeAlias = str
else:
    # pydantic reads it at run time; a type checker cannot.
    ActivationName = Literal[tuple(ACTIVATIONS)]


class Architecture(BaseModel, extra="forbid", frozen=True, strict=True):
    """The network's shape, which the weights file must match."""

    layer_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2)]
    activations: list[ActivationName]
    loss: str
    bias: bool
    dtype: str


class Manifest(BaseModel, extra="allow", frozen=True, strict=True):
    """The part of the manifest that format 2 changed."""

    schema_version: Literal[1]
    architecture: Architecture


def upgrade_manifest(values: object) -> dict[str, Any]:
    """Return the JSON values of a manifest of format 1 in format 2.

    Raises
    ------
    ValueError
        If they are not a manifest of format 1.
    """
    manifest = Manifest.model_validate(values)
    old = manifest.architecture
    n_inputs, *hidden, n_outputs = old.layer_sizes
    if len(old.activations) != len(hidden):
        raise ValueError(
            f"architecture.activations: expected one name for each of the {len(hidden)} hidden "
            f"layers, got {len(old.activations)}"
        )
    layers = make_hidden_layers(hidden, old.activations, bias=old.bias)
    layers.append(Dense(n_outputs, bias=old.bias))
    return manifest.model_dump() | {
        "schema_version": 2,
        "architecture": {
            "layers": [layer.to_spec() for layer in layers],
            "input_shape": [n_inputs],
            "loss": old.loss,
            "dtype": old.dtype,
        },
    }
