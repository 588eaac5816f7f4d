"""The list of calls that C makes: what is called, and where the operands of a mini-batch are."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.nn.replay.loops import Loop, NotRecordable

MAX_OPERANDS = 3

_DRAWN_BYTES = 2**18
"""Bounds the memory for random numbers that are drawn for many mini-batches at a time."""


_CORE_STEPS = 6
_MOVES = 2 + MAX_OPERANDS
"""Where the structure `call` of replay.c has its moves."""


class CallList:
    """The calls of one update, which can be repeated for other mini-batches.

    Parameters
    ----------
    library : ctypes.CDLL
        The compiled part.
    moving : sequence of ndarray
        Arrays whose first axis counts the mini-batches: an update uses one entry of each.
    batch : int
        The mini-batch whose arrays the calls are given.
    """

    def __init__(self, library: ctypes.CDLL, moving: Sequence[NDArray[Any]], batch: int) -> None:
        self._library, self._batch = library, batch
        self._replay = library.quadnet_replay
        self._replay.argtypes = (ctypes.c_void_p, *(ctypes.c_ssize_t,) * 3)
        self._replay.restype = None
        self._moving = [(address_of(each), each.nbytes, each.strides[0]) for each in moving]
        # The structures `call` of replay.c, whose fields all have the size of an address.
        self._calls: list[list[int]] = []
        # What must live as long as the addresses in the calls.
        self._kept: list[Any] = []
        # The calls that copy random numbers, and which of an update's numbers they start with.
        self._draws: list[tuple[int, int]] = []
        self._n_drawn = 0

    def keep(self, thing: Any) -> Any:
        """Keep an object alive as long as the list; return it."""
        self._kept.append(thing)
        return thing

    def add(self, loop: Loop, arrays: list[NDArray[Any]]) -> int:
        """Add an elementwise call, whose last operand is the result; return its number of axes."""
        result = arrays[-1]
        address, strides = address_of(result), []
        for array in arrays[:-1]:
            shown = array if array.shape == result.shape else np.broadcast_to(array, result.shape)
            strides.append(list(shown.strides))
            if np.may_share_memory(array, result) and not (
                shown.strides == result.strides and address_of(array) == address
            ):
                raise NotRecordable("it writes into memory that it reads in another order")
        return self.add_strided(loop, list(result.shape), [*strides, list(result.strides)], arrays)

    def add_copy(self, source: NDArray[Any], target: NDArray[Any]) -> None:
        """Add a copy between arrays of one type."""
        self.add(self._own_loop(f"quadnet_copy_{target.itemsize}"), [source, target])

    def add_cast(self, truths: NDArray[Any], numbers: NDArray[Any]) -> None:
        """Add the conversion of truth values into numbers."""
        name = "quadnet_bool_to_float" if numbers.itemsize == 4 else "quadnet_bool_to_double"
        self.add(self._own_loop(name), [truths, numbers])

    def add_strided(
        self,
        loop: Loop,
        shape: list[int],
        strides: list[list[int]],
        arrays: Sequence[NDArray[Any]],
    ) -> int:
        """Add a call for all positions of a shape, with each operand's steps along its axes.

        Returns how many axes are left when those that are one in memory are merged.
        """
        axes = merge_axes(shape, strides)
        if any(step < 0 for _, steps in axes for step in steps):
            raise NotRecordable("it uses an array backwards")
        count, steps = axes.pop()
        place = 0
        if axes:
            rows = [[n, *each, *[0] * (MAX_OPERANDS - len(each))] for n, each in axes]
            place = address_of(self.keep(np.array(rows, np.intp)))
        self._add_call(loop, arrays, [count], steps, [len(axes), place])
        return len(axes) + 1

    def add_core(
        self, loop: Loop, counts: list[int], steps: list[int], arrays: Sequence[NDArray[Any]]
    ) -> None:
        """Add a call on whole rows or matrices, with the counts and steps that its loop reads."""
        *given, result = arrays
        if any(np.may_share_memory(result, array) for array in given):
            raise NotRecordable("it multiplies matrices into themselves")
        self._add_call(loop, arrays, counts, steps, [0, 0])

    def add_draw(self, target: NDArray[Any]) -> None:
        """Add the copy of random numbers, which `replay` draws for many mini-batches at a time."""
        flat = target.reshape(-1)
        self._draws.append((len(self._calls), self._n_drawn))
        self._n_drawn += flat.size
        self.add_copy(flat, flat)

    def _own_loop(self, name: str) -> Loop:
        address = ctypes.cast(getattr(self._library, name), ctypes.c_void_p).value
        assert address is not None
        return Loop(address)

    def _add_call(
        self,
        loop: Loop,
        arrays: Sequence[NDArray[Any]],
        counts: list[int],
        steps: list[int],
        axes: list[int],
    ) -> None:
        operands, moves = [0] * MAX_OPERANDS, [0] * MAX_OPERANDS
        for i, array in enumerate(arrays):
            if not array.flags.aligned or not array.dtype.isnative:
                raise NotRecordable("it uses an array that is not aligned")
            address = address_of(array)
            for start, n_bytes, step in self._moving:
                if start <= address < start + n_bytes:
                    moves[i] = step
                    address -= self._batch * step
                    break
            operands[i] = address
        counts = counts + [0] * (4 - len(counts))
        steps = steps + [0] * (MAX_OPERANDS + _CORE_STEPS - len(steps))
        self._calls.append([loop.address, loop.data, *operands, *moves, *counts, *steps, *axes])

    def finish(self, dtype: np.dtype[Any], most: int) -> int:
        """End the list; return how many mini-batches may be replayed at a time, `most` at most.

        Random numbers are drawn as `dtype`.
        """
        row = self._n_drawn * dtype.itemsize
        for i, _ in self._draws:
            self._calls[i][_MOVES] = row
        self._finished = np.array(self._calls, np.intp)
        self._place = address_of(self._finished)
        most = min(most, max(1, _DRAWN_BYTES // row)) if row else most
        self._drawn = np.empty((most, self._n_drawn), dtype)
        return most

    def replay(self, rng: np.random.Generator | None, first: int, stop: int) -> None:
        """Make the calls for the mini-batches from `first` to before `stop`."""
        calls = self._finished
        if rng is not None:
            drawn = self._drawn[: stop - first]
            rng.random(dtype=drawn.dtype.type, out=drawn)
            # The addresses are those of mini-batch 0.
            start = address_of(drawn) - first * drawn.strides[0]
            for i, number in self._draws:
                calls[i, 2] = start + number * drawn.itemsize
        self._replay(self._place, len(calls), first, stop)


def address_of(array: NDArray[Any]) -> int:
    """Return the address of an array's first value."""
    address: int = array.__array_interface__["data"][0]
    return address


def merge_axes(shape: list[int], steps: list[list[int]]) -> list[tuple[int, list[int]]]:
    """Return the count and the steps of each axis, in the order of NumPy's own iterator.

    The order decides which values a loop gets together, and with it the last bits of a sum.
    """
    axes = [(n, [each[i] for each in steps]) for i, n in enumerate(shape) if n != 1]
    # NumPy sorts by insertion, the smallest steps last; where two operands disagree, C order stays.
    for i in range(1, len(axes)):
        j = i
        while j and _belongs_outside(axes[j][1], axes[j - 1][1]):
            axes[j - 1], axes[j] = axes[j], axes[j - 1]
            j -= 1
    merged: list[tuple[int, list[int]]] = []
    for count, each in axes:
        if merged:
            outer_count, outer = merged[-1]
            if all(out == count * step for out, step in zip(outer, each, strict=True)):
                merged[-1] = (outer_count * count, each)
                continue
        merged.append((count, each))
    return merged or [(1, [0] * len(steps))]


def _belongs_outside(inner: list[int], outer: list[int]) -> bool:
    """Whether the axis with the steps `inner` should be outside the one with `outer`."""
    larger = None
    for a, b in zip(inner, outer, strict=True):
        if a and b:
            if abs(a) <= abs(b):
                return False
            larger = True
    return bool(larger)
