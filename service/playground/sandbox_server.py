"""`quadrant.v1.PlaygroundService`: trains sandbox networks for the page, on a separate port.

Training runs in threads, a twentieth of a second at a time. Between two such slices other calls are
answered, and a run ends if its caller is gone.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import numpy as np

from quadnet import quadrants
from quadnet.cli.settings import DEFAULT_HOST
from quadnet.nn.layer_trace import trace_layers
from service.playground.sandbox_request import decode_inspect_request, decode_train_request
from service.playground.sandbox_run import (
    SandboxRun,
    evaluate_points,
    make_decision_map,
    predict_probabilities,
)
from service.quadrant_v1.codec import QUADRANT_NUMBERS
from service.quadrant_v1.layer_messages import describe_layer_trace, describe_layers
from service.rpc.call import Call
from service.rpc.handlers import Handler, HandlerFactory
from service.rpc.policies.access_log import AccessLog
from service.rpc.policies.accounting import Accounting
from service.rpc.policies.admission import Admission
from service.rpc.policies.deadline import Deadline
from service.stubs.quadrant.v1 import quadrant_pb2 as pb

SERVICE: str = pb.DESCRIPTOR.services_by_name["PlaygroundService"].full_name

MAX_RUNS = 4
MAX_SECONDS = 600.0
MAX_MESSAGE_BYTES = 4 * 2**20

_MAX_INSPECTIONS = 64
_MESSAGE_SECONDS = 60.0
_SLICE_SECONDS = 0.05
_QUADRANT_NUMBERS = np.array([QUADRANT_NUMBERS[name] for name in quadrants.NAMES], np.uint8)


class SandboxServer:
    """A gRPC server of sandboxes on the loopback interface.

    Parameters
    ----------
    max_runs : int
        Maximum number of concurrent runs. Further runs are refused at once.
    max_seconds : float
        Maximum seconds of a run.

    Attributes
    ----------
    port : int
    """

    def __init__(self, *, max_runs: int = MAX_RUNS, max_seconds: float = MAX_SECONDS) -> None:
        self._max_seconds = max_seconds
        self._accounting = Accounting(AccessLog())
        runs = self._make_factory(max_runs)
        inspections = self._make_factory(_MAX_INSPECTIONS)
        handlers: dict[str, Handler] = {
            "Train": runs.make_server_stream(f"{SERVICE}/Train", self.train),
            "Inspect": inspections.make_unary(f"{SERVICE}/Inspect", self.inspect),
        }
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ]
        )
        generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
        self._server.add_generic_rpc_handlers((generic,))
        self.port = self._server.add_insecure_port(f"{DEFAULT_HOST}:0")

    def _make_factory(self, limit: int) -> HandlerFactory:
        policies = [self._accounting, Admission(limit), Deadline()]
        return HandlerFactory(policies, limit=limit, message_timeout=_MESSAGE_SECONDS)

    async def start(self) -> None:
        """Start to answer calls."""
        await self._server.start()

    async def stop(self) -> None:
        """End every run, and answer no more calls."""
        await self._server.stop(0)
        self._accounting.close()

    async def train(self, content: bytes, call: Call) -> AsyncIterator[bytes]:
        """Train a network, and yield its state frame by frame."""
        request = decode_train_request(content)
        call.points = len(request.train.X)
        run = SandboxRun(request)
        clock = asyncio.get_running_loop().time
        end = clock() + self._max_seconds
        while not run.diverged:
            due = clock() + 1 / request.frames_per_second
            frame = await asyncio.to_thread(_make_frame, run)
            if not frame.stop_reason_code and clock() > end:
                frame.stop_reason_code = pb.STOP_REASON_TIME_LIMIT
                frame.stop_reason = (
                    f"The server's limit of {self._max_seconds:g} seconds per run is reached. "
                    "Train again to continue."
                )
            yield frame.SerializeToString()
            if frame.stop_reason_code:
                return
            # Counted from epoch 0, so that a continued run has its frames at the same epochs.
            every = request.epochs_per_frame
            following = min(run.epoch // every * every + every, request.max_epochs)
            while run.epoch < following and not run.diverged and clock() < end:
                await asyncio.to_thread(run.advance, following, _SLICE_SECONDS)
            await asyncio.sleep(due - clock())
        yield pb.TrainUpdate(
            epoch=run.epoch,
            stop_reason_code=pb.STOP_REASON_DIVERGED,
            stop_reason=(
                f"Training diverged in epoch {run.epoch}: the weights are too large. "
                f"Lower the learning rate, now {request.learning_rate:g}, and reset."
            ),
        ).SerializeToString()

    async def inspect(self, content: bytes, call: Call) -> bytes:
        """Return the answers of a network."""
        request, network, X = decode_inspect_request(content)
        call.points = len(X)
        P = predict_probabilities(network, X)
        winners = P.argmax(axis=1)
        response = pb.InspectResponse(
            decision_map=make_decision_map(network, request.map_side),
            quadrants=_QUADRANT_NUMBERS[winners].tolist(),
            certainties=P[np.arange(len(P)), winners].tolist(),
        )
        if request.features:
            x = np.array(request.features)
            with np.errstate(all="ignore"):
                traces = list(trace_layers(network, x))
                raw = network.probabilities(x[np.newaxis])[0]
            response.layers.extend(map(describe_layer_trace, traces))
            response.classes.extend(quadrants.NAMES)
            response.probabilities.extend(predict_probabilities(network, x[np.newaxis])[0].tolist())
            if np.isfinite(raw).all():
                response.label = quadrants.NAMES[int(raw.argmax())]
        return response.SerializeToString()


def _make_frame(run: SandboxRun) -> pb.TrainUpdate:
    """Return the current state of the run, and the reason if it ends here."""
    request, network = run.request, run.network
    train, test = evaluate_points(network, request.train), evaluate_points(network, request.test)
    frame = pb.TrainUpdate(
        epoch=run.epoch,
        loss=train.loss,
        accuracy=train.accuracy,
        test_loss=test.loss,
        test_accuracy=test.accuracy,
        test_answers=_QUADRANT_NUMBERS[test.answers].tobytes(),
        state=pb.SandboxState(
            epoch=run.epoch,
            updates=run.updates,
            layers=describe_layers(network),
            moments=run.optimizer.moments.tolist(),
        ),
        decision_map=make_decision_map(network, request.map_side),
    )
    accuracy = test.accuracy if len(request.test.X) else train.accuracy
    if run.epoch >= request.max_epochs:
        frame.stop_reason_code = pb.STOP_REASON_MAX_EPOCHS
        frame.stop_reason = f"All {request.max_epochs:,} epochs are done."
    elif request.stop_accuracy and accuracy >= request.stop_accuracy:
        frame.stop_reason_code = pb.STOP_REASON_ACCURACY
        frame.stop_reason = f"The accuracy to stop at is reached: {accuracy:.2%}."
    return frame
