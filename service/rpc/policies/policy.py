"""The interface of a rule for calls."""

from typing import ClassVar

from service.rpc.call import Call


class CallPolicy:
    """One rule for calls. The methods of this base class do nothing.

    Attributes
    ----------
    exempts_health : bool
        Whether the policy does not apply to health checks.
    """

    exempts_health: ClassVar[bool] = False

    def begin(self, call: Call) -> None:
        """Handle a call that has arrived; an exception refuses it."""

    def begin_work(self, call: Call) -> None:
        """Handle a call whose message has arrived; an exception refuses it.

        Called for each message of a stream.
        """

    def end_work(self, call: Call) -> None:
        """Handle a call that has computed the answer to a message."""

    def end(self, call: Call) -> None:
        """Handle the end of a call for which `begin` has run."""

    def close(self) -> None:
        """Finish pending work, after the last call."""
