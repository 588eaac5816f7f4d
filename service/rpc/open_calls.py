"""A count of calls that have started and not ended."""

import asyncio


class OpenCalls:
    """Counts calls until gRPC has written the last byte of their answers to the connection.

    This is later than the return of their methods.

    Attributes
    ----------
    n : int
        Number of open calls.
    """

    def __init__(self) -> None:
        self.n = 0
        self._zero = asyncio.Event()
        self._zero.set()

    def add(self) -> None:
        """Count the call that starts in the current task."""
        self.n += 1
        self._zero.clear()
        task = asyncio.current_task()
        assert task is not None
        # Not `context.add_done_callback`: it makes the call refer to itself, and gRPC would keep
        # the call's memory until the garbage collector runs.
        task.add_done_callback(self._remove)

    async def wait_until_zero(self) -> None:
        """Wait until all calls have ended."""
        await self._zero.wait()

    def _remove(self, _: object) -> None:
        self.n -= 1
        if not self.n:
            self._zero.set()
