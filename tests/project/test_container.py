"""The Dockerfile: its content, and, with the marker `environment`, both images built and run.

Without a container engine, buildah builds the images (chroot isolation, vfs storage) on a base made
with debootstrap, which replaces python:slim and has the package settings of this machine.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import grpc
import pytest

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from service.stubs.quadrant.v1 import quadrant_pb2_grpc
from tests.support.serving import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = {
    re.match(r"FROM \S+ AS (\S+)", text)[1]: text
    for text in re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)[1:]
}


def test_serve_is_the_default_target():
    assert list(STAGES)[-1] == "serve"


@pytest.mark.parametrize("target", ["serve", "full"])
def test_an_image_has_no_root_a_health_check_and_one_command(target):
    text = STAGES[target]
    assert "\nUSER quadnet\n" in text
    assert re.search(r'^HEALTHCHECK .*CMD \["quadnet", "health"\]$', text, re.MULTILINE)
    assert 'ENTRYPOINT ["quadnet"]' in text
    assert f'CMD ["{"serve" if target == "serve" else "up"}"]' in text


def test_everything_installed_is_pinned_by_hash():
    installs = re.findall(
        r"pip\S*(?: --python \S+)? (?:install|wheel) (.*?)(?: \\)?$", DOCKERFILE, re.M
    )
    assert len(installs) == 6
    assert all(line.startswith(("--require-hashes -r ", "--no-deps ")) for line in installs)


def test_only_what_the_dockerfile_copies_is_sent_to_the_builder():
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    for source in copied:
        assert any(Path(source).match(pattern) for pattern in allowed), source


BUILDAH = ["buildah", "--storage-driver", "vfs"]


def buildah(*words, **options):
    return subprocess.run(
        [*BUILDAH, *map(str, words)], check=True, capture_output=True, text=True, **options
    ).stdout.strip()


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """Give buildah its own storage, which is removed with the test."""
    directory = tmp_path_factory.mktemp("containers")
    BUILDAH[3:] = ["--root", str(directory / "root"), "--runroot", str(directory / "run")]
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def base(storage):
    """Make the image that replaces python:slim: only Debian's Python with pip."""
    if not (shutil.which("buildah") and shutil.which("debootstrap") and os.geteuid() == 0):
        pytest.skip("building an image needs buildah, debootstrap and root")
    root = storage / "debian"
    packages = "python3,python3-venv,python3-pip,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", root],
        check=True,
        capture_output=True,
    )
    for litter in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / litter, ignore_errors=True)
    # The settings for the package index belong to this machine, not to the Dockerfile.
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates.exists():
        shutil.copy(certificates, root / certificates.relative_to("/"))
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, root, "/")
    for name, value in os.environ.items():
        if name.startswith("PIP_") and "://" not in value:
            buildah("config", "--env", f"{name}={value}", container)
    buildah("commit", "--quiet", container, "localhost/python-slim")
    buildah("rm", container)
    shutil.rmtree(root)
    return "localhost/python-slim"


def build(base, target):
    buildah(
        "build", "--isolation", "chroot", "--pull-never", "--format", "docker",
        "--build-arg", f"PYTHON={base}", "--target", target, "--tag", f"localhost/quadnet-{target}",
        ROOT,
    )  # fmt: skip
    return f"localhost/quadnet-{target}"


def in_container(container, *words):
    return subprocess.run(
        [*BUILDAH, "run", "--isolation", "chroot", container, "--", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def innermost(pid):
    """Return the last process in the chain of children of this one."""
    started = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return innermost(started[0]) if started else pid


@pytest.mark.environment
@pytest.mark.parametrize("target", ["serve", "full"])
def test_the_image_builds_starts_and_answers(base, target):
    image = build(base, target)
    config = json.loads(buildah("inspect", "--type", "image", image))["Docker"]["config"]
    assert config["User"] == "quadnet"
    assert config["Healthcheck"]["Test"] == ["CMD", "quadnet", "health"]
    container = buildah("from", "--pull-never", image)
    assert in_container(container, "id", "-u").stdout == "10001\n"
    # The compiled part of training is there, and the compiler that made it is not.
    assert in_container(container, "quadnet", "--version").stdout.endswith("\nReplay: compiled\n")
    assert in_container(container, "sh", "-c", "command -v cc gcc").returncode != 0
    has_scikit_learn = in_container(container, "/opt/quadnet/bin/python", "-c", "import sklearn")
    assert (has_scikit_learn.returncode == 0) is (target == "full")

    # The container shares this machine's network, so it needs a free port.
    command = [*config["Entrypoint"], *config["Cmd"], "--port", "0", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*BUILDAH, "run", "--isolation", "chroot", container, "--", *command],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        text = "".join(until_announced(process.stdout))
        assert ("training it" in text) is (target == "full")
        address = re.search(r"127\.0\.0\.1:\d+", text)[0]
        with grpc.insecure_channel(address) as channel:
            stub = quadrant_pb2_grpc.QuadrantServiceStub(channel)
            answer = stub.Classify(pb.ClassifyRequest(x=[0.5, -0.3], y=[0.5, 0.8]), timeout=10)
        assert list(answer.quadrants) == [1, 2]
        check = [*config["Healthcheck"]["Test"][1:], "--port", address.split(":")[1]]
        assert in_container(container, *check).returncode == 0
    finally:
        # Stop it from inside, because buildah does not forward signals.
        os.kill(innermost(process.pid), signal.SIGTERM)
        rest, _ = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "Stopped.\n")
    print(target, json.loads(buildah("images", "--json", image))[0]["size"])


def until_announced(lines):
    for line in lines:
        yield line
        if line.startswith("Ctrl-C"):
            return
