"""What scoring adds to the rows, and how it writes them, whatever the kind of file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from quadnet.types import FloatArray, IntArray


@dataclass(frozen=True)
class AddedColumns:
    """The columns that the output has beside the input's.

    `names` are those of the label, which is one of the `classes`, of its certainty, and of the
    version, which is the same in every row.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    version: int


class Output(Protocol):
    """Turns rows into the bytes of a file, each row as it stands and with the added columns."""

    def begin(self) -> bytes:
        """Return what comes before all rows."""

    def encode(self, rows: Any, winners: IntArray, certainties: FloatArray) -> bytes:
        """Return the rows, given the index of each one's class and that class's probability.

        The index of a row without an answer is -1, and its probability NaN.
        """

    def end(self, read: Callable[[int, int], bytes], n_bytes: int) -> bytes:
        """Return what comes after all rows.

        Parameters
        ----------
        read : callable
            Returns a piece of what was written, given its offset and length.
        n_bytes : int
            How much was written.
        """
