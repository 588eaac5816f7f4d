"""Certificates and tokens: which calls are accepted, and how files are exchanged under load."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from quadnet.errors import ConfigurationError, FileUnusable, Unauthenticated, Unreachable
from service.client import QuadrantClient
from service.net.certificates import read_validities
from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.certificates import Authority
from tests.support.exact_models import publish
from tests.support.http_client import request
from tests.support.load import CLASSIFY
from tests.support.serving import ServerProcess, quadnet, refused, until

HTTP_PORT = ("--http-port", "0")
POINT = pb.ClassifyRequest(x=[1], y=[1])


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "ca")


def is_answered(address, **options):
    with QuadrantClient(address, timeout=5, **options) as client:
        return client.classify([[0.5, 0.5]]).quadrants.tolist() == ["I"]


def is_answered_over_http(url, *, tls_ca=None, tls_client_cert=None, tls_client_key=None):
    """Return as `is_answered` does, and raise the same error."""
    context = ssl.create_default_context(cafile=None if tls_ca is None else str(tls_ca))
    context.set_alpn_protocols(["http/1.1"])
    if tls_client_cert is not None:
        context.load_cert_chain(tls_client_cert, tls_client_key)
    try:
        answer = request(url, "POST", "/v1/classify", {"x": [0.5], "y": [0.5]}, context=context)
    except OSError as error:
        raise Unreachable(str(error)) from error
    return answer.values["quadrants"] == ["QUADRANT_I"]


TRANSPORTS = {
    "grpc": (lambda server: server.address, is_answered, "h2"),
    "http": (lambda server: server.url, is_answered_over_http, "http/1.1"),
}


def served_serial_number(server, authority, transport="grpc"):
    """Return the serial number of the certificate that a new connection gets."""
    address, _, protocol = TRANSPORTS[transport]
    context = ssl.create_default_context(cafile=authority.file)
    context.set_alpn_protocols([protocol])
    port = int(address(server).rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        assert secure.selected_alpn_protocol() == protocol
        return secure.getpeercert()["serialNumber"]


def test_a_client_connects_only_to_a_server_that_it_trusts(registry, authority, tmp_path):
    publish(registry)
    other = Authority(tmp_path / "other")
    with ServerProcess(registry.root, *authority.serve_with(), *HTTP_PORT) as server:
        assert server.url.startswith("https://")
        for address, answered, _ in TRANSPORTS.values():
            assert answered(address(server), tls_ca=authority.file)
            for options in ({"tls_ca": other.file}, {}):
                with pytest.raises(Unreachable):
                    answered(address(server), **options)
        done = quadnet("classify", "0.5", "0.5", "--port", server.port, "--tls-ca", authority.file)
        assert done.stdout.splitlines()[1].split()[2] == "I"
        assert quadnet("health", "--port", server.port, "--tls-ca", authority.file).returncode == 0
        assert not [line for line in server.log() if line["event"].startswith("no TLS")]


def expiry(path):
    """Return when a certificate expires, read by another library."""
    return x509.load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc


def test_an_expired_certificate_is_not_trusted_and_is_logged(registry, authority):
    publish(registry)
    options = authority.serve_with(expired=True)
    certificate, key = options[1], options[3]
    metric = "quadnet_tls_certificate_expiry_timestamp_seconds"
    with ServerProcess(registry.root, *options, "--metrics-port", "0") as server:
        with pytest.raises(Unreachable):
            is_answered(server.address, tls_ca=authority.file)
        warned = server.logged("certificate expired", level="warning", file=certificate)
        assert datetime.fromisoformat(warned["valid_until"]) == expiry(certificate)
        assert server.scrape()[metric, certificate] == expiry(certificate).timestamp()
        # The metric changes when the server reads the new certificate.
        for new, old in zip(authority.issue("renewed"), (certificate, key), strict=True):
            shutil.copy(new, old)

        def is_replaced():
            try:
                return is_answered(server.address, tls_ca=authority.file)
            except Unreachable:
                return False

        until(is_replaced, seconds=60)
        assert server.scrape()[metric, certificate] == expiry(certificate).timestamp() > time.time()
        server.logged("files reloaded")
        assert len([each for each in server.log() if each["event"] == "certificate expired"]) == 1


def test_an_expired_authority_of_clients_is_logged(registry, authority, tmp_path):
    publish(registry)
    expired, _ = Authority(tmp_path / "other").issue("other", expired=True)
    both = tmp_path / "both.pem"
    both.write_bytes(expired.read_bytes() + authority.file.read_bytes())
    with ServerProcess(
        registry.root, *authority.serve_with(), "--tls-client-ca", str(both)
    ) as server:
        warned = server.logged("certificate expired", file=str(both))
        assert datetime.fromisoformat(warned["valid_until"]) == expiry(expired)
        certificate, key = authority.issue("client")
        assert is_answered(
            server.address,
            tls_ca=authority.file,
            tls_client_cert=certificate,
            tls_client_key=key,
        )


@pytest.mark.parametrize("year", [1951, 1999, 2000, 2049, 2050, 2100, 9999])
def test_validity_periods_that_another_library_writes_are_read(year):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ünicode")])
    begins, ends = datetime(1950, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(year, 12, 31, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    assert read_validities(b"a comment\n" + pem + b"\n" + pem) == [(begins, ends)] * 2
    assert read_validities(pem.replace(b"\n", b"\r\n")) == [(begins, ends)]
    assert read_validities(b"") == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_mutual_tls_accepts_only_clients_of_the_authority(registry, authority, tmp_path, transport):
    publish(registry)
    other = Authority(tmp_path / "other")
    options = (*authority.serve_with(), "--tls-client-ca", str(authority.file), *HTTP_PORT)
    with ServerProcess(registry.root, *options) as server:
        find_address, answered, _ = TRANSPORTS[transport]
        address = find_address(server)
        certificate, key = authority.issue("client")
        mine = {"tls_client_cert": certificate, "tls_client_key": key}
        assert answered(address, tls_ca=authority.file, **mine)
        text = {name: str(path) for name, path in mine.items()}
        assert answered(address, tls_ca=str(authority.file), **text)
        foreign = dict(zip(mine, other.issue("client"), strict=True))
        expired = dict(zip(mine, authority.issue("late", expired=True), strict=True))
        for wrong in ({}, foreign, expired):
            with pytest.raises(Unreachable):
                answered(address, tls_ca=authority.file, **wrong)
        # Refused clients do not affect others.
        assert answered(address, tls_ca=authority.file, **mine)


@pytest.mark.parametrize(("workers", "transport"), [(1, "grpc"), (2, "grpc"), (1, "http")])
def test_certificates_are_exchanged_under_load_and_an_invalid_one_changes_nothing(
    registry, authority, workers, transport
):
    publish(registry)
    options = authority.serve_with()
    certificate, key = options[1], options[3]
    options = (*options, "--workers", str(workers), *HTTP_PORT)
    with ServerProcess(registry.root, *options) as server:
        first = served_serial_number(server, authority, transport)
        failed, calls = [], 0
        credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())

        def call_once():
            """Call over a new connection."""
            nonlocal calls
            if transport == "http":
                calls += 1
                try:
                    assert is_answered_over_http(server.url, tls_ca=authority.file)
                except Unreachable as error:
                    failed.append(error)
                return
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.secure_channel(server.address, credentials, options) as channel:
                calls += 1
                try:
                    channel.unary_unary(CLASSIFY)(POINT.SerializeToString(), timeout=10)
                except grpc.RpcError as error:
                    failed.append(error)

        # The key does not belong to the certificate, as in the middle of an exchange.
        new_certificate, new_key = authority.issue("new")
        shutil.copy(new_certificate, certificate)
        for _ in range(20_000):
            call_once()
            if any(line["event"] == "files not reloaded" for line in server.log()):
                break
        server.logged("files not reloaded")
        assert served_serial_number(server, authority, transport) == first
        shutil.copy(new_key, key)
        for _ in range(2000):
            call_once()
            if served_serial_number(server, authority, transport) != first:
                break
        assert served_serial_number(server, authority, transport) != first or workers > 1
        server.logged("files reloaded")
        for _ in range(50):
            call_once()
        assert not failed
        assert calls > 50


def test_calls_need_a_token_of_the_file_and_health_checks_do_not(registry, tmp_path):
    publish(registry)
    tokens, mine, wrong = (tmp_path / name for name in ("tokens", "mine", "wrong"))
    tokens.write_text("\ufeff# two services\nsesame\n\n  other-one  \n")
    mine.write_text("other-one\n")
    wrong.write_text("sesame-street\n")
    with ServerProcess(registry.root, "--token-file", str(tokens), *HTTP_PORT) as server:
        assert is_answered(server.address, token_file=mine)
        assert is_answered(server.address, token_file=str(mine))
        assert is_answered(server.address, token_file=tokens)
        with pytest.raises(Unauthenticated, match="not one that this server accepts"):
            is_answered(server.address, token_file=wrong)
        with pytest.raises(Unauthenticated, match="Send the metadata 'authorization: Bearer TOK"):
            is_answered(server.address)
        for value in ("sesame", "Basic sesame", "Bearer", "Bearer ", "Bearer é"):
            error = refused(
                server.stub.Classify,
                POINT,
                metadata=(("authorization", value.encode("ascii", "replace").decode()),),
            )
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            answer = request(server.url, "GET", "/v2", headers={"Authorization": value})
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert request(server.url, "GET", "/unknown").status == 401
        assert request(server.url, "GET", "/v2/health/ready").status == 200
        headers = {"Authorization": "bearer sesame"}
        assert request(server.url, "GET", "/v2", headers=headers).status == 200
        # The scheme's case does not matter: RFC 9110, section 11.1.
        assert server.stub.Classify(POINT, metadata=(("authorization", "bearer sesame"),))
        assert quadnet("health", "--port", server.port).returncode == 0
        # Reflection needs a token, too.
        reflect = server.channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        )
        with pytest.raises(grpc.RpcError) as caught:
            list(reflect(iter([b""]), timeout=10))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        done = quadnet("classify", "0.5", "0.5", "--port", server.port, "--token-file", mine)
        assert done.returncode == 0
        assert "sesame" not in str(server.log())


def test_tokens_are_exchanged_without_a_restart_and_an_empty_file_changes_nothing(
    registry, tmp_path
):
    publish(registry)
    tokens = tmp_path / "tokens"
    tokens.write_text("old\n")

    def accepted(token):
        try:
            server.stub.Classify(POINT, metadata=(("authorization", f"Bearer {token}"),))
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            return False
        return True

    def until_logged(event, n=1):
        for _ in range(100_000):
            accepted("old")
            if sum(line["event"] == event for line in server.log()) >= n:
                return
        raise AssertionError(event)

    with ServerProcess(registry.root, "--token-file", str(tokens)) as server:
        assert accepted("old")
        tokens.write_text("")
        until_logged("files not reloaded")
        assert accepted("old")
        new = tmp_path / "new"
        new.write_text("new\n")
        new.replace(tokens)
        until_logged("files reloaded")
        assert accepted("new")
        assert not accepted("old")
        tokens.unlink()
        until_logged("files not reloaded", 2)
        assert accepted("new")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tls-cert", "no.pem"), "expected --tls-cert and --tls-key, got only one of them"),
        (("--tls-client-ca", "ca.pem"), "--tls-client-ca: expected --tls-cert and --tls-key, too"),
        (("--tls-cert", "no.pem", "--tls-key", "no.key"), "no.key cannot be read: No such file"),
        (("--tls-cert", "text", "--tls-key", "text"), "text is not in PEM: it has no line"),
        (("--tls-cert", "{cert}", "--tls-key", "{other}"), "do not belong together"),
        (("--token-file", "no"), "The token file no cannot be read: No such file"),
        (
            ("--tls-cert", "{cert}", "--tls-key", "{key}", "--tls-client-ca", "nonsense"),
            "nonsense has no certificates, or a damaged one",
        ),
        (("--token-file", "empty"), "The token file empty has no token: expected one per line"),
        (("--token-file", "huge"), "The token file huge is larger than 1048576 bytes"),
        (("--token-file", "foreign"), "has an invalid token in line 2: expected visible"),
    ],
)
def test_an_invalid_file_is_reported_before_the_server_starts(
    registry, authority, tmp_path, options, message
):
    (tmp_path / "text").write_text("a text")
    (tmp_path / "nonsense").write_text("-----BEGIN nonsense")
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "huge").write_text("x" * 2**20 + "secret\n")
    (tmp_path / "foreign").write_text("# sésame\nsésame\n")
    names = {"other": authority.issue("two")[1]}
    names["cert"], names["key"] = authority.issue("one")
    words = [word.format(**names) for word in options]
    done = quadnet("serve", "--registry", registry.root, "--port", "0", *words, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_client_reports_an_invalid_file(tmp_path):
    with pytest.raises(FileUnusable, match="cannot be read"):
        QuadrantClient(tls_ca=tmp_path / "none")
    done = quadnet("health", "--tls-client-cert", "c.pem")
    assert done.returncode == 2
    assert "--tls-client-cert: expected --tls-client-key, too." in done.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ("tls_client_cert", "tls_client_key"),
            r"tls_client_cert: expected tls_ca too, got None\.",
        ),
        (("tls_client_cert",), r"tls_client_cert: expected tls_client_key too"),
        (("tls_ca", "tls_client_key"), r"tls_client_key: expected tls_client_cert too"),
    ],
)
def test_a_client_with_a_certificate_never_connects_without_tls(
    authority, tmp_path, given, message
):
    certificate, key = authority.issue("client")
    files = {"tls_ca": authority.file, "tls_client_cert": certificate, "tls_client_key": key}
    token = tmp_path / "token"
    token.write_text("sesame\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=message):
            is_answered(address, token_file=token, **{name: files[name] for name in given})
        # There was no connection attempt.
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_public_address_without_tls_is_warned_about(registry):
    publish(registry)
    with ServerProcess(registry.root, "--host", "0.0.0.0") as server:
        warning = server.logged("no TLS: others on the network can read and change all data")
        assert warning["level"] == "warning"


def test_openssl_connects_with_http2_over_tls(registry, authority):
    publish(registry)
    with ServerProcess(registry.root, *authority.serve_with()) as server:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", server.address, "-alpn", "h2", "-CAfile",
             authority.file, "-brief"],
            input=b"", capture_output=True, timeout=20, check=False,
        )  # fmt: skip
    assert b"Verification: OK" in done.stderr + done.stdout


def test_a_hanging_token_file_delays_no_call(registry, tmp_path):
    publish(registry)
    tokens = tmp_path / "tokens"
    tokens.write_text("sesame\n")
    metadata = (("authorization", "Bearer sesame"),)
    writers = []

    def is_read():
        try:
            writers.append(os.open(tokens, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    with ServerProcess(registry.root, "--token-file", str(tokens)) as server:
        assert server.stub.Classify(POINT, timeout=30, metadata=metadata).model.version == 1
        silent = tmp_path / "silent"
        os.mkfifo(silent)
        silent.rename(tokens)
        until(is_read, seconds=60)
        # The server now waits in a read until the writer closes the file.
        for _ in range(20):
            assert server.stub.Classify(POINT, timeout=30, metadata=metadata).model.version == 1
        os.close(writers.pop())
        server.logged("files not reloaded")
        assert server.stop()[0] == 0


def test_many_concurrent_handshakes_do_not_crash_the_server(registry, authority):
    publish(registry)
    context = ssl.create_default_context(cafile=authority.file)
    context.set_alpn_protocols(["h2"])
    with ServerProcess(registry.root, *authority.serve_with()) as server:

        def shake(_):
            with (
                socket.create_connection(("127.0.0.1", int(server.port)), timeout=60) as connection,
                context.wrap_socket(connection, server_hostname="localhost"),
            ):
                return True

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(shake, range(2000)))
        assert is_answered(server.address, tls_ca=authority.file)
        assert server.stop()[0] == 0
