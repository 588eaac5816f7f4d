"""A count of calls that have begun and not ended."""

import asyncio

from service.call import Context


class OpenCalls:
    """Counts calls until gRPC has written the last byte of their answers to the connection.

    That is later than when their methods return.

    Attributes
    ----------
    n : int
        How many there are.
    """

    def __init__(self) -> None:
        self.n = 0
        self._none = asyncio.Event()
        self._none.set()

    def add(self, context: Context) -> None:
        """Count a call that begins."""
        self.n += 1
        self._none.clear()
        context.add_done_callback(self._remove)  # type: ignore[arg-type]

    async def wait_for_none(self) -> None:
        """Wait until all have ended."""
        await self._none.wait()

    def _remove(self, _: object) -> None:
        self.n -= 1
        if not self.n:
            self._none.set()
