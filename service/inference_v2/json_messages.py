"""The protocol's messages as JSON values: metadata, configurations, statistics, the index.

protobuf's own `json_format` writes integers of 64 bits as texts; REST has numbers in `shape` and in
the statistics.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from service.stubs.inference.v2 import inference_pb2 as pb


def message_to_json(message: Message) -> dict[str, Any]:
    """Return a message by the names of its fields, without messages that are not set."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if isinstance(value, Message) and not message.HasField(field.name):
            continue
        if field.enum_type is not None:
            value = field.enum_type.values_by_number[value].name
        values[field.name] = _to_json(value)
    return values


def index_to_json(index: pb.RepositoryIndexResponse) -> list[dict[str, Any]]:
    """Return the index of the repository, which is a list in REST."""
    return [message_to_json(each) for each in index.models]


def _to_json(value: Any) -> Any:
    if isinstance(value, Message):
        return message_to_json(value)
    if isinstance(value, Mapping):
        return {key: _to_json(value[key]) for key in sorted(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_to_json(each) for each in value]
    return value
