"""How often each version was asked for tensors, and how long that took, since the process began.

Written on the event loop alone, like everything that calls do.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from quadnet.registry.version_files import Model
from service.stubs.inference.v2 import inference_pb2 as pb


@dataclass
class Counts:
    """One version's calls; times are in nanoseconds of the performance counter."""

    rows: int = 0
    answered: int = 0
    failed: int = 0
    last: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0
    failed_ns: int = 0

    def answer(self, rows: int, began: int, decoded: int, computed: int) -> None:
        """Count a call that has just been answered."""
        self.rows += rows
        self.answered += 1
        self.last = time.time_ns()
        self.input_ns += decoded - began
        self.infer_ns += computed - decoded
        self.output_ns += time.perf_counter_ns() - computed

    def fail(self, began: int) -> None:
        """Count a call that has just failed."""
        self.failed += 1
        self.failed_ns += time.perf_counter_ns() - began


class Statistics:
    """The counts of every version that was loaded when it was asked."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], Counts] = {}

    def of(self, model: Model) -> Counts:
        """Return where to count the version's calls."""
        manifest = model.manifest
        version = manifest.model, manifest.version
        counts = self._counts.get(version)
        if counts is None:
            counts = self._counts[version] = Counts()
        return counts

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._counts)

    def describe(self, model: str, version: int) -> pb.ModelStatistics:
        """Return the version's counts as a message; zeros if it was never asked."""
        counts = self._counts.get((model, version), Counts())
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
