"""ModelInfer beside Classify: python -m tests.benchmarks.infer.

One server's calls a second and its processor time a call, asked in turns by h2load.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

from quadnet.registry import Registry
from service.stubs.inference.v2 import inference_pb2
from service.stubs.quadrant.v1 import quadrant_pb2
from tests.benchmarks.loading import CLASSIFY, calls_a_second, frame, require_h2load
from tests.support.exact_models import publish
from tests.support.named_tensors import raw_request, to_tensors
from tests.support.serving import ServerProcess
from tests.support.table_models import publish_table_model

INFER = "inference.GRPCInferenceService/ModelInfer"


def messages(points):
    """Return by name the method and the message of each way to ask for so many points."""
    X = np.random.default_rng(0).uniform(-1, 1, (points, 2)).astype("<f4")
    classify = quadrant_pb2.ClassifyRequest(x=X[:, 0], y=X[:, 1])

    def infer(datatype, X, outputs=(), **contents):
        tensor = inference_pb2.ModelInferRequest.InferInputTensor(
            name="x", datatype=datatype, shape=X.shape
        )
        raw = [] if contents else [X.tobytes()]
        if contents:
            tensor.contents.MergeFrom(inference_pb2.InferTensorContents(**contents))
        output = inference_pb2.ModelInferRequest.InferRequestedOutputTensor
        return inference_pb2.ModelInferRequest(
            model_name="quadrants",
            inputs=[tensor],
            outputs=[output(name=name) for name in outputs],
            raw_input_contents=raw,
        )

    return {
        "Classify": (CLASSIFY, classify),
        "ModelInfer, raw FP32": (INFER, infer("FP32", X)),
        "ModelInfer, raw FP64": (INFER, infer("FP64", X.astype("<f8"))),
        "ModelInfer, raw FP32, label": (INFER, infer("FP32", X, ["label"])),
        "ModelInfer, typed FP32": (INFER, infer("FP32", X, fp32_contents=X.ravel())),
        "ModelInfer, 2 columns, raw": (
            INFER,
            raw_request(to_tensors({"a": X[:, 0].astype("<f8"), "b": X[:, 1].astype("<f8")}), "m"),
        ),
    }


def cpu_seconds(pid):
    """Return how long the process has computed, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    require_h2load()

    print(f"{'':28} {'points':>7} {'calls/s':>9} {'of Classify':>12} {'CPU us a call':>14}")
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder) / "registry")
        publish(registry)
        numbers = np.random.default_rng(1).normal(size=(2, 100))
        publish_table_model(registry, "m", table={"a": numbers[0], "b": numbers[1]})
        with ServerProcess(registry.root, "--log-level", "warning") as server:
            for points in options.points:
                compare(server, points, Path(folder), options)


def compare(server, points, folder, options):
    """Print a line for each way to ask for so many points."""
    ways = messages(points)
    measured = {way: [] for way in ways}
    for _ in range(options.repeat):
        for way, (method, message) in ways.items():
            file = frame(folder / "message", message.SerializeToString())
            before = cpu_seconds(server.process.pid)
            rate = calls_a_second(server.port, file, method=method, seconds=options.seconds)
            cpu = cpu_seconds(server.process.pid) - before
            # The warm-up's calls are paid for, too.
            measured[way].append((rate, cpu / (rate * (options.seconds + 0.3))))
    for way, runs in measured.items():
        ratio = statistics.median(
            rate / beside for (rate, _), (beside, _) in zip(runs, measured["Classify"], strict=True)
        )
        rate, cpu = map(statistics.median, zip(*runs, strict=True))
        print(f"{way:28} {points:>7,} {rate:>9,.0f} {ratio:>11.0%} {cpu * 1e6:>13.0f}")


if __name__ == "__main__":
    main()
