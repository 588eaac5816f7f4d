"""Hide installed packages from the command and its child processes."""

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
    """Return environment variables that hide these packages from Python.

    Parameters
    ----------
    folder : path
        Folder for a `sitecustomize` that hides them.
    """
    modules = [
        module
        for module, owners in packages_distributions().items()
        if {owner.lower().replace("_", "-") for owner in owners} & set(packages)
    ]
    (folder / "sitecustomize.py").write_text(_HIDE.format(packages=packages, modules=modules))
    return {"PYTHONPATH": str(folder)}
