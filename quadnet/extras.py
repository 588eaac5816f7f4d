"""Optional packages: the packages of an extra, those not installed, and how to install them.

The metadata of the installed distribution lists the packages of each extra, so no list here repeats
pyproject.toml.
"""

import re
from importlib.metadata import PackageNotFoundError, distribution, requires

from quadnet.errors import MissingExtra, listing

_REQUIREMENT = re.compile(r"([\w.-]+)[^;]*; extra == '([\w-]+)'")
"""A requirement of an extra on every platform.

A requirement with a further condition, such as a platform, does not match, because the code works
without that package.
"""


def missing_packages(*extras: str) -> list[str]:
    """Return the names of packages that these extras need and that are not installed."""
    needed = (_REQUIREMENT.fullmatch(requirement) for requirement in requires("quadnet") or ())
    names = {found[1] for found in needed if found and found[2] in extras}
    return sorted(name for name in names if not _is_installed(name))


def require_extras(subject: str, *extras: str) -> None:
    """Raise MissingExtra if a package of these extras is not installed; see `missing_extra`."""
    if missing_packages(*extras):
        raise missing_extra(subject, *extras)


def missing_extra(subject: str, *extras: str, cause: ImportError | None = None) -> MissingExtra:
    """Return the error of a feature that lacks packages, in the same words for every feature.

    Parameters
    ----------
    subject : str
        The feature, as the subject of a sentence, such as ``"quadnet serve"``.
    *extras : str
        The extras that hold the packages.
    cause : ImportError, optional
        The error of an import. The message includes it if all packages are installed, which
        means that one is broken.
    """
    packages = missing_packages(*extras)
    reason = f"not installed ({listing(packages)})"
    if cause is not None and not packages:
        reason = f"installed but cannot be imported ({cause})"
    incomplete = [extra for extra in extras if missing_packages(extra)] or extras
    options = " ".join(f"--extra {extra}" for extra in incomplete)
    return MissingExtra(
        f"{subject} needs packages that are {reason}. Install them with: "
        f"pip install 'quadnet[{','.join(incomplete)}]' (in a clone: uv run {options})"
    )


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
