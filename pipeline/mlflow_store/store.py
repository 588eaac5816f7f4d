"""The folder of a model in an MLflow file store, and the parameters and metrics of its run."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from quadnet.errors import FileUnusable, NotFound, Unsupported, listing, shorten
from quadnet.extras import missing_extra

MODEL_FILE, META_FILE = "MLmodel", "meta.yaml"

_ID = re.compile(r"(?:m-)?[0-9a-f]{32}")
_URI = re.compile(r"(runs|models):/+([^/]+)(?:/(.+))?")


@dataclass(frozen=True)
class StoredModel:
    """A model of an MLflow file store.

    Parameters
    ----------
    folder : path
        The folder that holds the file MLmodel.
    description : dict
        What the file MLmodel has.
    origin : dict of str to object
        For the manifest: the run's id and name, its parameters and metrics, and the versions of
        MLflow and scikit-learn.
    """

    folder: Path
    description: dict[str, Any]
    origin: dict[str, JsonValue] = field(default_factory=dict)

    @property
    def run_name(self) -> str | None:
        """The name of the run, if it is known."""
        name = self.origin.get("run_name")
        return name if isinstance(name, str) and name else None


def find_model(reference: str, store: Path) -> StoredModel:
    """Return the model of a run, or of a folder.

    Parameters
    ----------
    reference : str
        The folder of a run or of a model; the id of a run or of a model in the store; or an address
        such as ``runs:/ID/model``.
    store : path
        The folder of the store, usually ``mlruns``.

    Raises
    ------
    NotFound
        If there is no such run, or it has no model.
    Unsupported
        If the run has several models.
    FileUnusable
        If a file of the store cannot be read.
    """
    folder = _find_model_folder(reference, store)
    description = read_yaml(folder / MODEL_FILE)
    return StoredModel(folder, description, _describe_origin(folder, description))


def _find_model_folder(reference: str, store: Path) -> Path:
    path = Path(reference).expanduser()
    if path.name == MODEL_FILE and path.is_file():
        return path.parent
    if path.is_dir():
        return _find_in_folder(path)
    below = None
    if uri := _URI.fullmatch(reference):
        reference, below = uri[2], uri[3]
    if not _ID.fullmatch(reference):
        raise NotFound(
            f"There is no folder {shorten(reference)}. Expected the folder of a run or of a model "
            "of MLflow, or the id of a run, which has 32 digits and letters."
        )
    if not store.is_dir():
        raise NotFound(f"There is no folder {store}, which was expected to be MLflow's store.")
    pattern = f"*/models/{reference}" if reference.startswith("m-") else f"*/{reference}"
    found = sorted(each for each in store.glob(pattern) if each.is_dir())
    if not found:
        raise NotFound(f"There is no run or model {reference} in {store}.")
    if below is not None and (found[0] / "artifacts" / below / MODEL_FILE).is_file():
        return found[0] / "artifacts" / below
    return _find_in_folder(found[0])


def _find_in_folder(folder: Path) -> Path:
    """Return the only folder with a model that belongs to a run or a model."""
    found = list(dict.fromkeys(_list_models(folder)))
    if not found:
        raise NotFound(
            f"{folder} has no model: expected a file {MODEL_FILE} in it, in its artifacts, or in a "
            "model that the run has logged."
        )
    if len(found) > 1:
        raise Unsupported(
            f"{folder} has {len(found)} models. Name the folder of one of them: "
            f"{listing([str(each) for each in found])}."
        )
    return found[0]


def _list_models(folder: Path) -> Iterator[Path]:
    if (folder / MODEL_FILE).is_file():
        yield folder
        return
    for path in sorted((folder / "artifacts").rglob(MODEL_FILE)):
        yield path.parent
    # From MLflow 3 on, models are in a folder next to the runs that logged them.
    for output in sorted((folder / "outputs").glob("m-*")):
        artifacts = folder.parent / "models" / output.name / "artifacts"
        if (artifacts / MODEL_FILE).is_file():
            yield artifacts


def _describe_origin(folder: Path, description: dict[str, Any]) -> dict[str, JsonValue]:
    run_id = description.get("run_id")
    flavors = description.get("flavors")
    sklearn = flavors.get("sklearn") if isinstance(flavors, dict) else None
    found: dict[str, JsonValue] = {
        "mlflow": _to_text(description.get("mlflow_version")),
        "scikit_learn": _to_text(sklearn.get("sklearn_version"))
        if isinstance(sklearn, dict)
        else None,
        "model_id": _to_text(description.get("model_id") or description.get("model_uuid")),
        "run_id": _to_text(run_id),
    }
    run = _find_run(folder, _to_text(run_id) or "")
    if run is not None:
        meta = read_yaml(run / META_FILE)
        found |= {
            "run_name": _to_text(meta.get("run_name")),
            "experiment_id": _to_text(meta.get("experiment_id")),
            "params": dict(_read_entries(run / "params")),
            "metrics": {
                name: _read_last_value(text) for name, text in _read_entries(run / "metrics")
            },
        }
    return {name: value for name, value in found.items() if value is not None}


def _find_run(folder: Path, run_id: str) -> Path | None:
    """Return the folder of a model's run, which is above the model or next to its parents."""
    if not _ID.fullmatch(run_id):
        return None
    for parent in folder.resolve().parents[:6]:
        for run in (parent, parent / run_id):
            if run.name == run_id and (run / META_FILE).is_file():
                return run
    return None


def _read_entries(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the content of each file; names with slashes are in folders."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), _read_text(path)


def _read_last_value(text: str) -> JsonValue:
    """Return the last value of a metric, whose lines have a time, a value and a step.

    The last one is that of the highest step, as for MLflow: lines are written again when a run logs
    a model.
    """
    values: list[tuple[int, int, float]] = []
    for words in map(str.split, text.splitlines()):
        try:
            step = int(words[2]) if len(words) > 2 else 0
            values.append((step, int(words[0]), float(words[1])))
        except (IndexError, ValueError):
            continue
    if not values:
        return None
    _, _, value = max(values, key=lambda each: each[:2])
    return value if math.isfinite(value) else str(value)


def _to_text(value: Any) -> str | None:
    """Return a scalar as text; None for others.

    The text of a list may be endless: a few lines of YAML with aliases stand for billions of items.
    """
    return None if value is None or isinstance(value, (list, dict, set, tuple)) else str(value)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises
    ------
    FileUnusable
        If it cannot be read, or holds something else.
    MissingExtra
        If PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise missing_extra("Reading a model of MLflow", "mlflow", cause=error) from None
    try:
        content = yaml.safe_load(_read_text(path))
    # PyYAML raises others than its own: for a month 13, for a number of 5,000 digits.
    except (yaml.YAMLError, ValueError, LookupError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise FileUnusable(f"{path} is not valid YAML: {reason}.") from error
    if not isinstance(content, dict):
        raise FileUnusable(f"{path} was expected to hold a mapping, got {type(content).__name__}.")
    return content


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise FileUnusable(f"{path} cannot be read: {reason}.") from error
