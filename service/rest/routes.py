"""The table of REST methods: paths, HTTP methods, and what the document at /docs tells of them."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from starlette.routing import compile_path

from service.rest.answers import JSON, Answer
from service.rpc.call import Call

BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A request whose body has arrived.

    Attributes
    ----------
    parameters : mapping of str to str
        The variable parts of the path, by name.
    headers : mapping of str to str
        By names in lower case.
    body : bytes
        Decompressed; empty for a method without a body.
    arrived : int
        When it began, by `time.perf_counter_ns`.
    """

    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    arrived: int


Respond = Callable[[RestRequest, Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Body:
    """What a method expects as its body.

    Attributes
    ----------
    description : str
    schema : str
        Name of its schema in the document.
    media_types : tuple of str
    is_optional : bool
    """

    description: str
    schema: str
    media_types: tuple[str, ...] = (JSON,)
    is_optional: bool = False


@dataclass(frozen=True)
class Route:
    """One method.

    Attributes
    ----------
    http_method : str
    template : str
        The path, with the names of its variable parts in braces.
    respond : callable
    summary, description : str
        For the document: one line, and further sentences.
    answer : str
        Name of the answer's schema in the document.
    body : Body or None
    is_health : bool
        Whether the method needs no token, and no slot.
    statuses : mapping of int to str
        Statuses with which this method sends its usual answer, and what they mean.
    errors : tuple of int
        Statuses of errors that its path does not show: 404 if the body names a model.
    """

    http_method: str
    template: str
    respond: Respond
    summary: str
    answer: str
    description: str = ""
    body: Body | None = None
    is_health: bool = False
    statuses: Mapping[int, str] = field(default_factory=dict)
    errors: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The method's name in the log and the metrics, without anything that callers choose."""
        return f"{self.http_method} {self.template}"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The regular expression of its paths."""
        pattern, _, _ = compile_path(self.template)
        return pattern


@dataclass(frozen=True)
class Found:
    """A route for a path, and the variable parts of the path."""

    route: Route
    parameters: dict[str, Any]


class Router:
    """Finds the method for a request.

    Parameters
    ----------
    routes : sequence of Route
        The first one that matches is taken.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)

    @property
    def templates(self) -> list[str]:
        """The paths of all methods."""
        return list(dict.fromkeys(route.template for route in self.routes))

    def find(self, http_method: str, path: str) -> Found | None:
        """Return the method; None if the path is unknown, or has no such HTTP method.

        HEAD is GET, of which only the headers are sent.
        """
        wanted = "GET" if http_method == "HEAD" else http_method
        for route in self.routes:
            if route.http_method == wanted and (match := route.pattern.match(path)):
                return Found(route, match.groupdict())
        return None

    def allowed(self, path: str) -> list[str]:
        """Return the HTTP methods of a path."""
        found = [route.http_method for route in self.routes if route.pattern.match(path)]
        return [*found, "HEAD"] if "GET" in found else found
