"""Runs requests over HTTP with the policies that `service.rpc.call_runner` applies over gRPC.

A refused request is answered before its body is read. Then the body is read and discarded for a
moment, because a client that still sends may not read the answer, and a connection that is closed
with unread bytes in it loses the answer.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import grpc

from quadnet.errors import (
    DeadlinePassed,
    InvalidInput,
    Overloaded,
    QuadnetError,
    Violation,
    shorten,
)
from service.net.address import join_address
from service.rest.answers import Answer, make_error_answer
from service.rest.bodies import BodyReader
from service.rest.connection import RestConnection
from service.rest.routes import Found, RestRequest, Router
from service.rpc.call import REQUEST_ID, Call, choose_request_id
from service.rpc.errors import UnknownPath, WrongHttpMethod, describe_error
from service.rpc.message_waits import MessageWaits
from service.rpc.policies.policy import CallPolicy
from service.rpc.policy_steps import StartedPolicies, hold_slot
from service.telemetry import metrics
from service.wire.checks import check_answer_size

TIMEOUT = "x-request-timeout"
"""The header with the number of seconds in which the caller wants its answer."""

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")

_AUTHORITY = re.compile(r"\Ahttps?://[^/]*", re.IGNORECASE)
"""What comes before the path in the request of a client that takes the server for its proxy."""

_EVICTION_AGE = 1.0
"""Seconds that a body has to arrive even while many other bodies arrive."""

_MAX_DISCARDING = 16
_SECONDS_TO_DISCARD = 0.5
"""How many large bodies of refused requests may be read at a time, and for how long each."""

_SMALL_BYTES, _SECONDS_FOR_SMALL = 2**20, 5.0
"""Bodies of at most this size are always read, because they have nearly arrived."""

_UNKNOWN = "unknown"
"""The name of requests that no method answers, in the log and the metrics."""

_LENGTHS = ("content-length", "transfer-encoding")


class HttpContext:
    """The deadline and the caller of one request.

    Parameters
    ----------
    client : (str, int) or None
        Host and port of the caller.
    deadline : float or None
        On the event loop's clock.
    """

    def __init__(self, client: tuple[str, int] | None, deadline: float | None) -> None:
        self._client = client
        self.deadline = deadline

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None without a deadline."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    def peer(self) -> str:
        """Return the caller's address."""
        return "" if self._client is None else join_address(*self._client)


class HttpRunner:
    """Runs requests with policies.

    Parameters
    ----------
    router : Router
    policies : sequence of CallPolicy
        They start in this order and end in reverse order.
    bodies : BodyReader
    limit : int
        Maximum number of calls in progress. In addition, twice as many bodies may be arriving, and
        as many answers may be waiting for their callers to read them.
    message_timeout : float
        Seconds within which a body must arrive, and an answer must be read.
    max_bytes : int
        Maximum size of an answer.
    connection_age : float
        Seconds after which a connection is closed with its next answer; 0 for never.

    Attributes
    ----------
    may_refuse : asyncio.Event
        Cleared while refused requests must wait for their answers.
    is_draining : bool
        Whether each connection is closed with its next answer.
    closes_connections : bool
        Whether the server is closing connections, so that lost calls are UNAVAILABLE.
    """

    def __init__(
        self,
        router: Router,
        policies: Sequence[CallPolicy],
        bodies: BodyReader,
        *,
        limit: int,
        message_timeout: float,
        max_bytes: int,
        connection_age: float,
    ) -> None:
        self._router = router
        self._policies = tuple(policies)
        self._health_policies = tuple(each for each in policies if not each.exempts_health)
        self._bodies = bodies
        self._max_bytes = max_bytes
        self._connection_age = connection_age
        self._arriving = MessageWaits(
            2 * limit, eviction_age=_EVICTION_AGE, timeout=message_timeout
        )
        self._unread = MessageWaits(2 * limit, eviction_age=_EVICTION_AGE, timeout=message_timeout)
        self._discarding = 0
        self.may_refuse = asyncio.Event()
        self.may_refuse.set()
        self.is_draining = False
        self.closes_connections = False

    async def run(self, connection: RestConnection, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; an ASGI application whose first argument is the connection."""
        connection.working = asyncio.current_task()
        headers = _read_headers(scope["headers"])
        path = _AUTHORITY.sub("", scope["path"])
        found = self._router.find(scope["method"], path)
        deadline = _Deadline(headers)
        call = Call(
            _UNKNOWN if found is None else found.route.name,
            HttpContext(scope["client"], deadline.at),
            headers,
            choose_request_id(headers),
        )
        policies = self._health_policies if found and found.route.is_health else self._policies
        started = StartedPolicies(call)
        timeout = asyncio.timeout_at(deadline.at)
        try:
            try:
                started.begin(policies)
                deadline.check()
                async with timeout:
                    answer = await self._respond(call, policies, found, path, receive)
            except Exception as error:  # noqa: BLE001 - every error is answered
                if isinstance(error, TimeoutError) and timeout.expired():
                    error = _deadline_passed()
                answer = self._refuse(call, error)
                await self.may_refuse.wait()
            await self._send(connection, call, answer, receive, send)
        except asyncio.CancelledError:
            # The connection is lost. Uvicorn would log the error.
            call.status = self._status_of_lost(connection, call)
        finally:
            started.end()
            connection.end_request()

    def end_idle_calls(self, seconds: float, error: Callable[[], QuadnetError]) -> None:
        """From now on, end each call that has waited this long for its body, with this error."""
        self._arriving.end_idle(seconds, error)

    def close(self) -> None:
        """Stop checking the waits, after the last request."""
        self._arriving.close()
        self._unread.close()

    async def _respond(
        self,
        call: Call,
        policies: Sequence[CallPolicy],
        found: Found | None,
        path: str,
        receive: Any,
    ) -> Answer:
        """Return the method's answer."""
        if found is None:
            allowed = self._router.allowed(path)
            raise WrongHttpMethod(allowed) if allowed else UnknownPath(self._router.templates)
        headers = call.metadata
        if all(name in headers for name in _LENGTHS):
            # A proxy before the server may see another end of the body.
            raise InvalidInput(
                [
                    Violation(
                        "request", f"expected one of the headers {' and '.join(_LENGTHS)}, got both"
                    )
                ]
            )
        content = b""
        arrived = time.perf_counter_ns()
        if found.route.body is not None:
            self._bodies.check_headers(found.route.body, headers)
            content = await self._arriving.receive(call, partial(self._bodies.read, receive))
        with hold_slot(policies, call):
            content = await self._bodies.decompress(content, headers)
            request = RestRequest(found.parameters, headers, content, arrived)
            answer = await found.route.respond(request, call)
            check_answer_size(
                len(answer.body),
                self._max_bytes,
                field="request",
                instead="request less, or raise the server's setting max_message_bytes",
            )
            return answer

    def _refuse(self, call: Call, error: Exception) -> Answer:
        """Return the answer for an error."""
        if isinstance(error, Overloaded):
            metrics.CALLS_SHED.inc()
        report = describe_error(error, call.method, call.request_id)
        call.status = report.code
        headers = {}
        if isinstance(error, WrongHttpMethod):
            headers["allow"] = ", ".join(error.allowed)
        return make_error_answer(report, call.request_id, headers)

    async def _send(
        self, connection: RestConnection, call: Call, answer: Answer, receive: Any, send: Any
    ) -> None:
        """Write the answer, wait until its end is near, and discard the rest of the body."""
        headers = [
            (b"content-type", answer.media_type.encode("ascii")),
            (b"content-length", b"%d" % len(answer.body)),
            (REQUEST_ID.encode("ascii"), call.request_id.encode("ascii")),
            *(
                (name.encode("ascii"), text.encode("ascii"))
                for name, text in answer.headers.items()
            ),
        ]
        if self._closes(connection, call):
            headers.append((b"connection", b"close"))
        await self._wait_until_read(connection, call)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        part = {"type": "http.response.body", "body": answer.body}
        if connection.has_read_request:
            await send(part)
        else:
            await send(part | {"more_body": True})
            if not await self._discard_body(call, receive):
                connection.close_after_answer()
            await send({"type": "http.response.body"})
        await self._wait_until_read(connection, call)

    async def _wait_until_read(self, connection: RestConnection, call: Call) -> None:
        """Wait until the client has read most of what was written; give up after a while."""
        if not connection.flow.write_paused:
            return
        try:
            await self._unread.receive(call, connection.flow.drain)
        except QuadnetError:
            connection.abort()
            raise asyncio.CancelledError("The client does not read.") from None

    async def _discard_body(self, call: Call, receive: Any) -> bool:
        """Read the rest of a body, within the limits; return whether its end was reached."""
        length = call.metadata.get("content-length", "")
        is_small = length.isdecimal() and int(length[:10]) <= _SMALL_BYTES
        if not is_small and self._discarding >= _MAX_DISCARDING:
            return False
        self._discarding += not is_small
        try:
            async with asyncio.timeout(_SECONDS_FOR_SMALL if is_small else _SECONDS_TO_DISCARD):
                while (await receive()).get("more_body", False):
                    pass
        except TimeoutError:
            return False
        finally:
            self._discarding -= not is_small
        return True

    def _closes(self, connection: RestConnection, call: Call) -> bool:
        """Return whether the connection is closed with this answer."""
        age = asyncio.get_running_loop().time() - connection.made
        return (
            self.is_draining
            or 0 < self._connection_age < age
            or all(name in call.metadata for name in _LENGTHS)
        )

    def _status_of_lost(self, connection: RestConnection, call: Call) -> grpc.StatusCode:
        """Return the status of a request whose connection is lost."""
        if connection.is_malformed:
            return grpc.StatusCode.INVALID_ARGUMENT
        if self.closes_connections:
            return grpc.StatusCode.UNAVAILABLE
        return call.status_after_caller_left()


def _read_headers(sent: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by name; repeated ones are joined as RFC 9110, section 5.3, has it.

    So of two tokens, or of two timeouts, neither is taken: both together are not valid.
    """
    headers: dict[str, str] = {}
    for name, value in sent:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


class _Deadline:
    """The deadline that a request sets, or an error to report once the policies have started.

    Attributes
    ----------
    at : float or None
        On the event loop's clock.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._given = headers.get(TIMEOUT)
        self._is_valid = self._given is None or bool(_SECONDS.fullmatch(self._given))
        self.at: float | None = None
        if self._given is not None and self._is_valid:
            self.at = asyncio.get_running_loop().time() + float(self._given)

    def check(self) -> None:
        """Raise InvalidInput if the header is invalid."""
        if not self._is_valid:
            assert self._given is not None
            raise InvalidInput(
                [
                    Violation(
                        TIMEOUT,
                        "expected a number of seconds, such as 2.5, got " + shorten(self._given),
                    )
                ]
            )


def _deadline_passed() -> DeadlinePassed:
    return DeadlinePassed(
        "The request's deadline passed before its answer was computed. Set a longer one with "
        f"{TIMEOUT}, or send fewer rows at a time."
    )
