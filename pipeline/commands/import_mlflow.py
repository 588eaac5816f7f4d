"""The command `quadnet import mlflow`: a model of an MLflow file store becomes a version."""

import sys
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.commands.import_settings import ImportMlflowSettings
from pipeline.config.run_file import parse_changes
from pipeline.config.run_file_writer import make_model_name
from pipeline.data.files.raw_table import RawTable, read_raw_table
from pipeline.mlflow_store.model_files import load_estimator
from pipeline.mlflow_store.store import find_model
from quadnet.cli.settings import expand_user
from quadnet.errors import InvalidInput, Violation, listing
from quadnet.tables.columns import Column, Texts
from quadnet.tables.raw_columns import to_text

if TYPE_CHECKING:
    from pipeline.adoption.adopted_model import AdoptedModel


def import_mlflow(settings: ImportMlflowSettings) -> int:
    """Publish the model of a run, and print what was measured on the test rows."""
    found = find_model(settings.run, settings.store)
    raw = read_raw_table(expand_user(Path(settings.test)))
    y = {name: _take(raw, name, settings.test) for name in settings.label}
    changes = parse_changes(settings.set)
    estimator = load_estimator(found, trust=settings.trust)
    written, present = found.origin.get("scikit_learn"), version("scikit-learn")
    if written not in {None, present}:
        print(
            f"Warning: the model was written by scikit-learn {written}, and is read by {present}.",
            file=sys.stderr,
        )
    # Imported here, because scikit-learn takes seconds to load.
    from pipeline.adoption.adopted_model import adopt_model
    from pipeline.publishing.estimator_publishing import publish_estimator

    model = adopt_model(estimator)
    label = settings.label[0]
    published = publish_estimator(
        estimator,
        _choose_columns(model, raw, settings.label, settings.test),
        y if model.task == "multilabel" else _match_classes(model, y[label]),
        name=settings.name or make_model_name(found.run_name or settings.run),
        registry=settings.registry,
        gate=changes.get("gate"),
        alias=settings.alias,
        force=settings.reason if settings.force else None,
        target=label,
        allow_small=changes.get("test", {}).get("allow_small", False),
        source="MLflow",
        origin=found.origin,
    )
    print(published.summary)
    print(
        f"Published {published.name} version {published.version} in {settings.registry}, alias "
        f"{published.alias}.",
        flush=True,
    )
    return 0


def _take(raw: RawTable, name: str, path: str) -> Column:
    """Return a column of the test file."""
    if name not in raw.columns:
        expected = f"is missing in {path}, which has {listing(list(raw.columns))}"
        raise InvalidInput([Violation(name, expected)])
    return raw.columns[name]


def _choose_columns(
    model: "AdoptedModel", raw: RawTable, labels: Collection[str], path: str
) -> dict[str, Any]:
    """Return the columns of the test file that the model takes.

    A model of columns without names takes the file's columns in their order.
    """
    used = model.columns if model.encoder is None else model.encoder.input_names
    sources = dict(zip(used, used, strict=True))
    if not model.has_names:
        others = [name for name in raw.columns if name not in labels]
        if len(others) != len(model.columns):
            raise InvalidInput(
                [
                    Violation(
                        path,
                        f"must have {len(model.columns)} columns besides the label, as the model "
                        f"has, whose columns have no names; got {len(others)}",
                    )
                ]
            )
        sources = dict(zip(model.columns, others, strict=True))
    return {name: _take(raw, source, path) for name, source in sources.items()}


def _match_classes(model: "AdoptedModel", column: Column) -> Any:
    """Return the column of classes; "1.0" is the class "1" if there is no other."""
    classes = getattr(model.predictor, "classes", None)
    if classes is None or not isinstance(column, Texts):
        return column
    known = set(classes.tolist())
    matched = {text: text if text in known else _normalize(text, known) for text in column.values}
    return Texts.from_values(
        None if text is None else matched[text] for text in column.to_array().tolist()
    )


def _normalize(text: str, known: Collection[str]) -> str:
    try:
        number = to_text(float(text))
    except ValueError:
        return text
    return number if number in known else text
