"""The steps before a network that can become part of a version: a table by class.

Each row takes a fitted step and the columns before it, and returns the columns after it.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted

from pipeline.adoption.column_formulas import (
    REFUSED,
    CategoryMap,
    Formula,
    RawFormula,
    Scaling,
    Value,
)
from quadnet.errors import Unsupported, listing, shorten
from quadnet.tables.raw_columns import is_missing, to_text

Formulas = list[Formula]


def apply_step(step: Any, columns: Formulas, name: str) -> Formulas:
    """Return the columns after a fitted step.

    Parameters
    ----------
    step : transformer, "passthrough" or None
    columns : list of Formula
    name : str
        The name of the step, for messages.

    Raises
    ------
    Unsupported
        If a version cannot represent the step exactly. The message names it.
    """
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return columns
    apply = TRANSFORMERS.get(type(step))
    if apply is None:
        raise Unsupported(
            f"The step {shorten(name)} is of the class {type(step).__name__}, which cannot become "
            f"part of a version. Before a network there may be "
            f"{', '.join(kind.__name__ for kind in TRANSFORMERS)}. Apply this step to the rows "
            "beforehand, and fit the other steps to the result."
        )
    try:
        check_is_fitted(step)
    except NotFittedError:
        raise Unsupported(
            f"The step {shorten(name)}, a {type(step).__name__}, was not fitted. Fit the whole "
            "pipeline again."
        ) from None
    expected = getattr(step, "n_features_in_", len(columns))
    if expected != len(columns):
        raise Unsupported(
            f"The step {shorten(name)} was fitted to {expected} columns, but the steps before it "
            f"make {len(columns)}. Fit the whole pipeline again."
        )
    try:
        return apply(step, columns, name)
    except _Refusal as refusal:
        raise Unsupported(
            f"The step {shorten(name)}, a {type(step).__name__}, cannot become part of a version: "
            f"{refusal}."
        ) from None


class _Refusal(Exception):
    """Why a step cannot be represented, as a clause without its name."""


def _apply_pipeline(step: Any, columns: Formulas, name: str) -> Formulas:
    for inner, transformer in step.steps:
        columns = apply_step(transformer, columns, f"{name}.{inner}")
    return columns


def _apply_standard_scaler(step: Any, columns: Formulas, name: str) -> Formulas:
    centres = step.mean_ if step.with_mean else np.zeros(len(columns))
    scales = step.scale_ if step.with_std else np.ones(len(columns))
    return _scale_each(columns, centres, scales)


def _apply_robust_scaler(step: Any, columns: Formulas, name: str) -> Formulas:
    centres = step.center_ if step.with_centering else np.zeros(len(columns))
    scales = step.scale_ if step.with_scaling else np.ones(len(columns))
    return _scale_each(columns, centres, scales)


def _apply_max_abs_scaler(step: Any, columns: Formulas, name: str) -> Formulas:
    if getattr(step, "clip", False):
        raise _Refusal("clip=True bends the values. Set clip=False")
    return _scale_each(columns, np.zeros(len(columns)), step.scale_)


def _apply_min_max_scaler(step: Any, columns: Formulas, name: str) -> Formulas:
    if step.clip:
        raise _Refusal("clip=True bends the values. Set clip=False")
    low, high = step.feature_range
    # As in the scaler: a constant column is not divided.
    ranges = np.where(step.data_range_ > 0, step.data_range_, 1.0)
    return _scale_each(columns, step.data_min_, ranges, factor=float(high - low), shift=float(low))


def _scale_each(
    columns: Formulas,
    centres: NDArray[Any],
    scales: NDArray[Any],
    *,
    factor: float = 1.0,
    shift: float = 0.0,
) -> Formulas:
    pairs = zip(np.asarray(centres, float), np.asarray(scales, float), columns, strict=True)
    return [
        _guard(column.scale, Scaling(float(centre), float(scale), factor, shift))
        for centre, scale, column in pairs
    ]


def _apply_imputer(step: Any, columns: Formulas, name: str) -> Formulas:
    if not is_missing(step.missing_values):
        raise _Refusal(
            f"missing_values={step.missing_values!r} is a value of its own. Replace it with NaN in "
            "the rows, and set missing_values=np.nan"
        )
    filled = []
    for column, statistic in zip(columns, step.statistics_.tolist(), strict=True):
        if is_missing(statistic):
            if not step.keep_empty_features:
                continue  # the imputer leaves out a column without values
            filled.append(_guard(column.fill, 0.0))
        elif isinstance(statistic, str | bool):
            filled.append(_guard(column.fill, statistic))
        else:
            filled.append(_guard(column.fill, float(statistic)))
    if step.add_indicator:
        filled += [columns[i].flag_gaps() for i in step.indicator_.features_.tolist()]
    return filled


def _apply_one_hot_encoder(step: Any, columns: Formulas, name: str) -> Formulas:
    made: Formulas = []
    infrequent = getattr(step, "infrequent_categories_", [None] * len(columns))
    dropped = [None] * len(columns) if step.drop_idx_ is None else step.drop_idx_
    for column, categories, rare, drop in zip(
        columns, step.categories_, infrequent, dropped, strict=True
    ):
        texts, gap_index = _read_categories(column, categories)
        rare_texts = set() if rare is None else {_text_of(each) for each in rare.tolist()}
        frequent = [text for text in texts if text not in rare_texts]
        groups = [[text] for text in frequent] + (
            [sorted(rare_texts, key=str)] if rare_texts else []
        )
        left_out = None if drop is None else texts[int(drop)]
        kept = [group for group in groups if left_out not in group or drop is None]
        other = _list_other_texts(categories)
        known = _list_known(texts, other)
        for group in kept:
            unknown = _unknown_of_one_hot(step, is_rare=bool(rare_texts) and group is groups[-1])
            values = {text: 1.0 for text in group if text is not None}
            values |= {other[text]: 1.0 for text in values if text in other}
            gap = unknown if gap_index is None else float(None in group)
            made.append(_guard(column.look_up, CategoryMap(known, values, 0.0, unknown, gap)))
    return made


def _unknown_of_one_hot(step: Any, *, is_rare: bool) -> Value:
    if step.handle_unknown == "error":
        return REFUSED
    return float(is_rare and step.handle_unknown in {"infrequent_if_exist", "warn"})


def _apply_ordinal_encoder(step: Any, columns: Formulas, name: str) -> Formulas:
    unknown: Value = REFUSED
    if step.handle_unknown == "use_encoded_value":
        unknown = float(step.unknown_value)
    made: Formulas = []
    for i, (column, categories) in enumerate(zip(columns, step.categories_, strict=True)):
        texts, gap_index = _read_categories(column, categories)
        codes = _ask_for_codes(step, i)
        values = {text: code for text, code in zip(texts, codes, strict=True) if text is not None}
        other = _list_other_texts(categories)
        values |= {other[text]: code for text, code in values.items() if text in other}
        gap = unknown if gap_index is None else codes[gap_index]
        known = _list_known(texts, other)
        made.append(_guard(column.look_up, CategoryMap(known, values, 0.0, unknown, gap)))
    return made


def _ask_for_codes(step: Any, i: int) -> list[float]:
    """Return the code of each category of column i: rare ones may share a code."""
    rows = np.empty((len(step.categories_[i]), len(step.categories_)), object)
    for j, categories in enumerate(step.categories_):
        rows[:, j] = categories if i == j else categories[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows without column names
        codes: list[float] = step.transform(rows)[:, i].astype(float).tolist()
    return codes


def _read_categories(
    column: Formula, categories: NDArray[Any]
) -> tuple[list[str | None], int | None]:
    """Return the categories as texts, with None for a gap, and the index of the gap."""
    texts = [_text_of(value) for value in categories.tolist()]
    gaps = [i for i, text in enumerate(texts) if text is None]
    if len(gaps) > 1:
        raise _Refusal(
            "None and NaN are different categories of one column. Replace None with NaN in the rows"
        )
    if len(set(texts)) < len(texts):
        raise _Refusal("two categories of one column have the same text")
    if gaps and isinstance(column, RawFormula) and not column.has_gaps:
        raise _Refusal(
            "missing values are a category of a column whose gaps an earlier step fills. Set "
            "missing_values of that step to the missing value that the rows have"
        )
    return texts, gaps[0] if gaps else None


def _list_other_texts(categories: NDArray[Any]) -> dict[str, str]:
    """Return by the text of a category the one that it has in a file: "1.0" for "1".

    A column of numbers in floating point is written so, for instance because it has gaps.
    """
    whole = [
        value
        for value in categories.tolist()
        if isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0
    ]
    texts = {to_text(value): f"{to_text(value)}.0" for value in whole}
    known = {_text_of(value) for value in categories.tolist()}
    return {text: other for text, other in texts.items() if other not in known}


def _list_known(texts: Sequence[str | None], other: Mapping[str, str]) -> dict[str, int]:
    known = [text for text in texts if text is not None]
    return {text: i for i, text in enumerate([*known, *other.values()])}


def _text_of(value: Any) -> str | None:
    if is_missing(value):
        return None
    return value if isinstance(value, str) else to_text(value)


def _apply_column_transformer(step: Any, columns: Formulas, name: str) -> Formulas:
    names = getattr(step, "feature_names_in_", None)
    known = None if names is None else [str(each) for each in names]
    weights: Mapping[str, float] = step.transformer_weights or {}
    made: Formulas = []
    for inner, transformer, selection in step.transformers_:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        chosen = [columns[i] for i in _find_places(selection, known, len(columns))]
        if not chosen:
            continue
        after = apply_step(transformer, chosen, f"{name}.{inner}")
        if (weight := weights.get(inner)) is not None:
            after = [_guard(each.scale, Scaling(factor=float(weight))) for each in after]
        made += after
    return made


def _find_places(selection: Any, names: Sequence[str] | None, n_columns: int) -> list[int]:
    """Return the indices of the columns that a transformer of a ColumnTransformer takes."""
    if isinstance(selection, slice):
        edges = [selection.start, selection.stop]
        if any(isinstance(edge, str) for edge in edges):
            assert names is not None
            first = 0 if edges[0] is None else names.index(edges[0])
            # Of names, both ends are part of the slice.
            last = n_columns - 1 if edges[1] is None else names.index(edges[1])
            return list(range(first, last + 1))[:: selection.step]
        return list(range(n_columns))[selection]
    given = np.atleast_1d(np.asarray(selection)).tolist()
    if given and all(isinstance(each, bool) for each in given):
        return [i for i, is_chosen in enumerate(given) if is_chosen]
    places = []
    for each in given:
        if isinstance(each, str):
            if names is None or each not in names:
                raise _Refusal(f"it takes the column {each!r}; found {listing(names or [])}")
            places.append(names.index(each))
        else:
            places.append(range(n_columns)[each])
    return places


def _apply_function(step: Any, columns: Formulas, name: str) -> Formulas:
    if step.func is not None:
        raise _Refusal(
            f"its function {getattr(step.func, '__name__', 'func')!r} is code of yours. Apply it "
            "to the rows beforehand, and fit the other steps to the result"
        )
    return columns


def _guard(change: Callable[[Any], Formula], argument: Any) -> Formula:
    """Return a changed column; turn the reason why there is no such column into a refusal."""
    try:
        return change(argument)
    except Unsupported as error:
        raise _Refusal(str(error)) from None


TRANSFORMERS: dict[type[Any], Callable[[Any, Formulas, str], Formulas]] = {
    StandardScaler: _apply_standard_scaler,
    MinMaxScaler: _apply_min_max_scaler,
    MaxAbsScaler: _apply_max_abs_scaler,
    RobustScaler: _apply_robust_scaler,
    SimpleImputer: _apply_imputer,
    OneHotEncoder: _apply_one_hot_encoder,
    OrdinalEncoder: _apply_ordinal_encoder,
    ColumnTransformer: _apply_column_transformer,
    Pipeline: _apply_pipeline,
    FunctionTransformer: _apply_function,
}
"""The steps that can become part of a version. Subclasses are not: they may compute otherwise."""


def make_raw_formulas(n_columns: int) -> Formulas:
    """Return the caller's columns themselves."""
    return [RawFormula(i, math.nan) for i in range(n_columns)]
