"""The REST form of Quadnet's own API: Classify."""

from functools import partial

from service.quadrant_v1.servicer import QuadrantServicer
from service.rest.answers import Answer
from service.rest.routes import Body, RestRequest, Route
from service.rpc.call import Call
from service.rpc.compute_thread import ComputeThread
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.wire.json_messages import decode_json, encode_json


def make_classify_route(servicer: QuadrantServicer, compute_thread: ComputeThread) -> Route:
    """Return the route of Classify, whose messages are those of gRPC in protobuf's JSON."""

    async def classify(request: RestRequest, call: Call) -> Answer:
        message = await compute_thread.decode_message(request.body, _decode)
        content = await servicer.classify(message, call)
        return Answer(await compute_thread.run_by_size(len(content), partial(_encode, content)))

    return Route(
        "POST",
        "/v1/classify",
        classify,
        "The quadrant of each point.",
        "ClassifyResponse",
        "The messages are those of the gRPC method quadrant.v1.QuadrantService/Classify, in the "
        "JSON of protobuf: integers of 64 bits are texts.",
        Body("The points, and optionally a version.", "ClassifyRequest"),
        errors=(404,),
    )


def _decode(content: bytes) -> bytes:
    return decode_json(content, pb.ClassifyRequest()).SerializeToString()


def _encode(content: bytes) -> bytes:
    return encode_json(pb.ClassifyResponse.FromString(content))
