"""Long computing, on a thread of its own, in slices: other calls are answered meanwhile.

What takes less than about a millisecond is computed at once, on the event loop: to hand it to a
thread and back would take as long as some of it. What takes longer goes to the one computing
thread, a slice at a time, so that long calls take turns, and one that is cancelled, or past its
deadline, ends with its slice. NumPy lets go of the interpreter while it computes; so the event loop
accepts, refuses and answers, however much there is to compute.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import pairwise
from typing import TypeVar

import numpy as np

T = TypeVar("T")

_AT_ONCE_NANOSECONDS = 1e6

_SLICE = 4
"""A slice is so many times what is computed at once: then the way to the thread and back is a
fiftieth of it."""

_BYTES_AT_ONCE = 2**18


@lru_cache(maxsize=64)
def rows_at_once(layer_sizes: tuple[int, ...]) -> int:
    """Return how many rows a network of these layers answers in a millisecond: a power of two.

    Measured on one core in float64: 10 ns for what a row costs in any network, 4 ns for each unit's
    activation, 0.06 ns for each weight.
    """
    units = sum(layer_sizes[1:])
    weights = sum(n_in * n_out for n_in, n_out in pairwise(layer_sizes))
    rows = _AT_ONCE_NANOSECONDS / (10 + 4 * units + 0.06 * weights)
    return 1 << max(0, int(rows).bit_length() - 1)


class Slices:
    """The computing thread of one server, and the turns that calls take on it."""

    def __init__(self) -> None:
        # What overflows shows in the answer; the event loop's own thread is told so by the server.
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="compute", initializer=lambda: np.seterr(all="ignore")
        )

    async def run(self, n_rows: int, at_once: int, compute: Callable[[slice], None]) -> None:
        """Call `compute` for some rows at a time, in order, until all have been."""
        if n_rows <= at_once:
            compute(slice(0, n_rows))
            return
        loop = asyncio.get_running_loop()
        rows = _SLICE * at_once
        for start in range(0, n_rows, rows):
            # A call has one slice in the thread's queue at a time: they take turns.
            await loop.run_in_executor(
                self._thread, compute, slice(start, min(start + rows, n_rows))
            )

    async def decode(self, content: bytes, decode: Callable[[bytes], T]) -> T:
        """Return what `decode` makes of a message; of a large one, on the thread."""
        return await self.build(len(content), partial(decode, content))

    async def build(self, n_bytes: int, build: Callable[[], T]) -> T:
        """Return what `build` makes of so many bytes, or into so many; if many, on the thread."""
        if n_bytes <= _BYTES_AT_ONCE:
            return build()
        return await asyncio.get_running_loop().run_in_executor(self._thread, build)
