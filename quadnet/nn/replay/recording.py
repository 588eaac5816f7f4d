"""Records the NumPy calls of one mini-batch's update, so that C can make them for the others.

An update runs once on arrays of the class `RecordedArray`, which share the memory of the real ones.
Each call is made as usual, and written down. An update that does anything else, such as to branch
on a value, raises `NotRecordable`.
"""

import ctypes
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType, MethodType, NoneType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from quadnet.nn.layers.layer import Layer
from quadnet.nn.replay.calls import MAX_OPERANDS, CallList, merge_axes
from quadnet.nn.replay.loops import NotRecordable, find_loop

_IN_PYTHON = frozenset(
    {np.transpose, np.moveaxis, np.swapaxes, np.expand_dims, np.squeeze, np.broadcast_to,
     np.reshape, np.ravel, np.sum, np.mean, np.max, np.min}
)  # fmt: skip
"""Functions that return a view, or call ufuncs. If a view is a copy, `_input` notices."""

_WITHOUT_ARRAYS = (int, float, str, type, FunctionType, Layer, NoneType)
"""Classes whose objects are shared with the original unseen. A layer holds settings only."""

_EXACT = frozenset(
    {np.add, np.subtract, np.multiply, np.divide, np.negative, np.positive, np.absolute, np.sign,
     np.square, np.sqrt, np.reciprocal, np.maximum, np.minimum, np.floor, np.ceil, np.trunc,
     np.rint, np.copysign, np.greater, np.greater_equal, np.less, np.less_equal, np.equal,
     np.not_equal, np.logical_and, np.logical_or, np.logical_xor, np.logical_not, np.isnan,
     np.isinf, np.isfinite}
)  # fmt: skip
"""Ufuncs that give the same bits whatever their operands' steps in memory are.

Others, such as `power` and `fmax`, may have a vector loop whose last bits, or signs of 0, differ.
NumPy copies several axes that are not one into a buffer, for which it takes the vector loop.
"""

_ADDS_IN_BLOCKS = np.lib.NumpyVersion(np.__version__) < "2.3.0"
"""Whether NumPy adds the values of one axis by as many as its buffer has."""

_UNFINISHED = object()


def _refuse(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise NotRecordable(f"it calls {name} of an array")

    return refuse


class RecordedArray(np.ndarray[Any, Any]):
    """A view of an array of the update, whose ufuncs are recorded."""

    recording: Any

    def __array_finalize__(self, source: Any) -> None:
        """Give a view the recording of its array."""
        self.recording = getattr(source, "recording", None)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Record a call of a ufunc."""
        return self.recording.call_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Record a call of another function of NumPy."""
        return self.recording.call_function(func, args, kwargs)

    def dot(self, other: Any, out: Any = None) -> Any:
        """Record a matrix product."""
        return self.recording.multiply(np.dot, self, other, out)

    def __getitem__(self, key: Any) -> Any:
        """Return a view."""
        part = super().__getitem__(key)
        if not isinstance(part, RecordedArray):
            raise NotRecordable("it reads a single value of an array")
        return part

    def __setitem__(self, key: Any, value: Any) -> None:
        """Record a copy."""
        place = key if isinstance(key, tuple) else (key,)
        if not any(part is ... for part in place):
            place = (*place, ...)  # so that a single value is a view too
        self.recording.copy(self[place], value)

    __bool__ = _refuse("the truth value")
    __float__ = _refuse("the number")
    __int__ = _refuse("the number")
    __index__ = _refuse("the number")


# Methods that NumPy does not report to `__array_ufunc__`.
for _name in (
    "item", "tolist", "tobytes", "fill", "sort", "put", "partition", "resize", "byteswap",
    "searchsorted", "argmax", "argmin", "argsort", "argpartition", "nonzero", "cumsum", "cumprod",
    "trace", "choose", "compress", "diagonal", "repeat", "take", "round", "astype", "copy",
    "flatten",
):  # fmt: skip
    setattr(RecordedArray, _name, _refuse(_name))


class _RecordedGenerator:
    """Draws as the generator does, and records where to."""

    def __init__(self, recording: "Recording", rng: np.random.Generator) -> None:
        self._recording, self._rng = recording, rng

    def random(self, *, dtype: Any, out: Any) -> Any:
        """Draw numbers from [0, 1) into `out`."""
        return self._recording.draw(self._rng, np.dtype(dtype), out)

    def __getattr__(self, name: str) -> Any:
        raise NotRecordable(f"it draws random numbers by {name}")


class Recording:
    """The calls of one update, on recorded arrays.

    Parameters
    ----------
    library : ctypes.CDLL
        The compiled part.
    moving : sequence of ndarray
        Arrays whose first axis counts the mini-batches: an update uses one entry of each.
    batch : int
        The mini-batch of the update that is recorded.

    Attributes
    ----------
    rng : numpy.random.Generator or None
        What the update draws from.
    rng_state : dict or None
        The state of its bit generator before the update.
    """

    def __init__(self, library: ctypes.CDLL, moving: Sequence[NDArray[Any]], batch: int) -> None:
        self._calls = CallList(library, moving, batch)
        # The memory that the update may use: that of its own arrays, and of results.
        self._owners: dict[int, NDArray[Any]] = {}
        self.rng: np.random.Generator | None = None
        self.rng_state: Any = None
        self._drawn_dtype: np.dtype[Any] = np.dtype(np.float64)

    def finish(self, most: int) -> int:
        """End the recording; return how many mini-batches may be replayed at a time."""
        return self._calls.finish(self._drawn_dtype, most)

    def replay(self, first: int, stop: int) -> None:
        """Make the update for these mini-batches."""
        self._calls.replay(self.rng, first, stop)

    def track(self, array: NDArray[Any]) -> Any:
        """Return a view of a real array, of the class `RecordedArray`."""
        owner = _find_owner(array)
        self._owners[id(owner)] = owner
        view = array.view(RecordedArray)
        view.recording = self
        return view

    def copy_of(self, thing: Any, memo: dict[int, Any] | None = None) -> Any:
        """Return an object in which recorded arrays replace the real ones, however deep.

        Whatever holds no array, such as a function, is shared with the original.
        """
        memo = {} if memo is None else memo
        if isinstance(thing, _WITHOUT_ARRAYS):
            return thing
        if id(thing) in memo:
            if memo[id(thing)] is _UNFINISHED:
                raise NotRecordable(f"{type(thing).__name__} refers to itself")
            return memo[id(thing)]
        memo[id(thing)] = _UNFINISHED
        made: Any
        if isinstance(thing, np.ndarray):
            made = self.track(thing)
        elif isinstance(thing, np.random.Generator):
            made = _RecordedGenerator(self, thing)
        else:
            made = self._copy_parts(thing, memo)
        memo[id(thing)] = made
        return made

    def _copy_parts(self, thing: Any, memo: dict[int, Any]) -> Any:
        if isinstance(thing, MethodType):
            return MethodType(thing.__func__, self.copy_of(thing.__self__, memo))
        if type(thing) in {list, tuple}:
            return type(thing)(self.copy_of(each, memo) for each in thing)
        if type(thing) is dict:
            return {key: self.copy_of(value, memo) for key, value in thing.items()}
        originals = _find_attributes(thing)
        attributes = {name: self.copy_of(value, memo) for name, value in originals.items()}
        if all(value is originals[name] for name, value in attributes.items()):
            return thing
        made = object.__new__(type(thing))
        for name, value in attributes.items():
            object.__setattr__(made, name, value)  # of frozen classes too
        return made

    def call_ufunc(self, ufunc: Any, method: str, inputs: Any, options: dict[str, Any]) -> Any:
        """Make a call of a ufunc, and record it."""
        out = options.pop("out", (None,))[0]
        dtype = options.pop("dtype", None)
        # What `mean` and `sum` of an array add, without an effect here.
        plain = options.pop("where", True) is True
        plain &= options.pop("initial", np._NoValue) is np._NoValue  # noqa: SLF001
        for name in ("subok", "casting"):
            options.pop(name, None)
        if ufunc.nout != 1 or dtype is not None or not plain:
            raise NotRecordable(f"it calls {ufunc.__name__} with options")
        if method == "reduce":
            return self._reduce(ufunc, inputs[0], out, **options)
        if method != "__call__" or options:
            raise NotRecordable(f"it calls {ufunc.__name__}.{method} with options")
        if ufunc is np.matmul:
            return self.multiply(np.matmul, inputs[0], inputs[1], out)
        if ufunc is np.vecdot:
            return self._multiply_rows(inputs[0], inputs[1], out)
        if ufunc.signature is not None or ufunc.nargs > MAX_OPERANDS:
            raise NotRecordable(f"it calls {ufunc.__name__}")
        return self._apply(ufunc, inputs, out)

    def call_function(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Make a call of a function that is not a ufunc, and record it."""
        if function is np.dot:
            return self.multiply(np.dot, *args, **kwargs)
        if function is np.copyto and len(args) == 2 and not kwargs:
            return self.copy(*args)
        if function in _IN_PYTHON:
            return np.ndarray.__array_function__(args[0], function, (RecordedArray,), args, kwargs)
        raise NotRecordable(f"it calls {function.__name__}")

    def _apply(self, ufunc: np.ufunc, inputs: Any, out: Any) -> Any:
        given = tuple(
            value.dtype if isinstance(value, (np.ndarray, np.generic)) else type(value)
            for value in inputs
        )
        *types, result = ufunc.resolve_dtypes((*given, None if out is None else out.dtype))
        arrays = [self._input(value, dtype) for value, dtype in zip(inputs, types, strict=True)]
        made = ufunc(*map(_real, inputs), out=None if out is None else _real(out))
        target = self._output(made, out, result)
        signature = "".join(dtype.char for dtype in types) + "->" + result.char
        n_axes = self._calls.add(find_loop(ufunc, signature), [*arrays, target])
        if n_axes > 1 and ufunc not in _EXACT:
            raise NotRecordable(f"it calls {ufunc.__name__} of arrays that are not contiguous")
        return self._recorded(target, out)

    def _reduce(
        self, ufunc: np.ufunc, array: Any, out: Any, *, axis: Any = 0, keepdims: bool = False
    ) -> Any:
        if ufunc not in _EXACT:
            raise NotRecordable(f"it calls {ufunc.__name__}.reduce")
        if isinstance(out, tuple):
            (out,) = out
        made = ufunc.reduce(
            _real(array), axis=axis, keepdims=keepdims, out=None if out is None else _real(out)
        )
        target = self._output(np.asarray(made), out, array.dtype)
        values = self._input(array, array.dtype)
        axes = range(values.ndim) if axis is None else axis
        axes = {i % values.ndim for i in (axes if isinstance(axes, Iterable) else (axes,))}
        kept = [i for i in range(values.ndim) if i not in axes]
        shaped = target.reshape([values.shape[i] for i in kept])
        if np.may_share_memory(values, target):
            raise NotRecordable(f"it calls {ufunc.__name__}.reduce into the array that it reads")
        if ufunc.identity is None:
            if len(axes) != 1:
                raise NotRecordable(f"it calls {ufunc.__name__}.reduce over several axes")
            before = (slice(None),) * axes.pop()
            self._calls.add_copy(values[(*before, 0, ...)], shaped)
            values = values[(*before, slice(1, None))]
        else:
            initial = self._calls.keep(np.array(ufunc.identity, array.dtype))
            self._calls.add_copy(np.broadcast_to(initial, shaped.shape), shaped)
        # The result does not move along the axes that are left out.
        steps = [0] * values.ndim
        for i, step in zip(kept, shaped.strides, strict=True):
            steps[i] = step
        # Which values a sum takes together depends on NumPy's buffer, into which it copies several
        # axes that are not one.
        merged = merge_axes(list(values.shape), [steps, list(values.strides)])
        reduced = [not step for _, (step, _) in merged]
        if reduced[-1] and any(reduced[:-1]):
            raise NotRecordable(f"it calls {ufunc.__name__}.reduce over several axes")
        if _ADDS_IN_BLOCKS and ufunc is np.add and reduced[-1] and merged[-1][0] > np.getbufsize():
            raise NotRecordable(f"it adds more than {np.getbufsize()} values")
        char = array.dtype.char
        self._calls.add_strided(
            find_loop(ufunc, f"{char}{char}->{char}"),
            list(values.shape),
            [steps, list(values.strides), steps],
            (target, values, target),
        )
        return self._recorded(target, out)

    def multiply(self, product_of: Callable[..., Any], A: Any, B: Any, out: Any = None) -> Any:
        """Make a product of matrices or vectors, and record it.

        NumPy has no loop for `dot`. That for `matmul` gives the same bits for contiguous arrays,
        except where each value is a single product: `dot` takes 0 for 0 * inf there.
        """
        if not all(isinstance(x, np.ndarray) and 1 <= x.ndim <= 2 for x in (A, B)):
            raise NotRecordable("it multiplies what are not matrices")
        if A.dtype != B.dtype:
            raise NotRecordable(f"it multiplies {A.dtype} and {B.dtype}")
        left, right = self._input(A, A.dtype), self._input(B, A.dtype)
        if product_of is np.dot:
            if left.shape[-1] == 1:
                raise NotRecordable("it calls dot for single products: np.multiply is recorded")
            if not (left.flags.forc and right.flags.forc):
                raise NotRecordable("it calls dot of arrays that are not contiguous")
        made = product_of(left, right, **({} if out is None else {"out": _real(out)}))
        target = self._output(np.asarray(made), out, A.dtype)
        left = left if left.ndim == 2 else left[np.newaxis]
        right = right if right.ndim == 2 else right[:, np.newaxis]
        product = target.reshape(len(left), right.shape[1])
        char = A.dtype.char
        self._calls.add_core(
            find_loop(np.matmul, f"{char}{char}->{char}"),
            [1, len(left), *right.shape],
            [0, 0, 0, *left.strides, *right.strides, *product.strides],
            (left, right, product),
        )
        return self._recorded(target, out)

    def _multiply_rows(self, A: Any, B: Any, out: Any) -> Any:
        """Make the products of the rows of two matrices, and record them."""
        left, right = self._input(A, A.dtype), self._input(B, A.dtype)
        if left.ndim != 2 or left.shape != right.shape:
            raise NotRecordable("it calls vecdot of what are not two matrices")
        made = np.vecdot(left, right, **({} if out is None else {"out": _real(out)}))
        target = self._output(made, out, A.dtype)
        (down, across), (other_down, other_across) = left.strides, right.strides
        char = A.dtype.char
        self._calls.add_core(
            find_loop(np.vecdot, f"{char}{char}->{char}"),
            list(left.shape),
            [down, other_down, *target.strides, across, other_across],
            (left, right, target),
        )
        return self._recorded(target, out)

    def copy(self, target: Any, value: Any) -> None:
        """Copy values into an array, and record it."""
        real = _real(target)
        source = self._input(value, real.dtype)
        np.copyto(real, _real(value))
        self._output(real, target, real.dtype)
        self._calls.add_copy(np.broadcast_to(source, real.shape), real)

    def draw(self, rng: np.random.Generator, dtype: np.dtype[Any], out: Any) -> Any:
        """Draw random numbers, and record where they go."""
        if self.rng is not None and (self.rng is not rng or self._drawn_dtype != dtype):
            raise NotRecordable("it draws from two generators")
        if self.rng is None:
            self.rng_state = rng.bit_generator.state
        self.rng, self._drawn_dtype = rng, dtype
        target = self._output(_real(out), out, dtype)
        if not target.flags.c_contiguous:
            raise NotRecordable("it draws into an array that is not contiguous")
        rng.random(dtype=dtype.type, out=target)
        self._calls.add_draw(target)
        return out

    def _input(self, value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an operand as an array of this type, in memory that stays where it is."""
        if not isinstance(value, np.ndarray):
            number: NDArray[Any] = self._calls.keep(np.array(value, dtype))
            return number
        real: NDArray[Any] = _real(value)
        if isinstance(value, RecordedArray):
            self._find(real)
        else:
            self._calls.keep(real)
        if real.dtype == dtype:
            return real
        if real.dtype != np.bool_ or dtype.char not in "fd":
            raise NotRecordable(f"it uses {real.dtype} as {dtype}")
        cast: NDArray[Any] = self._calls.keep(np.empty(real.shape, dtype))
        self._calls.add_cast(real, cast)
        return cast

    def _output(self, made: NDArray[Any], out: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the array that a call has written."""
        if out is None:
            made = np.asarray(made)
            self._calls.keep(made)
            self._owners[id(made)] = made
            return made
        real: NDArray[Any] = _real(out)
        if real.dtype != dtype:
            raise NotRecordable(f"it writes {dtype} as {real.dtype}")
        if isinstance(out, RecordedArray):
            self._find(real)
        else:
            self._calls.keep(real)
        return real

    def _find(self, array: NDArray[Any]) -> None:
        if id(_find_owner(array)) not in self._owners:
            raise NotRecordable("it copies an array")

    def _recorded(self, target: NDArray[Any], out: Any) -> Any:
        if out is not None:
            return out
        view = target.view(RecordedArray)
        view.recording = self
        return view


def _real(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, RecordedArray) else value


def _find_attributes(thing: Any) -> dict[str, Any]:
    """Return what an object holds, in its `__dict__` and in its slots."""
    slots = (
        name
        for cls in type(thing).__mro__
        for name in vars(cls).get("__slots__", ())
        if hasattr(thing, name)
    )
    return {name: getattr(thing, name) for name in slots} | getattr(thing, "__dict__", {})


def _find_owner(array: NDArray[Any]) -> NDArray[Any]:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
