"""The build hook: compiles the replay of recorded updates into the wheel, if that is possible.

The compiled part is optional. Without a C compiler, or if compiling fails, the wheel is pure
Python, and the output of the build has a line with the reason. QUADNET_REPLAY_BUILD=0 builds
without it; QUADNET_REPLAY_BUILD=1 requires it, and the build fails without it.

A wheel contains the library, and no file is written to the source tree. An editable installation
puts the library into the source tree, next to replay.c.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilder, WheelBuilderConfig

FOLDER = Path("quadnet", "nn", "replay")
SOURCE = "replay.c"
# quadnet/nn/replay/library.py has the same names: it cannot be imported before it is installed.
LIBRARY = {"darwin": "replay.dylib", "win32": "replay.dll"}.get(sys.platform, "replay.so")
RECORD = f"{LIBRARY}.sha256"

SWITCH = "QUADNET_REPLAY_BUILD"

# No -march: a wheel must run on every machine of its platform. NumPy's loops, which do the
# arithmetic, choose their instructions at run time. What C computes itself must be rounded as in
# NumPy, so no fused multiply-add.
FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fPIC", "-shared")

LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).quadnet_replay_abi()"


class CompilationError(Exception):
    """The library cannot be compiled here; the message is a sentence with the reason."""


class CustomBuildHook(BuildHookInterface[WheelBuilderConfig]):
    """Adds the compiled part to wheels, and to the source tree of editable installations."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the library for this kind of wheel: standard or editable."""
        switch = os.environ.get(SWITCH, "")
        if switch not in {"", "0", "1"}:
            self.app.abort(f"The environment variable {SWITCH} must be 0 or 1, got {switch!r}.")
        self._scratch = TemporaryDirectory()
        add = self._add_to_source_tree if version == "editable" else self._add_to_wheel
        try:
            add(build_data)
        except (CompilationError, OSError) as error:
            if switch == "1":
                self.app.abort(f"quadnet cannot be built with the compiled replay. {error}")
            self.app.display_info(f"quadnet is built without the compiled replay. {error}")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary files, which the wheel contains now."""
        self._scratch.cleanup()

    def _add_to_source_tree(self, build_data: dict[str, Any]) -> None:
        folder = Path(self.root, FOLDER)
        # First, so that the library of an older source does not stay if compiling fails.
        for name in (RECORD, LIBRARY):
            (folder / name).unlink(missing_ok=True)
        for file in self._compile():
            move_file(file, folder / file.name)

    def _add_to_wheel(self, build_data: dict[str, Any]) -> None:
        for file in self._compile():
            build_data["force_include"][str(file)] = str(FOLDER / file.name)
        build_data["pure_python"] = False
        # The library calls neither Python nor NumPy, so it depends on the platform alone.
        build_data["tag"] = f"py3-none-{self._platform()}"

    def _compile(self) -> tuple[Path, Path]:
        if os.environ.get(SWITCH) == "0":
            raise CompilationError(f"The environment variable {SWITCH} is 0.")
        source = Path(self.root, FOLDER, SOURCE)
        return compile_library(source, Path(self._scratch.name), self._platform())

    def _platform(self) -> str:
        """Return the platform of this machine in a wheel's tag, such as linux_x86_64."""
        # From hatchling, which knows about ARCHFLAGS and MACOSX_DEPLOYMENT_TARGET.
        builder = self.build_config.builder
        assert isinstance(builder, WheelBuilder)
        tag: str = builder.get_best_matching_tag()
        return tag.rpartition("-")[2]


def compile_library(source: Path, scratch: Path, platform: str) -> tuple[Path, Path]:
    """Compile the source, and return the library and its record.

    Raises CompilationError if there is no compiler, if it fails, or if its library cannot be
    loaded here, such as that of a cross compiler.
    """
    library = scratch / LIBRARY
    run_command([*compiler_command(platform, library), str(source)], scratch)
    # In a child process, because this one must survive whatever a compiler produced.
    run_command([sys.executable, "-I", "-c", LOAD, str(library)], scratch)
    record = scratch / RECORD
    digests = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in (library, source)
    )
    record.write_text("".join(digests), encoding="ascii", newline="\n")
    return library, record


def compiler_command(platform: str, library: Path) -> list[str]:
    """Return the command that compiles into this library, without the source."""
    if sys.platform == "win32":
        return [find_program("cl"), "/nologo", "/O2", "/LD", f"/Fe:{library}"]
    flags = [*FLAGS, "-o", str(library)]
    if platform.startswith("macosx_"):
        # The tag states what the library needs: macosx_11_0_arm64.
        _, major, minor, architecture = platform.split("_", 3)
        names = ["x86_64", "arm64"] if architecture == "universal2" else [architecture]
        flags += [f"-mmacosx-version-min={major}.{minor}"]
        flags += [word for name in names for word in ("-arch", name)]
    words = shlex.split(os.environ.get("CC", ""))
    if words:
        return [find_program(words[0]), *words[1:], *flags]
    return [find_program("cc", "gcc", "clang"), *flags]


def find_program(*names: str) -> str:
    """Return the path of the first program that exists."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise CompilationError(f"There is no C compiler ({', '.join(names)}).")


def run_command(command: list[str], folder: Path) -> None:
    """Run the command in the folder, and raise CompilationError if it fails."""
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=folder,
    )
    if done.returncode:
        # One line. Compilers and Python mark the line that has the reason.
        reason = next((line for line in done.stdout.splitlines() if "rror: " in line), "no message")
        raise CompilationError(f"{command[0]} failed with exit code {done.returncode}: {reason}.")


def move_file(file: Path, target: Path) -> None:
    """Move the file into place at once: a running process keeps the old file that it has mapped."""
    copy = target.with_name(f"{target.name}.new")
    shutil.copyfile(file, copy)
    copy.replace(target)
