"""Messages of a .proto in JSON, as REST and the page send them.

The protobuf library alone takes a microsecond for each number. Long lists of finite numbers are
therefore copied as a whole.
"""

import json
import math
import re
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from quadnet.errors import InvalidInput, Violation

M = TypeVar("M", bound=Message)

_NUMBERS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""The escape of half of a surrogate pair, in JSON."""


def decode_json(content: bytes, request: M) -> M:
    """Fill an empty message with the values of JSON, and return it.

    Parameters
    ----------
    content : bytes
        The JSON.
    request : Message
        An empty message of the expected type.

    Raises
    ------
    InvalidInput
        If the content is not JSON, or does not match the message type.
    """
    name = request.DESCRIPTOR.full_name
    values = _parse_object(content, name)
    for each in request.DESCRIPTOR.fields:
        column = getattr(request, each.name)
        # The cells of a map are thousands of numbers, which `ParseDict` would parse one by one.
        if hasattr(column, "extend") and each.cpp_type in _NUMBERS:
            column.extend(_take_finite_numbers(values, each.name))
    try:
        json_format.ParseDict(values, request)
    except (json_format.ParseError, OverflowError) as error:
        # The first line names the field and the value.
        reason = str(error).partition("\n")[0][:200]
        raise _invalid(f"expected a {name} in JSON; {reason}") from error
    return request


def _parse_object(content: bytes, name: str) -> dict[str, Any]:
    try:
        # Strict UTF-8: json.loads would also accept bytes of half a surrogate pair.
        found = json.loads(content.decode())
        if _SURROGATE.search(content):
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        # As the name of a field, it makes the protobuf library raise SystemError.
        raise _invalid(
            f"expected a {name} in JSON, got text with half of a surrogate pair"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _invalid(f"expected a {name} in JSON, got invalid JSON") from error
    if not isinstance(found, dict):
        raise _invalid(f"expected a {name} in JSON, an object, got {type(found).__name__}")
    return found


def encode_json(response: Message) -> bytes:
    """Return the message in JSON, with zeros and empty lists."""
    columns: dict[str, list[Any]] = {}
    for each, value in response.ListFields():
        if not hasattr(value, "extend"):
            continue
        if each.cpp_type in _NUMBERS and math.isfinite(sum(value)):
            columns[each.json_name] = list(value)
            response.ClearField(each.name)
        elif each.enum_type is not None:
            names = {value.number: value.name for value in each.enum_type.values}
            columns[each.json_name] = [names.get(number, number) for number in value]
            response.ClearField(each.name)
    values = json_format.MessageToDict(response, always_print_fields_with_no_presence=True)
    return json.dumps(values | columns, separators=(",", ":")).encode()


def _take_finite_numbers(values: dict[str, Any], name: str) -> list[float]:
    """Remove and return a list of finite numbers; return [] and leave any other value there."""
    given = values.get(name)
    if not isinstance(given, list) or not set(map(type, given)) <= {int, float}:
        return []
    try:
        finite = math.isfinite(sum(map(float, given)))
    except OverflowError:
        return []
    return values.pop(name) if finite else []


def _invalid(description: str) -> InvalidInput:
    return InvalidInput([Violation("request", description)])
