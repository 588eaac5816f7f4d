"""The registry: a directory of published versions. Plain files, no server, no lock.

    <root>/registry.json                         the format number
    <root>/models/<name>/versions/000001/        one immutable version; described by manifest.json
    <root>/models/<name>/aliases/00000001.json   the alias log (alias_log.py)
    <root>/models/<name>/.staging/<uuid>/        a version being written
    <root>/models/<name>/.trash/<uuid>/          litter being removed (garbage_collection.py)

A version appears by one exclusive rename of a directory that is complete, flushed to the disk and
read back. So a reader sees all of it or nothing, and a crash leaves at most litter in .staging.
A removed version leaves its directory, with a tombstone in it.
"""

import hashlib
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from quadnet.errors import CorruptVersion, ErrorKind, NotFound, RegistryError, listing, shorten
from quadnet.model_names import CHAMPION, LATEST, MODEL_NAME
from quadnet.nn.predictor import AnyPredictor, RegressionPredictor
from quadnet.registry import atomic_files, registry_marker, tombstones, version_files
from quadnet.registry.alias_log import AliasLog, AliasMap, AliasTarget
from quadnet.registry.manifest import (
    SCHEMA_VERSION,
    FileRecord,
    Manifest,
    Record,
    current_publisher,
)
from quadnet.registry.version_files import Model
from quadnet.types import FloatArray

_VERSION_NAME = re.compile(r"[0-9]{6,}")
_VERSION = re.compile(r"[0-9]{1,18}")

Attachments = Callable[[int], Mapping[str, bytes]]
"""Function from the version's number to its additional files, by name."""


class Registry:
    """A directory of models, their numbered versions and their aliases.

    Parameters
    ----------
    root : path
        Created by the first publish. Reading a registry that does not exist finds no models.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def models(self) -> list[str]:
        """Return the sorted names of the models that have a version."""
        return [name for name in self.model_directories() if self._newest(name) is not None]

    def model_directories(self) -> list[str]:
        """Return the sorted names of the model directories, with or without a version."""
        models = self.root / "models"
        names = [name for name in atomic_files.list_names(models) if MODEL_NAME.fullmatch(name)]
        return sorted(name for name in names if (models / name).is_dir())

    def versions(self, model: str) -> list[int]:
        """Return the sorted numbers of the model's versions, without removed ones."""
        return [
            n for n in self.version_numbers(model) if not tombstones.is_removed(self.path(model, n))
        ]

    def version_numbers(self, model: str) -> list[int]:
        """Return the sorted numbers of all versions of the model, removed ones included."""
        names = atomic_files.list_names(self.home(model) / "versions")
        return sorted(
            int(name)
            for name in names
            # Only canonical names are versions: 000007, not 7 or 0000007.
            if _VERSION_NAME.fullmatch(name) and f"{int(name):06d}" == name and int(name)
        )

    def home(self, model: str) -> Path:
        """Return the model's directory; raise NotFound if the name is not valid."""
        if not MODEL_NAME.fullmatch(model):
            apart = " Give the version or the alias apart from the name." if ":" in model else ""
            raise NotFound(
                f"{shorten(model)} cannot be a model's name: expected a lower-case letter or "
                f"digit and up to 63 more of those, '_' and '-'.{apart}"
            )
        return self.root / "models" / model

    def path(self, model: str, version: int) -> Path:
        """Return the path of the version's directory, which may not exist."""
        return self.home(model) / "versions" / f"{version:06d}"

    def alias_log(self, model: str) -> AliasLog:
        """Return the log of the model's aliases."""
        return AliasLog(self.home(model) / "aliases")

    def aliases(self, model: str) -> AliasMap:
        """Return the newest generation of the model's aliases; an empty map if the log is empty.

        Raises
        ------
        RegistryError
            If the newest generation cannot be read.
        """
        return self.alias_log(model).newest()

    def target(self, model: str, alias: str = CHAMPION) -> AliasTarget:
        """Return the target of the alias; raise NotFound if the model or the alias does not exist.

        ``latest`` is not in the log. It always means the highest version.
        """
        if alias == LATEST:
            newest = self.latest(model)
            return AliasTarget(version=newest, manifest_sha256=self.digest(model, newest))
        registry_marker.check_marker(self.root)
        targets = self.aliases(model).aliases
        if alias not in targets:
            self._check_model(model)
            raise NotFound(
                f"Model {model!r} has no alias {shorten(alias)}. "
                f"Its aliases: {listing(sorted(targets))}."
            )
        self.check_version(model, targets[alias].version)
        return targets[alias]

    def resolve(self, reference: str) -> tuple[str, int]:
        """Return the model and version of a reference: ``NAME``, ``NAME:7`` or ``NAME:alias``.

        A name alone means its champion. Raises NotFound as `target` does.
        """
        model, _, selector = reference.partition(":")
        if "@" in model:
            raise NotFound(
                f"{shorten(reference)} cannot be a version: expected NAME:NUMBER or NAME:ALIAS, "
                f"such as {shorten(reference.replace('@', ':', 1))}."
            )
        if _VERSION.fullmatch(selector):
            self.check_version(model, int(selector))
            return model, int(selector)
        return model, self.target(model, selector or CHAMPION).version

    def latest(self, model: str) -> int:
        """Return the highest version of the model; raise NotFound if it has no version."""
        registry_marker.check_marker(self.root)
        newest = self._newest(model)
        if newest is None:
            raise self._no_such_model(model)
        return newest

    def check_version(self, model: str, version: int) -> None:
        """Raise NotFound if the version does not exist.

        This does not list the other versions, because every poll of a server calls it, and the
        number of versions only grows.
        """
        registry_marker.check_marker(self.root)
        exists = version > 0 and atomic_files.path_exists(self.path(model, version))
        if exists and not tombstones.is_removed(self.path(model, version)):
            return
        versions = self._check_model(model)
        removed = ": it was removed" if exists else ""
        known = listing([str(number) for number in reversed(versions)])
        raise NotFound(
            f"Model {model!r} has no version {version}{removed}. "
            f"Its versions, newest first: {known}."
        )

    def digest(self, model: str, version: int) -> str:
        """Return the sha256 of the version's manifest; raise NotFound if it does not exist."""
        self.check_version(model, version)
        with self._reading(model, version) as directory:
            return hashlib.sha256(version_files.read_manifest(directory)).hexdigest()

    def load(self, model: str, version: int) -> Model:
        """Read one version, verify every byte, and run its self-test.

        Raises
        ------
        NotFound
            If the version does not exist.
        CorruptVersion
            If a file differs from the published one; the message names the file.
        """
        self.check_version(model, version)
        # Before the files, which may be large, so an unreadable log fails fast.
        targets = self.aliases(model).aliases.values()
        pinned = {target.manifest_sha256 for target in targets if target.version == version}
        with self._reading(model, version) as directory:
            loaded = version_files.read_version(directory)
            manifest = loaded.manifest
            if (manifest.model, manifest.version) != (model, version):
                raise CorruptVersion(
                    f"{version_files.MANIFEST} belongs to version {manifest.version} of "
                    f"{manifest.model!r}."
                )
            if pinned and loaded.digest not in pinned:
                raise CorruptVersion(
                    f"{version_files.MANIFEST} is not the one that an alias points to: its "
                    "sha256 differs."
                )
            return loaded

    def attachment(self, model: Model, name: str) -> bytes | None:
        """Return an additional file of the version, verified; None if there is no such file."""
        manifest = model.manifest
        if name not in manifest.files:
            return None
        with self._reading(manifest.model, manifest.version) as directory:
            return version_files.read_file(directory, name, manifest)

    def prepare(self, model: str) -> None:
        """Create the model's directory, and test that a version can be published in it.

        Call it before training, so that a missing permission is found before hours of work.

        Raises
        ------
        RegistryError
            If the directory cannot be written or has other content, or the aliases cannot be
            read.
        """
        with self.explaining_write_errors():
            staging = self._staging(model)
            probe = self.home(model) / "versions" / f"{atomic_files.TEMPORARY_PREFIX}{staging.name}"
            try:
                staging.mkdir()
                staging.rename(probe)
            finally:
                for path in (staging, probe):
                    with suppress(FileNotFoundError):
                        path.rmdir()
            # Test an exclusive link too, which every change of aliases needs.
            atomic_files.write_if_absent(probe, b"")
            probe.unlink(missing_ok=True)
        self.aliases(model)

    def publish(
        self,
        model: str,
        predictor: AnyPredictor,
        record: Record,
        selftest_inputs: FloatArray,
        *,
        attachments: Attachments | None = None,
        scaler: Mapping[str, FloatArray] | None = None,
    ) -> Model:
        """Publish the predictor as the model's next version, and return the version as read back.

        `scaler` has the vectors of a scaler that is folded into the network, by the names in
        `version_files.SCALER`. They are stored with the weights.

        The version becomes visible in one step, and is on the disk when this method returns.
        Concurrent publishers get different numbers, and no number is used twice.

        Raises
        ------
        CorruptVersion
            If readers would refuse the version, for example because a weight is not finite.
        RegistryError
            If the registry's directory cannot be written or has other content.
        TypeError
            If it gets an estimator in place of a predictor.
        """
        if not isinstance(predictor, AnyPredictor):
            raise TypeError(
                "publish needs a predictor, such as freeze() of an estimator returns. Got "
                f"{type(predictor).__name__}."
            )
        if isinstance(predictor, RegressionPredictor) and predictor.n_columns is not None:
            raise TypeError(
                "publish needs a predictor of one number for each row. Got one of "
                f"{predictor.n_columns} columns of numbers."
            )
        packed = version_files.pack_version(predictor, selftest_inputs, dict(scaler or {}))
        with self.explaining_write_errors():
            while True:
                # Removed versions count too. Another publisher may take the number first.
                version = max(self.version_numbers(model), default=0) + 1
                files = {**packed, **(attachments(version) if attachments else {})}
                manifest = _make_manifest(model, version, predictor, record, files)
                staging = self._staging(model)
                try:
                    _write_staging(staging, files, manifest)
                    # Read it back as every reader does, which verifies the digests.
                    published = version_files.read_version(staging)
                    if atomic_files.rename_exclusively(staging, self.path(model, version)):
                        break
                finally:
                    shutil.rmtree(staging, ignore_errors=True)
            atomic_files.sync_directory(self.path(model, version).parent)
        return published

    def _check_model(self, model: str) -> list[int]:
        """Return the model's versions; raise NotFound if it has no version."""
        registry_marker.check_marker(self.root)
        versions = self.versions(model)
        if not versions:
            raise self._no_such_model(model)
        return versions

    def _no_such_model(self, model: str) -> NotFound:
        known = listing(self.models())
        return NotFound(f"There is no model {model!r} in the registry. It holds: {known}.")

    def _newest(self, model: str) -> int | None:
        """Return the highest version that was not removed; lower ones are not checked."""
        for number in reversed(self.version_numbers(model)):
            if not tombstones.is_removed(self.path(model, number)):
                return number
        return None

    def _staging(self, model: str) -> Path:
        """Return a new path for writing a version, and create the directories around it."""
        registry_marker.initialize_registry(self.root)
        home = self.home(model)
        versions, staging = home / "versions", home / ".staging"
        # The parents too: their creator may have been killed before it flushed them.
        for directory in (home.parent, home, versions, staging):
            atomic_files.make_directories(directory)
        if versions.stat().st_dev != staging.stat().st_dev:
            raise RegistryError(
                f"{staging} is on another file system than {versions}: a version cannot be moved "
                "there in one step. Make both plain directories of one file system."
            )
        return staging / str(uuid.uuid4())

    @contextmanager
    def _reading(self, model: str, version: int) -> Iterator[Path]:
        """Add the version to the message of a CorruptVersion."""
        directory = self.path(model, version)
        try:
            yield directory
        except CorruptVersion as error:
            if tombstones.is_removed(directory):  # while it was read
                self.check_version(model, version)
            reason = str(error)
            # The text may come from the damaged file, at any length.
            shown = reason if len(reason) <= 500 else f"{reason[:500]}…"
            raise CorruptVersion(
                f"Version {version} of model {model!r} must not be used: {shown}"
            ) from error

    @contextmanager
    def explaining_write_errors(self) -> Iterator[None]:
        """Turn an OSError of a write into a RegistryError that names the registry and the file."""
        try:
            yield
        except OSError as error:
            raise RegistryError(
                f"The registry {self.root} cannot be written: {error.filename or self.root}: "
                f"{error.strerror}.",
                kind=ErrorKind.REGISTRY_INACCESSIBLE,
            ) from error


def _make_manifest(
    model: str, version: int, predictor: AnyPredictor, record: Record, files: Mapping[str, bytes]
) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        model=model,
        version=version,
        created=datetime.now(UTC),
        publisher=current_publisher(),
        architecture=version_files.describe_architecture(predictor),
        tensor_digest=version_files.compute_tensor_digest(predictor),
        selftest_atol=version_files.selftest_atol(predictor),
        files={
            name: FileRecord(size=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in files.items()
        },
        **{name: getattr(record, name) for name in Record.model_fields},
    )


def _write_staging(staging: Path, files: Mapping[str, bytes], manifest: Manifest) -> None:
    """Write and flush the version's directory, with the manifest as the last file."""
    atomic_files.make_directory(staging)
    for name, content in files.items():
        atomic_files.write_new_file(staging / name, content)
    atomic_files.write_new_file(staging / version_files.MANIFEST, manifest.to_json())
    atomic_files.sync_directory(staging)
