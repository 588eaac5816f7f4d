"""ModelInfer beside Classify: calls a second of one server, asked by h2load with ready-made bytes.

The two are asked in turns, so that whatever else the machine does hits both. Needs h2load, of
nghttp2: what loads a server must cost less than the server.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from quadnet.registry import Registry  # noqa: E402
from service.stubs.inference.v2 import inference_pb2  # noqa: E402
from service.stubs.quadrant.v1 import quadrant_pb2  # noqa: E402
from tests.exact import publish  # noqa: E402
from tests.serving import ServerProcess  # noqa: E402

CLASSIFY = "quadrant.v1.QuadrantService/Classify"
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
    }


def calls_a_second(server, method, message, calls, folder):
    """Ask so many calls, and return how many were answered a second."""
    content = message.SerializeToString()
    body = Path(folder) / "body"
    body.write_bytes(b"\0" + len(content).to_bytes(4, "big") + content)
    done = subprocess.run(
        ["h2load", "-n", str(calls), "-c", "4", "-m", "8", "-t", "1", "-d", body]
        + ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        + [f"http://{server.address}/{method}"],
        capture_output=True,
        text=True,
        check=True,
    )
    # A refused call is answered, too, and faster: only its missing message tells.
    sent = re.search(r"(\d+) succeeded, 0 failed, 0 errored", done.stdout)
    data = re.search(r"\((\d+)\) data", done.stdout)
    if not sent or int(sent[1]) != calls or not data or not int(data[1]):
        raise SystemExit(f"{method} was not answered:\n{done.stdout}")
    return float(re.search(r"([\d.]+) req/s", done.stdout)[1])


def cpu_seconds(pid):
    """Return how long the process has computed, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    if not shutil.which("h2load"):
        raise SystemExit("h2load is not there: install nghttp2-client.")

    print(f"{'':28} {'points':>7} {'calls/s':>9} {'of Classify':>12} {'CPU us a call':>14}")
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder) / "registry")
        publish(registry)
        with ServerProcess(registry.root, "--log-level", "warning") as server:
            for points in options.points:
                ways = messages(points)
                measured = {way: [] for way in ways}
                for _ in range(options.repeat):
                    for way, (method, message) in ways.items():
                        before = cpu_seconds(server.process.pid)
                        rate = calls_a_second(server, method, message, options.calls, folder)
                        cpu = (cpu_seconds(server.process.pid) - before) / options.calls
                        measured[way].append((rate, cpu))
                for way, runs in measured.items():
                    ratio = statistics.median(
                        rate / beside
                        for (rate, _), (beside, _) in zip(runs, measured["Classify"], strict=True)
                    )
                    rate, cpu = map(statistics.median, zip(*runs, strict=True))
                    print(f"{way:28} {points:>7,} {rate:>9,.0f} {ratio:>11.0%} {cpu * 1e6:>13.0f}")


if __name__ == "__main__":
    main()
