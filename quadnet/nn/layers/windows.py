"""Windows that slide over pictures: their geometry, which convolution and pooling share."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from quadnet.nn.layers.layer import Shape, UnfitInput
from quadnet.types import FloatArray

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of one size over one picture.

    Parameters
    ----------
    size, stride : (int, int)
        Height and width of a window, and the steps from one to the next.
    before : (int, int)
        Rows and columns of zeros before the picture.
    picture, padded : (int, int)
        Height and width of the picture, without and with the zeros around it.
    counts : (int, int)
        Number of windows, from top to bottom and from left to right.
    """

    size: Pair
    stride: Pair
    before: Pair
    picture: Pair

    padded: Pair
    counts: Pair

    @property
    def is_padded(self) -> bool:
        """Whether there are zeros around the picture."""
        return self.padded != self.picture

    @property
    def interior(self) -> tuple[slice, slice, slice]:
        """The place of the picture in an array (channels, height, width, n) with the zeros."""
        (top, left), (height, width) = self.before, self.picture
        return slice(None), slice(top, top + height), slice(left, left + width)

    def views(
        self, padded: FloatArray, first: int = 0, n_rows: int | None = None
    ) -> Iterator[FloatArray]:
        """Yield, for each place in a window, its value in every window.

        Parameters
        ----------
        padded : ndarray of shape (channels, height, width, n)
        first, n_rows : int
            The rows of windows; by default all.

        Yields
        ------
        ndarray of shape (channels, n_rows, n_windows_in_a_row, n)
            A view, place by place in C order.
        """
        (n_down, n_across), (down, across) = self.counts, self.stride
        n_rows = n_down if n_rows is None else n_rows
        top, height, width = first * down, (n_rows - 1) * down + 1, (n_across - 1) * across + 1
        for row in range(self.size[0]):
            for column in range(self.size[1]):
                start = top + row
                yield padded[:, start : start + height : down, column : column + width : across]


@lru_cache(maxsize=256)
def place_windows(input_shape: Shape, size: Pair, stride: Pair, *, padding: str) -> Windows:
    """Return the windows over pictures of this shape, (channels, height, width).

    With `padding` "valid" every window lies inside the picture. With "same" there are
    ceil(height / stride) rows of windows, and as many zeros as that needs: half of them before the
    picture, and the odd one after it.

    Raises
    ------
    UnfitInput
        If the shape is not that of a picture, or a window is larger than it.
    """
    if len(input_shape) != 3:
        raise UnfitInput(
            "an input of shape (channels, height, width)",
            "Set input_shape to the shape of a picture, and put Flatten() after this layer.",
        )
    down, across = (
        _place_along(*axis, padding=padding)
        for axis in zip(input_shape[1:], size, stride, strict=True)
    )
    (top, height, n_down), (left, width, n_across) = down, across
    if n_down < 1 or n_across < 1:
        raise UnfitInput(
            f"a picture of at least {size[0]} x {size[1]} values",
            "Use a smaller window, or fewer layers before this one.",
        )
    picture = (input_shape[1], input_shape[2])
    return Windows(size, stride, (top, left), picture, (height, width), (n_down, n_across))


def _place_along(length: int, size: int, step: int, *, padding: str) -> tuple[int, int, int]:
    """Return the zeros before the picture, its length with all zeros, and the number of windows."""
    missing = 0
    if padding == "same":
        missing = max(0, ((length - 1) // step) * step + size - length)
    return missing // 2, length + missing, (length + missing - size) // step + 1
