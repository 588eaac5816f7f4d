"""A trial: a candidate judged on the sealed test part, beside the champion of the day."""

from dataclasses import dataclass

from pipeline import evaluation, gate
from pipeline.candidate import Candidate
from pipeline.datasets import Dataset
from pipeline.evaluation import Evaluation
from quadnet.artifact import Model
from quadnet.errors import InvalidSetting
from quadnet.manifest import Baseline, Data, Part, Record, Verdict


@dataclass(frozen=True)
class Trial:
    """A candidate, judged on the sealed test part beside the champion of the day."""

    candidate: Candidate
    test: Dataset
    evaluations: dict[str, Evaluation]
    """Of the parts "train", "validation" (if there is one) and "test"."""
    baseline: Baseline | None
    gate: list[Verdict]

    @property
    def passed(self) -> bool:
        """Whether every limit of the gate was met."""
        return all(verdict.passed for verdict in self.gate)

    def summary(self) -> str:
        """Return how well it did, and each limit of the gate with what was measured."""
        metrics = self.evaluations["test"].metrics
        return (
            f"{metrics.accuracy:.2%} right on {len(self.test.y):,} held-out rows, "
            f"log loss {metrics.log_loss:.4g}, calibration error {metrics.calibration_error:.2%}.\n"
            f"The gate:\n{gate.table(self.gate)}"
        )

    def record(self, forced: str | None = None) -> Record:
        """Return what the published version's manifest keeps of this run."""
        candidate = self.candidate
        train, validation = candidate.parts.train, candidate.parts.validation
        return Record(
            signature=candidate.signature,
            training=candidate.training,
            folded=candidate.folded,
            data=Data(
                train=_part(train),
                validation=None if validation is None else _part(validation),
                test=_part(self.test),
            ),
            metrics={name: e.metrics for name, e in self.evaluations.items()},  # type: ignore[misc]
            gate=self.gate,
            baseline=self.baseline,
            forced=forced,
            config=candidate.config.model_dump(mode="json"),
            config_sha256=candidate.config.sha256(),
            lineage=candidate.lineage,
        )


def judge(candidate: Candidate, champion: Model | None = None) -> Trial:
    """Open the test part, and measure the candidate and the champion on it.

    Raises
    ------
    InvalidSetting
        If the champion takes other features, or answers other classes.
    """
    test = candidate.parts.test.open()
    measured = {"train": candidate.parts.train, "validation": candidate.parts.validation}
    evaluations = {
        name: evaluation.evaluate(candidate.predictor, part)
        for name, part in [*measured.items(), ("test", test)]
        if part is not None
    }
    baseline = None
    if champion is not None and candidate.config.gate.champion:
        baseline = _baseline(champion, candidate, test)
    return Trial(
        candidate=candidate,
        test=test,
        evaluations=evaluations,
        baseline=baseline,
        gate=gate.judge(candidate.config.gate, evaluations["test"].metrics, baseline),
    )


def _part(part: Dataset) -> Part:
    return Part(rows=len(part.y), sha256=part.sha256())


def _baseline(champion: Model, candidate: Candidate, test: Dataset) -> Baseline:
    theirs, ours = champion.manifest.signature, candidate.signature
    for what, one, other in (
        ("features", [f.name for f in theirs.features], [f.name for f in ours.features]),
        ("classes", theirs.classes, ours.classes),
    ):
        if one != other:
            raise InvalidSetting(
                f"The champion, version {champion.manifest.version}, has other {what} than this "
                "run, and cannot be compared with it. Publish under another name, or set "
                "gate.champion=false."
            )
    return Baseline(
        version=champion.manifest.version,
        manifest_sha256=champion.digest,
        metrics=evaluation.evaluate(champion.predictor, test).metrics,
    )
