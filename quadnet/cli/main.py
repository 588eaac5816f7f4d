"""The `quadnet` command: a table of verbs, each with its settings and the function that runs it.

This is the composition root, the one place that knows both the pipeline and the service. It
imports them inside functions, so that `quadnet --help` needs neither.
"""

import difflib
import importlib
import io
import os
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quadnet.errors import QuadnetError, Unsupported
from quadnet.extras import require_extras

if TYPE_CHECKING:
    from service.settings import UpSettings


@dataclass(frozen=True)
class Verb:
    """One verb: what it does, its settings class, and the function that takes them.

    The two names are ``module:attribute``; the function returns the exit code. `serves` marks the
    verbs that run until a signal.
    """

    summary: str
    settings: str
    run: str
    extras: tuple[str, ...]
    """The extras without whose packages the verb cannot run."""
    serves: bool = False
    posix: bool = False
    """Whether it needs what Windows lacks: signals, or a file that is renamed while it is open."""
    outlives_reader: bool = False
    """Whether its work goes on when the reader of its output, such as `head`, has left."""


VERBS = {
    "up": Verb(
        "train and publish the default model if there is none, then serve it",
        "service.settings:UpSettings",
        "quadnet.cli.main:up",
        ("pipeline", "serve"),
        serves=True,
        posix=True,
    ),
    "train": Verb(
        "data -> fit -> evaluate -> gate -> publish",
        "pipeline.commands.settings:TrainSettings",
        "pipeline.commands.train:train",
        ("pipeline",),
        outlives_reader=True,
    ),
    "search": Verb(
        "try parameters of the network, then train with the best",
        "pipeline.commands.settings:SearchSettings",
        "pipeline.commands.search:search",
        ("pipeline",),
        outlives_reader=True,
    ),
    "score": Verb(
        "answer every row of a CSV or Parquet file of any size",
        "pipeline.commands.settings:ScoreSettings",
        "pipeline.commands.score:score",
        ("pipeline",),
        posix=True,
        outlives_reader=True,
    ),
    "models list": Verb(
        "list the published versions and their aliases",
        "pipeline.commands.model_settings:ListSettings",
        "pipeline.commands.models:list_versions",
        ("registry",),
    ),
    "models show": Verb(
        "show what a version is, and how it was made and judged",
        "pipeline.commands.model_settings:ShowSettings",
        "pipeline.commands.models:show",
        ("registry",),
    ),
    "models diff": Verb(
        "compare two versions: metrics, settings, changed answers",
        "pipeline.commands.model_settings:DiffSettings",
        "pipeline.commands.models:diff",
        ("registry",),
    ),
    "models alias": Verb(
        "show the aliases' history, or change several at once",
        "pipeline.commands.model_settings:AliasSettings",
        "pipeline.commands.models:alias",
        ("registry",),
        outlives_reader=True,
    ),
    "models rollback": Verb(
        "point an alias at what it pointed to before",
        "pipeline.commands.model_settings:RollbackSettings",
        "pipeline.commands.models:rollback",
        ("registry",),
        outlives_reader=True,
    ),
    "models verify": Verb(
        "verify every byte and self-test; --retrain rebuilds",
        "pipeline.commands.model_settings:VerifySettings",
        "pipeline.commands.models:verify",
        ("registry",),
    ),
    "models gc": Verb(
        "remove old versions and litter (a dry run unless --apply)",
        "pipeline.commands.model_settings:GcSettings",
        "pipeline.commands.models:gc",
        ("registry",),
        outlives_reader=True,
    ),
    "models export": Verb(
        "write a version as an ONNX file",
        "pipeline.commands.model_settings:ExportSettings",
        "pipeline.commands.models:export",
        ("registry", "onnx"),
        outlives_reader=True,
    ),
    "serve": Verb(
        "answer gRPC calls from a published version",
        "service.settings:ServeSettings",
        "service.commands.serve:serve",
        ("serve",),
        serves=True,
        posix=True,
    ),
    "playground": Verb(
        "show the page in front of a running server",
        "service.settings:PlaygroundSettings",
        "service.playground.page_process:playground",
        ("playground",),
        serves=True,
        posix=True,
    ),
    "classify": Verb(
        "ask a running server for the quadrants of points",
        "service.settings:ClassifySettings",
        "service.commands.classify:classify",
        ("serve",),
    ),
    "bench": Verb(
        "load a running server and print its throughput and latency",
        "service.settings:BenchSettings",
        "service.commands.bench:bench",
        ("serve",),
    ),
    "health": Verb(
        "ask a running server whether it is serving",
        "service.settings:HealthSettings",
        "service.commands.classify:health",
        ("serve",),
    ),
}


class _LastingOutput(io.RawIOBase):
    """An output whose failure ends no work: what cannot be written any more is dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, content: Any) -> int | None:
        try:
            return os.write(self._descriptor, content)
        except BlockingIOError:
            return None
        except OSError as error:
            _discard(self._descriptor)
            if not isinstance(error, BrokenPipeError):
                print(
                    f"quadnet: warning: standard output cannot be written: {error.strerror}.",
                    file=sys.stderr,
                )
            return len(content)


def _discard(descriptor: int) -> None:
    """Send what is written to this descriptor nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _outlive_reader() -> None:
    """Let nothing end with the reader of standard output."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # an output in memory, which has no reader that could leave
        return
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_LastingOutput(descriptor)),
        encoding=sys.stdout.encoding,
        errors=sys.stdout.errors,
        line_buffering=sys.stdout.line_buffering,
    )


def _show_file_system_warnings(program: str) -> None:
    """Show what a file system lacks as a sentence, once, and other warnings as Python does."""
    from quadnet.registry.atomic_files import FileSystemWarning

    shown: set[str] = set()
    show_as_ever = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **others: Any) -> None:
        if category is not FileSystemWarning:
            show_as_ever(message, category, *where, **others)
        elif str(message) not in shown:
            shown.add(str(message))
            with suppress(OSError):
                print(f"{program}: warning: {message}", file=sys.stderr)

    warnings.showwarning = show


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    _open_closed_streams()
    _set_environment()
    # A name that the terminal's encoding lacks is better shown escaped than not at all.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(_help(VERBS))
        sys.exit(0 if words else 2)
    if words[0] == "--version":
        print(_versions())
        sys.exit(0)
    group = {name: verb for name, verb in VERBS.items() if name.startswith(f"{words[0]} ")}
    if group and (not words[1:] or words[1] in ("-h", "--help")):
        print(_help(group))
        sys.exit(0 if words[1:] else 2)
    n_words = 2 if group else 1
    name = " ".join(words[:n_words])
    if name not in VERBS:
        # Of a group only the second word is in doubt.
        there = {verb.split()[n_words - 1]: verb.split()[:n_words] for verb in group or VERBS}
        close = difflib.get_close_matches(words[n_words - 1], there, n=1)
        known = ", ".join(" ".join(verb) for verb in there.values())
        hint = f"Did you mean {' '.join(there[close[0]])}?" if close else f"There are: {known}."
        print(f"quadnet: there is no verb {name!r}. {hint}", file=sys.stderr)
        sys.exit(2)
    try:
        code = _run(name, words[n_words:])
        if not _flush_output():
            code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader of our output, such as `head`, has had enough. What is still buffered must go
        # somewhere, or the interpreter complains of it at exit.
        _discard(sys.stdout.fileno())
        code = 1
    sys.exit(code)


def up(settings: "UpSettings") -> int:
    """Train and publish the default model if there is none, then serve."""
    from pipeline.commands.train import execute_run
    from pipeline.config.presets import load_preset
    from quadnet.errors import Conflict
    from quadnet.model_names import CHAMPION
    from quadnet.registry import Registry
    from service.commands.serve import serve_with_page

    registry = Registry(settings.registry)
    if settings.alias == CHAMPION and CHAMPION not in registry.aliases(settings.model).aliases:
        missing = f"No version of {settings.model!r} in {registry.root} is the champion yet"
        print(f"{missing}: training it.", flush=True)
        try:
            execute_run(load_preset(settings.model), registry)
        except Conflict as error:
            # Another process has published a better one meanwhile: that is what is served.
            print(f"{error}", flush=True)
    return serve_with_page(settings)


def _set_environment() -> None:
    """Set variables that libraries read, here and in the processes that are started from here."""
    # These networks are far too small for BLAS threads to help: they only get in each other's
    # way. Set before NumPy is first imported, and only where the user has not chosen.
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    # gRPC's core writes lines of its own to standard error; what matters of them we say ourselves.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    # No process that is started from here, by a library either, looks for modules in the current
    # directory: a `json.py` or a folder `service` that happens to be there is not ours.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    # prometheus_client would count in files of that directory, and fail where it is missing. It is
    # inherited from another server, such as gunicorn; ours are summed up in another way.
    for variable in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        os.environ.pop(variable, None)


def _open_closed_streams() -> None:
    """Open descriptors 0 to 2 on the null device where they are closed, as by ``2>&-``.

    Otherwise the next file or socket gets such a number, and what is meant for a standard stream is
    read from it or written to it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            # Child processes inherit it.
            if null == number:
                os.set_inheritable(number, True)
            else:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _flush_output() -> bool:
    """Write what is still buffered for standard output; report it and return False if it fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"quadnet: standard output cannot be written: {error.strerror}.", file=sys.stderr)
        _discard(sys.stdout.fileno())
        return False
    return True


def _run(name: str, words: list[str]) -> int:
    verb = VERBS[name]
    try:
        _check_environment(name, verb)
    except Unsupported as error:
        print(error, file=sys.stderr)
        return 1
    # After the check, because it needs packages of an extra.
    from quadnet.cli import parser

    settings = parser.parse(_find(verb.settings), f"quadnet {name}", words)
    if verb.outlives_reader:
        _outlive_reader()
    _show_file_system_warnings(f"quadnet {name}")
    if not verb.serves:
        return _run_verb(name, verb, settings)
    from service.telemetry.logs import background_output

    with background_output():
        return _run_verb(name, verb, settings)


def _check_environment(name: str, verb: Verb) -> None:
    """Raise Unsupported if the verb cannot run here, whatever its options."""
    # First, so that nobody installs packages for a verb that cannot run.
    if sys.platform == "win32" and verb.posix:
        raise Unsupported(
            f"quadnet {name} needs Linux or macOS. On Windows, run it in the Windows Subsystem for "
            "Linux or in a container."
        )
    require_extras(f"quadnet {name}", *verb.extras)


def _run_verb(name: str, verb: Verb, settings: Any) -> int:
    try:
        code: int = _find(verb.run)(settings)
    except QuadnetError as error:
        if settings.debug:
            raise
        print(f"quadnet {name}: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        if settings.debug or isinstance(error, BrokenPipeError):
            raise
        if isinstance(error, OSError) and error.filename is not None:
            # Of the machine, not of ours: a name that is too long, a disk that fails.
            print(
                f"quadnet {name}: {os.fspath(error.filename)!r} cannot be used: {error.strerror}.",
                file=sys.stderr,
            )
            return 1
        print(
            f"quadnet {name}: an unexpected fault, {type(error).__name__}: {error}. "
            "Run it again with --debug to see where.",
            file=sys.stderr,
        )
        return 1
    return code


def _find(path: str) -> Any:
    module, attribute = path.split(":")
    return getattr(importlib.import_module(module), attribute)


def _versions() -> str:
    """Return what a report of a fault should begin with."""
    import platform

    import numpy as np

    from quadnet import __version__

    # Not from threadpoolctl, which the serving image does not have.
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return (
        f"quadnet {__version__}\n"
        f"Python {platform.python_version()}\n"
        f"NumPy {np.__version__}, BLAS {blas['name']} {blas['version']}"
    )


def _help(verbs: dict[str, Verb]) -> str:
    width = max(map(len, verbs))
    lines = "\n".join(f"  {name:{width}}  {verb.summary}" for name, verb in verbs.items())
    return (
        "usage: quadnet VERB [OPTIONS]\n\n"
        "A neural network written from scratch in NumPy: trained, published, served over gRPC.\n\n"
        f"{lines}\n\n"
        "quadnet VERB --help lists a verb's options; each has a QUADNET_... variable too.\n"
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage."
    )
