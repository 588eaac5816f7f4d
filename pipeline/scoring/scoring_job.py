"""Score a file of any size, in chunks and in its order, with checkpoints to resume from.

The ends of chunks depend only on the file. A resumed run therefore gives the network the same
batches, and writes the same bytes, as a run without an interruption.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.data.files.chunks import Chunk, Fault, Position, make_file_error, make_rows_error
from pipeline.data.files.source import Kind, Source, open_source
from pipeline.scoring.answers import Answers, list_added_columns, make_answers
from pipeline.scoring.csv_output import encode_cell, quote_cell
from pipeline.scoring.partial_output import PartialOutput, make_rejected_path
from quadnet import __version__
from quadnet.errors import ConfigurationError, ErrorKind, InvalidInput
from quadnet.registry import atomic_files
from quadnet.registry.version_files import Model

CHUNK_BYTES = 2**20

CHECKPOINT_BYTES = 32 * 2**20
"""The number of input bytes between two checkpoints."""

Progress = Callable[[int, int, int], None]
"""Takes the number of rows done, of bytes done, and of all bytes."""


@dataclass(frozen=True)
class ScoringSummary:
    """The result of a scoring run.

    `rows` were written and `skipped` were put into the file `rejected`. `rows_before` counts the
    rows of both kinds from before the resumption. `unanswered` of the written rows have no
    prediction, because their values overflow in the network.
    """

    rows: int
    skipped: int
    rejected: Path
    rows_before: int
    unanswered: int


def score_file(
    model: Model,
    source: Path,
    target: Path,
    *,
    on_error: Literal["stop", "skip"] = "stop",
    prefix: str = "",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    checkpoint_bytes: int = CHECKPOINT_BYTES,
) -> ScoringSummary:
    """Write the source's rows to the target, each with the model's answer and the version.

    `list_added_columns` names the columns of the answer.

    Parameters
    ----------
    model : Model
    source, target : path
        Their names both end in .csv or both in .parquet.
    on_error : "stop" or "skip"
        What to do at a bad row: stop, or write it with the reason to the rejected rows.
    prefix : str
        Prefix of the added columns' names.
    resume : bool
        Resume from an interrupted run's last checkpoint, if there is one.
    overwrite : bool
        Replace an existing target, finished or unfinished.
    progress : callable, optional
    chunk_bytes : int
        Size of a chunk in bytes.
    checkpoint_bytes : int
        Number of source bytes between two checkpoints.

    Returns
    -------
    Summary

    Raises
    ------
    ConfigurationError
        If the files have different formats or are the same file, or the source has a column with
        the name of an added one.
    FileUnusable
        If a file cannot be read or written.
    OutputExists, ResumeRefused
        As `PartialOutput` raises them.
    InvalidInput
        If the source lacks a column, or has a bad row and `on_error` is "stop". The target is then
        removed.
    Unsupported
        If the files are Parquet and pyarrow is not installed.
    """
    kind = _find_kind(source, target)
    target = atomic_files.resolve_link(target)
    with closing(open_source(source, kind, chunk_bytes=chunk_bytes)) as reader:
        _refuse_overwriting(source, (target, make_rejected_path(target)))
        names = tuple(prefix + name for name in list_added_columns(model))
        _check_columns(reader, source, names)
        output = make_answers(model, reader, kind, names)
        facts = _collect_facts(model, source, reader, chunk_bytes) | {
            "the treatment of bad rows": on_error,
            "the prefix": repr(prefix),
        }
        partial = PartialOutput(target, facts, resume=resume, overwrite=overwrite)
        try:
            run = _ScoringRun(model, source, reader, output, partial, skip=on_error == "skip")
            summary = run.score_rest(checkpoint_bytes, progress)
            if _collect_facts(model, source, reader, chunk_bytes).items() - facts.items():
                raise make_file_error(
                    source, None, "expected an unchanged file, but it changed during the run"
                )
            partial.finish()
        except InvalidInput:
            # The user will correct the file, so a later run could not resume with it.
            partial.discard()
            raise
        finally:
            partial.close()
    return summary


class _ScoringRun:
    """Moves the rows from the source to the output, and counts them."""

    def __init__(
        self,
        model: Model,
        source: Path,
        reader: Source,
        output: Answers,
        partial: PartialOutput,
        *,
        skip: bool,
    ) -> None:
        self._model, self._source, self._reader = model, source, reader
        self._output, self._partial, self._skip = output, partial, skip
        counts = ("rows", "skipped", "unanswered")
        self._rows, self._skipped, self._unanswered = (partial.state.get(n, 0) for n in counts)
        self._before = self._rows + self._skipped
        self._position: Position | None = partial.state.get("position")

    def score_rest(self, checkpoint_bytes: int, progress: Progress | None) -> ScoringSummary:
        """Score every row after the last checkpoint."""
        names = [feature.name for feature in self._model.manifest.signature.features]
        n_bytes, next_checkpoint = self._source.stat().st_size, 0
        if not self._partial.state:
            self._partial.write(self._output.begin())
        for chunk in self._reader.chunks(names, self._position):
            self._write(chunk)
            if progress is not None:
                progress(self._rows + self._skipped, chunk.bytes_done, n_bytes)
            next_checkpoint = next_checkpoint or chunk.bytes_done + checkpoint_bytes
            if chunk.bytes_done >= next_checkpoint:
                self._checkpoint()
                next_checkpoint = chunk.bytes_done + checkpoint_bytes
        self._checkpoint()
        self._partial.write(self._output.end(self._partial.read, self._partial.n_bytes))
        return ScoringSummary(
            self._rows, self._skipped, self._partial.rejected, self._before, self._unanswered
        )

    def _write(self, chunk: Chunk[Any]) -> None:
        if chunk.faults:
            self._reject(chunk.faults)
        if len(chunk.X):
            content, unanswered = self._output.encode(chunk.rows, chunk.X)
            self._partial.write(content)
            self._unanswered += unanswered
        self._rows += len(chunk.X)
        self._position = chunk.end

    def _reject(self, faults: Sequence[Fault]) -> None:
        unit = self._reader.unit
        if not self._skip:
            raise make_rows_error(self._source, unit, faults[:1])
        lines = [] if self._skipped else [f"{unit},reason,content\n".encode()]
        for fault in faults:
            reason = "" if fault.column is None else f"column {fault.column}: "
            reason += fault.description
            lines.append(b"%d,%s,%s\n" % (fault.place, encode_cell(reason), quote_cell(fault.text)))
        self._partial.reject(b"".join(lines))
        self._skipped += len(faults)

    def _checkpoint(self) -> None:
        self._partial.checkpoint(
            {
                "position": self._position,
                "rows": self._rows,
                "skipped": self._skipped,
                "unanswered": self._unanswered,
            }
        )


def _find_kind(source: Path, target: Path) -> Kind:
    """Return the format of both files, by the suffixes of their names."""
    kinds = {path.suffix.lower() for path in (source, target)}
    if kinds == {".csv"}:
        return "csv"
    if kinds == {".parquet"}:
        return "parquet"
    raise ConfigurationError(
        "The names of input and output must both end in .csv or both in .parquet, got "
        f"{source} and {target}."
    )


def _check_columns(reader: Source, source: Path, added: Sequence[str]) -> None:
    for name in added:
        if name in reader.columns:
            raise ConfigurationError(
                f"{source} already has a column {name}: the added columns need another prefix.",
                kind=ErrorKind.COLUMN_EXISTS,
            )


def _refuse_overwriting(source: Path, outputs: Sequence[Path]) -> None:
    for path in outputs:
        if path.exists() and path.samefile(source):
            raise ConfigurationError(f"{path} is the input. Choose another name for the output.")


def _collect_facts(
    model: Model, source: Path, reader: Source, chunk_bytes: int
) -> dict[str, str | int]:
    """Return the facts that the output depends on."""
    manifest, status = model.manifest, source.stat()
    return {
        "the model": f"version {manifest.version} of {manifest.model!r} ({model.digest})",
        "the input's header": hashlib.sha256(reader.schema).hexdigest(),
        "the input's size": status.st_size,
        "the input's time of change": status.st_mtime_ns,
        "the size of a chunk": chunk_bytes,
        "the release of Quadnet": __version__,
    }
