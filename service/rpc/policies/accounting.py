"""The calls that have ended, handed in batches to those who keep accounts of them.

Between two calls the processor's caches are full of other things. Logged and counted a hundred at
a time, a call costs a third of what it would alone.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from service.rpc.call import Call
from service.rpc.policies.policy import Policy

_SECONDS_BEHIND = 0.02


class Account(Protocol):
    """Somebody who is told of every call that has ended, a moment later."""

    def enter(self, ended: Sequence[Call], in_flight: int) -> None:
        """Enter these calls; so many others have begun and not ended."""


class Accounting(Policy):
    """Notes each call as it ends.

    Parameters
    ----------
    *accounts : Account
    """

    def __init__(self, *accounts: Account) -> None:
        self._accounts = accounts
        self._in_flight = 0
        self._ended: list[Call] = []
        self._due: asyncio.TimerHandle | None = None

    def begin(self, call: Call) -> None:
        """Count the call in."""
        self._in_flight += 1
        self._settle_soon()

    def end(self, call: Call) -> None:
        """Note that the call has ended."""
        self._in_flight -= 1
        call.ended()
        self._ended.append(call)
        self._settle_soon()

    def close(self) -> None:
        """Enter what is left."""
        if self._due is not None:
            self._due.cancel()
        self._settle()

    def _settle(self) -> None:
        ended, self._ended, self._due = self._ended, [], None
        for account in self._accounts:
            account.enter(ended, self._in_flight)

    def _settle_soon(self) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_SECONDS_BEHIND, self._settle)
