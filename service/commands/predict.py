"""The verb `predict`, which prints a model's answers for one row or for the rows of a file."""

import csv
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from quadnet.cli.settings import expand_user
from quadnet.errors import ConfigurationError, ErrorKind, InvalidInput, Violation, listing
from quadnet.name_display import suggest_name
from quadnet.registry.answer_names import list_added_names
from service.client import ModelClient
from service.client.csv_file import CsvFile, CsvRow, clean_cell, open_csv, parse_number
from service.client.model_description import ModelDescription
from service.client.predictions import Predictions
from service.commands.local_models import LocalModels
from service.settings import PredictSettings

_BATCH_ROWS = 2**15
"""Rows of a file that are in memory at a time."""

_ROW = re.compile(r"(.*)\[(\d+)\]", re.DOTALL)
"""The column and the row in the field of an error, such as ``age[3]``."""


class Models(Protocol):
    """What answers: a server, or a registry."""

    def describe(
        self, model: str, *, version: int | None = None, alias: str = ""
    ) -> ModelDescription:
        """Return the columns that a version takes."""

    def predict(
        self, model: str, rows: Any, *, version: int | None = None, alias: str = ""
    ) -> Predictions:
        """Return a version's answers for columns by their names."""


def predict(settings: PredictSettings) -> int:
    """Print the answers for one row, or the rows of a file with their answers."""
    with ExitStack() as stack:
        models: Models
        if settings.registry is not None:
            models = LocalModels(settings.registry)
        else:
            models = stack.enter_context(ModelClient.from_settings(settings))
        model, version, alias = _split_reference(settings.model)
        described = models.describe(model, version=version, alias=alias)
        if settings.set:
            _predict_one(models, described, settings.set)
        else:
            file = stack.enter_context(open_csv(expand_user(Path(settings.rows))))
            _predict_file(models, described, file, settings.prefix)
    return 0


def _split_reference(reference: str) -> tuple[str, int | None, str]:
    """Return the model, the version and the alias of a reference such as NAME:7 or NAME:alias."""
    model, _, selector = reference.partition(":")
    if selector.isascii() and selector.isdecimal() and len(selector) < 19:
        return model, int(selector), ""
    return model, None, selector


def _predict_one(models: Models, described: ModelDescription, pairs: Sequence[str]) -> None:
    """Print the answer for one row of ``NAME=VALUE``."""
    given: dict[str, str] = {}
    for name, _, value in (pair.partition("=") for pair in pairs):
        if name not in described.columns:
            hint = suggest_name(name, described.columns)
            hint = hint or f" It has {listing(list(described.columns))}."
            raise ConfigurationError(
                f"--set {name}: model {described.model} has no column {name!r}.{hint}"
            )
        if name in given:
            raise ConfigurationError(f"--set {name}: expected one value, got {name} twice.")
        given[name] = value
    missing = [name for name in described.columns if name not in given]
    if missing:
        raise ConfigurationError(
            f"Model {described.model} also takes {listing(missing)}: add "
            f"{' '.join(f'--set {name}=VALUE' for name in missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''}. Without a value, as in {missing[0]}=, it is "
            "missing, which columns with gaps in training accept."
        )
    columns: dict[str, list[Any]] = {}
    for name, text in given.items():
        try:
            columns[name] = [_parse_cell(text, described.columns[name])]
        except ValueError as error:
            raise ConfigurationError(f"--set {name}: {error}.") from None
    try:
        answers = models.predict(described.model, columns, version=described.version)
    except InvalidInput as error:
        raise InvalidInput(
            [
                Violation(_ROW.sub(r"--set \1", each.field), each.description)
                for each in error.violations
            ],
            error.total,
        ) from error
    print("\n".join(_format_answer(answers)))
    _warn_of_unknown(answers.unknown_categories)


def _format_answer(answers: Predictions) -> Iterator[str]:
    """Yield the lines of the answer for one row."""
    yield f"{answers.model} version {answers.version}"
    columns = {name: values[0] for name, values in answers.to_columns().items()}
    if answers.probabilities is None:
        width = max(map(len, columns))
        yield from (f"{name:{width}}  {value}" for name, value in columns.items())
        return
    assert answers.labels is not None
    width = max(map(len, answers.classes))
    shares = answers.probabilities[0]
    if answers.labels.ndim == 1:
        yield f"label: {answers.labels[0]}"
        for i in np.argsort(-shares, kind="stable"):
            yield f"  {answers.classes[i]:{width}}  {shares[i]:8.2%}"
        return
    for name, has, share in zip(answers.classes, answers.labels[0], shares, strict=True):
        yield f"  {name:{width}}  {'yes' if has else 'no':3}  {share:8.2%}"


def _predict_file(models: Models, described: ModelDescription, file: CsvFile, prefix: str) -> None:
    """Print the rows of a file as CSV, each with its answer and the version."""
    missing = [name for name in described.columns if name not in file.columns]
    if missing:
        raise file.make_error(
            f"lacks the column {missing[0]}, which model {described.model} takes"
            f"{suggest_name(missing[0], file.columns) or f'; found {listing(file.columns)}'}"
            if len(missing) == 1
            else f"lacks the columns {listing(missing)}, which model {described.model} takes; "
            f"found {listing(file.columns)}"
        )
    added = [
        prefix + name
        for name in list_added_names(
            classes=described.classes,
            quantiles=described.quantiles,
            multilabel=described.is_multilabel,
        )
    ]
    for name in added:
        if name in file.columns:
            raise ConfigurationError(
                f"{file.name} already has a column {name}: the added columns need another prefix.",
                kind=ErrorKind.COLUMN_EXISTS,
            )
    extra = [name for name in file.columns if name not in described.columns]
    if extra:
        print(
            f"quadnet predict: columns that model {described.model} does not take are ignored: "
            f"{listing(extra)}.",
            file=sys.stderr,
        )
    unknown: dict[str, int] = {}
    begun = False
    for batch in _split_into_batches(file.rows):
        answers = _predict_batch(models, described, file, batch)
        for name, count in answers.unknown_categories.items():
            unknown[name] = unknown.get(name, 0) + count
        if not begun:
            print(_append_cells(file, file.header, added))
            begun = True
        for row, cells in zip(batch, _list_added_cells(answers), strict=True):
            print(_append_cells(file, row.text, cells))
    _warn_of_unknown(unknown)


def _split_into_batches(rows: Iterator[CsvRow]) -> Iterator[list[CsvRow]]:
    """Yield batches of rows; one empty batch if there are no rows."""
    batch = list(islice(rows, _BATCH_ROWS))
    yield batch
    while batch := list(islice(rows, _BATCH_ROWS)):
        yield batch


def _predict_batch(
    models: Models, described: ModelDescription, file: CsvFile, batch: Sequence[CsvRow]
) -> Predictions:
    """Return the answers for some rows; errors name the line and the column of the file."""
    columns: dict[str, list[Any]] = {}
    for name, kind in described.columns.items():
        at = file.columns.index(name)
        values = columns[name] = []
        for row in batch:
            try:
                values.append(_parse_cell(row.cells[at], kind))
            except ValueError as error:
                raise file.make_error(str(error), line=row.line, column=name) from None
    try:
        return models.predict(described.model, columns, version=described.version)
    except InvalidInput as error:
        found = []
        for each in error.violations:
            place = _ROW.fullmatch(each.field)
            where = (
                f"{file.name}, column {each.field}"
                if place is None
                else f"{file.name}, line {batch[int(place[2])].line}, column {place[1]}"
            )
            found.append(Violation(where, each.description))
        raise InvalidInput(found, error.total, kind=error.kind, facts=error.facts) from error


def _parse_cell(text: str, kind: str) -> str | float | None:
    """Return the value of a cell; raise ValueError with a description if it is no number."""
    cleaned = clean_cell(text)
    if cleaned is None or kind != "number":
        return cleaned
    return parse_number(cleaned)


def _list_added_cells(answers: Predictions) -> Iterator[Sequence[str]]:
    """Yield the cells that are added to each row: empty ones for a row without an answer."""
    version = str(answers.version)
    if answers.labels is not None and answers.labels.ndim == 1:
        assert answers.probabilities is not None
        certainties = answers.probabilities.max(axis=1, initial=0).tolist()
        for label, certainty in zip(answers.labels.tolist(), certainties, strict=True):
            answered = label != "" or "" in answers.classes
            yield (label, f"{certainty:.6f}", version) if answered else ("", "", version)
        return
    columns = answers.to_columns().values()
    # The shortest texts that read back as the same numbers of their type; labels are 0 or 1.
    texts = [
        (values.astype(np.int64) if values.dtype == bool else values).astype(str).tolist()
        for values in columns
    ]
    is_answered = np.all([np.isfinite(values) for values in columns], axis=0).tolist()
    blank = [""] * len(texts)
    for answered, cells in zip(is_answered, zip(*texts, strict=True), strict=True):
        yield [*(cells if answered else blank), version]


def _append_cells(file: CsvFile, text: str, cells: Sequence[str]) -> str:
    """Return the text of a row with further cells, in quotes where they need them."""
    line = io.StringIO()
    # The csv module quotes a cell only for characters of the line terminator.
    csv.writer(line, delimiter=file.delimiter, lineterminator="\r\n").writerow(cells)
    return text + file.delimiter + line.getvalue().removesuffix("\r\n")


def _warn_of_unknown(unknown: Mapping[str, int]) -> None:
    if unknown:
        counts = ", ".join(f"{n:,} in {name}" for name, n in unknown.items())
        print(
            f"quadnet predict: cells with categories that did not occur in training: {counts}.",
            file=sys.stderr,
        )
