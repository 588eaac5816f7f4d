"""The registry: a directory of published versions. Plain files, no server, no lock.

    <root>/registry.json                         the format number
    <root>/models/<name>/versions/000001/        one immutable version; manifest.json is its word
    <root>/models/<name>/aliases/00000001.json   the log of what aliases point to (aliases.py)
    <root>/models/<name>/.staging/<uuid>/        a version being written

A version appears by one exclusive rename of a directory that is complete, flushed to the disk and
read back; so a reader sees it whole or not at all, and a crash at any step leaves at most rubbish
under .staging.
"""

import errno
import hashlib
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from quadnet import artifact, durable
from quadnet.aliases import AliasLog, AliasMap, AliasTarget
from quadnet.artifact import Model
from quadnet.errors import CorruptVersion, NotFound, RegistryError, listing, shorten
from quadnet.manifest import SCHEMA_VERSION, FileRecord, Manifest, Record
from quadnet.names import CHAMPION, LATEST, MODEL_NAME
from quadnet.predictor import Predictor
from quadnet.types import FloatArray

_MARKER = "registry.json"
_MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 16 * 2**20
_VERSION_NAME = re.compile(r"\d{6,}")


class Marker(BaseModel):
    """What registry.json says: the format of everything below it, and a name for this registry."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1]
    id: str


class Registry:
    """A directory of models, their numbered versions and their aliases.

    Parameters
    ----------
    root : path
        Created on the first publish; reading a registry that is not there finds no models.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def models(self) -> list[str]:
        """Return the names of the models that have a version, sorted."""
        names = durable.entries(self.root / "models")
        return sorted(name for name in names if MODEL_NAME.fullmatch(name) and self.versions(name))

    def versions(self, model: str) -> list[int]:
        """Return the model's version numbers, sorted."""
        names = durable.entries(self._model(model) / "versions")
        return sorted(
            int(name)
            for name in names
            # Only canonical names are versions: 000007, never 7 or 0000007.
            if _VERSION_NAME.fullmatch(name) and f"{int(name):06d}" == name and int(name)
        )

    def aliases(self, model: str) -> AliasMap:
        """Return the newest generation of the model's aliases; an empty one if there is none.

        Raises
        ------
        RegistryError
            If the newest generation cannot be read.
        """
        return self._alias_log(model).newest()

    def target(self, model: str, alias: str = CHAMPION) -> AliasTarget:
        """Return what the alias points to; raise NotFound if there is no such model or alias.

        ``latest`` is no entry of the log: it is the highest version there is.
        """
        versions = self._check_model(model)
        if alias == LATEST:
            newest = versions[-1]
            return AliasTarget(version=newest, manifest_sha256=self.digest(model, newest))
        targets = self.aliases(model).aliases
        if alias not in targets:
            raise NotFound(
                f"Model {model!r} has no alias {shorten(alias)}. "
                f"Its aliases: {listing(sorted(targets))}."
            )
        self._check_version(model, targets[alias].version)
        return targets[alias]

    def resolve(self, reference: str) -> tuple[str, int]:
        """Return the model's name and the version that ``NAME``, ``NAME:7`` or ``NAME:alias`` means.

        A name alone means its champion. Raises NotFound as `target` does.
        """
        model, _, selector = reference.partition(":")
        if selector.isdecimal() and selector.isascii():
            self._check_version(model, int(selector))
            return model, int(selector)
        return model, self.target(model, selector or CHAMPION).version

    def digest(self, model: str, version: int) -> str:
        """Return the sha256 of the version's manifest; raise NotFound if there is none."""
        self._check_version(model, version)
        path = self._version(model, version) / _MANIFEST
        try:
            return hashlib.sha256(_read_file(path, limit=_MAX_MANIFEST_BYTES)).hexdigest()
        except CorruptVersion as error:
            raise _not_to_be_used(model, version, error) from error

    def load(self, model: str, version: int) -> Model:
        """Read one version, verify every byte of it, and run its self-test.

        Raises
        ------
        NotFound
            If there is no such version.
        CorruptVersion
            If it is not what was published; the message names the file.
        """
        self._check_version(model, version)
        try:
            return self._read_as(model, version)
        except CorruptVersion as error:
            raise _not_to_be_used(model, version, error) from error

    def prepare(self, model: str) -> None:
        """Create the model's place if it is not there, and try that it can be written.

        Called before work whose result is to be published: a missing right is better known before
        hours of training than after.

        Raises
        ------
        RegistryError
            If the directory cannot be written or holds something else, or the aliases cannot be
            read.
        """
        with self._writing():
            probe = self._staging(model)
            probe.mkdir()
            probe.rmdir()
        self.aliases(model)

    def publish(
        self, model: str, predictor: Predictor, record: Record, selftest_inputs: FloatArray
    ) -> Model:
        """Publish the predictor as the model's next version and return it as a reader sees it.

        Nothing is visible before everything is; success is returned only once the disk has it.
        Concurrent publishers get different numbers.

        Raises
        ------
        RegistryError
            If the registry's directory cannot be written or holds something else.
        """
        files = artifact.pack(predictor, selftest_inputs)
        with self._writing():
            staging = self._staging(model)
            staging.mkdir()
            try:
                for name, content in files.items():
                    durable.write(staging / name, content)
                version = max(self.versions(model), default=0) + 1
                while True:
                    manifest = _manifest(model, version, predictor, record, files)
                    (staging / _MANIFEST).unlink(missing_ok=True)
                    durable.write(staging / _MANIFEST, manifest.to_json())
                    durable.sync_directory(staging)
                    _check_read_back(staging, predictor)
                    if _rename_exclusively(staging, self._version(model, version)):
                        break
                    version += 1  # another publisher took the number
                durable.sync_directory(self._version(model, version).parent)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return self.load(model, version)

    def set_alias(self, model: str, alias: str, version: int, *, reason: str) -> AliasMap:
        """Point an alias at a version, in one atomic step, and return the new map.

        A writer that comes second reads the winner's map and applies its own change to that.
        """
        target = AliasTarget(version=version, manifest_sha256=self.load(model, version).digest)
        with self._writing():
            return self._alias_log(model).append(
                lambda aliases: {**aliases, alias: target}, reason=reason
            )

    def _alias_log(self, model: str) -> AliasLog:
        return AliasLog(self._model(model) / "aliases")

    def _model(self, model: str) -> Path:
        if not MODEL_NAME.fullmatch(model):
            raise NotFound(
                f"{shorten(model)} cannot be a model's name: expected a lower-case letter or "
                "digit and up to 63 more of those, '_' and '-'."
            )
        return self.root / "models" / model

    def _version(self, model: str, version: int) -> Path:
        return self._model(model) / "versions" / f"{version:06d}"

    def _check_model(self, model: str) -> list[int]:
        """Return the model's versions; raise NotFound if it has none."""
        self._check_format()
        versions = self.versions(model)
        if not versions:
            known = listing(self.models())
            raise NotFound(f"There is no model {model!r} in the registry. It holds: {known}.")
        return versions

    def _check_version(self, model: str, version: int) -> None:
        versions = self._check_model(model)
        if version not in versions:
            known = listing([str(number) for number in reversed(versions)])
            raise NotFound(
                f"Model {model!r} has no version {version}. Its versions, newest first: {known}."
            )

    def _check_format(self) -> bool:
        """Refuse a registry that other code has written; say whether there is one."""
        try:
            content = (self.root / _MARKER).read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise RegistryError(
                f"The registry {self.root} cannot be read: {error.strerror}."
            ) from error
        try:
            Marker.model_validate_json(content)
        except ValidationError as error:
            raise RegistryError(
                f"{self.root / _MARKER} does not say that the registry has format "
                f"{SCHEMA_VERSION}, the only one that this version of Quadnet knows."
            ) from error
        return True

    def _read_as(self, model: str, version: int) -> Model:
        """Read the version, and hold what it says of itself against where it lies."""
        loaded = _read(self._version(model, version))
        manifest = loaded.manifest
        if (manifest.model, manifest.version) != (model, version):
            raise CorruptVersion(
                f"{_MANIFEST} says that it is version {manifest.version} of {manifest.model!r}."
            )
        targets = self.aliases(model).aliases.values()
        pinned = {target.manifest_sha256 for target in targets if target.version == version}
        if pinned and loaded.digest not in pinned:
            raise CorruptVersion(f"{_MANIFEST} is not the one that an alias was pointed at.")
        return loaded

    def _staging(self, model: str) -> Path:
        """Return a new path to write a version of the model in, and make what lies around it."""
        self._initialize()
        home = self._model(model)
        durable.make_directories(home / "versions")
        durable.make_directories(home / ".staging")
        return home / ".staging" / str(uuid.uuid4())

    def _initialize(self) -> None:
        if self._check_format():
            return
        durable.make_directories(self.root)
        marker = self.root / _MARKER
        strangers = sorted(
            name
            for name in durable.entries(self.root)
            if name != "lost+found" and not name.startswith(".new-")
        )
        # Looked for again: another publisher may have made the registry just now.
        if strangers and not marker.exists():
            raise RegistryError(
                f"{self.root} is no registry and not empty: it holds {strangers[0]!r}. "
                "Name an empty or a new directory with --registry."
            )
        content = Marker(format=SCHEMA_VERSION, id=str(uuid.uuid4())).model_dump_json() + "\n"
        # Another publisher may be first; either marker will do.
        durable.write_if_absent(marker, content.encode())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RegistryError(
                f"The registry {self.root} cannot be written: {error.filename or self.root}: "
                f"{error.strerror}. Mend that, or name another directory with --registry."
            ) from error


def _manifest(
    model: str, version: int, predictor: Predictor, record: Record, files: Mapping[str, bytes]
) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        model=model,
        version=version,
        created=datetime.now(UTC),
        architecture=artifact.architecture(predictor),
        tensor_digest=artifact.tensor_digest(predictor),
        # Another BLAS may round differently; a wrong weight shows far above this.
        selftest_atol=1e-9 if predictor.dtype == np.float64 else 1e-5,
        files={
            name: FileRecord(size=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in files.items()
        },
        **{name: getattr(record, name) for name in Record.model_fields},
    )


def _not_to_be_used(model: str, version: int, error: CorruptVersion) -> CorruptVersion:
    return CorruptVersion(f"Version {version} of model {model!r} must not be used: {error}")


def _read(directory: Path) -> Model:
    """Read and verify the version in this directory: every reader's one way in."""
    content = _read_file(directory / _MANIFEST, limit=_MAX_MANIFEST_BYTES)
    try:
        manifest = Manifest.from_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its text"
        raise CorruptVersion(f"{_MANIFEST}: {where}: {first['msg']}.") from error
    missing = {artifact.WEIGHTS, artifact.SELFTEST} - manifest.files.keys()
    if missing:
        raise CorruptVersion(f"{_MANIFEST}: it does not list {min(missing)}.")
    files = {}
    for name, expected in manifest.files.items():
        files[name] = _read_file(directory / name, limit=expected.size)
        if len(files[name]) != expected.size:
            raise CorruptVersion(f"{name}: expected {expected.size} bytes, got {len(files[name])}.")
        if hashlib.sha256(files[name]).hexdigest() != expected.sha256:
            raise CorruptVersion(f"{name}: its sha256 is not the one in the manifest.")
    predictor = artifact.unpack(manifest, files)
    return Model(manifest, hashlib.sha256(content).hexdigest(), predictor)


def _read_file(path: Path, *, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise CorruptVersion(
                f"{path.name}: expected at most {limit} bytes, got {path.stat().st_size}."
            )
        return path.read_bytes()
    except OSError as error:
        raise CorruptVersion(f"{path.name}: {error.strerror}.") from error


def _check_read_back(staging: Path, predictor: Predictor) -> None:
    """Read what was written as the server will, and compare it bit for bit with what was meant."""
    written = _read(staging).predictor
    if artifact.tensor_digest(written) != artifact.tensor_digest(predictor):
        raise CorruptVersion(f"{artifact.WEIGHTS}: what was read back is not what was written.")


def _rename_exclusively(source: Path, target: Path) -> bool:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True
