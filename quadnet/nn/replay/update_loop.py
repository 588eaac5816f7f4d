"""Makes the same update for many mini-batches: the first by NumPy, the others replayed from C."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadnet.nn.replay.loops import NotRecordable
from quadnet.nn.replay.recording import Recording

_FIRST_UPDATES = 8
"""Updates that NumPy makes before one is recorded, because many a fit ends before."""

_WORTHWHILE = 128
"""Updates that must follow: fewer do not save the time that recording takes."""

_LARGEST_STATE = 2**19
"""Bytes of parameters and moments beyond which an update is not recorded.

The calls of NumPy are then less than a twentieth of its time, and to verify takes two copies.
"""


@dataclass
class UpdateCounts:
    """How many updates NumPy made, how many were replayed, and why recordings were given up."""

    computed: int = 0
    replayed: int = 0
    refused: int = 0
    reason: str = ""

    @property
    def total(self) -> int:
        """All updates."""
        return self.computed + self.replayed


class UpdateLoop:
    """Calls an update for consecutive mini-batches of one size.

    Parameters
    ----------
    update : callable
        Called with one entry of each of `arrays`, then of `numbers`. Returns a number, or None.
    arrays : sequence
        Arrays, or lists of sparse matrices, whose first axis counts the mini-batches. Always the
        same memory.
    numbers : sequence of ndarray of shape (n_batches,)
    results : ndarray of shape (n_batches,)
        Where the returned numbers go.
    outputs : ndarray
        The one of `arrays` that the update writes.
    state : callable
        Returns the arrays that an update changes for the next one.
    library : ctypes.CDLL or None
        Without it, all updates are made by NumPy.
    planned : int
        How many updates there will be, at most.
    at_once : int
        The most updates that are replayed before Python looks for an interrupt.
    counts : UpdateCounts
        Added to.
    """

    def __init__(
        self,
        update: Callable[..., Any],
        *,
        arrays: Sequence[Any],
        numbers: Sequence[NDArray[Any]],
        results: NDArray[Any],
        outputs: NDArray[Any],
        state: Callable[[], Sequence[NDArray[Any]]],
        library: ctypes.CDLL | None,
        planned: int,
        at_once: int,
        counts: UpdateCounts,
    ) -> None:
        self._update, self._arrays, self._numbers = update, arrays, numbers
        self._results, self._outputs, self._state = results, outputs, state
        self._library, self._left, self._at_once = library, planned, at_once
        self._counts = counts
        self._done = 0
        self._recording: Recording | None = None
        self._verified = False

    def run(self, start: int, stop: int) -> None:
        """Make the updates of the mini-batches from `start` to before `stop`."""
        self._left -= stop - start
        i = start
        while i < stop and not self._verified:
            if self._recording is not None:
                self._verify(i)
                i += 1
            elif self._library is None or self._left + stop - i < _WORTHWHILE:
                self._compute(i, stop)
                i = stop
            elif self._done < _FIRST_UPDATES:
                part = min(stop, i + _FIRST_UPDATES - self._done)
                self._compute(i, part)
                i = part
            else:
                self._record(self._library, i)
                i += 1
        while i < stop:
            assert self._recording is not None
            part = min(stop, i + self._at_once)
            # An interrupt that comes while C runs is raised after it: the updates are made.
            self._counts.replayed += part - i
            self._recording.replay(i, part)
            i = part

    def _compute(self, start: int, stop: int) -> None:
        """Make these updates by NumPy."""
        results = self._results
        entries = (array[start:stop] for array in self._arrays)
        numbers = (array[start:stop].tolist() for array in self._numbers)
        made = 0
        try:
            for given in zip(*entries, *numbers, strict=True):
                result = self._update(*given)
                if result is not None:
                    results[start + made] = result
                made += 1
        finally:
            self._counts.computed += made
            self._done += made

    def _record(self, library: ctypes.CDLL, i: int) -> None:
        """Make this update by NumPy, and record it if it can be."""
        before = self._saved()
        if sum(array.nbytes for array in before) > _LARGEST_STATE:
            self._library = None
            self._counts.reason = "The network has many parameters: calls take little of its time."
            self._compute(i, i + 1)
            return
        recording = Recording(library, [*self._arrays, *self._numbers, self._results], i)
        reason = ""
        try:
            recorded = recording.copy_of(self._update)
            given = [recording.track(array)[i, ...] for array in (*self._arrays, *self._numbers)]
            result = recorded(*given)
            if result is not None:
                recording.track(self._results)[i] = result
        except NotRecordable as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - a layer may do anything with an array
            reason = f"it raises {type(error).__name__} while it is recorded"
        seen = self._seen(i)
        self._restore(before, recording.rng, recording.rng_state)
        self._compute(i, i + 1)
        if not reason and self._seen(i) != seen:
            reason = "it gives other bits while it is recorded"
        if reason:
            self._refuse(reason)
        else:
            self._at_once = recording.finish(self._at_once)
            self._recording = recording

    def _verify(self, i: int) -> None:
        """Make this update both ways from the same state; replay from now on if they agree."""
        recording = self._recording
        assert recording is not None
        before = self._saved()
        rng_state = None if recording.rng is None else recording.rng.bit_generator.state
        recording.replay(i, i + 1)
        seen = self._seen(i)
        self._restore(before, recording.rng, rng_state)
        self._compute(i, i + 1)
        if self._seen(i) == seen:
            self._verified = True
        else:
            self._refuse("its replay gives other bits than NumPy")

    def _seen(self, i: int) -> list[bytes]:
        """Return the bits of everything that the update of a mini-batch leaves behind."""
        parts = (*self._state(), self._outputs[i], self._results[i : i + 1])
        return [part.tobytes() for part in parts]

    def _saved(self) -> list[NDArray[Any]]:
        return [array.copy() for array in self._state()]

    def _restore(
        self, saved: list[NDArray[Any]], rng: np.random.Generator | None, rng_state: Any
    ) -> None:
        for array, values in zip(self._state(), saved, strict=True):
            np.copyto(array, values)
        if rng is not None:
            rng.bit_generator.state = rng_state

    def _refuse(self, reason: str) -> None:
        self._recording, self._library = None, None
        self._counts.refused += 1
        self._counts.reason = f"An update cannot be replayed: {reason}."
