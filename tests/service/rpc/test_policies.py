"""The policies, and their order."""

import asyncio

import pytest

from quadnet.errors import DeadlinePassed
from service.rest.http_runner import HttpContext
from service.rpc.call import Call
from service.rpc.policies.accounting import Accounting
from service.rpc.policies.admission import Admission
from service.rpc.policies.authentication import Authentication
from service.rpc.policies.deadline import Deadline
from service.rpc.policies.draining import Draining
from service.server.server import make_policies
from service.settings import ServeSettings


class Context:
    """The part of grpcio's context that has the deadline."""

    def __init__(self, seconds):
        self._seconds = seconds

    def time_remaining(self):
        return self._seconds


def test_refusals_are_logged_and_calls_without_a_token_take_no_slot(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("sesame\n")
    chosen = make_policies(ServeSettings(token_file=tokens), Draining())
    assert [type(policy) for policy in chosen] == [
        Accounting, Authentication, Draining, Admission, Deadline
    ]  # fmt: skip
    without = make_policies(ServeSettings(), Draining())
    assert [type(policy) for policy in without] == [Accounting, Draining, Admission, Deadline]


def http_context(seconds):
    """Return the context of a request over HTTP, whose deadline is on the event loop's clock."""
    now = asyncio.get_running_loop().time()
    return HttpContext(("127.0.0.1", 1), None if seconds is None else now + seconds)


CONTEXTS = pytest.mark.parametrize("make_context", [Context, http_context], ids=["grpc", "http"])


@CONTEXTS
@pytest.mark.parametrize("seconds", [None, 10.0, 60.0])
def test_a_call_with_time_left_or_without_a_deadline_is_started(make_context, seconds):
    async def begin():
        Deadline().begin(Call("Classify", make_context(seconds), {}, "an-id"))

    asyncio.run(begin())


@CONTEXTS
def test_a_call_whose_deadline_has_passed_is_not_started(make_context):
    async def begin():
        Deadline().begin(Call("Classify", make_context(0.0), {}, "an-id"))

    # grpcio returns 0 from then on. Over a socket the client's own clock is nearly always first.
    with pytest.raises(DeadlinePassed, match="passed before the server could start"):
        asyncio.run(begin())
