"""The verb `up`, which combines the pipeline and the service."""

from typing import TYPE_CHECKING

from quadnet.cli.advice import explain_error

if TYPE_CHECKING:
    from service.settings import UpSettings


def up(settings: "UpSettings") -> int:
    """Train and publish the default model if it has no champion, then serve it."""
    from pipeline.commands.train import execute_run
    from pipeline.config.presets import load_preset
    from quadnet.errors import Conflict
    from quadnet.model_names import CHAMPION
    from quadnet.registry import Registry
    from service.commands.serve import serve_with_page

    registry = Registry(settings.registry)
    if settings.alias == CHAMPION and CHAMPION not in registry.aliases(settings.model).aliases:
        missing = f"No version of {settings.model!r} in {registry.root} is the champion yet"
        print(f"{missing}: training it.", flush=True)
        try:
            execute_run(load_preset(settings.model), registry)
        except Conflict as error:
            # Another process has published a champion during the training: serve that one.
            print(explain_error(error), flush=True)
    return serve_with_page(settings)
