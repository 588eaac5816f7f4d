"""Every row of the table of errors over a real socket, and that no input leads to another error."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quadnet.registry import Registry
from service.rpc.error_documentation import SITUATIONS, Situation
from service.rpc.errors import ERRORS_BY_REASON, STATUSES, UnknownPath
from service.rpc.policies.admission import Admission
from service.rpc.policies.policy import CallPolicy
from service.stubs.inference.v2 import inference_pb2
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support import inference_client
from tests.support.certificates import Authority
from tests.support.exact_models import publish, publish_wide
from tests.support.fault_injection import Disturbance
from tests.support.http_client import raw_connection, read_answer, request
from tests.support.inference_client import InferenceStub
from tests.support.named_tensors import raw_request, to_tensors
from tests.support.raw_http2 import RawConnection, message
from tests.support.serving import (
    SERVICE,
    ServerProcess,
    SlowPolicy,
    long_call,
    open_stream,
    refused,
    served_here,
    unread_stream,
    until,
)
from tests.support.table_models import publish_table_model, sample_table
from tests.support.transports import EVERY, GRPC, HTTP, Refusal, grpc_refusal, http_refusal

NAN = float("nan")
SECRET = "secret of /etc/shadow"
POINT = pb.ClassifyRequest(x=[1], y=[1])


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("errors") / "registry")
    publish(registry)
    publish(registry, "letters", classes=("a", "b", "c", "d"))
    publish(registry, "damaged")
    (registry.path("damaged", 1) / "weights.safetensors").unlink()
    return registry


@pytest.fixture(scope="module")
def server(registry):
    with ServerProcess(
        registry.root, *HTTP_PORT, "--max-points", "1000", "--max-message-bytes", "100000"
    ) as process:
        yield process


HTTP_PORT = ("--http-port", "0")


def raw(server, method, content, **options):
    """Call a method with these bytes, and return the bytes of the answer."""
    return server.channel.unary_unary(f"/{SERVICE}/{method}")(content, timeout=20, **options)


class BrokenPolicy(CallPolicy):
    """A policy with a fault."""

    def begin(self, call):
        raise RuntimeError(SECRET)


def unknown(calls, server, registry, folder):
    return calls.classify(server, model=pb.ModelRef(name="nobody"))


def lengths(calls, server, registry, folder):
    return calls.classify(server, x=[1, 2], y=[1])


def not_finite(calls, server, registry, folder):
    return calls.classify(server, x=[1, NAN], y=[1, 1])


def certainty(calls, server, registry, folder):
    return calls.classify(server, min_certainty=-0.5)


def too_many(calls, server, registry, folder):
    return calls.classify(server, x=[0] * 1001, y=[0] * 1001)


def features(calls, server, registry, folder):
    if calls is HTTP:
        return calls.infer(server, inference_client.raw([[1, 1, 1]]))
    return grpc_refusal(refused(server.stub.Explain, pb.ExplainRequest(features=[1, 2, 3])))


def no_input(calls, server, registry, folder):
    return calls.infer(server, inference_pb2.ModelInferRequest())


def another_tensor(calls, server, registry, folder):
    return calls.infer(server, inference_client.raw([[1, 1, 1]]))


def gap(calls, server, registry, folder):
    publish_table_model(registry, "classes")
    tensors = to_tensors(sample_table(1))
    tensors = [each._replace(values=[""]) if each.name == "plan" else each for each in tensors]
    return calls.infer(server, raw_request(tensors, "classes"))


def raw_and_typed(calls, server, registry, folder):
    both = inference_client.typed([[1, 1]])
    both.raw_input_contents.append(b"")
    return calls.infer(server, both if calls is GRPC else inference_client.typed([[1, 1]]))


def no_output(calls, server, registry, folder):
    return calls.infer(
        server, inference_client.raw([[1, 1]], outputs=[inference_client.Output(name="logits")])
    )


def answer_too_large(calls, server, registry, folder):
    with ServerProcess(registry.root, *HTTP_PORT, "--max-message-bytes", "4096") as small:
        calls.infer(small, inference_client.raw(np.zeros((200, 2)), "INT8"))
        return calls.classify(small, x=[0] * 200, y=[0] * 200, all_certainties=True)


def no_message(calls, server, registry, folder):
    return calls.send(server, b"\xff\xff\xff")


def too_large(calls, server, registry, folder):
    return calls.classify(server, x=[0] * 50_000)


def far_too_large(calls, server, registry, folder):
    return calls.classify(server, x=[0] * 600_000)


def not_decompressed(calls, server, registry, folder):
    with RawConnection(server.address) as connection:
        stream = connection.begin(f"/{SERVICE}/Classify", ("grpc-encoding", "gzip"))
        connection.send(stream, message(b"not gzip", flag=1))
        status = connection.status(stream)
    (code,) = (code for code in grpc.StatusCode if code.value[0] == status)
    return Refusal(code, "", "", set())


def overload(calls, server, registry, folder):
    with (
        ServerProcess(registry.root, *HTTP_PORT, "--max-calls", "1") as small,
        long_call(small, registry),
    ):
        return calls.classify(small)


def waited_too_long(calls, server, registry, folder):
    with served_here(registry, [SlowPolicy(), Admission(20)]) as channel:
        classify = channel.unary_unary(f"/{SERVICE}/Classify")
        begun = [classify.future(b"", timeout=120) for _ in range(100)]
        return grpc_refusal(next(error for error in (each.exception() for each in begun) if error))


def makes_room(calls, server, registry, folder):
    with (
        ServerProcess(registry.root, *HTTP_PORT, "--max-calls", "1") as small,
        ExitStack() as opened,
    ):
        if calls is GRPC:
            streams = [opened.enter_context(open_stream(small)) for _ in range(17)]
            return grpc_refusal(refused(lambda request, timeout: next(streams[0]), None))
        first, _ = (opened.enter_context(calls.half_sent(small)) for _ in range(2))
        # No body is evicted within its first second.
        until(lambda: request(small.url, "POST", "/v1/classify", {}).status == 200)
        return first()


def slow_message(calls, server, registry, folder):
    with (
        ServerProcess(registry.root, *HTTP_PORT, "--message-timeout", "0.2") as impatient,
        calls.half_sent(impatient) as end,
    ):
        return end()


def deadline(calls, server, registry, folder):
    if calls is HTTP:
        return calls.classify(server, headers=[("X-Request-Timeout", "0")])
    begun = [server.stub.Classify.future(POINT, timeout=0.003) for _ in range(500)]
    return grpc_refusal(next(error for error in (each.exception() for each in begun) if error))


def late(calls, server, registry, folder):
    publish_wide(registry)
    wide = pb.ModelRef(name="wide", version=1)
    zeros = np.zeros(100_000)
    with ServerProcess(registry.root, *HTTP_PORT) as slow:
        calls.answered(slow, model=wide)
        if calls is HTTP:
            return calls.classify(
                slow, x=zeros, y=zeros, model=wide, headers=[("X-Request-Timeout", "0.5")]
            )
        request = pb.ClassifyRequest(x=zeros, y=zeros, model=wide)
        return grpc_refusal(slow.stub.Classify.future(request, timeout=0.5).exception())


def cannot(calls, server, registry, folder):
    return calls.classify(server, model=pb.ModelRef(name="letters"))


def damaged(calls, server, registry, folder):
    return calls.classify(server, model=pb.ModelRef(name="damaged"))


def not_loaded(calls, server, registry, folder):
    with ServerProcess(folder / "nothing", *HTTP_PORT) as cold:
        return calls.classify(cold)


def no_answer(calls, server, registry, folder):
    disturbance = Disturbance(folder / "disturbance", registry)
    with ServerProcess(registry.root, *HTTP_PORT, env=disturbance.env) as waiting:
        disturbance.hang()
        letters = pb.ModelRef(name="letters")
        if calls is HTTP:
            return calls.classify(waiting, model=letters)
        request = pb.ClassifyRequest(model=letters)
        return grpc_refusal(waiting.stub.Classify.future(request, timeout=60).exception())


def queue_is_full(calls, server, registry, folder):
    disturbance = Disturbance(folder / "disturbance", registry)
    options = (*HTTP_PORT, "--max-calls", "200")
    with ServerProcess(registry.root, *options, env=disturbance.env) as small:
        disturbance.hang()
        if calls is HTTP:
            with ThreadPoolExecutor(100) as threads:
                paths = ["/v2/repository/index"] * 100
                asked = threads.map(lambda path: request(small.url, "GET", path), paths)
                return http_refusal(next(answer for answer in asked if answer.status >= 400))
        begun = [small.stub.ListModels.future(pb.ListModelsRequest()) for _ in range(100)]
        return grpc_refusal(
            next(error for error in (each.exception(60) for each in begun) if error)
        )


def stopping(calls, server, registry, folder):
    with (
        ServerProcess(registry.root, *HTTP_PORT, "--max-calls", "1") as leaving,
        long_call(leaving, registry),
    ):
        leaving.process.terminate()
        leaving.logged("stopping")
        return calls.classify(leaving)


def stopped(calls, server, registry, folder):
    with ServerProcess(registry.root, *HTTP_PORT) as gone:
        gone.stop()
        return calls.classify(gone)


def cut_off(calls, server, registry, folder):
    with (
        ServerProcess(registry.root, *HTTP_PORT, "--grace", "0") as leaving,
        unread_stream(leaving) as stream,
    ):
        leaving.stop()
        return grpc_refusal(refused(lambda request, timeout: next(stream), None))


def no_token(calls, server, registry, folder):
    tokens = folder / "tokens"
    tokens.write_text("sesame\n")
    with ServerProcess(registry.root, *HTTP_PORT, "--token-file", str(tokens)) as closed:
        return calls.classify(closed)


def no_certificate(calls, server, registry, folder):
    authority = Authority(folder / "ca")
    options = (*authority.serve_with(), "--tls-client-ca", str(authority.file))
    with ServerProcess(registry.root, *HTTP_PORT, *options) as strict:
        credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
        with grpc.secure_channel(strict.address, credentials) as channel:
            return grpc_refusal(refused(channel.unary_unary(f"/{SERVICE}/Classify"), b""))


def no_method(calls, server, registry, folder):
    return grpc_refusal(refused(server.channel.unary_unary(f"/{SERVICE}/Guess"), b""))


def ask(server, http_method, path, **options):
    return http_refusal(request(server.url, http_method, path, **options))


def no_path(calls, server, registry, folder):
    return ask(server, "GET", "/v2/guess")


def wrong_method(calls, server, registry, folder):
    return ask(server, "PUT", "/v1/classify")


def wrong_type(calls, server, registry, folder):
    return ask(server, "POST", "/v1/classify", body=b"x", headers={"Content-Type": "text/plain"})


def not_compressed(calls, server, registry, folder):
    return ask(server, "POST", "/v1/classify", body=b"x", headers={"Content-Encoding": "gzip"})


def wrong_timeout(calls, server, registry, folder):
    return ask(server, "GET", "/v2", headers={"X-Request-Timeout": "soon"})


def two_lengths(calls, server, registry, folder):
    headers = {"Content-Length": "2", "Transfer-Encoding": "chunked"}
    return ask(server, "POST", "/v1/classify", body=b"0\r\n\r\n", headers=headers)


def not_http(calls, server, registry, folder):
    with raw_connection(server.url) as sock:
        sock.sendall(b"\x16\x03\x01 is TLS\r\n\r\n")
        return http_refusal(read_answer(sock))


def fault(calls, server, registry, folder):
    with served_here(registry, [BrokenPolicy()]) as channel:
        if calls is HTTP:
            return ask(channel, "GET", "/v2")
        return grpc_refusal(refused(channel.unary_unary(f"/{SERVICE}/Classify"), b""))


CASES = dict(
    zip(
        [row.what for row in SITUATIONS],
        [
            unknown, lengths, not_finite, certainty, too_many, features, no_input,
            another_tensor, gap, raw_and_typed, no_output, answer_too_large, no_message, too_large,
            far_too_large, not_decompressed,
            overload, waited_too_long, makes_room, slow_message, deadline, cannot, damaged,
            not_loaded, no_answer, queue_is_full, stopping, stopped, cut_off, no_token,
            no_certificate, no_method, no_path, wrong_method,
            wrong_type, not_compressed, wrong_timeout, two_lengths, late, not_http, fault,
        ],
        strict=True,
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("row", "calls"),
    [(row, calls) for row in SITUATIONS for calls in EVERY if calls.name in row.transports],
    ids=lambda found: CASES[found.what].__name__ if isinstance(found, Situation) else found.name,
)
def test_each_situation_has_the_status_and_the_details_of_the_table(
    server, registry, tmp_path, row, calls
):
    error = CASES[row.what](calls, server, registry, tmp_path)
    assert error.code is row.code
    for kind in ("ErrorInfo", "BadRequest", "RetryInfo"):
        # Over gRPC a deadline usually passes on the client's own clock first, without details.
        if calls is HTTP or row.code is not grpc.StatusCode.DEADLINE_EXCEEDED:
            assert (f"`{kind}`" in row.details) is (kind in error.kinds)
    if calls is HTTP:
        assert error.http == row.http
    if error.kinds or calls is HTTP:
        # Clients that ignore the details still get a sentence or two.
        assert 20 < len(error.message) < (400 if row.reported_by is not UnknownPath else 1000)
    for leak in (SECRET, "Traceback", "RuntimeError"):
        assert leak not in str(error)


def test_every_error_with_a_status_is_documented():
    documented = {row.reported_by for row in SITUATIONS}
    assert {error for error in documented if isinstance(error, type)} == STATUSES.keys()


def test_the_codes_and_the_reasons_are_the_published_ones():
    """Clients depend on them: none of them may ever change."""
    assert {status.reason: status.code.name for status in STATUSES.values()} == {
        "INVALID_INPUT": "INVALID_ARGUMENT",
        "NOT_FOUND": "NOT_FOUND",
        "UNSUPPORTED": "FAILED_PRECONDITION",
        "CORRUPT_VERSION": "FAILED_PRECONDITION",
        "NOT_READY": "UNAVAILABLE",
        "OVERLOADED": "RESOURCE_EXHAUSTED",
        "TOO_LARGE": "RESOURCE_EXHAUSTED",
        "DEADLINE_PASSED": "DEADLINE_EXCEEDED",
        "MESSAGE_TIMEOUT": "DEADLINE_EXCEEDED",
        "UNAUTHENTICATED": "UNAUTHENTICATED",
        "UNKNOWN_METHOD": "UNIMPLEMENTED",
        "UNKNOWN_PATH": "NOT_FOUND",
        "WRONG_HTTP_METHOD": "UNIMPLEMENTED",
        "UNSUPPORTED_CONTENT": "INVALID_ARGUMENT",
    }
    assert len(ERRORS_BY_REASON) == len(STATUSES)


def test_a_server_fault_is_logged_under_the_request_id_that_the_caller_gets(registry, caplog):
    text = "The server failed. Its log has more under the request id abc-1."
    with served_here(registry, [BrokenPolicy()]) as channel:
        error = refused(
            channel.unary_unary(f"/{SERVICE}/Classify"), b"", metadata=(("x-request-id", "abc-1"),)
        )
        answer = request(channel.url, "GET", "/v2", headers={"X-Request-Id": "abc-1"})
    assert error.details() == answer.values["error"] == text


def classify(server, **fields):
    return refused(server.stub.Classify, pb.ClassifyRequest(**fields))


def test_the_details_name_the_fields_and_the_number_of_faults(server):
    error = classify(server, x=[NAN] * 30, y=[0] * 30)
    details = {d.type_url.rpartition(".")[2]: d for d in rpc_status.from_call(error).details}
    bad, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
    details["BadRequest"].Unpack(bad)
    details["ErrorInfo"].Unpack(info)
    assert [v.field for v in bad.field_violations] == [f"x[{i}]" for i in range(16)]
    assert (info.reason, info.domain) == ("INVALID_INPUT", "quadnet")
    assert dict(info.metadata) == {"faults": "30"}


@pytest.mark.parametrize("api", ["quadrant.v1", "inference"])
def test_the_limit_of_points_is_in_the_metadata(server, api):
    if api == "inference":
        request_ = inference_client.raw(np.zeros((1001, 2)))
        error = refused(InferenceStub(server.channel).ModelInfer, request_)
    else:
        error = classify(server, x=[0] * 1001, y=[0] * 1001)
    info = error_details_pb2.ErrorInfo()
    rpc_status.from_call(error).details[0].Unpack(info)
    assert dict(info.metadata) == {"faults": "1", "max_points": "1000"}


def test_an_error_fits_into_the_metadata_however_many_names_it_lists(tmp_path):
    registry = Registry(tmp_path / "registry")
    publish(registry)
    for i in range(300):
        shutil.copytree(registry.path("quadrants", 1), registry.path(f"{i}-{'long' * 15}", 1))
    inference_client.publish_network(
        registry, "wide", (3, 1000), [f"{i}{'Ü' * 100}" for i in range(1000)]
    )
    with ServerProcess(registry.root) as server:
        statistics = InferenceStub(server.channel).ModelStatistics
        for error, code in (
            (classify(server, model=pb.ModelRef(name="nobody")), "NOT_FOUND"),
            (refused(server.stub.ListModels, pb.ListModelsRequest(name="nobody")), "NOT_FOUND"),
            (refused(statistics, inference_pb2.ModelStatisticsRequest(name="nobody")), "NOT_FOUND"),
            (classify(server, model=pb.ModelRef(name="wide")), "FAILED_PRECONDITION"),
        ):
            assert error.code().name == code
            assert len(error.details()) < 1000


CODES = {row.code for row in SITUATIONS if "grpc" in row.transports} - {
    # No message may lead to these.
    grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED,
}  # fmt: skip

METHODS = ("Classify", "ListModels", "GetModel", "Explain", "ClassifyStream")
MESSAGES = {
    "Classify": pb.ClassifyRequest,
    "ListModels": pb.ListModelsRequest,
    "GetModel": pb.GetModelRequest,
    "Explain": pb.ExplainRequest,
    "ClassifyStream": pb.ClassifyRequest,
}

floats = st.floats(width=64)
names = st.one_of(
    st.sampled_from(["", "quadrants", "letters", "damaged", "../..", "a/b", "latest"]),
    st.text(max_size=80),
)
refs = st.builds(
    pb.ModelRef, name=names, version=st.none() | st.integers(-(2**63), 2**63 - 1)
) | st.builds(pb.ModelRef, name=names, alias=names)
requests = st.one_of(
    st.builds(
        pb.ClassifyRequest,
        model=st.none() | refs,
        x=st.lists(floats, max_size=6),
        y=st.lists(floats, max_size=6),
        all_certainties=st.booleans(),
        min_certainty=st.floats(width=32),
    ),
    st.builds(pb.ListModelsRequest, name=names),
    st.builds(pb.GetModelRequest, model=st.none() | refs),
    st.builds(pb.ExplainRequest, model=st.none() | refs, features=st.lists(floats, max_size=4)),
)


def send(server, method, content):
    """Return the answer's bytes; None for an error of the table without internal details."""
    try:
        if method == "ClassifyStream":
            stream = server.channel.stream_stream(f"/{SERVICE}/{method}")
            return b"".join(stream(iter([content]), timeout=20))
        return raw(server, method, content)
    except grpc.RpcError as error:
        assert error.code() in CODES, (method, content, error)
        for leak in ("Traceback", "Error:", "Exception", "/registry", ".py"):
            assert leak not in error.details()
        assert len(error.details()) < 1000
        return None


@given(request_=requests, method=st.sampled_from(METHODS))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_message_to_any_method_gets_an_answer_or_a_status_of_the_table(
    server, request_, method
):
    answer = send(server, method, request_.SerializeToString())
    if answer is not None and isinstance(request_, pb.ClassifyRequest) and method == "Classify":
        response = pb.ClassifyResponse.FromString(answer)
        n = len(request_.x)
        assert len(response.quadrants) == len(response.certainties) == n == len(request_.y)
        assert len(response.all_certainties) == 4 * n * request_.all_certainties
        assert np.isfinite([*request_.x, *request_.y]).all()
        assert 0 <= request_.min_certainty <= 1


@given(content=st.binary(max_size=200), method=st.sampled_from(METHODS))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_to_any_method_get_an_answer_or_a_status_of_the_table(server, content, method):
    send(server, method, content)


def test_invalid_bytes_to_reflection_are_refused(server):
    reflect = server.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    )
    with pytest.raises(grpc.RpcError) as caught:
        list(reflect(iter([b"\xff"]), timeout=20))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_memory_stays_flat_under_thousands_of_bad_messages(server):
    rng = np.random.default_rng(5)
    good = pb.ClassifyRequest(x=rng.normal(size=500), y=rng.normal(size=500)).SerializeToString()

    def storm(n):
        for _ in range(n):
            content = bytearray(good)
            for at in rng.integers(0, len(content), 3):
                content[at] = rng.integers(256)
            del content[rng.integers(len(content)) :]
            for method in METHODS:
                send(server, method, bytes(content))

    storm(400)
    before = server.resident()
    storm(800)
    # A leak of one kilobyte per message would be 4 MB; the allocator's noise is twice that.
    assert server.resident() - before < 12
    assert server.stub.Classify(POINT, timeout=10).model.version == 1
