"""The encoder of a pipeline's columns, and the affine map of its outputs to a network's inputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array

from pipeline.adoption.column_formulas import (
    REFUSED,
    Formula,
    GapFormula,
    LookupFormula,
    NumberFormula,
    RawFormula,
    Scaling,
    Value,
)
from quadnet.errors import Unsupported, shorten
from quadnet.tables.column_encoders import CategoryEncoder, ColumnEncoder, NumberEncoder
from quadnet.tables.encoder import TableEncoder
from quadnet.types import FloatArray

_ROUNDING = 1e-12
"""Values of a gap whose difference is below this share of them are equal."""


@dataclass(frozen=True)
class AffineInputs:
    """An encoder, and the map of its outputs to the inputs of a network: outputs @ M + shift.

    Parameters
    ----------
    encoder : TableEncoder
    M : SciPy sparse array of shape (n_outputs, n_inputs)
    shift : ndarray of shape (n_inputs,)
    """

    encoder: TableEncoder
    M: coo_array
    shift: FloatArray

    @property
    def is_identity(self) -> bool:
        """Whether the network takes the encoder's outputs as they are."""
        if self.shift.any() or self.M.shape[0] != self.M.shape[1]:
            return False
        found = self.M.tocsr()
        ones = np.ones(found.shape[0])
        return found.nnz == len(ones) and bool((found.diagonal() == ones).all())


@dataclass
class _Entries:
    """The entries of M and the shift, as far as they are known."""

    rows: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    shift: dict[int, float] = field(default_factory=dict)

    def add(self, row: int, column: int, value: float) -> None:
        if value:
            self.rows.append(row)
            self.columns.append(column)
            self.values.append(value)


def build_inputs(
    formulas: Sequence[Formula], names: Sequence[str], *, keep_unused: bool
) -> AffineInputs:
    """Return the encoder of the columns of which a network's inputs are made, and the rest.

    Parameters
    ----------
    formulas : sequence of Formula
        One for each input of the network.
    names : sequence of str
        The names of the caller's columns.
    keep_unused : bool
        Whether columns that no input is made of are columns of the encoder nevertheless: those of
        an array have places, and no names.

    Raises
    ------
    Unsupported
        If a column is used both as numbers and as categories, or no column is used.
    """
    by_source: dict[int, list[tuple[int, Formula]]] = {}
    for i, formula in enumerate(formulas):
        by_source.setdefault(formula.source, []).append((i, formula))
    entries = _Entries()
    encoders: list[ColumnEncoder] = []
    n_outputs = 0
    try:
        for source, name in enumerate(names):
            used = by_source.get(source, [])
            if used or keep_unused:
                encoders.append(_build_column(name, used, n_outputs, entries))
                n_outputs += len(encoders[-1].output_names)
        if not n_outputs:
            raise Unsupported("The steps before the network leave no column for it.")
        encoder = TableEncoder(tuple(encoders))
    except ValueError as error:
        raise Unsupported(f"The columns cannot be encoded: {error}.") from None
    shape = (n_outputs, len(formulas))
    M = coo_array((entries.values, (entries.rows, entries.columns)), shape=shape)
    shift = np.array([entries.shift.get(i, 0.0) for i in range(len(formulas))])
    return AffineInputs(encoder, M, shift)


def _build_column(
    name: str, used: Sequence[tuple[int, Formula]], first: int, entries: _Entries
) -> ColumnEncoder:
    """Return the encoder of one column, and add the entries of its outputs."""
    lookups = [(i, each) for i, each in used if isinstance(each, LookupFormula)]
    numbers = [(i, each) for i, each in used if isinstance(each, NumberFormula | RawFormula)]
    flags = [(i, each) for i, each in used if isinstance(each, GapFormula)]
    if lookups and numbers:
        raise Unsupported(
            f"The column {shorten(name)} is used both as numbers and as categories, which a "
            "version cannot do. Fit the pipeline with a copy of the column under another name."
        )
    if not numbers:
        return _build_category(name, lookups, flags, first, entries)
    scaled = []
    for i, each in numbers:
        if isinstance(each, NumberFormula):
            scaled.append((i, each))
        elif isinstance(each.gap, str):
            raise Unsupported(
                f"The column {shorten(name)} reaches the network as texts. Encode it with a "
                "OneHotEncoder or an OrdinalEncoder."
            )
        else:
            scaled.append((i, NumberFormula(each.source, Scaling(), each.gap)))
    return _build_number(name, scaled, flags, first, entries)


def _build_number(
    name: str,
    numbers: Sequence[tuple[int, NumberFormula]],
    flags: Sequence[tuple[int, GapFormula]],
    first: int,
    entries: _Entries,
) -> NumberEncoder:
    # The first scaled one decides: so a time stamp keeps its digits.
    chosen = next((f.scaling for _, f in numbers if f.scaling.scale != 1.0), numbers[0][1].scaling)
    base = Scaling(chosen.centre, chosen.scale)
    if chosen.factor > 0.0:
        # The network takes the output as it is, unless the column has others.
        scale = chosen.scale / chosen.factor
        base = Scaling(chosen.centre - chosen.shift * scale, scale)
    # Each input as factor * z + summand, of the encoder's z, and its value for a gap.
    inputs: list[tuple[int, float, float, Value]] = []
    for i, each in numbers:
        own = each.scaling
        factor = own.factor * (base.scale / own.scale)
        summand = own.factor * ((base.centre - own.centre) / own.scale) + own.shift
        if own is chosen and chosen.factor > 0.0:
            factor, summand = 1.0, 0.0  # without rounding
        inputs.append((i, factor, summand, each.gap))
    for i, flag in flags:
        present = _require(flag.present)
        inputs.append((i, 0.0, present, flag.gap))
    is_refused = any(gap is None or math.isnan(gap) for *_, gap in inputs)
    fill, surplus = base.centre, [0.0] * len(inputs)
    if not is_refused:
        at = next((k for k, (_, factor, _, _) in enumerate(inputs) if factor), None)
        z = 0.0
        if at is not None:
            _, factor, summand, gap = inputs[at]
            z = (_require(gap) - summand) / factor
            fill = base.centre + z * base.scale
        z = (fill - base.centre) / base.scale
        for k, (_, factor, summand, gap) in enumerate(inputs):
            parts = (factor * z, summand, _require(gap))
            rest = parts[2] - (parts[0] + parts[1])
            surplus[k] = rest if abs(rest) > _ROUNDING * max(map(abs, parts)) else 0.0
    indicator = any(surplus)
    for (i, factor, summand, _), rest in zip(inputs, surplus, strict=True):
        entries.add(first, i, factor)
        entries.add(first + 1, i, rest)
        entries.shift[i] = summand
    gaps = "unseen" if indicator else "refused" if is_refused else "filled"
    return NumberEncoder(
        name,
        base.centre,
        base.scale,
        clip=False,
        fill=fill,
        indicator=indicator,
        low=fill,
        high=fill,
        knots=(),
        gaps=gaps,
    )


def _build_category(
    name: str,
    lookups: Sequence[tuple[int, LookupFormula]],
    flags: Sequence[tuple[int, GapFormula]],
    first: int,
    entries: _Entries,
) -> CategoryEncoder:
    unknown = [each.mapped.unknown for _, each in lookups]
    gap = [each.mapped.gap for _, each in lookups] + [flag.gap for _, flag in flags]
    refuses_unknown = any(value is None or math.isnan(value) for value in unknown)
    refuses_gaps = any(value is None or math.isnan(value) for value in gap)
    texts = _find_texts(name, lookups, refuses_unknown=refuses_unknown)
    rare = _find_rare(texts, lookups)
    is_rare = not refuses_unknown and bool(rare) and _row(rare[0], lookups) == unknown
    categories = [text for text in texts if text not in {*rare}]
    # Zeros of the encoder stand for what is unknown, unless it has an output or is refused.
    zeros = [0.0 if refuses_unknown or is_rare else _require(value) for value in unknown]
    places = {text: first + k for k, text in enumerate(categories)}
    places |= dict.fromkeys(rare[:1], first + len(categories))
    has_gap = (
        not refuses_gaps
        and bool(lookups or flags)
        and gap
        != [
            *(zeros if not is_rare else unknown),
            *(flag.present for _, flag in flags),
        ]
    )
    gap_place = first + len(categories) + bool(rare)
    for (i, each), zero in zip(lookups, zeros, strict=True):
        entries.shift[i] = zero
        exceptions = each.mapped.values if each.mapped.default == zero else places
        for text in exceptions:
            if text in places:
                value = _require(each.mapped.value_of(text))
                entries.add(places[text], i, value - zero)
        if has_gap:
            entries.add(gap_place, i, _require(each.mapped.gap) - zero)
    for i, flag in flags:
        present = _require(flag.present)
        entries.shift[i] = present
        if has_gap:
            entries.add(gap_place, i, _require(flag.gap) - present)
    return CategoryEncoder(
        name,
        categories=tuple(categories),
        rare=tuple(rare),
        missing=has_gap,
        gaps="unseen" if has_gap else "refused" if refuses_gaps else "filled",
        unknown="refused" if refuses_unknown else "rare" if is_rare else "zeros",
    )


def _find_texts(
    name: str, lookups: Sequence[tuple[int, LookupFormula]], *, refuses_unknown: bool
) -> list[str]:
    """Return the categories that no step refuses, sorted."""
    # The outputs of one step share what is known: only different ones are compared.
    known = {id(each.mapped.known): each.mapped for _, each in lookups}
    texts = {text for mapped in known.values() for text in mapped.known}
    for mapped in known.values():
        if mapped.unknown is REFUSED:
            texts &= mapped.known.keys()
    for _, each in lookups:
        mapped = each.mapped
        if not any(map(math.isnan, (mapped.default, *mapped.values.values()))):
            continue
        for text in sorted(texts):
            value = mapped.value_of(text)
            if value is not None and math.isnan(value):
                if not refuses_unknown:
                    raise Unsupported(
                        f"The category {shorten(text)} of the column {shorten(name)} reaches the "
                        "network as NaN. Fill it with a SimpleImputer."
                    )
                texts.remove(text)
    return sorted(texts)


def _find_rare(texts: Sequence[str], lookups: Sequence[tuple[int, LookupFormula]]) -> list[str]:
    """Return categories that share their values with each other, or with unknown ones."""
    # By the values that differ from the default, of which each category has few.
    rows: dict[str, list[tuple[int, Value]]] = {text: [] for text in texts}
    for i, each in lookups:
        for text, value in each.mapped.values.items():
            if text in rows and value != each.mapped.default:
                rows[text].append((i, value))
    for known in {id(each.mapped.known): each.mapped.known for _, each in lookups}.values():
        for text in rows.keys() - known.keys():
            for i, each in lookups:
                if each.mapped.known is known and each.mapped.unknown != each.mapped.default:
                    rows[text].append((i, each.mapped.unknown))
    groups: dict[tuple[tuple[int, Value], ...], list[str]] = {}
    for text in texts:
        groups.setdefault(tuple(sorted(rows[text], key=lambda pair: pair[0])), []).append(text)
    unknown = tuple(
        (i, each.mapped.unknown)
        for i, each in lookups
        if each.mapped.unknown != each.mapped.default
    )
    # That of unknown categories, even if it is small; but if they are zeros, it is not needed.
    if unknown and unknown in groups:
        return groups[unknown]
    largest = max(groups.values(), key=len, default=[])
    # "1" and "1.0" are the texts of one category.
    return largest if len({text.removesuffix(".0") for text in largest}) > 1 else []


def _row(text: str, lookups: Sequence[tuple[int, LookupFormula]]) -> list[Value]:
    return [each.mapped.value_of(text) for _, each in lookups]


def _require(value: Value) -> float:
    if value is None:
        raise Unsupported("A step before the network refuses rows that an earlier one takes.")
    return value
