"""Building a version again from its manifest alone, and saying what came of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
from pydantic import ValidationError

from pipeline import candidate
from pipeline.candidate import Candidate
from pipeline.config import FileData, RunConfig
from pipeline.datasets import Dataset
from quadnet import artifact
from quadnet.artifact import Model
from quadnet.errors import InvalidInput, InvalidSetting
from quadnet.manifest import Part, Signature

_SAME = 1e-6
"""Probabilities that differ by no more are the same prediction, if the answer is the same."""


class Outcome(Enum):
    """How like the published version the new one is."""

    BIT_IDENTICAL = "bit-identical"
    SAME_PREDICTIONS = "same predictions"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Retrained:
    """What came of it, and the first cause of a difference, in words."""

    outcome: Outcome
    cause: str = ""

    def __str__(self) -> str:
        if not self.cause:
            return self.outcome.value
        return f"{self.outcome.value}; the first cause of difference: {self.cause}"


def retrain(model: Model) -> Retrained:
    """Train as the manifest says, with this machine's libraries, and compare."""
    manifest = model.manifest
    try:
        config = RunConfig.model_validate(manifest.config)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        return Retrained(
            Outcome.DIFFERENT,
            f"quadnet {manifest.lineage.quadnet} wrote a configuration that this release reads "
            f"otherwise, at {where}",
        )
    try:
        again = candidate.train(_as_published(config, manifest.signature))
    except (InvalidInput, InvalidSetting) as error:  # a file that is gone, most often
        reason = str(error).rstrip(".")
        return Retrained(Outcome.DIFFERENT, f"it cannot be trained here, {reason}")
    test = again.parts.test.open()
    if artifact.tensor_digest(again.predictor) == manifest.tensor_digest:
        return Retrained(Outcome.BIT_IDENTICAL)
    cause = next(_data_causes(model, again, test), None) or next(
        _causes(model, again), "nothing that the manifest records"
    )
    if _same_predictions(model, again, test):
        return Retrained(Outcome.SAME_PREDICTIONS, cause)
    return Retrained(Outcome.DIFFERENT, cause)


def _as_published(config: RunConfig, signature: Signature) -> RunConfig:
    """Return the configuration with the columns and the labels that the version was trained on.

    What a file gives by default may be another since: older releases took columns without a name
    for features, and kept the spaces around labels.
    """
    if not isinstance(config.data, FileData):
        return config
    changes: dict[str, object] = {"features": [feature.name for feature in signature.features]}
    if any(name != name.strip() for name in signature.classes):
        changes["strip_labels"] = False
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})


def _same_predictions(model: Model, again: Candidate, test: Dataset) -> bool:
    old, new = model.predictor, again.predictor
    if old.classes.tolist() != new.classes.tolist() or old.n_features != new.n_features:
        return False
    X = np.vstack([model.selftest_inputs, test.X])
    return bool(
        (old.predict(X) == new.predict(X)).all()
        and np.abs(old.probabilities(X) - new.probabilities(X)).max() <= _SAME
    )


def _data_causes(model: Model, again: Candidate, test: Dataset) -> Iterator[str]:
    recorded = model.manifest.data
    parts = again.parts
    for name, then, now in (
        ("to train on", recorded.train, parts.train),
        ("to validate by", recorded.validation, parts.validation),
        ("to test by", recorded.test, test),
    ):
        part = None if now is None else Part(rows=len(now), sha256=now.sha256())
        if then != part:
            rows = [f"{p.rows:,} rows" if p else "none" for p in (then, part)]
            changed = "another content" if rows[0] == rows[1] else f"{rows[0]}, now {rows[1]}"
            yield f"the data: the part {name} had {changed}"


def _causes(model: Model, again: Candidate) -> Iterator[str]:
    """Yield what this machine has otherwise than that which made the version."""
    then, now = model.manifest.lineage, again.lineage
    dtype = model.manifest.architecture.dtype
    if dtype != again.predictor.dtype.name:
        yield f"the type that it computes in: {dtype}, now {again.predictor.dtype.name}"
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
