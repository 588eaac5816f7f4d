"""A trial: a candidate judged on the sealed test part, beside the champion of the day."""

from dataclasses import dataclass, replace

from pipeline import evaluation, gate
from pipeline.candidate import Candidate
from pipeline.datasets import Dataset
from pipeline.evaluation import Evaluation
from quadnet.aliases import AliasTarget
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

    @property
    def missed(self) -> list[str]:
        """The metrics whose limits were not met."""
        return [verdict.metric for verdict in self.gate if not verdict.passed]

    @property
    def judged_against(self) -> AliasTarget | None:
        """The champion that the candidate was compared with; None if there was no champion."""
        if self.baseline is None:
            return None
        return AliasTarget(
            version=self.baseline.version, manifest_sha256=self.baseline.manifest_sha256
        )

    def against(self, champion: Model | None) -> "Trial":
        """Return the trial judged again, on the same test rows, against this champion.

        Raises
        ------
        InvalidSetting
            If the champion takes other features, or answers other classes.
        """
        config = self.candidate.config.gate
        baseline = None
        if champion is not None and config.champion:
            baseline = _baseline(champion, self.candidate, self.test)
        verdicts = gate.judge(config, self.evaluations["test"].metrics, baseline)
        return replace(self, baseline=baseline, gate=verdicts)

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
    unjudged = Trial(
        candidate=candidate, test=test, evaluations=evaluations, baseline=None, gate=[]
    )
    return unjudged.against(champion)


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
