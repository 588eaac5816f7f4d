"""The manifest's format 1, in which every network is dense. Versions of it are read for ever."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from quadnet.nn.activations import ACTIVATIONS
from quadnet.nn.layers.stack import make_dense_layers

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
    n_hidden = len(old.layer_sizes) - 2
    if len(old.activations) != n_hidden:
        raise ValueError(
            f"architecture.activations: expected one name for each of the {n_hidden} hidden "
            f"layers, got {len(old.activations)}"
        )
    layers = make_dense_layers(old.layer_sizes, old.activations, bias=old.bias)
    return manifest.model_dump() | {
        "schema_version": 2,
        "architecture": {
            "layers": [layer.to_spec() for layer in layers],
            "input_shape": old.layer_sizes[:1],
            "loss": old.loss,
            "dtype": old.dtype,
        },
    }
