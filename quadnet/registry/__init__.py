"""The registry: numbered, verified versions of models in a directory, and the aliases on them.

Imports `quadnet.nn`; the pipeline publishes into it, the service and the command line read it.
Start at `registry`; the content of a version is in `manifest` and `version_files`.
"""

from quadnet.registry.registry import Registry

__all__ = ["Registry"]
