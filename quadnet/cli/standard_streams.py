"""Standard input, output and error of the process: closed ones, encodings, readers that exit."""

import io
import os
import sys
from typing import Any


def open_closed_streams() -> None:
    """Open descriptors 0 to 2 on the null device if they are closed, for example by ``2>&-``.

    Otherwise the next file or socket gets the number of a standard stream, and mixes with the
    output of the process.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            # Child processes must inherit it.
            if null == number:
                os.set_inheritable(number, True)
            else:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def escape_unencodable_text() -> None:
    """Escape characters that the encoding of the terminal lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def ignore_exit_of_reader() -> None:
    """Discard standard output after its reader exits, so that the work continues."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # an output in memory has no reader
        return
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_FailureTolerantOutput(descriptor)),
        encoding=sys.stdout.encoding,
        errors=sys.stdout.errors,
        line_buffering=sys.stdout.line_buffering,
    )


def flush_output() -> bool:
    """Flush standard output; print an error and return False if that fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"quadnet: standard output cannot be written: {error.strerror}.", file=sys.stderr)
        discard_output(sys.stdout.fileno())
        return False
    return True


def discard_output(descriptor: int) -> None:
    """Redirect the descriptor to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


class _FailureTolerantOutput(io.RawIOBase):
    """An output that discards its text after the first failed write."""

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
            discard_output(self._descriptor)
            if not isinstance(error, BrokenPipeError):
                print(
                    f"quadnet: warning: standard output cannot be written: {error.strerror}.",
                    file=sys.stderr,
                )
            return len(content)
