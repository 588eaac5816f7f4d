"""Open a user's file as bytes that can be read from any position: unpacked, and text as UTF-8.

A file that is compressed or has another encoding is copied to a temporary file without a name. The
readers behind it know plain files only, and resume at an offset in any of them.
"""

import codecs
import gzip
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.data.files.chunks import make_file_error, open_regular
from pipeline.data.files.read_settings import Compression, FileFormat, ReadSettings
from pipeline.wording import Sentence
from quadnet.errors import ConfigurationError, FileUnusable, InvalidInput, shorten
from quadnet.extras import missing_extra

STANDARD_INPUT = Path("-")

HEAD_BYTES = 2**20
"""The number of bytes from which formats are detected."""

_UTF8_MARK = b"\xef\xbb\xbf"
_MARKS = {
    _UTF8_MARK: "utf-8",
    # Before UTF-16, whose mark begins alike.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LABELS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "utf-32": "UTF-32",
    "cp1252": "Windows-1252",
    "iso8859-1": "Latin-1",
}
_FALLBACKS = ("cp1252", "iso8859-1")
"""The encodings of text that is not UTF-8; every byte is a character of the last one."""

_FORMATS: dict[bytes, FileFormat] = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "arrow",
}
_SUFFIXES: dict[str, FileFormat] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_COMPRESSIONS: dict[bytes, Compression] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"\xd0\xcf\x11\xe0": "a spreadsheet",
    b"BZh": "a file compressed by bzip2",
    b"\xfd7zXZ": "a file compressed by xz",
    b"FEA1": "a file of the first version of Feather",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
}
_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)\b", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x19\x1c-\x1f]")
_CONTROL_CHARACTER = re.compile("[\x00-\x08\x0e-\x19\x1c-\x1f]")


@dataclass(frozen=True)
class InputFile:
    """A file that is open to be read from any position, unpacked.

    `name` is its path for messages. `is_copy` is true for a temporary file.
    """

    name: Path
    file: BinaryIO
    format: FileFormat
    compression: Compression
    is_copy: bool


@dataclass(frozen=True)
class TextFile:
    """A file of text in UTF-8; `encoding` is a description of the original's encoding."""

    file: BinaryIO
    encoding: str
    notices: tuple[Sentence, ...]


def open_input(path: Path, settings: ReadSettings) -> InputFile:
    """Open the file, unpack it, and find its format.

    Raises
    ------
    FileUnusable
        If it cannot be read, or its format is not supported.
    InvalidInput
        If its compressed content is damaged.
    MissingExtra
        If unpacking it needs a package that is not installed.
    """
    return _prepare_input(path, open_regular(path), settings, is_copy=False)


def open_standard_input(settings: ReadSettings) -> InputFile:
    """Copy the standard input to a temporary file, and open that; see `open_input`."""
    name = Path("standard input")
    if sys.stdin is None:
        raise FileUnusable(f"The {name} is closed.")
    copy = _spool(name, _read_blocks(name, sys.stdin.buffer))
    return _prepare_input(name, copy, settings, is_copy=True)


def _prepare_input(
    path: Path, file: BinaryIO, settings: ReadSettings, *, is_copy: bool
) -> InputFile:
    """Unpack an open file, and find its format; see `open_input`."""
    try:
        compression = settings.compression or _find(_COMPRESSIONS, _read_head(path, file), "none")
        if compression != "none":
            unpack = _unpack_gzip if compression == "gzip" else _unpack_zstd
            with file:
                file = _spool(path, unpack(path, file))
            is_copy = True
        format_ = settings.format or _detect_format(path, _read_head(path, file))
    except BaseException:
        file.close()
        raise
    return InputFile(path, file, format_, compression, is_copy)


def to_utf8(source: InputFile, encoding: str | None) -> TextFile:
    """Return the text in UTF-8, with a line feed at the end of each line.

    Without `encoding`, a byte-order mark decides, then the position of NUL bytes, which UTF-16
    has in every line, then whether the whole content is UTF-8. Other text is read as Windows-1252
    or Latin-1, with a notice.

    Raises
    ------
    ConfigurationError
        If there is no such encoding.
    InvalidInput
        If the content is not text in this encoding.
    """
    path, file = source.name, source.file
    try:
        head = _read_head(path, file)
        name = _detect_encoding(path, file, head) if encoding is None else _find_codec(encoding)
        label = _LABELS.get(name, name)
        notices: tuple[Sentence, ...] = ()
        if head.startswith(tuple(_MARKS)):
            label += " with a byte-order mark"
        if name not in {"utf-8", "utf-8-sig"}:
            if encoding is None and name in _FALLBACKS:
                notices = ((f"The file is not UTF-8, so it was read as {label}.",),)
            with file:
                file = _spool(path, _transcode(path, file, name))
            head = _read_head(path, file)
        if b"\r" in head and b"\n" not in head:
            # Carriage returns alone end lines in files of old Macintosh programs.
            label += ", lines that end with a carriage return"
            with file:
                blocks = (block.replace(b"\r", b"\n") for block in _reread(path, file))
                file = _spool(path, blocks)
    except BaseException:
        file.close()
        raise
    return TextFile(file, label, notices)


def read_sample(file: BinaryIO) -> tuple[str, bool]:
    """Return the first lines of a file in UTF-8, and whether they are the whole file."""
    file.seek(0)
    head = file.read(HEAD_BYTES + 1)
    final = len(head) <= HEAD_BYTES
    if not final:
        head = head[: head.rfind(b"\n") + 1] or head
    return head.removeprefix(_UTF8_MARK).decode("utf-8", "replace"), final


def _find(table: dict[bytes, Compression], head: bytes, default: Compression) -> Compression:
    return next((value for magic, value in table.items() if head.startswith(magic)), default)


def _detect_format(path: Path, head: bytes) -> FileFormat:
    """Return the format by the first bytes, or by the name; refuse what is not a table."""
    for magic, format_ in _FORMATS.items():
        if head.startswith(magic):
            return format_
    suffixes = [suffix.lower() for suffix in path.suffixes]
    for suffix in suffixes[-2:]:
        if suffix in _SUFFIXES:
            return _SUFFIXES[suffix]
    kind = next((kind for magic, kind in _FOREIGN.items() if head.startswith(magic)), None)
    if _HTML.match(head):
        kind = "a web page"
    if kind is not None:
        raise FileUnusable(
            f"{path} cannot be read: expected CSV, Parquet or Arrow, got {kind}. Save the table as "
            "CSV."
        )
    return "csv"


def _read_head(path: Path, file: BinaryIO) -> bytes:
    try:
        file.seek(0)
        return file.read(HEAD_BYTES)
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}.") from error


def _read_blocks(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Yield the content in blocks."""
    try:
        while block := file.read(HEAD_BYTES):
            yield block
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}.") from error


def _reread(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Yield the content in blocks, from the beginning."""
    file.seek(0)
    return _read_blocks(path, file)


def _spool(path: Path, blocks: Iterable[bytes]) -> BinaryIO:
    """Return a temporary file with this content."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        for block in blocks:
            copy.write(block)
        copy.flush()
    except OSError as error:
        # The blocks raise errors of their own.
        copy.close()
        free = shutil.disk_usage(tempfile.gettempdir()).free
        raise FileUnusable(
            f"{path} cannot be copied to {tempfile.gettempdir()}, which has {free:,} bytes free: "
            f"{error.strerror}."
        ) from error
    except BaseException:
        copy.close()
        raise
    return copy


def _unpack_gzip(path: Path, file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            while block := unpacked.read(HEAD_BYTES):
                yield block
    except (OSError, EOFError, zlib.error) as error:
        raise _make_damage_error(path, "gzip", error) from error


def _unpack_zstd(path: Path, file: BinaryIO) -> Iterator[bytes]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise missing_extra("Reading a file in zstd", "parquet", cause=error) from error
    file.seek(0)
    try:
        with pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd") as unpacked:
            while block := unpacked.read(HEAD_BYTES):
                yield block
    except OSError as error:
        raise _make_damage_error(path, "zstd", error) from error


def _make_damage_error(path: Path, compression: str, error: Exception) -> InvalidInput:
    reason = str(error).split("\n")[0].rstrip(".")
    return make_file_error(path, None, f"expected a whole file in {compression} ({reason})")


def _find_codec(encoding: str) -> str:
    try:
        codec = codecs.lookup(encoding)
        # Some codecs, such as base64, are not for text, which only using them tells.
        "a".encode(encoding)
    except (LookupError, ValueError) as error:
        raise ConfigurationError(
            f"Expected an encoding such as utf-8, utf-16 or latin-1, got {shorten(encoding)}."
        ) from error
    return codec.name


def _detect_encoding(path: Path, file: BinaryIO, head: bytes) -> str:
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    if utf16 := _detect_utf16(head):
        return utf16
    problem = _find_byte_outside_utf8(path, file)
    if problem is None:
        return "utf-8"
    if control := _CONTROL.search(head):
        raise make_file_error(
            path,
            None,
            f"expected text, got binary data: it is not UTF-8 at byte {problem + 1:,}, and has the "
            f"control character 0x{control[0][0]:02x} at byte {control.start() + 1:,}",
        )
    for name in _FALLBACKS[:-1]:
        with suppress(UnicodeDecodeError):
            for block in _reread(path, file):
                block.decode(name)
            return name
    return _FALLBACKS[-1]


def _detect_utf16(head: bytes) -> str | None:
    """Return the encoding of UTF-16 text without a mark; None if it is not clearly UTF-16.

    In ASCII characters, such as digits and delimiters, every other byte is 0.
    """
    text = head[: len(head) // 2 * 2]
    for name, high, low in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        n_high = text[high::2].count(0)
        if n_high * 5 > len(text) and text[low::2].count(0) * 20 < n_high:
            decoded = text.decode(name, "ignore")
            if "\n" in decoded and not _CONTROL_CHARACTER.search(decoded):
                return name
    return None


def _find_byte_outside_utf8(path: Path, file: BinaryIO) -> int | None:
    """Return the offset of the first byte that is not UTF-8; None if all are."""
    rest = b""
    offset = 0
    for block in _reread(path, file):
        if rest or not block.isascii():
            text = rest + block
            try:
                _, n_bytes = codecs.utf_8_decode(text, "strict", False)
            except UnicodeDecodeError as error:
                return offset - len(rest) + error.start
            rest = text[n_bytes:]
        offset += len(block)
    return offset - len(rest) if rest else None


def _transcode(path: Path, file: BinaryIO, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    n_lines = 0
    for block, final in _mark_last(_reread(path, file)):
        try:
            text = decoder.decode(block, final)
            yield text.encode()
        except UnicodeError as error:
            # A lone surrogate is decoded by some encodings, and is not a character.
            before = ""
            if isinstance(error, UnicodeDecodeError):
                with suppress(UnicodeError):
                    before = error.object[: error.start].decode(encoding)
            line = n_lines + before.count("\n") + 1
            reason = getattr(error, "reason", str(error))
            raise make_file_error(
                path,
                None,
                f"expected text in {encoding}, got other bytes at line {line} ({reason})",
            ) from error
        n_lines += text.count("\n")


def _mark_last(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each block, not the last one, and at the end an empty one that is the last."""
    for block in blocks:
        yield block, False
    yield b"", True
