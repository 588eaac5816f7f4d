"""Recorded calls of NumPy, replayed for other values, against NumPy's own results."""

import numpy as np
import pytest

from quadnet.nn.replay.library import describe, find_library
from quadnet.nn.replay.loops import NotRecordable
from quadnet.nn.replay.recording import Recording

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # some values are infinite
    pytest.mark.skipif(
        describe() != "compiled", reason="there is no compiled part, or it is switched off"
    ),
]

N_BATCHES = 12


def record(function, *moving):
    """Record a function of the first entries; return its results for all entries, replayed."""
    library = find_library()
    assert library is not None
    first = np.asarray(function(*(array[0] for array in moving)))
    results = np.zeros((N_BATCHES, *first.shape), first.dtype)
    recording = Recording(library, [*moving, results], 0)
    result = function(*(recording.track(array)[0, ...] for array in moving))
    recording.copy(recording.track(results)[0, ...], result)
    assert results[0].tobytes() == first.tobytes()
    recording.finish(N_BATCHES)
    results[:] = np.nan
    recording.replay(0, N_BATCHES)
    return results


def check(function, *moving):
    """Compare replayed results with NumPy's, bit for bit."""
    results = record(function, *moving)
    for i in range(N_BATCHES):
        expected = np.asarray(function(*(array[i] for array in moving)))
        assert results[i].tobytes() == expected.tobytes(), f"mini-batch {i}"


def draw(shape, dtype, *, seed=0):
    """Return numbers, among them zeros of both signs."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(N_BATCHES, *shape))
    values[rng.uniform(size=values.shape) < 0.1] = 0.0
    return np.copysign(values, rng.normal(size=values.shape)).astype(dtype)


LAYOUTS = {
    "contiguous": ((8, 17), lambda A: A),
    "transposed": ((8, 17), lambda A: A.T),
    "padded": ((8, 20), lambda A: A[:, :17]),
    "every other row": ((16, 17), lambda A: A[::2]),
    "every other column": ((8, 35), lambda A: A[:, :34:2]),
    "one column": ((8, 1), lambda A: A),
    "one row": ((1, 17), lambda A: A),
    "one value": ((1, 1), lambda A: A),
    "long rows": ((3, 9000), lambda A: A),
}

FUNCTIONS = {
    "sum": lambda A: np.add.reduce(A, axis=None),
    "sum of rows": lambda A: A.sum(axis=1),
    "sum of columns": lambda A: np.sum(A, axis=0, keepdims=True),
    "largest": lambda A: np.maximum.reduce(A, axis=-1),
    "product": lambda A: np.multiply.reduce(A, axis=0),
    "power": lambda A: np.power(2.0, A),
    "tanh in place": lambda A: np.tanh(A * 2.0, out=A * 3.0),
    "fmax": lambda A: np.fmax(A[:1], A),
    "dot": lambda A: np.dot(A[:, :20], A[:, :20].T),
    "dot with a vector": lambda A: np.dot(A, A[0]),
    "matmul": lambda A: np.matmul(A[:, :20].T, A[:, :20]),
    "outer product": lambda A: np.multiply(A[:, :1], A[:1, :20]),
}


STRIDED = {"padded", "every other row", "every other column"}

LONG = {"long rows"} if np.lib.NumpyVersion(np.__version__) < "2.3.0" else set()

REFUSED = {
    "sum": STRIDED | LONG,
    "sum of rows": LONG,
    "power": STRIDED,
    "fmax": set(LAYOUTS) - {"one column", "one row", "one value"},
    "dot": STRIDED | {"one column", "one value", "long rows"},
    "dot with a vector": STRIDED | {"transposed", "one column", "one value"},
}
"""Calls that are not recorded: their bits depend on NumPy's buffers, or on how `dot` computes."""


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_call_gives_numpys_bits_for_all_values_or_is_refused(name, dtype):
    refused = set()
    for layout, (shape, view) in LAYOUTS.items():
        try:
            check(lambda A, view=view: FUNCTIONS[name](view(A)), draw(shape, dtype))
        except NotRecordable:
            refused.add(layout)
    assert refused == REFUSED.get(name, set())


def test_a_single_product_of_infinity_and_zero_is_not_taken_from_dot():
    column, row = draw((5, 1), np.float64), draw((1, 4), np.float64, seed=1)
    column[3:], row[3:] = np.inf, 0.0
    with pytest.raises(NotRecordable, match=r"np\.multiply is recorded"):
        record(np.dot, column, row)
    check(np.multiply, column, row)


def test_a_sum_is_not_written_into_the_values_that_it_reads():
    def add_into_first(A):
        B = np.multiply(A, 1.0)
        return np.add.reduce(B, axis=0, out=B[0])

    with pytest.raises(NotRecordable, match="into the array that it reads"):
        record(add_into_first, draw((3, 4), np.float64))


def test_a_product_of_truth_values_is_refused():
    with pytest.raises(NotRecordable, match="multiplies float64 and bool"):
        record(lambda A: np.matmul(A, A > 0), draw((3, 3), np.float64))


@pytest.mark.parametrize("place", [..., 1, (1, 2), (..., 0), slice(None, None, 2)], ids=str)
def test_values_are_set_in_every_way(place):
    def set_values(A):
        B = np.multiply(A, 2.0)
        B[place] = 0.5
        return B

    check(set_values, draw((3, 4), np.float64))
