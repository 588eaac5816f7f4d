"""The verb `playground`, which shows the page in front of a running server."""

from service.playground.page_address import listen_for_page
from service.settings import PlaygroundSettings


def playground(settings: PlaygroundSettings) -> int:
    """Show the page until a signal arrives."""
    from service.playground.page_server import run_page  # noqa: PLC0415 - needs the extra

    with listen_for_page(settings) as listener:
        return run_page(settings, listener)
