"""The document at /docs: OpenAPI 3.1 for programs, and a page with the same words for people.

It is made from the table of routes, so it lists what the server answers and nothing else.
"""

import html
import json
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson

from quadnet import __version__
from service.rest.answers import JSON, Answer
from service.rest.http_runner import TIMEOUT
from service.rest.routes import BINARY, RestRequest, Route
from service.rest.schemas import make_schemas
from service.rpc.call import REQUEST_ID, Call

PATH = "/docs"

_HTML = "text/html"

_TITLE = "Quadnet"

_INTRODUCTION = (
    "The methods of a Quadnet server over HTTP: the Open Inference Protocol for every model, and "
    "Classify for quadrants. Each one does the same as the gRPC method of the server."
)

_HEADERS = {
    TIMEOUT: "Seconds in which the answer is wanted, such as 2.5. After that the request is "
    "cancelled with status 504.",
    REQUEST_ID: "An id of at most 128 printable characters for the server's log. It is sent back; "
    "without it, the server makes one.",
}

_PARAMETERS = {
    "model": "The model's name.",
    "version": "The number of a version, or an alias such as champion.",
}

_STATUSES = {
    400: "The request is wrong, or the model does not support it. The text names the field.",
    401: "The request has no valid token, and the server requires one.",
    404: "The model or the version does not exist. The text lists what exists.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body has another type or encoding than the server reads.",
    429: "The server is busy. Retry after the seconds in the header Retry-After.",
    500: "The server failed, or the files of the version are damaged.",
    503: "The server is stopping, has no version yet, or cannot read its registry.",
    504: "The deadline passed.",
}

_OF_ALL = (400, 500, 504)
_OF_LIMITED = (401, 429, 503)
_OF_BODIES = (408, 413, 415)

_VARIABLE = re.compile(r"\{(\w+)\}")

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_STYLE = (
    "body{font:1rem/1.5 sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font-family:monospace}pre{background:#f4f4f4;padding:1rem;overflow:auto}"
    "h2{margin-top:2.5rem}th,td{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0}"
)


def make_docs_route(routes: Sequence[Route]) -> Route:
    """Return the route of the document about these routes and itself."""

    async def respond(request: RestRequest, call: Call) -> Answer:
        if _HTML in request.headers.get("accept", ""):
            return Answer(
                page, media_type=f"{_HTML}; charset=utf-8",
                headers={"content-security-policy": _POLICY},
            )  # fmt: skip
        return Answer(document)

    route = Route(
        "GET", PATH, respond, "This document: as JSON, or as a page for browsers.", "Document"
    )
    described = make_document([*routes, route])
    document, page = orjson.dumps(described), _make_page(described).encode()
    return route


def make_document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.template, {})[route.http_method.lower()] = _describe(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": _TITLE, "version": __version__, "description": _INTRODUCTION},
        "paths": paths,
        "components": {
            "schemas": make_schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the server's file, if it was started with one.",
                }
            },
        },
    }


def _describe(route: Route) -> dict[str, Any]:
    """Return the operation of a route."""
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _operation_id(route),
        "parameters": [
            *(
                {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "description": _PARAMETERS[name],
                    "schema": {"type": "string", "minLength": 1},
                }
                for name in _VARIABLE.findall(route.template)
            ),
            *(
                {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
                for name, text in _HEADERS.items()
            ),
        ],
        "responses": _describe_answers(route),
    }
    if route.description:
        operation["description"] = route.description
    if not route.is_health:
        operation["security"] = [{}, {"token": []}]
    if route.body is not None:
        operation["requestBody"] = {
            "description": route.body.description,
            "required": not route.body.is_optional,
            "content": {
                media_type: _content(media_type, route.body.schema)
                for media_type in route.body.media_types
            },
        }
    return operation


def _operation_id(route: Route) -> str:
    words = _VARIABLE.sub(r"\1", route.template).strip("/").replace("/", "_")
    return f"{route.http_method.lower()}_{words}"


def _describe_answers(route: Route) -> dict[str, Any]:
    """Return the answers of a route by their statuses."""
    media_types = route.body.media_types if route.body is not None else (JSON,)
    if route.template == PATH:
        media_types = (JSON, _HTML)
    found: dict[str, Any] = {
        "200": {
            "description": "The answer.",
            "content": {each: _content(each, route.answer) for each in media_types},
        }
    }
    statuses = [*_OF_ALL, *route.errors]
    if not route.is_health:
        statuses += _OF_LIMITED
    if "{" in route.template:
        statuses.append(404)
    if route.body is not None:
        statuses += _OF_BODIES
    for status in sorted({*statuses, *route.statuses}):
        own = status in route.statuses
        schemas: list[str] = [route.answer] if own else []
        if status in statuses:
            schemas.append("Error")
        found[str(status)] = {
            "description": route.statuses.get(status) or _STATUSES[status],
            "content": {JSON: {"schema": _any_of(schemas)}},
        }
    return found


def _content(media_type: str, schema: str) -> dict[str, Any]:
    if media_type == BINARY:
        text = "The JSON, and after it the binary values."
        return {"schema": {"type": "string", "format": "binary", "description": text}}
    if media_type == _HTML:
        return {"schema": {"type": "string"}}
    return {"schema": _any_of([schema])}


def _any_of(schemas: Sequence[str]) -> dict[str, Any]:
    references = [{"$ref": f"#/components/schemas/{name}"} for name in schemas]
    return references[0] if len(references) == 1 else {"anyOf": references}


def _make_page(document: dict[str, Any]) -> str:
    """Return the document as HTML, without any script."""
    operations = [
        _operation_html(http_method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for http_method, operation in operations.items()
    ]
    schemas = "".join(
        f'<h3 id="{name}">{name}</h3><pre>{html.escape(json.dumps(schema, indent=2))}</pre>'
        for name, schema in document["components"]["schemas"].items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_TITLE}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{_TITLE} {document['info']['version']}</h1><p>{html.escape(_INTRODUCTION)}"
        f"{''.join(operations)}<h2>Schemas</h2>{schemas}</html>"
    )


def _operation_html(http_method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = [
        (
            f"<code>{html.escape(each['name'])}</code> ({each['in']})",
            html.escape(each["description"]),
        )
        for each in operation["parameters"]
    ]
    statuses = [
        (f"{status} {HTTPStatus(int(status)).phrase}", html.escape(answer["description"]))
        for status, answer in operation["responses"].items()
    ]
    body = operation.get("requestBody")
    described = (
        "" if body is None else f"<p>Body: {html.escape(body['description'])} {_links(body)}"
    )
    return (
        f"<h2><code>{http_method} {html.escape(path)}</code></h2>"
        f"<p>{html.escape(operation['summary'])} {html.escape(operation.get('description', ''))}"
        f"{described}<p>Answer: {_links(operation['responses']['200'])}"
        f"{_table(parameters)}{_table(statuses)}"
    )


def _links(described: dict[str, Any]) -> str:
    """Return links to the schemas of a body."""
    references = [each["schema"].get("$ref", "") for each in described["content"].values()]
    names = dict.fromkeys(each.rpartition("/")[2] for each in references if each)
    return ", ".join(f'<a href="#{name}">{name}</a>' for name in names)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{name}<td>{text}" for name, text in rows)
    return f"<table>{cells}</table>"
