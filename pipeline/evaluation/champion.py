"""Measure the champion on a candidate's test rows; refuse what cannot be compared."""

from collections.abc import Sequence

import numpy as np

from pipeline.config.published_config import AnyConfig
from pipeline.data.datasets import Dataset
from pipeline.data.targets import LabelsTarget
from pipeline.evaluation.part_evaluation import measure_part
from pipeline.training.candidate_training import Candidate, target_name
from quadnet.errors import InvalidInput, NotComparable, listing
from quadnet.registry.manifest import Baseline
from quadnet.registry.version_files import Model
from quadnet.tables.columns import column_kind
from quadnet.types import FloatArray


def measure_baseline(champion: Model, candidate: Candidate, test: Dataset) -> Baseline:
    """Return the champion's metrics on the candidate's test rows.

    Raises
    ------
    NotComparable
        If the champion has another task, or other columns, kinds of columns, or classes.
    """
    signature, config = candidate.signature, candidate.config
    check_comparable(champion, config, test.columns, signature.classes)
    target = test.target
    if isinstance(target, LabelsTarget):
        target = target.reorder(champion.manifest.signature.classes)
    ordered = Dataset(
        tuple(champion.manifest.signature.feature_names), encode_for(champion, test), target
    )
    return Baseline(
        version=champion.manifest.version,
        manifest_sha256=champion.digest,
        metrics=measure_part(champion.predictor, ordered).metrics,
    )


def encode_for(champion: Model, test: Dataset) -> FloatArray:
    """Return the test rows as inputs of the champion's network.

    Raises
    ------
    NotComparable
        If it takes columns of another kind, such as numbers in place of texts.
    """
    table = test.table
    if champion.encoder is None and table is None:
        place = {name: i for i, name in enumerate(test.features)}
        return test.X[:, [place[name] for name in champion.manifest.signature.feature_names]]
    if table is None:
        table = dict(zip(test.features, test.X.T, strict=True))
    try:
        if champion.encoder is not None:
            return champion.encoder.transform(table)
        columns = [table[name] for name in champion.manifest.signature.feature_names]
        if all(column_kind(column) == "number" for column in columns):
            X: FloatArray = np.column_stack([np.asarray(column) for column in columns])
            if np.isfinite(X).all():
                return X
        problem = "it takes columns of numbers without gaps"
    except InvalidInput as error:
        problem = str(error).rstrip(".")
    raise NotComparable(
        f"The champion, version {champion.manifest.version}, takes columns of other kinds than "
        f"this run, so the two cannot be compared: {problem}. Publish under another name, or set "
        "gate.champion=false."
    )


def check_comparable(
    champion: Model, config: AnyConfig, features: Sequence[str], classes: Sequence[str]
) -> None:
    """Refuse another task, other columns or other classes than the champion's, in any order."""
    manifest = champion.manifest
    signature = manifest.signature
    if manifest.task != config.task:
        raise NotComparable(
            f"The champion, version {manifest.version}, is a model for {manifest.task}, and this "
            f"run is for {config.task}, so the two cannot be compared. Publish under another name, "
            "or set gate.champion=false."
        )
    compared = {
        "features": (champion.manifest.columns, features),
        "classes": (signature.classes, classes),
    }
    if signature.target is not None:
        compared["target"] = ([signature.target.name], [target_name(config)])
    found = {what: _describe_difference(what, *names) for what, names in compared.items()}
    differences = {what: text for what, text in found.items() if text}
    if differences:
        raise NotComparable(
            f"The champion, version {champion.manifest.version}, has other "
            f"{next(iter(differences))} than this run, so the two cannot be compared: "
            f"{'; '.join(differences.values())}. Publish under another name, or set "
            "gate.champion=false."
        )


def _describe_difference(what: str, theirs: Sequence[str], ours: Sequence[str]) -> str:
    """Return which names only one side has; empty if both have the same names, in any order."""
    sides = (
        (f"only the champion has the {what}", set(theirs) - set(ours)),
        (f"only this run has the {what}", set(ours) - set(theirs)),
    )
    return ", ".join(f"{side} {listing(sorted(names))}" for side, names in sides if names)
