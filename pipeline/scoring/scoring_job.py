"""Score a file of any size, in chunks and in its order, with checkpoints to resume from.

The ends of chunks depend only on the file. A resumed run therefore gives the network the same
batches, and writes the same bytes, as a run without an interruption.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.data.files.chunks import Chunk, Fault, Position, make_file_error, make_rows_error
from pipeline.data.files.input_file import STANDARD_INPUT
from pipeline.data.files.parts import find_parts
from pipeline.data.files.source import Kind, Source, open_source
from pipeline.scoring.answers import Answers, list_added_columns, make_answers
from pipeline.scoring.csv_output import encode_cell, quote_cell
from pipeline.scoring.encoded_source import EncodedSource
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
    prediction, because their values overflow in the network. `unknown` counts, for each column, the
    cells with a category that did not occur in training. `directories` are columns that were read
    from names of directories, so that the output does not have them.
    """

    rows: int
    skipped: int
    rejected: Path
    rows_before: int
    unanswered: int
    unknown: Mapping[str, int]
    directories: tuple[str, ...]


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
        Their names both end in .csv or both in .parquet. For a version with an encoder, the source
        is any table that can be trained on, and the target has its format.
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
    if resume and source == STANDARD_INPUT:
        raise ConfigurationError("The standard input cannot be read again, so nothing can resume.")
    target = atomic_files.resolve_link(target)
    with closing(_open_reader(model, source, target, chunk_bytes)) as reader:
        kind = reader.kind if isinstance(reader, EncodedSource) else _find_kind(source, target)
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
        reader: Source | EncodedSource,
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
        self._unknown = Counter(partial.state.get("unknown", {}))
        self._position: Position | None = partial.state.get("position")

    def score_rest(self, checkpoint_bytes: int, progress: Progress | None) -> ScoringSummary:
        """Score every row after the last checkpoint."""
        next_checkpoint = 0
        if isinstance(self._reader, EncodedSource):
            n_bytes, chunks = self._reader.n_bytes, self._reader.chunks(self._position)
        else:
            names = self._model.manifest.signature.feature_names
            n_bytes = self._source.stat().st_size
            chunks = self._reader.chunks(names, self._position)
        if not self._partial.state:
            self._partial.write(self._output.begin())
        for chunk in chunks:
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
            self._rows,
            self._skipped,
            self._partial.rejected,
            self._before,
            self._unanswered,
            self._count_unknown(),
            self._reader.file.directories if isinstance(self._reader, EncodedSource) else (),
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
                "unknown": self._count_unknown(),
            }
        )

    def _count_unknown(self) -> dict[str, int]:
        """Return the unknown categories of each column that has any, of all rows so far."""
        new = self._reader.unknown if isinstance(self._reader, EncodedSource) else Counter[str]()
        return dict(self._unknown + new)


def _open_reader(
    model: Model, source: Path, target: Path, chunk_bytes: int
) -> Source | EncodedSource:
    """Open the source: any table for a version with an encoder, else a file of numbers."""
    if model.encoder is None:
        return open_source(source, _find_kind(source, target), chunk_bytes=chunk_bytes)
    reader = EncodedSource(source, model.manifest, model.encoder, chunk_bytes=chunk_bytes)
    suffixes = {"csv": (".csv", ".tsv", ".txt"), "parquet": (".parquet",)}[reader.kind]
    if target.suffix.lower() not in suffixes:
        reader.close()
        raise ConfigurationError(
            f"The output has the input's format, so expected a name that ends in "
            f"{' or '.join(suffixes)}, got {target}."
        )
    return reader


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


def _check_columns(reader: Source | EncodedSource, source: Path, added: Sequence[str]) -> None:
    for name in added:
        if name in reader.columns:
            raise ConfigurationError(
                f"{source} already has a column {name}: the added columns need another prefix.",
                kind=ErrorKind.COLUMN_EXISTS,
            )


def _refuse_overwriting(source: Path, outputs: Sequence[Path]) -> None:
    existing = [path for path in outputs if path.exists()]
    files = _list_files(source) if existing else []
    for path in existing:
        if any(path.samefile(file) for file in files):
            raise ConfigurationError(f"{path} is the input. Choose another name for the output.")


def _list_files(source: Path) -> list[Path]:
    """Return the files that are read; an empty list for the standard input."""
    if source == STANDARD_INPUT:
        return []
    parts = find_parts(source)
    return [source] if parts is None else [part.path for part in parts]


def _collect_facts(
    model: Model, source: Path, reader: Source | EncodedSource, chunk_bytes: int
) -> dict[str, str | int]:
    """Return the facts that the output depends on."""
    manifest = model.manifest
    statuses = [file.stat() for file in _list_files(source)]
    return {
        "the model": f"version {manifest.version} of {manifest.model!r} ({model.digest})",
        "the input's header": hashlib.sha256(reader.schema).hexdigest(),
        "the input's size": sum(status.st_size for status in statuses),
        "the input's time of change": max((status.st_mtime_ns for status in statuses), default=0),
        "the size of a chunk": chunk_bytes,
        "the release of Quadnet": __version__,
    }
