"""The encoder in a manifest, parsed and checked."""

from typing import Annotated

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from quadnet.tables.encoder import TableEncoder


def _parse_encoder(specs: object) -> TableEncoder:
    # An encoder of a kind that readers do not know must not be published either.
    values = specs.to_specs() if isinstance(specs, TableEncoder) else specs
    try:
        return TableEncoder.from_specs(values)
    except (ValueError, TypeError, OverflowError) as error:
        reason = str(error).rstrip(".")
        raise PydanticCustomError("encoder", "{reason}", {"reason": reason}) from error


ManifestEncoder = Annotated[
    TableEncoder,
    PlainValidator(_parse_encoder),
    PlainSerializer(lambda encoder: encoder.to_specs()),
]
"""The encoder of a pydantic model: in JSON, a list with an object for each column."""
