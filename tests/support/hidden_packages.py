"""Packages that look as if they were not installed, to the command and to whatever it starts."""

from importlib.metadata import packages_distributions

_HIDE = """
import importlib.metadata as metadata, sys

find = metadata.distribution

def find_unless_hidden(name):
    if name in {packages!r}:
        raise metadata.PackageNotFoundError(name)
    return find(name)

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

metadata.distribution = find_unless_hidden
sys.meta_path.insert(0, Finder)
"""


def hide_packages(folder, *packages):
    """Return the variables with which Python finds none of these packages.

    Parameters
    ----------
    folder : path
        Where to put a `sitecustomize` that hides them.
    """
    modules = [
        module
        for module, owners in packages_distributions().items()
        if {owner.lower().replace("_", "-") for owner in owners} & set(packages)
    ]
    (folder / "sitecustomize.py").write_text(_HIDE.format(packages=packages, modules=modules))
    return {"PYTHONPATH": str(folder)}
