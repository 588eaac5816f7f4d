"""`quadrant.v1.QuadrantService`: each method is decode, one call, encode.

Methods that this version does not answer are inherited, and answer UNIMPLEMENTED.
"""

import grpc

from quadnet.artifact import Model
from service import codec
from service.live import LiveModels
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2_grpc

NAME = pb.DESCRIPTOR.services_by_name["QuadrantService"].full_name


class QuadrantServicer(quadrant_pb2_grpc.QuadrantServiceServicer):
    """Answers from live models, up to `max_points` points a call."""

    def __init__(self, live: LiveModels, *, max_points: int) -> None:
        self._live = live
        self._max_points = max_points

    def Classify(  # noqa: N802 - the name in the .proto
        self, request: pb.ClassifyRequest, context: grpc.ServicerContext
    ) -> pb.ClassifyResponse:
        """Say the quadrant of each point."""
        X = codec.decode_points(request, max_points=self._max_points)
        model = self._get(request.model)
        probabilities = codec.classify(model, X)
        return codec.encode_answer(
            model,
            probabilities,
            min_certainty=request.min_certainty,
            all_certainties=request.all_certainties,
        )

    def _get(self, ref: pb.ModelRef) -> Model:
        version = ref.version if ref.WhichOneof("selector") == "version" else None
        return self._live.get(ref.name, version=version, alias=ref.alias)
