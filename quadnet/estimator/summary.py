"""The table of a network's layers: shapes, parameters, multiply-adds."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.layer import Layer, Shape
from quadnet.nn.layers.stack import find_blocks, find_shapes

_HEADER = ("layer", "output shape", "parameters", "multiply-adds")


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """A layer with its activations: one row of the table.

    Parameters
    ----------
    number : int or None
        The layer's number in the stack; None for the input.
    name : str
    output_shape : tuple of int
    n_parameters : int
        Values that training updates.
    multiply_adds : int
        Products of a weight and a value, for one row.
    """

    number: int | None
    name: str
    output_shape: Shape
    n_parameters: int = 0
    multiply_adds: int = 0


def summarize_layers(layers: Sequence[Layer], input_shape: Shape) -> list[BlockSummary]:
    """Return a row for the input and for each block of the stack.

    Raises
    ------
    ValueError
        If a layer does not fit the output of the layer below.
    """
    shapes = find_shapes(layers, input_shape)
    rows = [BlockSummary(None, "input", input_shape)]
    for block in find_blocks(layers):
        first, *following = layers[block]
        shape = shapes[block.start]
        specs = first.array_specs(shape).values()
        rows.append(
            BlockSummary(
                block.start,
                ", ".join(map(_short_name, [first, *following])),
                shapes[block.stop],
                sum(prod(spec.shape) for spec in specs if spec.is_trained),
                first.multiply_adds(shape),
            )
        )
    return rows


def _short_name(layer: Layer) -> str:
    return layer.function if isinstance(layer, Activation) else repr(layer)


def format_summary(rows: Sequence[BlockSummary]) -> str:
    """Return the table as text."""
    cells = [_HEADER, *map(_format_row, rows), _total(rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(
            text.ljust(width) if i < 2 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def format_summary_html(rows: Sequence[BlockSummary]) -> str:
    """Return the table as HTML."""
    head = "".join(f"<th>{text}</th>" for text in _HEADER)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>"
        for row in (*map(_format_row, rows), _total(rows))
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _format_row(row: BlockSummary) -> tuple[str, ...]:
    shape = " x ".join(map(str, row.output_shape))
    if row.number is None:
        return row.name, shape, "", ""
    return f"{row.number}  {row.name}", shape, f"{row.n_parameters:,}", f"{row.multiply_adds:,}"


def _total(rows: Sequence[BlockSummary]) -> tuple[str, ...]:
    parameters = sum(row.n_parameters for row in rows)
    return "total", "", f"{parameters:,}", f"{sum(row.multiply_adds for row in rows):,}"
