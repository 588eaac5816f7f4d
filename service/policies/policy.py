"""What a rule for calls can do."""

from service.call import Call


class Policy:
    """One rule for calls. Each method does nothing unless a policy says otherwise."""

    def begin(self, call: Call) -> None:
        """Look at a call that has come in; what is raised refuses it."""

    def end(self, call: Call) -> None:
        """Look at a call that began, when it is known how it went."""

    def close(self) -> None:
        """Finish what is left to do: no call will come any more."""
