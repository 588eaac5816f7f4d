"""Refuses calls whose deadline has passed."""

from quadnet.errors import DeadlinePassed
from service.rpc.call import Call
from service.rpc.policies.policy import CallPolicy


class Deadline(CallPolicy):
    """Refuses calls whose deadline has passed before their work starts.

    Once the work has started, grpcio cancels late calls, and they stop after the current slice: see
    `compute_thread`.
    """

    def begin(self, call: Call) -> None:
        """Refuse the call if its deadline has passed."""
        self.begin_work(call)

    def begin_work(self, call: Call) -> None:
        """Refuse the call if its message arrived after the deadline."""
        if call.context.time_remaining() == 0:
            raise DeadlinePassed(
                "The call's deadline passed before the server could start it. Set a longer "
                "deadline, or send fewer calls at a time."
            )
