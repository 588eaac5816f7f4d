"""The encoders of columns as operators of ONNX: a table by the encoder's kind.

All is computed in float64, as `quadnet.tables` does, so that the outputs are the same numbers.
The texts of categories need the operators of ai.onnx.ml, which onnxruntime has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from quadnet.errors import Unsupported, shorten
from quadnet.onnx_export.column_inputs import MISSING_DATE, choose_missing_text, name_inputs
from quadnet.onnx_export.layer_operators import Graph
from quadnet.tables.column_encoders import (
    LIMIT,
    PIECE_HEIGHT,
    CategoryEncoder,
    ColumnEncoder,
    DateEncoder,
    NumberEncoder,
)
from quadnet.tables.date_parts import US_PER_DAY
from quadnet.tables.encoder import TableEncoder

# isort: split
# After `layer_operators`, which reports a missing onnx.
import onnx

ML_DOMAIN, ML_OPSET = "ai.onnx.ml", 2

# From here on, the difference from another float64 may overflow.
_LARGE = 2.0**969


def _number(graph: Graph, encoder: NumberEncoder, column: str) -> list[str]:
    missing = graph.add("IsNaN", column)
    # A graph cannot refuse a row: what the encoder refuses becomes NaN.
    fill = float("nan") if encoder.gaps == "refused" else encoder.fill
    values = graph.add("Where", missing, _double(graph, fill), column)
    outputs = _standardize(graph, values, encoder.centre, encoder.scale)
    if encoder.clip:
        third = graph.add("Div", outputs, _double(graph, 3.0))
        square = graph.add("Mul", third, third)
        length = graph.add("Sqrt", graph.add("Add", square, _double(graph, 1.0)))
        outputs = graph.add("Div", outputs, length)
    pieces = [_add_pieces(graph, values, encoder.knots)] if encoder.knots else []
    indicator = [_to_double(graph, missing)] if encoder.indicator else []
    return [outputs, *pieces, *indicator]


def _add_pieces(graph: Graph, values: str, knots: tuple[float, ...]) -> str:
    """Add the part of each interval between two knots that is below the values."""
    two = _double(graph, 2.0)
    numbers = np.array(knots)
    n_nodes = len(graph.nodes)
    low = graph.keep(f"piece_starts_{n_nodes}", numbers[:-1])
    high = graph.keep(f"piece_ends_{n_nodes}", numbers[1:])
    half_low = graph.keep(f"half_starts_{n_nodes}", numbers[:-1] / 2.0)
    half_length = graph.keep(f"half_lengths_{n_nodes}", numbers[1:] / 2.0 - numbers[:-1] / 2.0)
    inside = graph.add("Min", graph.add("Max", values, low), high)
    inside = graph.add("Sub", graph.add("Div", inside, two), half_low)
    shares = graph.add("Min", graph.add("Div", inside, half_length), _double(graph, 1.0))
    return graph.add("Mul", shares, _double(graph, PIECE_HEIGHT))


def _standardize(graph: Graph, values: str, centre: float, scale: float) -> str:
    """Add ``(values - centre) / scale`` within `LIMIT`."""
    # From a constant, and divided by one below 0: onnxruntime leaves out a subtraction of, and a
    # division by, what in float32 is 0 or 1, such as 1e-50 or 1.00000001.
    divisor = _double(graph, -scale)
    outputs = graph.add("Div", graph.add("Sub", _double(graph, centre), values), divisor)
    if abs(centre) >= _LARGE:
        # As in `quadnet.tables`: the difference may overflow where the quotient does not.
        four = _double(graph, 4.0)
        difference = graph.add("Sub", _double(graph, centre / 4.0), graph.add("Div", values, four))
        again = graph.add("Mul", graph.add("Div", difference, divisor), four)
        is_finite = graph.add("Less", graph.add("Abs", outputs), _double(graph, float("inf")))
        outputs = graph.add("Where", is_finite, outputs, again)
    return graph.add("Clip", outputs, _double(graph, -LIMIT), _double(graph, LIMIT))


def _category(graph: Graph, encoder: CategoryEncoder, column: str) -> list[str]:
    n_outputs = len(encoder.output_names)
    if not n_outputs:
        return []
    # From n_outputs on, a place is that of no output; what the encoder refuses becomes NaN.
    zeros, refused = n_outputs, n_outputs + 1
    unknown, gap = (
        zeros if place < 0 else place for place in (encoder.unknown_place, encoder.gap_place)
    )
    unknown = refused if encoder.unknown == "refused" else unknown
    gap = refused if encoder.gaps == "refused" else gap
    # The operator must have at least one text.
    places = {**encoder.places, choose_missing_text(encoder): gap}
    chosen = graph.add(
        "LabelEncoder",
        column,
        domain=ML_DOMAIN,
        keys_strings=list(places),
        values_int64s=list(places.values()),
        default_int64=unknown,
    )
    # Not OneHot, which onnxruntime does not have in float64.
    numbers = graph.keep(f"places_{n_outputs}", np.arange(n_outputs))
    outputs = _to_double(graph, graph.add("Equal", chosen, numbers))
    if refused in (unknown, gap):
        is_refused = graph.add("Equal", chosen, graph.keep_integers(refused))
        outputs = graph.add("Where", is_refused, _double(graph, float("nan")), outputs)
    return [outputs]


def _date(graph: Graph, encoder: DateEncoder, column: str) -> list[str]:
    missing = graph.add("Equal", column, graph.keep_integers(MISSING_DATE))
    date = _Date(graph, column)
    outputs = []
    for part in encoder.parts:
        values = _to_double(graph, DATE_PART_OPERATORS[part.part](date))
        values = _standardize(graph, values, part.centre, part.scale)
        fill = float("nan") if encoder.gaps == "refused" else 0.0
        outputs.append(graph.add("Where", missing, _double(graph, fill), values))
    return [*outputs, _to_double(graph, missing)] if encoder.indicator else outputs


class _Date:
    """The parts of a date in a graph, of which those that several others need are added once.

    Parameters
    ----------
    graph : Graph
    microseconds : str
        The value with microseconds since 1970-01-01.
    """

    def __init__(self, graph: Graph, microseconds: str) -> None:
        self.graph = graph
        self.microseconds = microseconds

    def compute(self, operator: str, first: str, second: str | int) -> str:
        """Add an operator of whole numbers."""
        other = self.graph.keep_integers(second) if isinstance(second, int) else second
        return self.graph.add(operator, first, other)

    def divide(self, value: str, divisor: int) -> str:
        """Add the division that rounds down, unlike Div, which rounds towards 0."""
        quotient = self.compute("Div", value, divisor)
        rest = self.compute("Sub", value, self.compute("Mul", quotient, divisor))
        is_below = self.compute("Less", rest, 0)
        one = self.graph.add("Cast", is_below, to=onnx.TensorProto.INT64)
        return self.compute("Sub", quotient, one)

    @cached_property
    def days(self) -> str:
        """Whole days since 1970-01-01."""
        return self.divide(self.microseconds, US_PER_DAY)

    @cached_property
    def day_and_year(self) -> tuple[str, str]:
        """The day, from 0, of a year that begins in March, and that year."""
        # The calendar repeats every 400 years, 146,097 days. 0000-03-01 is 719,468 days before
        # 1970. In years that begin in March, a leap day is the last day.
        shifted = self.compute("Add", self.days, 719_468)
        cycle = self.divide(shifted, 146_097)
        day = self.compute("Sub", shifted, self.compute("Mul", cycle, 146_097))
        # Without the leap days before it, the day is a multiple of 365 at the start of each year.
        leaps = self.compute("Div", day, 1460)
        leaps = self.compute("Sub", leaps, self.compute("Div", day, 36_524))
        leaps = self.compute("Add", leaps, self.compute("Div", day, 146_096))
        year = self.compute("Div", self.compute("Sub", day, leaps), 365)
        before = self.compute("Mul", year, 365)
        before = self.compute("Add", before, self.compute("Div", year, 4))
        before = self.compute("Sub", before, self.compute("Div", year, 100))
        first = self.compute("Mul", cycle, 400)
        return self.compute("Sub", day, before), self.compute("Add", year, first)

    @cached_property
    def months_since_march(self) -> str:
        """From 0 in March to 11 in February."""
        # From March on, months have 31, 30, 31, 30, 31 days, and again: 153 days in 5 months.
        days = self.compute("Mul", self.day_and_year[0], 5)
        return self.compute("Div", self.compute("Add", days, 2), 153)


def _year(date: _Date) -> str:
    is_next = date.compute("Greater", date.months_since_march, 9)
    one = date.graph.add("Cast", is_next, to=onnx.TensorProto.INT64)
    return date.compute("Add", date.day_and_year[1], one)


def _month(date: _Date) -> str:
    shifted = date.compute("Add", date.months_since_march, 2)
    return date.compute("Add", date.compute("Mod", shifted, 12), 1)


def _weekday(date: _Date) -> str:
    # 1970-01-01 was a Thursday. The result of Mod has the sign of the divisor.
    return date.compute("Mod", date.compute("Add", date.days, 3), 7)


def _hour(date: _Date) -> str:
    time = _to_double(date.graph, date.compute("Mod", date.microseconds, US_PER_DAY))
    return date.graph.add("Div", time, _double(date.graph, US_PER_DAY / 24))


def _elapsed(date: _Date) -> str:
    time = _to_double(date.graph, date.microseconds)
    return date.graph.add("Div", time, _double(date.graph, float(US_PER_DAY)))


DATE_PART_OPERATORS: dict[str, Callable[[_Date], str]] = {
    "year": _year,
    "month": _month,
    "weekday": _weekday,
    "hour": _hour,
    "elapsed": _elapsed,
}
"""By the part of a date: adds its operators, and returns the name of the value."""


def _double(graph: Graph, value: float) -> str:
    return graph.keep(f"double_{value!r}", np.array(value))


def _to_double(graph: Graph, value: str) -> str:
    return graph.add("Cast", value, to=onnx.TensorProto.DOUBLE)


ColumnOperators = Callable[[Graph, Any, str], list[str]]
"""Adds an encoder's operators to a graph: from the name of a column to those of its outputs.

The column has the shape (rows, 1), and an output (rows, n) in float64.
"""


@dataclass(frozen=True)
class ColumnExport:
    """What a kind of column becomes in a graph.

    Parameters
    ----------
    input_type : int
        The type of the input, of `onnx.TensorProto`.
    description : str
        What the input takes.
    add : ColumnOperators
    """

    input_type: int
    description: str
    add: ColumnOperators


COLUMN_OPERATORS: dict[str, ColumnExport] = {
    "number": ColumnExport(onnx.TensorProto.DOUBLE, "Numbers; NaN is missing.", _number),
    "category": ColumnExport(
        onnx.TensorProto.STRING, "Texts; any text that is no category is missing.", _category
    ),
    "date": ColumnExport(
        onnx.TensorProto.INT64,
        f"Microseconds since 1970-01-01 UTC; {MISSING_DATE} is missing.",
        _date,
    ),
}
"""By the kind of the encoder of a column."""


def make_inputs(encoder: TableEncoder) -> list[onnx.ValueInfoProto]:
    """Return the inputs of a graph, each of shape (rows, 1), in the order of the columns.

    Raises
    ------
    Unsupported
        If there are no operators for a column, or one of its texts is not valid Unicode.
    """
    inputs = []
    for column, name in zip(encoder.columns, name_inputs(encoder).values(), strict=True):
        _check_column(column)
        export = COLUMN_OPERATORS[column.kind]
        inputs.append(
            onnx.helper.make_tensor_value_info(
                name, export.input_type, ["rows", 1], doc_string=export.description
            )
        )
    return inputs


def _check_column(column: ColumnEncoder) -> None:
    if column.kind not in COLUMN_OPERATORS:
        raise Unsupported(
            f"The column {shorten(column.name)} is of the kind {column.kind!r}, for which no ONNX "
            f"operators are known. Known kinds are {', '.join(COLUMN_OPERATORS)}. Add a row for "
            f"{column.kind!r} to quadnet.onnx_export.column_operators.COLUMN_OPERATORS."
        )
    texts = [column.name]
    if isinstance(column, CategoryEncoder):
        texts += [*column.categories, *column.rare]
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Unsupported(
                f"The column {shorten(column.name)} has the text {shorten(text)}, which an ONNX "
                f"file cannot hold, because it is not valid Unicode: {error.reason}. Replace it in "
                "the rows to train on."
            ) from None


def add_encoder(graph: Graph, encoder: TableEncoder) -> str:
    """Add the operators of an encoder, from the values of `make_inputs` to rows for the network.

    The rows have the shape (rows, n_outputs), and the type of the graph.
    """
    names = name_inputs(encoder)
    outputs = [
        output
        for column in encoder.columns
        for output in COLUMN_OPERATORS[column.kind].add(graph, column, names[column.name])
    ]
    rows = graph.add("Concat", *outputs, axis=1)
    return graph.add("Cast", rows, to=onnx.helper.np_dtype_to_tensor_dtype(graph.dtype))
