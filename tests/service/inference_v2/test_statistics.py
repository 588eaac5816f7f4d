"""ModelStatistics counts calls, rows and durations of each version."""

import numpy as np

from service.stubs.inference.v2 import inference_pb2 as pb
from tests.support.inference_client import InferenceStub, raw
from tests.support.serving import ServerProcess, refused


def test_statistics_count_calls_and_rows_of_each_version(inference_models):
    registry, _ = inference_models
    with ServerProcess(registry.root) as server:
        stub = InferenceStub(server.channel)
        # Loaded versions are listed, with zeros.
        (before,) = stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
        assert (before.name, before.version, before.execution_count) == ("quadrants", "1", 0)

        for rows in (1, 20, 300):
            stub.ModelInfer(raw(np.zeros((rows, 2))))
        stub.ModelInfer(raw([[1, 1]], model_version="candidate"))
        refused(stub.ModelInfer, raw([[1, 1, 1]]))
        refused(stub.ModelInfer, raw([[float("nan"), 1]]))

        first, second = stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
        assert [(s.name, s.version) for s in (first, second)] == [
            ("quadrants", "1"),
            ("quadrants", "2"),
        ]
        assert (first.inference_count, first.execution_count) == (321, 3)
        times = first.inference_stats
        assert (times.success.count, times.fail.count) == (3, 2)
        parts = (times.compute_input, times.compute_infer, times.compute_output)
        assert all(part.count == 3 and part.ns > 0 for part in parts)
        assert times.success.ns == sum(part.ns for part in parts)
        assert times.fail.ns > 0
        assert second.execution_count == 1
        assert first.last_inference <= second.last_inference < first.last_inference + 60_000

        (alone,) = stub.ModelStatistics(
            pb.ModelStatisticsRequest(name="quadrants", version="latest")
        ).model_stats
        assert alone == second
        # A version that exists and was never called.
        (never,) = stub.ModelStatistics(
            pb.ModelStatisticsRequest(name="digits", version="1")
        ).model_stats
        assert (never.name, never.execution_count, never.last_inference) == ("digits", 0, 0)
        assert not stub.ModelStatistics(pb.ModelStatisticsRequest(name="digits")).model_stats
        assert refused(
            stub.ModelStatistics, pb.ModelStatisticsRequest(name="nothing")
        ).details() == (
            "There is no model 'nothing' in the registry. "
            "It holds: binary, digits, irises, quadrants."
        )
