"""Windows that slide over pictures: their geometry, which convolution and pooling share."""

from collections.abc import Iterator
from dataclasses import dataclass

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
    before, after : (int, int)
        Rows and columns of zeros before and after the picture.
    picture : (int, int)
        Height and width of the picture without those zeros.
    """

    size: Pair
    stride: Pair
    before: Pair
    after: Pair
    picture: Pair

    @property
    def padded(self) -> Pair:
        """Height and width of the picture with the zeros around it."""
        (top, left), (height, width), (bottom, right) = self.before, self.picture, self.after
        return top + height + bottom, left + width + right

    @property
    def is_padded(self) -> bool:
        """Whether there are zeros around the picture."""
        return self.padded != self.picture

    @property
    def interior(self) -> tuple[slice, slice, slice]:
        """The place of the picture in an array (channels, height, width, n) with the zeros."""
        (top, left), (height, width) = self.before, self.picture
        return slice(None), slice(top, top + height), slice(left, left + width)

    @property
    def counts(self) -> Pair:
        """Number of windows, from top to bottom and from left to right."""
        (height, width), (rows, columns) = self.padded, self.size
        return (height - rows) // self.stride[0] + 1, (width - columns) // self.stride[1] + 1

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
    _, *picture = input_shape
    before, after = [0, 0], [0, 0]
    for axis in range(2):
        if padding == "same":
            n_windows = -(-picture[axis] // stride[axis])
            missing = max(0, (n_windows - 1) * stride[axis] + size[axis] - picture[axis])
            before[axis], after[axis] = missing // 2, missing - missing // 2
        elif picture[axis] < size[axis]:
            height, width = size
            raise UnfitInput(
                f"a picture of at least {height} x {width} values",
                "Use a smaller window, or fewer layers before this one.",
            )
    return Windows(
        size, stride, (before[0], before[1]), (after[0], after[1]), (picture[0], picture[1])
    )
