"""Publishing a trial that passed its gate: the version, what people read of it, and its alias."""

import json
from collections.abc import Mapping

import numpy as np

from pipeline.datasets import Dataset
from pipeline.report import card, page
from pipeline.trial import Trial
from quadnet import promotion
from quadnet.artifact import Model
from quadnet.errors import Conflict, GateFailed
from quadnet.manifest import Record
from quadnet.names import CHAMPION
from quadnet.predictor import Predictor
from quadnet.registry import Registry
from quadnet.types import FloatArray


def publish(
    trial: Trial,
    registry: Registry,
    *,
    alias: str = CHAMPION,
    forced: str | None = None,
) -> Model:
    """Publish the trial under its configuration's name, and point the alias at it.

    Parameters
    ----------
    trial : Trial
    registry : Registry
    alias : str
    forced : str, optional
        Why to publish it even if it failed its gate.

    Raises
    ------
    GateFailed
        If the trial did not pass its gate and is not forced; nothing is published.
    Conflict
        If another version has become champion since this one was judged against the champion; the
        version is published, and no alias points to it.
    """
    name = trial.candidate.config.name
    if not trial.passed and forced is None:
        missed = [v.metric for v in trial.gate if not v.passed]
        raise GateFailed(
            f"{name} was not published: it failed its gate on {', '.join(missed)}, measured on "
            f"{len(trial.test):,} held-out rows. Train it longer, change its settings, lower "
            "the limit in [gate], or publish it all the same with --force --reason TEXT."
        )
    record = trial.record(None if trial.passed else forced)
    model = registry.publish(
        name,
        trial.candidate.predictor,
        record,
        _self_test_inputs(trial.candidate.parts.train, trial.candidate.predictor),
        attachments=lambda version: _attachments(trial, record, version),
        scaler=trial.candidate.scaler,
    )
    reason = "passed its gate" if trial.passed else f"forced: {forced}"
    _promote(trial, registry, model.manifest.version, alias, reason)
    return model


def _self_test_inputs(part: Dataset, predictor: Predictor) -> FloatArray:
    """Return rows whose answers every reader checks: trained on, in the middle, and far outside."""
    low, high = part.X.min(axis=0), part.X.max(axis=0)
    with np.errstate(all="ignore"):
        special = np.array([low, high, low / 2 + high / 2, 100 * low, 100 * high])
        # Far outside, the largest features are beyond the type's numbers, and so are answers.
        special = special[np.isfinite(special.astype(predictor.dtype)).all(axis=1)]
        special = special[np.isfinite(predictor.probabilities(special)).all(axis=1)]
    return np.vstack([part.X[:32], special])


def _attachments(trial: Trial, record: Record, version: int) -> Mapping[str, bytes]:
    """Return what people read of a version, beside what servers do."""
    evaluated = {name: e.model_dump(mode="json") for name, e in trial.evaluations.items()}
    files = {
        "evaluation.json": json.dumps(evaluated, allow_nan=False, indent=1).encode() + b"\n",
        "history.jsonl": b"".join(json.dumps(e).encode() + b"\n" for e in trial.candidate.epochs),
        "card.md": card.render(trial, record, version).encode(),
    }
    html = page.render(trial, record, version)
    return files if html is None else {**files, "report.html": html.encode()}


def _promote(trial: Trial, registry: Registry, version: int, alias: str, reason: str) -> None:
    """Point the alias at the version, if the champion is still the one it was judged against."""
    name = trial.candidate.config.name
    judged_against = None if trial.baseline is None else trial.baseline.version
    while True:
        standing = registry.aliases(name)
        champion = standing.aliases.get(CHAMPION)
        if judged_against is not None and (champion is None or champion.version != judged_against):
            raise Conflict(
                f"{name} version {version} is published, but the champion is no longer version "
                f"{judged_against}, which it was judged against. To make it {alias} all the same: "
                f"quadnet models alias {name} {alias}={version}"
            )
        try:
            promotion.set_aliases(
                registry,
                name,
                {alias: version},
                reason=reason,
                expected_generation=standing.generation,
            )
        except Conflict:
            if registry.aliases(name).generation == standing.generation:
                raise
            continue  # some alias was moved meanwhile: look which
        return
