"""`quadrant.v1.PlaygroundService`: sandbox networks trained for the page, on a port of its own.

Training runs in threads, a twentieth of a second at a time: between two such slices a run whose
caller has gone away ends, and other calls are answered.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import numpy as np

from quadnet import quadrants
from quadnet.cli.settings import DEFAULT_HOST
from quadnet.nn.layer_trace import trace_layers
from service.playground.sandbox_request import inspected, train_recipe
from service.playground.sandbox_run import Sandbox, decision_map, judge, probabilities
from service.quadrant_v1.codec import QUADRANT_NUMBERS
from service.quadrant_v1.description import describe_layer_trace, describe_layers
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

_MAX_LOOKS = 64
_MESSAGE_SECONDS = 60.0
_SLICE_SECONDS = 0.05
_NUMBERS = np.array([QUADRANT_NUMBERS[name] for name in quadrants.NAMES], np.uint8)


class PlaygroundServer:
    """A gRPC server of sandboxes on the loopback interface.

    Parameters
    ----------
    max_runs : int
        How many runs may go on at a time; further ones are refused at once.
    max_seconds : float
        How long a run may take.

    Attributes
    ----------
    port : int
    """

    def __init__(self, *, max_runs: int = MAX_RUNS, max_seconds: float = MAX_SECONDS) -> None:
        self._max_seconds = max_seconds
        self._accounting = Accounting(AccessLog())
        runs = self._make_factory(max_runs)
        looks = self._make_factory(_MAX_LOOKS)
        handlers: dict[str, Handler] = {
            "Train": runs.make_server_stream(f"{SERVICE}/Train", self.train),
            "Inspect": looks.make_unary(f"{SERVICE}/Inspect", self.inspect),
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
        """Begin to answer."""
        await self._server.start()

    async def stop(self) -> None:
        """End every run, and answer no more."""
        await self._server.stop(0)
        self._accounting.close()

    async def train(self, content: bytes, call: Call) -> AsyncIterator[bytes]:
        """Train a network and say what becomes of it, frame by frame."""
        recipe = train_recipe(content)
        call.points = len(recipe.train.X)
        sandbox = Sandbox(recipe)
        clock = asyncio.get_running_loop().time
        end = clock() + self._max_seconds
        while not sandbox.exploded:
            due = clock() + 1 / recipe.frames_per_second
            frame = await asyncio.to_thread(_frame, sandbox)
            if not frame.stop_reason_code and clock() > end:
                frame.stop_reason_code = pb.STOP_REASON_TIME_LIMIT
                frame.stop_reason = (
                    f"The server's limit of {self._max_seconds:g} seconds a run is reached. "
                    "Train again to go on."
                )
            yield frame.SerializeToString()
            if frame.stop_reason_code:
                return
            # Counted from 0, whatever pass the run went on from: frames fall on the same passes.
            every = recipe.epochs_per_frame
            following = min(sandbox.epoch // every * every + every, recipe.max_epochs)
            while sandbox.epoch < following and not sandbox.exploded and clock() < end:
                await asyncio.to_thread(sandbox.advance, following, _SLICE_SECONDS)
            await asyncio.sleep(due - clock())
        yield pb.TrainUpdate(
            epoch=sandbox.epoch,
            stop_reason_code=pb.STOP_REASON_DIVERGED,
            stop_reason=(
                f"The weights exploded in pass {sandbox.epoch}: training diverges. "
                "Lower the learning rate, now "
                f"{recipe.learning_rate:g}, and reset."
            ),
        ).SerializeToString()

    async def inspect(self, content: bytes, call: Call) -> bytes:
        """Say what a network answers."""
        request, network, X = inspected(content)
        call.points = len(X)
        P = probabilities(network, X)
        winners = P.argmax(axis=1)
        response = pb.InspectResponse(
            decision_map=decision_map(network, request.map_side),
            quadrants=_NUMBERS[winners].tolist(),
            certainties=P[np.arange(len(P)), winners].tolist(),
        )
        if request.features:
            x = np.array(request.features)
            with np.errstate(all="ignore"):
                traces = list(trace_layers(network, x))
                raw = network.probabilities(x[np.newaxis])[0]
            response.layers.extend(map(describe_layer_trace, traces))
            response.classes.extend(quadrants.NAMES)
            response.probabilities.extend(probabilities(network, x[np.newaxis])[0].tolist())
            if np.isfinite(raw).all():
                response.label = quadrants.NAMES[int(raw.argmax())]
        return response.SerializeToString()


def _frame(sandbox: Sandbox) -> pb.TrainUpdate:
    """Return what has become of the run so far, and whether it ends here."""
    recipe, network = sandbox.recipe, sandbox.network
    train, test = judge(network, recipe.train), judge(network, recipe.test)
    frame = pb.TrainUpdate(
        epoch=sandbox.epoch,
        loss=train.loss,
        accuracy=train.accuracy,
        test_loss=test.loss,
        test_accuracy=test.accuracy,
        test_answers=_NUMBERS[test.answers].tobytes(),
        state=pb.SandboxState(
            epoch=sandbox.epoch,
            updates=sandbox.updates,
            layers=describe_layers(network),
            moments=sandbox.optimizer.moments.tolist(),
        ),
        decision_map=decision_map(network, recipe.map_side),
    )
    accuracy = test.accuracy if len(recipe.test.X) else train.accuracy
    if sandbox.epoch >= recipe.max_epochs:
        frame.stop_reason_code = pb.STOP_REASON_MAX_EPOCHS
        frame.stop_reason = f"All {recipe.max_epochs:,} passes are done."
    elif recipe.stop_accuracy and accuracy >= recipe.stop_accuracy:
        frame.stop_reason_code = pb.STOP_REASON_ACCURACY
        frame.stop_reason = f"{accuracy:.2%} are right, as was asked for."
    return frame
