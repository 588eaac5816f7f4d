"""The JSON schemas of requests, answers and errors, for the document at /docs.

Those of protobuf messages are made from the stubs, so that they cannot differ from what is sent.
"""

from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from service.rpc.errors import STATUSES
from service.stubs.inference.v2 import inference_pb2
from service.stubs.quadrant.v1 import quadrant_pb2

Schema: TypeAlias = dict[str, Any]

_TYPES = {
    FieldDescriptor.CPPTYPE_BOOL: "boolean",
    FieldDescriptor.CPPTYPE_STRING: "string",
    FieldDescriptor.CPPTYPE_DOUBLE: "number",
    FieldDescriptor.CPPTYPE_FLOAT: "number",
}
"""All other types of values are integers."""

_LONG = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)

_DESCRIPTIONS = {
    "ServerMetadataResponse.version": "The release of the program.",
    "ServerMetadataResponse.extensions": "The extensions of the protocol that the server has.",
    "ModelMetadataResponse.versions": "The numbers of all versions, oldest first.",
    "ModelMetadataResponse.inputs": "The inputs that a request may name.",
    "ModelMetadataResponse.outputs": "The outputs, which all come unless a request names some.",
    "ModelMetadataResponse.properties": "The version that answers, its columns and classes, and "
    "the limits of the server.",
    "TensorMetadata.datatype": "FP32, FP64, an integer type, BOOL, or BYTES for texts.",
    "TensorMetadata.shape": "The sizes; -1 stands for any number of rows.",
    "ModelStatistics.last_inference": "Milliseconds since 1970; 0 if there was no answer.",
    "ModelStatistics.inference_count": "Number of answered rows.",
    "ModelStatistics.execution_count": "Number of answered calls.",
    "InferStatistics.success": "Answered calls.",
    "InferStatistics.fail": "Calls that were refused, failed or cancelled.",
    "StatisticDuration.ns": "Nanoseconds.",
    "ModelIndex.state": "READY, or UNAVAILABLE until the first call loads the version.",
    "ModelIndex.reason": "Why the version is unavailable.",
    "ModelConfig.max_batch_size": "Maximum number of rows per call.",
    "ClassifyRequest.model": "The model and version; without it, the server's default.",
    "ClassifyRequest.x": "The x coordinates of the points.",
    "ClassifyRequest.y": "The y coordinates of the points, as many as x.",
    "ClassifyRequest.all_certainties": "Whether to return the certainties of all quadrants.",
    "ClassifyRequest.min_certainty": "From 0 to 1. Less certain points get QUADRANT_UNSPECIFIED.",
    "ModelRef.name": "The model's name; empty for the default model.",
    "ModelRef.version": "The number of a version; an integer may also be a text.",
    "ModelRef.alias": "An alias, such as champion, in place of a version.",
    "ClassifyResponse.model": "The version that answered.",
    "ClassifyResponse.quadrants": "One quadrant per point.",
    "ClassifyResponse.certainties": "The probability of each point's most probable quadrant.",
    "ClassifyResponse.all_certainties": "Four probabilities per point, if they were requested.",
}
"""What fields mean, by the names of the message and the field."""


def make_schemas() -> dict[str, Schema]:
    """Return all schemas by their names."""
    protocol = _MessageSchemas(is_protobuf_json=False)
    protocol.add(inference_pb2.ServerMetadataResponse())
    protocol.add(inference_pb2.ModelMetadataResponse())
    protocol.add(inference_pb2.ModelStatisticsResponse())
    protocol.add(inference_pb2.ModelConfig())
    index = protocol.add(inference_pb2.RepositoryIndexResponse.ModelIndex())
    quadrant = _MessageSchemas(is_protobuf_json=True)
    quadrant.add(quadrant_pb2.ClassifyRequest())
    quadrant.add(quadrant_pb2.ClassifyResponse())
    listed: Schema = {"type": "array", "items": index}
    return protocol.schemas | {"RepositoryIndex": listed} | quadrant.schemas | _HAND_WRITTEN


class _MessageSchemas:
    """The schemas of protobuf messages.

    Parameters
    ----------
    is_protobuf_json : bool
        Whether names are in camel case and integers of 64 bits are texts, as in protobuf's JSON.

    Attributes
    ----------
    schemas : dict
        The schemas by the names of the messages.
    """

    def __init__(self, *, is_protobuf_json: bool) -> None:
        self._is_protobuf_json = is_protobuf_json
        self.schemas: dict[str, Schema] = {}

    def add(self, message: Message) -> Schema:
        """Add the schema of a message, which is empty, and of those in it; return a reference."""
        kind = message.DESCRIPTOR.name
        if kind not in self.schemas:
            self.schemas[kind] = {}
            properties = {}
            for field in message.DESCRIPTOR.fields:
                name = field.json_name if self._is_protobuf_json else field.name
                properties[name] = self._describe(message, field)
                text = _DESCRIPTIONS.get(f"{kind}.{field.name}")
                if text is not None:
                    properties[name]["description"] = text
            self.schemas[kind] = {"type": "object", "properties": properties}
        return _reference(kind)

    def _describe(self, message: Message, field: Any) -> Schema:
        """Return the schema of a field."""
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values = field.message_type.fields_by_name["value"]
            return {"type": "object", "additionalProperties": self._describe_value(values)}
        value = self._describe_value(field)
        is_list = hasattr(getattr(message, field.name), "extend")
        return {"type": "array", "items": value} if is_list else value

    def _describe_value(self, field: Any) -> Schema:
        """Return the schema of one value of a field."""
        if field.message_type is not None:
            return self.add(GetMessageClass(field.message_type)())
        if field.enum_type is not None:
            return {"type": "string", "enum": [each.name for each in field.enum_type.values]}
        if self._is_protobuf_json and field.cpp_type in _LONG:
            return {"type": ["string", "integer"], "pattern": "^[0-9]{1,18}$"}
        return {"type": _TYPES.get(field.cpp_type, "integer")}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Schema], *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


_SHAPE: Schema = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0},
    "description": "The number of rows, and for a matrix the number of columns.",
}

_PARAMETERS: Schema = {"type": "object", "description": "Parameters, such as binary_data_size."}

_DATA: Schema = {
    "type": "array",
    "description": "The values, nested by rows or not. null stands for a missing value.",
}

_HAND_WRITTEN: dict[str, Schema] = {
    "Live": _object({"live": {"type": "boolean"}}, "live"),
    "Ready": _object({"ready": {"type": "boolean"}}, "ready"),
    "ModelReady": _object({"name": {"type": "string"}, "ready": {"type": "boolean"}}, "ready"),
    "Document": {"type": "object", "description": "This document."},
    "IndexRequest": {
        "type": "object",
        "properties": {
            "ready": {"type": "boolean", "description": "Whether to list only what is ready."}
        },
    },
    "InferRequest": _object(
        {
            "id": _text("Sent back in the answer."),
            "inputs": {
                "type": "array",
                "description": "The inputs, in any order: one for each column, or one matrix.",
                "items": _object(
                    {
                        "name": _text("The name of a column, or x for the matrix of all columns."),
                        "datatype": _text("FP64, FP32, an integer type, BOOL, or BYTES for texts."),
                        "shape": _SHAPE,
                        "data": _DATA,
                        "parameters": _PARAMETERS,
                    },
                    "name", "shape", "datatype",
                ),
            },
            "outputs": {
                "type": "array",
                "description": "The outputs to return; without it, all.",
                "items": _object(
                    {"name": _text("The output's name."), "parameters": _PARAMETERS}, "name"
                ),
            },
            "parameters": _PARAMETERS,
        },
        "inputs",
    ),
    "InferResponse": _object(
        {
            "model_name": {"type": "string"},
            "model_version": _text("The number of the version that answered."),
            "id": _text("The request's id."),
            "parameters": _PARAMETERS,
            "outputs": {
                "type": "array",
                "items": _object(
                    {
                        "name": {"type": "string"},
                        "datatype": {"type": "string"},
                        "shape": _SHAPE,
                        "data": {"type": "array", "description": "The values, row by row."},
                        "parameters": _PARAMETERS,
                    },
                    "name", "shape", "datatype",
                ),
            },
        },
        "model_name", "model_version", "outputs",
    ),
    "Error": _object(
        {
            "error": _text("What was expected, what was found, and what to do."),
            "code": _text("The status that gRPC has for the error."),
            "reason": {
                "type": "string",
                "enum": ["", *(status.reason for status in STATUSES.values())],
                "description": "The stable name of the error; empty for a fault of the server.",
            },
            "violations": {
                "type": "array",
                "description": "What is wrong with the request, the first faults only.",
                "items": _object(
                    {
                        "field": _text("Where it is, such as inputs[0].data."),
                        "description": _text("What was expected, and what was found."),
                    }
                ),
            },
            "facts": {"type": "object", "description": "Values that a program may need."},
            "retry_after": {"type": "number", "description": "Seconds until a retry may succeed."},
            "request_id": _text("The id under which the server's log has the request."),
        },
        "error", "code",
    ),
}  # fmt: skip
