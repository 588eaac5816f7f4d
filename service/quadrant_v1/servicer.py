"""`quadrant.v1.QuadrantService`: each method decodes, makes one call, and encodes."""

from functools import partial

from quadnet.errors import NotReady, RegistryError
from quadnet.nn.row_slices import direct_rows
from quadnet.registry.version_files import Model
from service.models.catalogue import list_loaded_models, list_models, public_reason
from service.models.live_models import LiveModels
from service.quadrant_v1 import codec
from service.quadrant_v1.codec import SERVICE, BatchClassification
from service.quadrant_v1.description import describe_version, explain_input
from service.quadrant_v1.layer_messages import layers_size, traces_size
from service.rpc.call import Call
from service.rpc.compute_thread import ComputeThread
from service.rpc.handlers import Handler, HandlerFactory
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.wire.checks import check_answer_size
from service.wire.messages import parse_message


class QuadrantServicer:
    """The methods of the service.

    Parameters
    ----------
    live : LiveModels
    compute_thread : ComputeThread
    max_points : int
        Maximum number of points per message.
    max_bytes : int
        Maximum size of an answer.
    """

    def __init__(
        self, live: LiveModels, compute_thread: ComputeThread, *, max_points: int, max_bytes: int
    ) -> None:
        self._live = live
        self._compute_thread = compute_thread
        self._max_points = max_points
        self._max_bytes = max_bytes

    def make_handlers(self, factory: HandlerFactory) -> dict[str, Handler]:
        """Return the handlers of the service's methods, by name."""
        unary = {
            "Classify": self.classify,
            "ListModels": self.list_models,
            "GetModel": self.get_model,
            "Explain": self.explain,
        }
        handlers = {
            name: factory.make_unary(f"{SERVICE}/{name}", method) for name, method in unary.items()
        }
        handlers["ClassifyStream"] = factory.make_stream(f"{SERVICE}/ClassifyStream", self.classify)
        return handlers

    async def classify(self, content: bytes, call: Call) -> bytes:
        """Return the quadrant of each point."""
        request, X = await self._compute_thread.decode_message(
            content, partial(codec.decode_points, max_points=self._max_points)
        )
        model = await self._get_model(request, call)
        batch = BatchClassification(
            model,
            X,
            min_certainty=request.min_certainty,
            all_certainties=request.all_certainties,
        )
        await self._compute_thread.run_in_slices(
            len(X), direct_rows(model.predictor.network), batch.compute
        )
        answer = batch.encode()
        check_answer_size(
            len(answer), self._max_bytes, field="x", instead="send them in several calls"
        )
        call.points += len(X)
        return answer

    async def list_models(self, content: bytes, call: Call) -> bytes:
        """Return the models and versions, and their states in this server."""
        request = parse_message(pb.ListModelsRequest, content)
        # From here on the call computes nothing and may wait for the registry.
        call.release_slot()
        try:
            return await self._live.reads.run(
                lambda check: list_models(self._live, request.name, check).SerializeToString()
            )
        except RegistryError as error:
            raise NotReady(public_reason(error)) from error
        except NotReady as error:
            return list_loaded_models(self._live, request.name, error).SerializeToString()

    async def get_model(self, content: bytes, call: Call) -> bytes:
        """Return the complete description of one version."""
        request = parse_message(pb.GetModelRequest, content)
        model = await self._get_model(request, call)
        n_bytes = layers_size(model.predictor.network)
        self._check_fits(n_bytes, "read the version from the registry", at_least=True)
        aliases = self._live.aliases(model)
        answer = await self._compute_thread.run_by_size(
            n_bytes, lambda: describe_version(model, aliases).SerializeToString()
        )
        self._check_fits(len(answer), "read the version from the registry")
        return answer

    async def explain(self, content: bytes, call: Call) -> bytes:
        """Return the trace of one input through the network."""
        request = parse_message(pb.ExplainRequest, content)
        model = await self._get_model(request, call)
        x, table = codec.decode_features(request, model)
        instead = "call Classify or ModelInfer, whose answers have no terms"
        network = model.predictor.network
        n_bytes = traces_size(network)
        self._check_fits(n_bytes, instead, at_least=True)
        answer = await self._compute_thread.run_by_size(
            n_bytes,
            lambda: explain_input(model, x, table).SerializeToString(),
            nanoseconds=network.nanoseconds,
        )
        self._check_fits(len(answer), instead)
        call.points = 1
        return answer

    def _check_fits(self, n_bytes: int, instead: str, *, at_least: bool = False) -> None:
        """Raise InvalidInput if an answer is too large because the model is."""
        check_answer_size(
            n_bytes,
            self._max_bytes,
            field="model",
            instead=f"raise the server's setting max_message_bytes, or {instead}",
            at_least=at_least,
        )

    async def _get_model(
        self, request: pb.ClassifyRequest | pb.GetModelRequest | pb.ExplainRequest, call: Call
    ) -> Model:
        if request.HasField("model"):
            ref = request.model
            version = ref.version if ref.WhichOneof("selector") == "version" else None
            model = self._live.find_in_memory(ref.name, version=version, alias=ref.alias)
            if model is None:
                call.release_slot()
                model = await self._live.load(ref.name, version=version, alias=ref.alias)
                call.take_slot()
        else:
            model = self._live.find_in_memory()
        # Not None: without a reference, `find_in_memory` returns the default version or raises.
        assert model is not None
        call.note_version(model)
        return model
