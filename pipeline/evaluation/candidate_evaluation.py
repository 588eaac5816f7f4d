"""Evaluate a candidate on the sealed test part, and compare it with the champion."""

from dataclasses import dataclass, replace

from pipeline.data.datasets import Dataset
from pipeline.evaluation import gate
from pipeline.evaluation.champion import measure_baseline
from pipeline.evaluation.gate import format_verdicts, judge_candidate
from pipeline.evaluation.label_metrics import LabelsEvaluation
from pipeline.evaluation.model_metrics import PartEvaluation
from pipeline.evaluation.number_metrics import NumberEvaluation
from pipeline.evaluation.part_evaluation import AnyEvaluation, measure_part
from pipeline.evaluation.summary import summarize_part
from pipeline.training.candidate_training import Candidate
from quadnet.registry.alias_log import AliasTarget
from quadnet.registry.manifest import Baseline, Data, Part, Record, Verdict
from quadnet.registry.version_files import Model


@dataclass(frozen=True)
class CandidateEvaluation:
    """A candidate's metrics and verdicts, and the champion's metrics on the same test part."""

    candidate: Candidate
    test: Dataset
    evaluations: dict[str, AnyEvaluation]
    """By part: "train", "validation" (if there is one) and "test"."""
    baseline: Baseline | None
    gate: list[Verdict]

    @property
    def test_classes(self) -> PartEvaluation:
        """The evaluation on the test part, of a run that predicts classes."""
        measured = self.evaluations["test"]
        assert isinstance(measured, PartEvaluation)
        return measured

    @property
    def test_numbers(self) -> NumberEvaluation:
        """The evaluation on the test part, of a run that predicts numbers."""
        measured = self.evaluations["test"]
        assert isinstance(measured, NumberEvaluation)
        return measured

    @property
    def test_labels(self) -> LabelsEvaluation:
        """The evaluation on the test part, of a run that predicts several labels."""
        measured = self.evaluations["test"]
        assert isinstance(measured, LabelsEvaluation)
        return measured

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
        """The champion that the candidate was compared with, if any."""
        if self.baseline is None:
            return None
        return AliasTarget(
            version=self.baseline.version, manifest_sha256=self.baseline.manifest_sha256
        )

    def judge_against(self, champion: Model | None) -> "CandidateEvaluation":
        """Return the evaluation with verdicts against this champion, on the same test rows.

        Raises
        ------
        NotComparable
            If the champion has other features or other classes.
        """
        config, metrics = self.candidate.config, self.evaluations["test"].metrics
        baseline = None
        if champion is not None and config.gate.champion:
            baseline = measure_baseline(champion, self.candidate, self.test)
        verdicts = [
            *gate.judge_test_part(config.test, self.candidate.splits.test.size),
            *judge_candidate(config.gate, metrics, baseline),
            *gate.compare_with_constant(config.gate, metrics),
        ]
        return replace(self, baseline=baseline, gate=verdicts)

    def summary(self) -> str:
        """Return the test metrics, and each limit of the gate with the measured value."""
        described = summarize_part(self.evaluations["test"], len(self.test))
        # A gate may be without a limit: "better_than_majority = false" and a small test part.
        return f"{described}\nThe gate:\n{format_verdicts(self.gate)}" if self.gate else described

    def make_record(self, forced: str | None = None) -> Record:
        """Return the record of this run for the published version's manifest."""
        candidate = self.candidate
        train, validation = candidate.splits.train, candidate.splits.validation
        return Record(
            task=candidate.config.task,
            encoder=candidate.encoder,
            signature=candidate.signature,
            training=candidate.training,
            folded=candidate.folded,
            data=Data(
                train=_describe_part(train),
                validation=None if validation is None else _describe_part(validation),
                test=_describe_part(self.test),
            ),
            metrics={name: e.metrics for name, e in self.evaluations.items()},  # type: ignore[misc]
            gate=self.gate,
            baseline=self.baseline,
            forced=forced,
            config=candidate.config.model_dump(mode="json"),
            config_sha256=candidate.config.sha256(),
            lineage=candidate.lineage,
        )


def evaluate_candidate(candidate: Candidate, champion: Model | None = None) -> CandidateEvaluation:
    """Open the test part, and measure the candidate and the champion on it.

    Raises
    ------
    NotComparable
        If the champion has other features or other classes.
    """
    test = candidate.splits.test.open()
    measured = {"train": candidate.splits.train, "validation": candidate.splits.validation}
    evaluations = {
        name: measure_part(candidate.predictor, part)
        for name, part in [*measured.items(), ("test", test)]
        if part is not None and len(part)
    }
    unjudged = CandidateEvaluation(
        candidate=candidate, test=test, evaluations=evaluations, baseline=None, gate=[]
    )
    return unjudged.judge_against(champion)


def _describe_part(part: Dataset) -> Part:
    return Part(rows=len(part), sha256=part.sha256())
