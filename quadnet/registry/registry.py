"""The registry: a directory of published versions. Plain files, no server, no lock.

    <root>/registry.json                         the format number
    <root>/models/<name>/versions/000001/        one immutable version; manifest.json is its word
    <root>/models/<name>/aliases/00000001.json   the log of what aliases point to (aliases.py)
    <root>/models/<name>/.staging/<uuid>/        a version being written
    <root>/models/<name>/.trash/<uuid>/          litter being swept up (retention.py)

A version appears by one exclusive rename of a directory that is complete, flushed to the disk and
read back; so a reader sees it whole or not at all, and a crash at any step leaves at most rubbish
under .staging. A version that was removed leaves its directory with a tombstone in it.
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
from quadnet.nn.predictor import Predictor
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
"""Makes the version's further files, by name, once its number is known."""


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
        return [name for name in self.model_directories() if self._newest(name) is not None]

    def model_directories(self) -> list[str]:
        """Return the names that a model has a directory for, with a version in it or not."""
        models = self.root / "models"
        names = [name for name in atomic_files.list_names(models) if MODEL_NAME.fullmatch(name)]
        return sorted(name for name in names if (models / name).is_dir())

    def versions(self, model: str) -> list[int]:
        """Return the numbers of the model's versions, sorted, without those that were removed."""
        return [
            n for n in self.version_numbers(model) if not tombstones.is_removed(self.path(model, n))
        ]

    def version_numbers(self, model: str) -> list[int]:
        """Return every number that was ever given to a version of the model, sorted."""
        names = atomic_files.list_names(self.home(model) / "versions")
        return sorted(
            int(name)
            for name in names
            # Only canonical names are versions: 000007, never 7 or 0000007.
            if _VERSION_NAME.fullmatch(name) and f"{int(name):06d}" == name and int(name)
        )

    def home(self, model: str) -> Path:
        """Return the model's directory; raise NotFound if no model can be called so."""
        if not MODEL_NAME.fullmatch(model):
            raise NotFound(
                f"{shorten(model)} cannot be a model's name: expected a lower-case letter or "
                "digit and up to 63 more of those, '_' and '-'."
            )
        return self.root / "models" / model

    def path(self, model: str, version: int) -> Path:
        """Return the directory of this version, whether or not it is there."""
        return self.home(model) / "versions" / f"{version:06d}"

    def alias_log(self, model: str) -> AliasLog:
        """Return the history of what the model's aliases pointed to."""
        return AliasLog(self.home(model) / "aliases")

    def aliases(self, model: str) -> AliasMap:
        """Return the newest generation of the model's aliases; an empty one if there is none.

        Raises
        ------
        RegistryError
            If the newest generation cannot be read.
        """
        return self.alias_log(model).newest()

    def target(self, model: str, alias: str = CHAMPION) -> AliasTarget:
        """Return what the alias points to; raise NotFound if there is no such model or alias.

        ``latest`` is no entry of the log: it is the highest version there is.
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
        """Return the model and version that ``NAME``, ``NAME:7`` or ``NAME:alias`` means.

        A name alone means its champion. Raises NotFound as `target` does.
        """
        model, _, selector = reference.partition(":")
        if _VERSION.fullmatch(selector):
            self.check_version(model, int(selector))
            return model, int(selector)
        return model, self.target(model, selector or CHAMPION).version

    def latest(self, model: str) -> int:
        """Return the highest version there is; raise NotFound if there is none."""
        registry_marker.check_marker(self.root)
        newest = self._newest(model)
        if newest is None:
            raise self._no_such_model(model)
        return newest

    def check_version(self, model: str, version: int) -> None:
        """Raise NotFound if there is no such version.

        The directories of the other versions are not listed: every poll of a server checks a
        version, and their number only grows.
        """
        registry_marker.check_marker(self.root)
        exists = version > 0 and atomic_files.path_exists(self.path(model, version))
        if exists and not tombstones.is_removed(self.path(model, version)):
            return
        versions = self._check_model(model)
        gone = f"version {version} any more: it was removed"
        missing = gone if exists else f"version {version}"
        known = listing([str(number) for number in reversed(versions)])
        raise NotFound(f"Model {model!r} has no {missing}. Its versions, newest first: {known}.")

    def digest(self, model: str, version: int) -> str:
        """Return the sha256 of the version's manifest; raise NotFound if there is none."""
        self.check_version(model, version)
        with self._reading(model, version) as directory:
            return hashlib.sha256(version_files.read_manifest(directory)).hexdigest()

    def load(self, model: str, version: int) -> Model:
        """Read one version, verify every byte of it, and run its self-test.

        Raises
        ------
        NotFound
            If there is no such version.
        CorruptVersion
            If it is not what was published; the message names the file.
        """
        self.check_version(model, version)
        # Before the files, which may be large: a log of aliases that cannot be read ends this.
        targets = self.aliases(model).aliases.values()
        pinned = {target.manifest_sha256 for target in targets if target.version == version}
        with self._reading(model, version) as directory:
            loaded = version_files.read_version(directory)
            manifest = loaded.manifest
            if (manifest.model, manifest.version) != (model, version):
                raise CorruptVersion(
                    f"{version_files.MANIFEST} says that it is version {manifest.version} of "
                    f"{manifest.model!r}."
                )
            if pinned and loaded.digest not in pinned:
                raise CorruptVersion(
                    f"{version_files.MANIFEST} is not the one that an alias was pointed at."
                )
            return loaded

    def attachment(self, model: Model, name: str) -> bytes | None:
        """Return one of the version's further files, verified; None if it has no such file."""
        manifest = model.manifest
        if name not in manifest.files:
            return None
        with self._reading(manifest.model, manifest.version) as directory:
            return version_files.read_file(directory, name, manifest)

    def prepare(self, model: str) -> None:
        """Create the model's place if it is not there, and try that a version could appear in it.

        Called before work whose result is to be published: a missing right is better known before
        hours of training than after.

        Raises
        ------
        RegistryError
            If the directory cannot be written or holds something else, or the aliases cannot be
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
            # And a file exclusively, as an alias does.
            atomic_files.write_if_absent(probe, b"")
            probe.unlink(missing_ok=True)
        self.aliases(model)

    def publish(
        self,
        model: str,
        predictor: Predictor,
        record: Record,
        selftest_inputs: FloatArray,
        *,
        attachments: Attachments | None = None,
        scaler: Mapping[str, FloatArray] | None = None,
    ) -> Model:
        """Publish the predictor as the model's next version and return it as a reader sees it.

        The vectors of a scaler that is folded into it, by the names in `artifact.SCALER`, are kept
        with its weights.

        Nothing is visible before everything is; success is returned only once the disk has it.
        Concurrent publishers get different numbers, and no number is given twice.

        Raises
        ------
        CorruptVersion
            If no reader would take it, because a number in it is not finite, for one.
        RegistryError
            If the registry's directory cannot be written or holds something else.
        """
        packed = version_files.pack_version(predictor, selftest_inputs, dict(scaler or {}))
        with self.explaining_write_errors():
            while True:
                # Those that were removed count too. Another publisher may take the number first.
                version = max(self.version_numbers(model), default=0) + 1
                files = {**packed, **(attachments(version) if attachments else {})}
                manifest = _make_manifest(model, version, predictor, record, files)
                staging = self._staging(model)
                try:
                    _write_staging(staging, files, manifest)
                    # As every reader will, which compares it with what the manifest was made for.
                    published = version_files.read_version(staging)
                    if atomic_files.rename_exclusively(staging, self.path(model, version)):
                        break
                finally:
                    shutil.rmtree(staging, ignore_errors=True)
            atomic_files.sync_directory(self.path(model, version).parent)
        return published

    def _check_model(self, model: str) -> list[int]:
        """Return the model's versions; raise NotFound if it has none."""
        registry_marker.check_marker(self.root)
        versions = self.versions(model)
        if not versions:
            raise self._no_such_model(model)
        return versions

    def _no_such_model(self, model: str) -> NotFound:
        known = listing(self.models())
        return NotFound(f"There is no model {model!r} in the registry. It holds: {known}.")

    def _newest(self, model: str) -> int | None:
        """Return the highest version that was not removed, without a look at those below it."""
        for number in reversed(self.version_numbers(model)):
            if not tombstones.is_removed(self.path(model, number)):
                return number
        return None

    def _staging(self, model: str) -> Path:
        """Return a new path to write a version of the model in, and make what lies around it."""
        registry_marker.initialize_registry(self.root)
        home = self.home(model)
        versions, staging = home / "versions", home / ".staging"
        # The parents, too: who made them may have died before they were flushed.
        for directory in (home.parent, home, versions, staging):
            atomic_files.make_directories(directory)
        if versions.stat().st_dev != staging.stat().st_dev:
            raise RegistryError(
                f"{staging} is on another file system than {versions}: a version could not appear "
                "in one step. Let both be plain directories."
            )
        return staging / str(uuid.uuid4())

    @contextmanager
    def _reading(self, model: str, version: int) -> Iterator[Path]:
        """Let what is wrong with the version be said of this version."""
        directory = self.path(model, version)
        try:
            yield directory
        except CorruptVersion as error:
            if tombstones.is_removed(directory):  # meanwhile
                self.check_version(model, version)
            reason = str(error)
            # The file names what it likes, at any length.
            shown = reason if len(reason) <= 500 else f"{reason[:500]}…"
            raise CorruptVersion(
                f"Version {version} of model {model!r} must not be used: {shown}"
            ) from error

    @contextmanager
    def explaining_write_errors(self) -> Iterator[None]:
        """Say in words what the system refuses."""
        try:
            yield
        except OSError as error:
            raise RegistryError(
                f"The registry {self.root} cannot be written: {error.filename or self.root}: "
                f"{error.strerror}.",
                kind=ErrorKind.REGISTRY_INACCESSIBLE,
            ) from error


def _make_manifest(
    model: str, version: int, predictor: Predictor, record: Record, files: Mapping[str, bytes]
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
    """Write the version's directory, the manifest last, and flush all of it to the disk."""
    atomic_files.make_directory(staging)
    for name, content in files.items():
        atomic_files.write_new_file(staging / name, content)
    atomic_files.write_new_file(staging / version_files.MANIFEST, manifest.to_json())
    atomic_files.sync_directory(staging)
