"""A count of calls that have begun and not ended."""

import asyncio


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

    def add(self) -> None:
        """Count the call that begins in the current task."""
        self.n += 1
        self._none.clear()
        task = asyncio.current_task()
        assert task is not None
        # Not `context.add_done_callback`: with it a call refers to itself, and its memory inside
        # gRPC is kept until the garbage collector runs.
        task.add_done_callback(self._remove)

    async def wait_for_none(self) -> None:
        """Wait until all have ended."""
        await self._none.wait()

    def _remove(self, _: object) -> None:
        self.n -= 1
        if not self.n:
            self._none.set()
