"""Who may call: bearer tokens from a file."""

import hmac
from pathlib import Path

from quadnet.errors import Unauthenticated
from service.net.reloading import Reloaded
from service.net.tokens import read_tokens
from service.rpc.call import Call
from service.rpc.policies.policy import Policy


class Authentication(Policy):
    """Refuses calls that do not bring one of the file's tokens.

    Parameters
    ----------
    path : Path
        Read again when it changes; while it cannot be read, the last tokens count.
    """

    exempts_health = True

    def __init__(self, path: Path) -> None:
        self._tokens = Reloaded((path,), lambda: read_tokens(path))

    def begin(self, call: Call) -> None:
        """Refuse the call unless its authorization is ``Bearer`` and a token."""
        scheme, _, token = str(call.metadata.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(
                "The call brings no token. Send the metadata 'authorization: Bearer TOKEN'."
            )
        given = token.strip().encode()
        # Each in constant time, and all of them, so that time tells nothing of any.
        if not sum(hmac.compare_digest(given, known) for known in self._tokens.value):
            raise Unauthenticated("The call's token is not one that this server accepts.")
