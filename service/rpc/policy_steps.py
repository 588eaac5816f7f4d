"""The steps in which the policies apply to a call, over any transport: begin, slot, end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from service.rpc.call import Call
from service.rpc.policies.policy import CallPolicy


class StartedPolicies:
    """The policies whose `begin` has run for a call and whose `end` has not."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._started: list[CallPolicy] = []

    def begin(self, policies: Sequence[CallPolicy]) -> None:
        """Start the policies in order; pass on the error of the first one that refuses."""
        for policy in policies:
            policy.begin(self._call)
            self._started.append(policy)

    def end(self) -> None:
        """End the policies that have started, in reverse order."""
        while self._started:
            self._started.pop().end(self._call)


@contextmanager
def hold_slot(policies: Sequence[CallPolicy], call: Call) -> Iterator[None]:
    """Hold the policies' slot inside the `with` block, while the call computes its answer."""
    call.slot = slot = _PolicySlot(policies, call)
    try:
        slot.take()
        yield
    finally:
        slot.release()
        # Breaks a reference cycle, which would live until the garbage collector runs.
        call.slot = None


class _PolicySlot:
    """The policies whose `begin_work` has run for a call and whose `end_work` has not."""

    def __init__(self, policies: Sequence[CallPolicy], call: Call) -> None:
        self._policies = policies
        self._call = call
        self._started: list[CallPolicy] = []

    def take(self) -> None:
        if self._started:
            return
        for policy in self._policies:
            policy.begin_work(self._call)
            self._started.append(policy)

    def release(self) -> None:
        while self._started:
            self._started.pop().end_work(self._call)
