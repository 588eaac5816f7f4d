"""A TLS context for asyncio's servers that follows its files.

A context of Python's ssl module cannot forget a certificate authority, and asyncio's servers keep
the context that they began with. So theirs makes each connection with the current context.
"""

import ssl
from collections.abc import Sequence
from typing import Any

from quadnet.errors import FileUnusable
from service.net.reloading import WatchedFiles
from service.net.tls import ServerTLSFiles


class _ReloadedContext(ssl.SSLContext):
    """Makes each connection with the newest context. asyncio accepts only an SSLContext."""

    files: WatchedFiles[ssl.SSLContext]

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Return the TLS state of a new connection."""
        return self.files.value.wrap_bio(*args, **options)


def make_reloaded_context(files: ServerTLSFiles, protocols: Sequence[str]) -> ssl.SSLContext:
    """Return a server's context. New connections use the files as they are then.

    Parameters
    ----------
    files : ServerTLSFiles
    protocols : sequence of str
        The protocols to offer with ALPN.

    Raises
    ------
    FileUnusable
        If a file is unreadable, or they do not match.
    """

    def read() -> ssl.SSLContext:
        files.read()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(files.certificate, files.key)
            if files.client_ca is not None:
                context.load_verify_locations(files.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, OSError) as error:
            # The files have changed since they were checked.
            raise FileUnusable(f"The files of TLS cannot be read: {error}.") from error
        context.set_alpn_protocols(list(protocols))
        return context

    context = _ReloadedContext(ssl.PROTOCOL_TLS_SERVER)
    context.files = WatchedFiles(files.paths, read)
    return context
