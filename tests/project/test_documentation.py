"""The documentation: every code block runs, in order, and every link has a target.

Each page has its own folder, in which `uv run` means "in this environment"; `.ci/run` tests that uv
makes such an environment from a clean clone. A block that starts a server runs until the end of the
page. A `text` block is the output of the block before it, with `...` for parts that differ between
machines.
"""

import doctest
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.serving import ROOT, ServerProcess

PAGES = sorted(
    str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
)
# ARCHITECTURE.md has pictures instead of commands.
PAGES_WITH_BLOCKS = [page for page in PAGES if page != "ARCHITECTURE.md"]

# Blocks that cannot run here, by their first line, and the test that runs them.
RUN_ELSEWHERE = {
    "pip install '.[all]'": "tests/project/test_environment.py",
    "docker build -t quadnet .": "tests/project/test_container.py",
    "uv run quadnet playground": "tests/service/playground/test_gateway.py",
    "uv sync --group dev": ".ci/run",
    "uv run --group dev ruff check .": ".ci/run",
    "uv run --isolated --resolution lowest-direct --group dev pytest": "pyproject.toml",
    "git worktree add ../before main": "tests/project/test_benchmarks.py",
}
# tests/service/inference_v2/test_public_clients.py runs these in other environments.
USES_ANOTHER_PACKAGE = ("import tritonclient", "import kserve", "from mlserver", "@grpc/grpc-js")

BIN = Path(sys.executable).parent
DEFAULT_PORT = "50051"

# The commands of a shell block, in this environment instead of one that uv makes.
SHELL = f"""set -eu
export PATH="{BIN}:$PATH"
uv() {{
    shift
    while [ "${{1#--}}" != "$1" ]; do shift 2; done
    "$@"
}}
uvx() {{ python -m "$@"; }}
"""


@dataclass(frozen=True)
class Block:
    """One code block: its language, its text, and its expected output, if the page has one."""

    language: str
    text: str
    expected: str | None = None

    @property
    def first_line(self):
        return self.text.partition("\n")[0]

    @property
    def starts_server(self):
        return self.text.startswith(("uv run quadnet up", "uv run quadnet serve"))


def read(page):
    return (ROOT / page).read_text()


def blocks_of(page):
    """Return the page's blocks in order, `text` blocks as part of the one before them."""
    found = []
    for language, text in re.findall(r"^```(\S*)\n(.*?)^```$", read(page), re.M | re.S):
        if language == "text" and found:
            found[-1] = Block(found[-1].language, found[-1].text, text)
        else:
            found.append(Block(language, text))
    return found


def runs_here(block):
    uses_another = any(words in block.text for words in USES_ANOTHER_PACKAGE)
    return block.first_line not in RUN_ELSEWHERE and not uses_another


PAGES_TO_TYPE = [page for page in PAGES_WITH_BLOCKS if any(map(runs_here, blocks_of(page)))]


@dataclass
class Reader:
    """Runs the blocks of one page in one folder."""

    folder: Path
    stack: ExitStack
    ports: dict[str, str] = field(default_factory=dict)
    """The ports that the page names, and those that its servers really have."""

    def run(self, block):
        """Run the block; return its exit code and what it wrote to both streams."""
        if block.starts_server:
            return 0, "\n".join(self._serve(block.text).announcement), ""
        if block.language == "python":
            command = [sys.executable, "-W", "error", "-c", self._with_ports(block.text)]
        else:
            command = ["bash", "-c", SHELL + self._with_ports(block.text)]
        port = {"QUADNET_PORT": self.ports[DEFAULT_PORT]} if DEFAULT_PORT in self.ports else {}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **port},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def _serve(self, text):
        """Start the server on free ports, and remember which ports the page gives it."""
        port = re.search(r"--port (\d+)|$", text)[1] or DEFAULT_PORT
        metrics = re.search(r"--metrics-port (\d+)|$", text)[1]
        http = re.search(r"--http-port (\d+)|$", text)[1]
        # ServerProcess uses port 0, which means any free port.
        text = re.sub(r" --port \d+", "", text.removeprefix("uv run quadnet "))
        verb, *options = shlex.split(re.sub(r"--(metrics|http)-port \d+", r"--\1-port 0", text))
        server = self.stack.enter_context(
            ServerProcess(self.folder / "models", *options, verb=verb)
        )
        self.ports[port] = server.port
        if http:
            self.ports[http] = server.url.rpartition(":")[2]
        if metrics:
            announced = "\n".join(server.announcement)
            self.ports[metrics] = re.search(r"Prometheus on \S+:(\d+)/", announced)[1]
        return server

    def _with_ports(self, text):
        for named, real in self.ports.items():
            text = re.sub(rf"\b{named}\b", real, text)
        return text


@pytest.mark.parametrize("page", PAGES_TO_TYPE)
def test_every_block_of_a_page_runs_in_its_turn(page, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    monkeypatch.chdir(tmp_path)
    matches = doctest.OutputChecker().check_output
    with ExitStack() as stack:
        reader = Reader(tmp_path, stack)
        for block in filter(runs_here, blocks_of(page)):
            code, printed, errors = reader.run(block)
            assert (code, errors) == (0, ""), f"{block.text}\n{printed}"
            if block.expected is not None:
                assert matches(block.expected, printed, doctest.ELLIPSIS), (block.text, printed)


def test_every_block_is_of_a_language_that_is_run():
    blocks = {page: blocks_of(page) for page in PAGES_WITH_BLOCKS}
    for page, of_page in blocks.items():
        fences = len(re.findall(r"^ *```", read(page), re.M))
        texts = sum(block.expected is not None for block in of_page)
        assert fences == 2 * (len(of_page) + texts), f"{page}: a fence that is not at the margin"
        assert {block.language for block in of_page} <= {"sh", "python", "javascript"}, page
    first_lines = {block.first_line for of_page in blocks.values() for block in of_page}
    assert RUN_ELSEWHERE.keys() <= first_lines
    assert all((ROOT / instead).exists() for instead in RUN_ELSEWHERE.values())


def headings(page):
    """Return the anchors that a page's headings have on the web."""
    text = re.sub(r"^```.*?^```$", "", read(page), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page):
    ours = r"`((?:docs|pipeline|protos|quadnet|requirements|service|tests)/[\w./-]+)`"
    missing = [name for name in re.findall(ours, read(page)) if not (ROOT / name).exists()]
    assert missing == []


LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page):
    assert len(set(headings(page))) == len(headings(page)) or "CHANGELOG" in page
    for target in LINK.findall(read(page)):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in headings(path.resolve().relative_to(ROOT)), f"{page}: {target}"


def test_every_page_can_be_found_from_the_table_of_contents():
    contents = set(LINK.findall(read("docs/README.md")))
    for page in PAGES:
        if page not in ("README.md", "docs/README.md"):
            assert os.path.relpath(page, "docs") in contents, page
    assert "docs/README.md" in LINK.findall(read("README.md"))


def test_a_contributor_runs_what_ci_runs():
    commands = re.findall(r"^uv run (?:--group dev )?(.*)$", read("CONTRIBUTING.md"), re.M)
    ci = re.findall(r"^uv run (?:--group \w+ )?(.*)$", read(".ci/run"), re.M)
    assert set(ci) <= set(commands)


def test_the_default_port_is_the_one_the_pages_name():
    from service.settings import ServeSettings

    assert str(ServeSettings().port) == DEFAULT_PORT


def test_the_tables_of_run_file_keys_are_those_of_the_code():
    from pipeline.config.gate import Gate
    from pipeline.config.held_out_rows import TestPart
    from pipeline.config.run_config import KINDS, RunConfig
    from pipeline.config.search import Search
    from pipeline.config.table_data import TableReading

    sections = {"data": KINDS.values(), "test": [TestPart], "gate": [Gate], "search": [Search]}
    declared = {k: v for k, v in RunConfig.model_fields.items() if k not in sections}
    for name, models in sections.items():
        for model in models:
            declared |= {f"{name}.{key}": each for key, each in model.model_fields.items()}
    del declared["data.read"]
    declared |= {f"data.read.{key}": each for key, each in TableReading.model_fields.items()}

    text = read("docs/pipeline.md")
    section = text[text.index("## Run files") : text.index("## When the gate fails")]
    section += read("docs/tables.md").partition("Settings of a column:")[0]
    documented = dict(re.findall(r"^\| `([a-z0-9_.]+)` \| (.*?) \|", section, re.M))
    assert documented.keys() == declared.keys()
    for key, default in documented.items():
        value = declared[key].default
        if isinstance(value, bool | int | float | str):
            # JSON and TOML write these alike.
            assert default == f"`{json.dumps(value)}`", key
