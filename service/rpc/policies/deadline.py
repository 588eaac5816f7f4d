"""Work that nobody waits for is not begun."""

from quadnet.errors import DeadlinePassed
from service.rpc.call import Call
from service.rpc.policies.policy import Policy


class Deadline(Policy):
    """Refuses calls whose deadline has passed before they are looked at.

    Later, the library cancels them, and they end at their next turn: see `compute_thread`.
    """

    def begin(self, call: Call) -> None:
        """Refuse the call if it is too late."""
        self.begin_work(call)

    def begin_work(self, call: Call) -> None:
        """Refuse the call if its message has arrived too late."""
        if call.context.time_remaining() == 0:
            raise DeadlinePassed(
                "The call's deadline passed before the server could begin with it. Allow it more "
                "time, or send fewer calls at a time."
            )
