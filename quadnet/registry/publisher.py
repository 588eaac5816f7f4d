"""Who is publishing, and where: for the record, not for proof."""

import getpass
import socket

from quadnet.registry.manifest import Publisher


def here() -> Publisher:
    """Return this process's user and host, as far as they can be told."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        user = "unknown"
    return Publisher(user=user, host=socket.gethostname() or "unknown")
