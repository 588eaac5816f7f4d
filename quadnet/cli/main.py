"""The `quadnet` command: find the verb, parse its settings, run it, turn errors into messages.

The folder `quadnet.cli` is the composition root: it alone imports the pipeline and the service,
inside functions, so that `quadnet --help` loads neither.
"""

import difflib
import errno
import importlib
import os
import sys
import warnings
from contextlib import suppress
from typing import Any

from quadnet.cli import standard_streams
from quadnet.cli.advice import explain_error
from quadnet.cli.verbs import VERBS, Verb
from quadnet.errors import QuadnetError, Unsupported
from quadnet.extras import require_extras


def _show_file_system_warnings(program: str) -> None:
    """Print each FileSystemWarning once, as one sentence, and other warnings as Python does."""
    from quadnet.registry.atomic_files import FileSystemWarning

    shown: set[str] = set()
    default_show = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **others: Any) -> None:
        if category is not FileSystemWarning:
            default_show(message, category, *where, **others)
        elif str(message) not in shown:
            shown.add(str(message))
            with suppress(OSError):
                print(f"{program}: warning: {message}", file=sys.stderr)

    warnings.showwarning = show


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    standard_streams.open_closed_streams()
    _set_environment()
    standard_streams.escape_unencodable_text()
    try:
        code = _run(sys.argv[1:])
        if not standard_streams.flush_output():
            code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader of the output, such as `head`, has exited. Discard the buffered text, because
        # the interpreter would otherwise print an error at exit.
        standard_streams.discard_output(sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _run(words: list[str]) -> int:
    """Print help or versions, or run a verb; return the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(_format_help(VERBS))
        return 0 if words else 2
    if words[0] == "--version":
        print(_format_versions())
        return 0
    group = {name: verb for name, verb in VERBS.items() if name.startswith(f"{words[0]} ")}
    if group and (not words[1:] or words[1] in ("-h", "--help")):
        print(_format_help(group))
        return 0 if words[1:] else 2
    n_words = 2 if group else 1
    name = " ".join(words[:n_words])
    if name not in VERBS:
        # In a group, suggest only second words.
        candidates = {verb.split()[n_words - 1]: verb.split()[:n_words] for verb in group or VERBS}
        close = difflib.get_close_matches(words[n_words - 1], candidates, n=1)
        known = ", ".join(" ".join(verb) for verb in candidates.values())
        hint = f"The verbs: {known}."
        if close:
            meant = " ".join(candidates[close[0]])
            # `model list` means `models list`, not the group.
            longer = " ".join([meant, *words[1:2]])
            hint = f"Did you mean {longer if longer in VERBS else meant}?"
        print(f"quadnet: there is no verb {name!r}. {hint}", file=sys.stderr)
        return 2
    return _parse_and_run(name, words[n_words:])


def _set_environment() -> None:
    """Set environment variables that libraries read, in this process and its children."""
    # BLAS threads slow down networks as small as these. Set before NumPy is imported, and only if
    # the user has not set it.
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    # gRPC's core writes unformatted lines to standard error. The service logs the important ones.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    # Child processes, those of libraries included, must not import modules from the current
    # directory, which may hold an unrelated `json.py` or `service`.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    # Set by another server, such as gunicorn, it makes prometheus_client write to files in that
    # directory, and fail if the directory is missing. The workers here are summed another way.
    for variable in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        os.environ.pop(variable, None)


def _parse_and_run(name: str, words: list[str]) -> int:
    verb = VERBS[name]
    try:
        _check_environment(name, verb)
    except Unsupported as error:
        print(error, file=sys.stderr)
        return 1
    # After the check, because it needs packages of an extra.
    from quadnet.cli import parser

    settings = parser.parse(_import_attribute(verb.settings), f"quadnet {name}", words)
    # A variable that belongs to no verb, so the parser does not know it.
    from quadnet.nn.replay import library

    try:
        library.is_enabled()
    except ValueError as error:
        print(f"quadnet {name}: {error}", file=sys.stderr)
        return 2
    if verb.outlives_reader:
        standard_streams.ignore_exit_of_reader()
    _show_file_system_warnings(f"quadnet {name}")
    if not verb.serves:
        return _run_with_messages(name, verb, settings)
    from service.telemetry.logs import background_output

    with background_output():
        return _run_with_messages(name, verb, settings)


def _check_environment(name: str, verb: Verb) -> None:
    """Raise Unsupported if the verb cannot run on this system or lacks packages."""
    # First, so that no packages are installed for a verb that cannot run.
    if sys.platform == "win32" and verb.posix:
        raise Unsupported(
            f"quadnet {name} needs Linux or macOS. On Windows, run it in the Windows Subsystem for "
            "Linux or in a container."
        )
    require_extras(f"quadnet {name}", *verb.extras)


def _run_with_messages(name: str, verb: Verb, settings: Any) -> int:
    try:
        code: int = _import_attribute(verb.run)(settings)
    except QuadnetError as error:
        if settings.debug:
            raise
        print(f"quadnet {name}: {explain_error(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if settings.debug or isinstance(error, BrokenPipeError):
            raise
        if isinstance(error, OSError) and error.filename is not None:
            # A fault of the machine, not a bug: a name that is too long, a disk that fails.
            print(
                f"quadnet {name}: {os.fspath(error.filename)!r} cannot be used: {error.strerror}.",
                file=sys.stderr,
            )
            return 1
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            print(
                f"quadnet {name}: an output cannot be written: {error.strerror}.", file=sys.stderr
            )
            return 1
        print(
            f"quadnet {name}: unexpected error: {type(error).__name__}: {error}. "
            "Run it again with --debug for the traceback.",
            file=sys.stderr,
        )
        return 1
    return code


def _import_attribute(path: str) -> Any:
    module, attribute = path.split(":")
    return getattr(importlib.import_module(module), attribute)


def _format_versions() -> str:
    """Return the versions that a bug report needs."""
    import platform

    import numpy as np

    from quadnet import __version__
    from quadnet.nn.replay import library

    # Not from threadpoolctl, which the serving image lacks.
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return (
        f"quadnet {__version__}\n"
        f"Python {platform.python_version()}\n"
        f"NumPy {np.__version__}, BLAS {blas['name']} {blas['version']}\n"
        f"Replay: {library.describe()}"
    )


def _format_help(verbs: dict[str, Verb]) -> str:
    width = max(map(len, verbs))
    lines = "\n".join(f"  {name:{width}}  {verb.summary}" for name, verb in verbs.items())
    return (
        "usage: quadnet VERB [OPTIONS]\n\n"
        "A neural network written from scratch in NumPy: trained, published, served over gRPC and "
        "REST.\n\n"
        f"{lines}\n\n"
        "quadnet VERB --help lists the options of a verb and their environment variables.\n"
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage."
    )
