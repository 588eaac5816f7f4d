"""Requires a bearer token from a file."""

import hmac
from pathlib import Path

from quadnet.errors import Unauthenticated
from service.net.reloading import WatchedFiles
from service.net.tokens import read_tokens
from service.rpc.call import Call
from service.rpc.policies.policy import CallPolicy


class Authentication(CallPolicy):
    """Refuses calls without one of the file's tokens.

    Parameters
    ----------
    path : Path
        File of tokens. It is read again when it changes; while it is invalid, the last valid
        tokens apply.
    """

    exempts_health = True

    def __init__(self, path: Path) -> None:
        self._tokens = WatchedFiles((path,), lambda: read_tokens(path))

    def begin(self, call: Call) -> None:
        """Refuse the call unless its metadata have ``authorization: Bearer TOKEN``."""
        scheme, _, token = str(call.metadata.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(
                "The call has no token. Send the metadata 'authorization: Bearer TOKEN'."
            )
        given = token.strip().encode()
        # Compared with every token in constant time, so that the duration reveals nothing.
        if not sum(hmac.compare_digest(given, token) for token in self._tokens.value):
            raise Unauthenticated("The call's token is not one that this server accepts.")
