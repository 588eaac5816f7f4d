"""Answers over HTTP, and errors as answers."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.rpc.errors import ErrorReport

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """An answer of one method.

    Attributes
    ----------
    body : bytes
    status : int
    media_type : str
    headers : mapping of str to str
        Further headers.
    """

    body: bytes
    status: int = 200
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def make_error_answer(
    report: ErrorReport, request_id: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return an error as an answer in JSON.

    Parameters
    ----------
    report : ErrorReport
    request_id : str
    headers : mapping of str to str, optional
        Further headers.
    """
    values: dict[str, Any] = {
        "error": report.message,
        "code": report.code.name,
        "reason": report.reason,
        "violations": [
            {"field": each.field, "description": each.description} for each in report.violations
        ],
        "facts": report.facts,
        "request_id": request_id,
    }
    added = dict(headers or {})
    if report.retry_after is not None:
        # The header has whole seconds; the body has the exact time.
        values["retry_after"] = round(report.retry_after, 3)
        added["retry-after"] = str(math.ceil(report.retry_after))
    if report.http == 401:
        added["www-authenticate"] = "Bearer"
    # In ASCII: the text may quote half of a surrogate pair, which UTF-8 cannot encode.
    return Answer(json.dumps(values).encode("ascii"), report.http, headers=added)
