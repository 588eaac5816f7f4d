"""Publish an evaluated candidate: the version, its card and report, and its alias."""

import json
from collections.abc import Mapping

import numpy as np
from pydantic import JsonValue

from pipeline.data.datasets import Dataset
from pipeline.evaluation.candidate_evaluation import CandidateEvaluation
from pipeline.evaluation.model_metrics import PartEvaluation
from pipeline.evaluation.part_evaluation import AnyEvaluation
from pipeline.report.card import render_card
from pipeline.report.page import render_page
from quadnet.errors import (
    Conflict,
    CorruptVersion,
    ErrorKind,
    GateFailed,
    NotComparable,
    NotFound,
    Unsupported,
)
from quadnet.model_names import CHAMPION
from quadnet.nn.predictor import AnyPredictor
from quadnet.registry import Registry, alias_changes, version_files
from quadnet.registry.alias_log import AliasMap
from quadnet.registry.manifest import Record
from quadnet.registry.version_files import Model
from quadnet.types import FloatArray

_MOST_CLASSES, _MOST_CELLS = 50, 10_000
"""With more classes, evaluation.json has only this many of the largest confusions."""

_MOST_ATTEMPTS = 20
"""How often moving an alias is tried while other writers change the model's aliases."""


def publish_candidate(
    evaluation: CandidateEvaluation,
    registry: Registry,
    *,
    alias: str = CHAMPION,
    forced: str | None = None,
) -> Model:
    """Publish the candidate under its configuration's name, and point the alias at the version.

    Parameters
    ----------
    evaluation : CandidateEvaluation
    registry : Registry
    alias : str
    forced : str, optional
        The reason to publish it even if it failed its gate.

    Raises
    ------
    GateFailed
        If the candidate failed its gate and is not forced; nothing is published.
    Unsupported
        If readers would not accept a version of this size; nothing is published.
    Conflict
        If the champion has changed since the evaluation, and the candidate fails its gate against
        the new champion. The version is published, but no alias points to it.
    """
    name = evaluation.candidate.config.name
    if not evaluation.passed and forced is None:
        raise GateFailed(
            f"{name} was not published: it failed its gate on {', '.join(evaluation.missed)}, "
            f"measured on {len(evaluation.test):,} held-out rows.",
            kind=ErrorKind.GATE_NOT_PASSED,
        )
    record = evaluation.make_record(None if evaluation.passed else forced)
    predictor = evaluation.candidate.predictor
    inputs = _self_test_inputs(predictor, evaluation.candidate.example_rows)
    network = predictor.network
    problem = version_files.find_exceeded_limit(
        record, network.layers, network.input_shape, predictor.dtype, len(inputs)
    )
    if problem is not None:
        raise Unsupported(
            f"{name} was not published: {problem}. Use fewer columns or categories, or a smaller "
            "network."
        )
    model = registry.publish(
        name,
        predictor,
        record,
        inputs,
        attachments=lambda version: _make_attachments(evaluation, record, version),
        scaler=evaluation.candidate.scaler,
    )
    _promote(evaluation, registry, model.manifest.version, alias, forced)
    return model


def _self_test_inputs(predictor: AnyPredictor, part: Dataset) -> FloatArray:
    """Return the rows of the self-test: training rows, the middle of the range, and far outside.

    Rows whose values overflow in the network are left out: their predictions cannot be compared.
    """
    low, high = part.X.min(axis=0), part.X.max(axis=0)
    with np.errstate(all="ignore"):
        special = np.array([low, high, low / 2 + high / 2, 100 * low, 100 * high])
        X = np.vstack([part.X[:32], special])
        finite = np.isfinite(X.astype(predictor.dtype)).all(axis=1)
        finite &= np.isfinite(version_files.compute_answers(predictor, X)).all(axis=1)
    return X[finite]


def _make_attachments(
    evaluation: CandidateEvaluation, record: Record, version: int
) -> Mapping[str, bytes]:
    """Return the files of a version that people read: metrics, history, card and report."""
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


def _to_json_content(measured: AnyEvaluation) -> dict[str, JsonValue]:
    """Return the evaluation as JSON values.

    With many classes, nearly all confusions are 0 and their number grows with the square. Only the
    largest are kept then, each as [class, predicted class, rows] with indices of classes.
    """
    values: dict[str, JsonValue] = measured.model_dump(mode="json")
    if isinstance(measured, PartEvaluation) and len(measured.confusion) > _MOST_CLASSES:
        confusion = np.array(measured.confusion)
        cells = np.argwhere(confusion)
        counts = confusion[tuple(cells.T)]
        largest = np.argsort(-counts, kind="stable")[:_MOST_CELLS]
        values["confusion"] = np.column_stack([cells, counts])[largest].tolist()
    return values


def load_champion(
    registry: Registry, name: str, standing: AliasMap, *, forced: bool = False
) -> Model | None:
    """Load the champion by these aliases; return None if the model has no champion.

    A damaged champion raises CorruptVersion, because a candidate cannot be compared with it. With
    `forced`, None is returned instead, so that it can be replaced.
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
    """Point the alias at the version, after a comparison with the current champion.

    Another publisher may have changed the champion since the evaluation, or set the first one. The
    candidate is then judged again, on the same test rows. A forced version is promoted whatever the
    new verdicts are.
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
            continue  # Another process changed the aliases: read them again.
        return
    raise _not_promoted(
        name,
        version,
        alias,
        f"the aliases were changed {_MOST_ATTEMPTS} times during its promotion, so "
        f"{alias} was not moved.",
    )


def _judge_again(
    evaluation: CandidateEvaluation,
    champion: Model | None,
    version: int,
    alias: str,
    forced: str | None,
) -> CandidateEvaluation:
    """Return the evaluation against this champion; raise Conflict if the candidate fails."""
    name = evaluation.candidate.config.name
    present = "no champion now" if champion is None else f"now version {champion.manifest.version}"
    changed = f"the champion was changed after its evaluation ({present})."
    try:
        evaluation = evaluation.judge_against(champion)
    except NotComparable as error:
        raise _not_promoted(name, version, alias, f"{changed} {error}") from error
    if not evaluation.passed and forced is None:
        raise _not_promoted(
            name,
            version,
            alias,
            f"{changed} Against the current champion it failed its gate on "
            f"{', '.join(evaluation.missed)}, so no alias was moved.",
        )
    return evaluation


def _not_promoted(name: str, version: int, alias: str, reason: str) -> Conflict:
    return Conflict(
        f"{name} version {version} is published, but {reason}",
        kind=ErrorKind.NOT_PROMOTED,
        facts={"model": name, "version": version, "alias": alias},
    )


def _describe_reason(evaluation: CandidateEvaluation, forced: str | None) -> str:
    """Return the reason for moving the alias, for the history."""
    if not evaluation.passed:
        return f"forced: {forced}"
    if evaluation.baseline is None:
        return "passed its gate"
    return f"passed its gate, against version {evaluation.baseline.version}"
