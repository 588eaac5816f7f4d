"""Long computations run on a separate thread, in slices, so that other calls are answered too.

A computation of less than about a millisecond runs directly on the event loop: handing it to a
thread and back would cost a large part of that. A longer one runs on the compute thread, one slice
at a time. So long calls take turns, and a call that is cancelled or past its deadline stops after
the current slice. NumPy releases the interpreter lock while it computes, so the event loop keeps
accepting, refusing and answering calls.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np

from quadnet.nn.row_slices import split_rows

T = TypeVar("T")

DIRECT_NANOSECONDS = 1e6
"""About how long a computation may take on the event loop."""

_DIRECT_BYTES = 2**18


class ComputeThread:
    """The compute thread of one server, on which calls take turns."""

    def __init__(self) -> None:
        # Overflows show in the answer. The server sets the same for the event loop's thread.
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="compute", initializer=lambda: np.seterr(all="ignore")
        )

    async def run_in_slices(
        self,
        n_rows: int,
        n_direct: int,
        compute: Callable[[slice], None],
        *,
        on_thread: bool = False,
    ) -> None:
        """Call `compute` for slices of the rows, in order: those of `split_rows`.

        Parameters
        ----------
        n_rows : int
        n_direct : int
            Up to so many rows are computed directly, on the event loop. With 0, each row is a slice
            on the thread.
        compute : callable
            Called with a slice of row numbers.
        on_thread : bool, default=False
            Whether to compute a few rows on the thread, too, because something else than a network
            takes long for them.
        """
        if n_rows <= n_direct and not on_thread:
            compute(slice(0, n_rows))
            return
        loop = asyncio.get_running_loop()
        for rows in split_rows(n_rows, n_direct):
            # A call has one slice in the thread's queue at a time, so calls take turns.
            await loop.run_in_executor(self._thread, compute, rows)

    async def decode_message(self, content: bytes, decode: Callable[[bytes], T]) -> T:
        """Return `decode(content)`; a large message is decoded on the thread."""
        return await self.run_by_size(len(content), partial(decode, content))

    async def run_by_size(
        self, n_bytes: int, function: Callable[[], T], *, nanoseconds: float = 0.0
    ) -> T:
        """Return the function's result; run it on the thread if it takes long.

        Parameters
        ----------
        n_bytes : int
            Number of bytes that it processes.
        function : callable
        nanoseconds : float, default=0
            About how long it computes a network.
        """
        if n_bytes <= _DIRECT_BYTES and nanoseconds <= DIRECT_NANOSECONDS:
            return function()
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)
