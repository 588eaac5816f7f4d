"""Publishing a trial that passed its gate: the version, what people read of it, and its alias."""

import json
from collections.abc import Mapping

import numpy as np
from pydantic import JsonValue

from pipeline.data.datasets import Dataset
from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.evaluation.model_metrics import PartEvaluation
from pipeline.report.card import render_card
from pipeline.report.page import render_page
from quadnet.errors import Conflict, CorruptVersion, GateFailed, NotComparable, NotFound
from quadnet.model_names import CHAMPION
from quadnet.nn.predictor import Predictor
from quadnet.registry import Registry, alias_changes
from quadnet.registry.alias_log import AliasMap
from quadnet.registry.manifest import Record
from quadnet.registry.version_files import Model
from quadnet.types import FloatArray

_MOST_CLASSES, _MOST_CELLS = 50, 10_000
"""Of how many classes evaluation.json holds every confusion, and how many of those of more."""

_MOST_ATTEMPTS = 20
"""How often an alias is tried to be moved while other writers change the model's aliases."""


def publish_candidate(
    evaluation: CandidateEvaluation,
    registry: Registry,
    *,
    alias: str = CHAMPION,
    forced: str | None = None,
) -> Model:
    """Publish the trial under its configuration's name, and point the alias at it.

    Parameters
    ----------
    evaluation : CandidateEvaluation
    registry : Registry
    alias : str
    forced : str, optional
        Why to publish it even if it failed its gate.

    Raises
    ------
    GateFailed
        If the trial did not pass its gate and is not forced; nothing is published.
    Conflict
        If the champion has changed since the trial was judged, and the candidate, judged again
        against the new one, fails its gate. The version is published, and no alias points to it.
    """
    name = evaluation.candidate.config.name
    if not evaluation.passed and forced is None:
        raise GateFailed(
            f"{name} was not published: it failed its gate on {', '.join(evaluation.missed)}, measured "
            f"on {len(evaluation.test):,} held-out rows. Train it longer, change its settings, lower "
            "the limit in [gate], or publish it all the same with --force --reason TEXT."
        )
    record = evaluation.make_record(None if evaluation.passed else forced)
    model = registry.publish(
        name,
        evaluation.candidate.predictor,
        record,
        _self_test_inputs(evaluation.candidate.predictor, evaluation.candidate.splits.train),
        attachments=lambda version: _make_attachments(evaluation, record, version),
        scaler=evaluation.candidate.scaler,
    )
    _promote(evaluation, registry, model.manifest.version, alias, forced)
    return model


def _self_test_inputs(predictor: Predictor, part: Dataset) -> FloatArray:
    """Return rows whose answers every reader checks: trained on, in the middle, and far outside.

    Rows whose values overflow in the network are left out: their answers cannot be compared.
    """
    low, high = part.X.min(axis=0), part.X.max(axis=0)
    with np.errstate(all="ignore"):
        special = np.array([low, high, low / 2 + high / 2, 100 * low, 100 * high])
        X = np.vstack([part.X[:32], special])
        finite = np.isfinite(X.astype(predictor.dtype)).all(axis=1)
        finite &= np.isfinite(predictor.probabilities(X)).all(axis=1)
    return X[finite]


def _make_attachments(
    evaluation: CandidateEvaluation, record: Record, version: int
) -> Mapping[str, bytes]:
    """Return what people read of a version, beside what servers do."""
    evaluated = {name: _to_json_content(e) for name, e in evaluation.evaluations.items()}
    files = {
        "evaluation.json": json.dumps(evaluated, allow_nan=False, indent=1).encode() + b"\n",
        "history.jsonl": b"".join(
            json.dumps(e).encode() + b"\n" for e in evaluation.candidate.epochs
        ),
        "card.md": render_card(evaluation, record, version).encode(),
    }
    html = render_page(evaluation, record, version)
    return files if html is None else {**files, "report.html": html.encode()}


def _to_json_content(measured: PartEvaluation) -> dict[str, JsonValue]:
    """Return the evaluation for its file.

    The confusions of many classes are nearly all 0, and their number grows with the square: of
    those the largest are kept, each as [class, taken for, rows] by the classes' places.
    """
    values: dict[str, JsonValue] = measured.model_dump(mode="json")
    if len(measured.confusion) > _MOST_CLASSES:
        confusion = np.array(measured.confusion)
        cells = np.argwhere(confusion)
        counts = confusion[tuple(cells.T)]
        largest = np.argsort(-counts, kind="stable")[:_MOST_CELLS]
        values["confusion"] = np.column_stack([cells, counts])[largest].tolist()
    return values


def load_champion(
    registry: Registry, name: str, standing: AliasMap, *, forced: bool = False
) -> Model | None:
    """Return the version that these aliases call the champion; None if there is none.

    A damaged champion cannot be compared with. When forced it counts as none, so that it can be
    replaced.
    """
    target = standing.aliases.get(CHAMPION)
    if target is None:
        return None
    try:
        return registry.load(name, target.version)
    except CorruptVersion:
        if not forced:
            raise
        return None


def _promote(
    evaluation: CandidateEvaluation,
    registry: Registry,
    version: int,
    alias: str,
    forced: str | None,
) -> None:
    """Point the alias at the version, once it has been judged against the present champion.

    Another publisher may have changed the champion since the trial was judged, or set the first
    one. The candidate is then judged again, on the same test rows. A forced version moves whatever
    the new verdict is.
    """
    name = evaluation.candidate.config.name
    judged_against = evaluation.judged_against
    for _ in range(_MOST_ATTEMPTS):
        standing = registry.aliases(name)
        champion = standing.aliases.get(CHAMPION)
        try:
            if evaluation.candidate.config.gate.champion and champion != judged_against:
                present = load_champion(registry, name, standing, forced=forced is not None)
                evaluation = _judge_again(evaluation, present, version, alias, forced)
                judged_against = champion
            alias_changes.set_aliases(
                registry,
                name,
                {alias: version},
                reason=_describe_reason(evaluation, forced),
                expected_generation=standing.generation,
            )
        except (Conflict, NotFound, CorruptVersion):
            if registry.aliases(name).generation == standing.generation:
                raise
            continue  # The aliases were changed meanwhile: read them again.
        return
    raise Conflict(
        f"{name} version {version} is published, but its aliases were changed {_MOST_ATTEMPTS} "
        f"times while it was judged, and {alias} was left as it is. "
        f"{_describe_manual_step(name, version, alias)}"
    )


def _judge_again(
    evaluation: CandidateEvaluation,
    champion: Model | None,
    version: int,
    alias: str,
    forced: str | None,
) -> CandidateEvaluation:
    """Return the trial judged against this champion; raise Conflict if it failed."""
    name = evaluation.candidate.config.name
    present = "there is none" if champion is None else f"now version {champion.manifest.version}"
    published = (
        f"{name} version {version} is published, but the champion was changed after the version "
        f"was judged ({present})"
    )
    by_hand = _describe_manual_step(name, version, alias)
    try:
        evaluation = evaluation.judge_against(champion)
    except NotComparable as error:
        raise Conflict(f"{published}. {error} {by_hand}") from error
    if not evaluation.passed and forced is None:
        raise Conflict(
            f"{published}. Judged again, it failed its gate on {', '.join(evaluation.missed)}, and no "
            f"alias was moved. {by_hand}"
        )
    return evaluation


def _describe_manual_step(name: str, version: int, alias: str) -> str:
    return f"To make it {alias} anyway: quadnet models alias {name} {alias}={version}"


def _describe_reason(evaluation: CandidateEvaluation, forced: str | None) -> str:
    """Return why the alias moves, for the history."""
    if not evaluation.passed:
        return f"forced: {forced}"
    if evaluation.baseline is None:
        return "passed its gate"
    return f"passed its gate, against version {evaluation.baseline.version}"
