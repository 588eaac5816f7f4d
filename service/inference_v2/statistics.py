"""Number and duration of the ModelInfer calls of each version since the process started.

Only updated on the event loop, so without locks.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from quadnet.registry.version_files import Model
from service.stubs.inference.v2 import inference_pb2 as pb


@dataclass
class VersionCounts:
    """The calls of one version. Durations are in nanoseconds.

    `last` is the Unix time of the last answer, in nanoseconds.
    """

    rows: int = 0
    answered: int = 0
    failed: int = 0
    last: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0
    failed_ns: int = 0

    def count_answer(self, rows: int, began: int, decoded: int, computed: int) -> None:
        """Count a call that has just been answered; the times are of the performance counter."""
        self.rows += rows
        self.answered += 1
        self.last = time.time_ns()
        self.input_ns += decoded - began
        self.infer_ns += computed - decoded
        self.output_ns += time.perf_counter_ns() - computed

    def count_failure(self, began: int) -> None:
        """Count a call that has just failed."""
        self.failed += 1
        self.failed_ns += time.perf_counter_ns() - began


class Statistics:
    """The counts of every version that has been called."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], VersionCounts] = {}

    def counts_for(self, model: Model) -> VersionCounts:
        """Return the counts of the version, to be updated."""
        manifest = model.manifest
        version = manifest.model, manifest.version
        counts = self._counts.get(version)
        if counts is None:
            counts = self._counts[version] = VersionCounts()
        return counts

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._counts)

    def describe(self, model: str, version: int) -> pb.ModelStatistics:
        """Return the version's counts as a message; zeros if it was never called."""
        counts = self._counts.get((model, version), VersionCounts())
        n = counts.answered
        return pb.ModelStatistics(
            name=model,
            version=str(version),
            last_inference=counts.last // 1_000_000,
            inference_count=counts.rows,
            execution_count=n,
            inference_stats=pb.InferStatistics(
                success=_duration(n, counts.input_ns + counts.infer_ns + counts.output_ns),
                fail=_duration(counts.failed, counts.failed_ns),
                compute_input=_duration(n, counts.input_ns),
                compute_infer=_duration(n, counts.infer_ns),
                compute_output=_duration(n, counts.output_ns),
            ),
        )


def _duration(count: int, ns: int) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=count, ns=ns)
