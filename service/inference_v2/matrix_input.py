"""The input "x": rows of numbers, for versions whose columns are all numbers.

An error names the tensor, what was expected and what was found.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

from numpy.typing import NDArray

from quadnet.errors import InvalidInput, Violation, listing, shorten
from service.inference_v2.tensors import NUMBER_DTYPES, InputTensor, format_shape
from service.wire.checks import MAX_POINTS, check_finite_numbers

INPUT = "x"


def read_matrix(inputs: Sequence[InputTensor], *, n_features: int, max_rows: int) -> NDArray[Any]:
    """Return the only input, "x", of finite numbers.

    Each slice is converted when it is computed.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        In the datatype that was sent.

    Raises
    ------
    InvalidInput
        If there is not exactly one input with this name, datatype and shape, it has too many rows,
        or a number is not finite.
    """
    names = [tensor.name for tensor in inputs]
    if names != [INPUT]:
        _raise_wrong_inputs(names, n_features)
    X = read_rows_of_numbers(inputs[0], n_features=n_features, max_rows=max_rows)
    if X.dtype.kind == "f":
        check_finite_numbers(X, lambda row, column: f"{INPUT}[{row}][{column}]")
    return X


def read_rows_of_numbers(
    tensor: InputTensor, *, n_features: int, max_rows: int, may_be_missing: bool = False
) -> NDArray[Any]:
    """Return a tensor of numbers, of shape (n_rows, n_features).

    Numbers may be NaN or infinite, and if they may be missing, they may be null in JSON.

    Raises
    ------
    InvalidInput
        If the tensor does not have this datatype and shape, or has too many rows.
    """
    if tensor.datatype not in NUMBER_DTYPES:
        tensor.refuse(
            f"{tensor.field}.datatype",
            f"one of {listing([*NUMBER_DTYPES])}",
            shorten(tensor.datatype),
        )
    field, shape = f"{tensor.field}.shape", tensor.shape
    if len(shape) != 2 or shape[1] != n_features or shape[0] < 0:
        tensor.refuse(
            field, f"[n, {n_features}], rows of {n_features} features", format_shape(shape)
        )
    check_row_count(tensor, max_rows)
    return tensor.read_numbers(may_be_missing=may_be_missing).reshape(shape)


def check_row_count(tensor: InputTensor, max_rows: int) -> None:
    """Raise InvalidInput if a tensor has more rows than the server accepts."""
    if tensor.shape[0] > max_rows:
        tensor.refuse(
            f"{tensor.field}.shape",
            f"at most {max_rows} rows per call",
            f"{tensor.shape[0]}; send them in several calls",
            facts={MAX_POINTS: max_rows},
        )


def _raise_wrong_inputs(names: Sequence[str], n_features: int) -> NoReturn:
    expected = f"expected one input {INPUT!r} of shape [n, {n_features}], with all features"
    for i, name in enumerate(names):
        if name != INPUT:
            raise InvalidInput([Violation(f"inputs[{i}].name", f"{expected}; got {shorten(name)}")])
    found = "no input" if not names else f"{len(names)} with this name"
    raise InvalidInput([Violation("inputs", f"{expected}; got {found}")])
