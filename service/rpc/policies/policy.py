"""What a rule for calls can do."""

from typing import ClassVar

from service.rpc.call import Call


class Policy:
    """One rule for calls. Each method does nothing unless a policy says otherwise.

    Attributes
    ----------
    exempts_health : bool
        Whether calls that ask how the server is are free of it.
    """

    exempts_health: ClassVar[bool] = False

    def begin(self, call: Call) -> None:
        """Look at a call that has come in; what is raised refuses it."""

    def begin_work(self, call: Call) -> None:
        """Look at a call whose message has arrived; what is raised refuses it.

        Called for each message of a stream.
        """

    def end_work(self, call: Call) -> None:
        """Look at a call that has made the answer to a message."""

    def end(self, call: Call) -> None:
        """Look at a call that began, when it is known how it went."""

    def close(self) -> None:
        """Finish what is left to do: no call will come any more."""
