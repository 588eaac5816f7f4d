"""The description of one version of a model: its columns, its outputs, the server's limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from quadnet.errors import Unsupported
from service.stubs.inference.v2 import inference_pb2 as pb

KINDS = ("number", "category", "date")

MATRIX = "x"
"""The input of a model without named columns: a row of numbers for each row."""

_VALUE_BYTES = 8
"""Bytes of a value in an answer, for the choice of the number of rows in a call."""


@dataclass(frozen=True)
class ModelDescription:
    """One version of a model.

    Attributes
    ----------
    model : str
    version : int
    versions : tuple of int
        All versions that can be called, oldest first.
    digest : str
        SHA-256 of the version's manifest.
    columns : mapping of str to str
        The kind of each column that the model takes: "number", "category" or "date".
    has_encoder : bool
        Whether the model takes its columns as named inputs, with gaps as it was trained with them.
        Otherwise they are features, which are finite numbers.
    outputs : mapping of str to tuple of int
        The sizes of each output; -1 stands for the number of rows.
    classes : tuple of str
        The classes or labels that the model predicts; empty for a model of numbers.
    quantiles : tuple of float
        The levels of the quantiles that the model predicts.
    max_rows : int or None
        The server's limit of rows in one call.
    """

    model: str
    version: int
    versions: tuple[int, ...]
    digest: str
    columns: Mapping[str, str]
    has_encoder: bool
    outputs: Mapping[str, tuple[int, ...]]
    classes: tuple[str, ...]
    quantiles: tuple[float, ...]
    max_rows: int | None = None

    @property
    def is_multilabel(self) -> bool:
        """Whether a row may have several labels, and not one class."""
        return len(self.outputs.get("label", ())) == 2

    @property
    def row_bytes(self) -> int:
        """About how many bytes the answer has for each row."""
        return sum(_VALUE_BYTES * prod(sizes[1:]) for sizes in self.outputs.values())

    @property
    def reads_like(self) -> tuple[bool, tuple[tuple[str, str], ...]]:
        """What decides how rows are sent: equal for versions that take the same requests."""
        return self.has_encoder, tuple(self.columns.items())


def read_description(metadata: pb.ModelMetadataResponse) -> ModelDescription:
    """Return the description in a server's answer.

    Raises
    ------
    Unsupported
        If the server is another one than Quadnet's, or an older one.
    """
    properties = metadata.properties
    try:
        features = json.loads(properties["features"])
        kinds: dict[str, Any] = json.loads(properties.get("columns", "{}"))
        if unknown := [kind for kind in kinds.values() if kind not in KINDS]:
            raise Unsupported(
                f"Model {metadata.name!r} has columns of the kind {unknown[0]!r}, which this "
                "client does not know. Install the server's version of Quadnet."
            )
        return ModelDescription(
            model=metadata.name,
            version=int(properties["version"]),
            versions=tuple(map(int, metadata.versions)),
            digest=properties["digest"],
            columns=kinds or dict.fromkeys(features, "number"),
            has_encoder=bool(kinds),
            outputs={each.name: tuple(each.shape) for each in metadata.outputs},
            classes=tuple(json.loads(properties.get("classes", "[]"))),
            quantiles=tuple(json.loads(properties.get("quantiles", "[]"))),
            max_rows=int(properties["max_rows"]),
        )
    except (KeyError, ValueError) as error:
        raise Unsupported(
            f"The server does not describe model {metadata.name!r} as a Quadnet server does "
            f"({type(error).__name__}: {error})."
        ) from error
