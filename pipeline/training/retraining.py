"""Retrain a version from its manifest, and compare the result with the published version."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
from pydantic import ValidationError

from pipeline.config.data_sections import FashionData, FileData
from pipeline.config.run_config import RunConfig
from pipeline.config.table_data import TableData
from pipeline.data.columns.table_files import check_table
from pipeline.data.datasets import Dataset
from pipeline.data.fashion_mnist import check_files
from pipeline.data.files.chunks import open_regular
from pipeline.data.splits import DataSplits, make_splits
from pipeline.training.candidate_training import Candidate, resolve_config, train_candidate
from quadnet.errors import (
    ConfigurationError,
    FileUnusable,
    InvalidInput,
    TrainingFailed,
    UnsuitableData,
    Unsupported,
)
from quadnet.nn.predictor import RegressionPredictor
from quadnet.registry import version_files
from quadnet.registry.manifest import Part, Signature
from quadnet.registry.version_files import Model

_SAME = 1e-6
"""Largest difference of probabilities for two predictions of the same class to be the same.

For predictions of numbers it is a share of the largest one.
"""


class Outcome(Enum):
    """How similar the retrained version is to the published one."""

    BIT_IDENTICAL = "bit-identical"
    SAME_PREDICTIONS = "same predictions"
    DIFFERENT = "different"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class RetrainingResult:
    """The outcome, and the first cause of a difference or the reason for no comparison."""

    outcome: Outcome
    cause: str = ""

    def __str__(self) -> str:
        if not self.cause:
            return self.outcome.value
        if self.outcome is Outcome.NOT_CHECKED:
            return f"{self.outcome.value}, {self.cause}"
        return f"{self.outcome.value}; the first cause of difference: {self.cause}"


def retrain_version(model: Model) -> RetrainingResult:
    """Train with the manifest's configuration and this machine's libraries, and compare.

    Every digest that the manifest records is compared, those of the data first: equal weights do
    not prove that the test rows are the same.
    """
    manifest = model.manifest
    if "data" not in manifest.config:
        return RetrainingResult(
            Outcome.NOT_CHECKED, "it was trained elsewhere, which the manifest does not record"
        )
    try:
        config = resolve_config(RunConfig.model_validate(manifest.config))
        config = _restore_columns(config, manifest.signature)
        _check_reachable(config)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or str(first["msg"])
        return RetrainingResult(
            Outcome.NOT_CHECKED,
            f"this release cannot read the configuration that quadnet {manifest.lineage.quadnet} "
            f"wrote, at {where}",
        )
    except (ConfigurationError, FileUnusable, Unsupported) as error:
        return RetrainingResult(Outcome.NOT_CHECKED, _clause(error))
    return _compare_retrained(model, config)


def _compare_retrained(model: Model, config: RunConfig) -> RetrainingResult:
    """Compare the data with what the manifest records, then train and compare the networks."""
    try:
        read = make_splits(config)
    except (InvalidInput, UnsuitableData, FileUnusable) as error:
        return RetrainingResult(Outcome.DIFFERENT, f"the data: {_clause(error)}")
    test = read.test.open()
    recorded = next(_list_data_differences(model, read, test), None)
    if recorded is not None:
        return RetrainingResult(Outcome.DIFFERENT, recorded)
    try:
        again = train_candidate(config, data=read)
    except TrainingFailed as error:
        return RetrainingResult(Outcome.DIFFERENT, f"it cannot be trained here, {_clause(error)}")
    if version_files.compute_tensor_digest(again.predictor) == model.manifest.tensor_digest:
        return RetrainingResult(Outcome.BIT_IDENTICAL)
    cause = next(_list_causes(model, again), "nothing that the manifest records")
    if _same_predictions(model, again, test):
        return RetrainingResult(Outcome.SAME_PREDICTIONS, cause)
    return RetrainingResult(Outcome.DIFFERENT, cause)


def _check_reachable(config: RunConfig) -> None:
    """Raise FileUnusable or Unsupported if the run's files cannot be opened here."""
    data = config.data
    if isinstance(data, FashionData):
        check_files(data)
    if isinstance(data, TableData):
        check_table(data, config.test)
    if not isinstance(data, FileData):
        return
    if data.kind == "parquet":
        from pipeline.data.files.arrow import parquet  # noqa: F401 - raises the error that names the missing package
    open_regular(data.file).close()


def _clause(error: Exception) -> str:
    return str(error).rstrip(".")


def _restore_columns(config: RunConfig, signature: Signature) -> RunConfig:
    """Return the configuration with the columns and labels that the version was trained on.

    The defaults for a file have changed: older releases used columns without a name as features,
    and kept the spaces around labels.
    """
    if not isinstance(config.data, FileData):
        return config
    changes: dict[str, object] = {"features": signature.feature_names}
    if any(name != name.strip() for name in signature.classes):
        changes["strip_labels"] = False
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})


def _same_predictions(model: Model, again: Candidate, test: Dataset) -> bool:
    old, new = model.predictor, again.predictor
    if model.manifest.signature.classes != again.signature.classes:
        return False
    if old.n_features != new.n_features:
        return False
    X = np.vstack([model.selftest_inputs, test.X])
    answers = [version_files.compute_answers(predictor, X) for predictor in (old, new)]
    if isinstance(old, RegressionPredictor):
        largest = float(np.abs(answers[0]).max())
        return bool(np.abs(answers[0] - answers[1]).max() <= _SAME * largest)
    return bool(
        (old.predict(X) == new.predict(X)).all() and np.abs(answers[0] - answers[1]).max() <= _SAME
    )


def _list_data_differences(model: Model, read: DataSplits, test: Dataset) -> Iterator[str]:
    """Yield each difference from the digests that the manifest records."""
    recorded = model.manifest.data
    for name, then, now in (
        ("training", recorded.train, read.train),
        ("validation", recorded.validation, read.validation),
        ("test", recorded.test, test),
    ):
        part = None if now is None else Part(rows=len(now), sha256=now.sha256())
        if then != part:
            rows = [f"{p.rows:,} rows" if p else "no rows" for p in (then, part)]
            changed = "other content" if rows[0] == rows[1] else f"{rows[0]}, now {rows[1]}"
            yield f"the data: the {name} part had {changed}"
    if model.encoder != read.encoder:
        yield "the data: the encoder of its columns has other values"
    # The configuration as written, not as this release parses it.
    content = json.dumps(model.manifest.config, sort_keys=True, allow_nan=False)
    if hashlib.sha256(content.encode()).hexdigest() != model.manifest.config_sha256:
        yield "the configuration: its digest is not the recorded one"


def _list_causes(model: Model, again: Candidate) -> Iterator[str]:
    """Yield each difference between this machine and the one that made the version."""
    then, now = model.manifest.lineage, again.lineage
    dtype = model.manifest.architecture.dtype
    if dtype != again.predictor.dtype.name:
        yield f"the floating-point type: {dtype}, now {again.predictor.dtype.name}"
    for library in sorted(then.libraries.keys() | now.libraries.keys()):
        versions = then.libraries.get(library), now.libraries.get(library)
        if versions[0] != versions[1]:
            yield f"the library {library}: {versions[0]}, now {versions[1]}"
    for what, old, new in (
        ("quadnet", then.quadnet, now.quadnet),
        ("Python", then.python, now.python),
        ("BLAS", ", ".join(then.blas), ", ".join(now.blas)),
        ("BLAS threads", then.threads, now.threads),
        ("CPU", then.cpu, now.cpu),
        ("platform", then.platform, now.platform),
    ):
        if old != new:
            yield f"{what}: {old}, now {new}"
