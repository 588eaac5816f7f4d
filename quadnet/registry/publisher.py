"""Who is publishing, and where: for the record, not for proof."""

import getpass
import socket

from quadnet.registry.manifest import Publisher


def here() -> Publisher:
    """Return this process's user and host, as far as they can be told."""
    try:
        user = getpass.getuser()
    # A container's user need not have a name, and on Windows there is no other place to look.
    except (ImportError, KeyError, OSError):
        user = "unknown"
    return Publisher(user=user, host=socket.gethostname() or "unknown")
