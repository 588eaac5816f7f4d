"""Reads the body of a request, within the limits of size, and decompresses it."""

import re
import zlib
from collections.abc import Mapping
from typing import Any

from quadnet.errors import InvalidInput, TooLarge, Violation, listing, shorten
from service.rest.routes import Body
from service.rpc.compute_thread import ComputeThread
from service.rpc.errors import UnsupportedContent

_DIRECT_BYTES = 2**18
"""Up to so many bytes are decompressed on the event loop, in about a millisecond."""

_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

_TYPES_OF_CLIENTS = ("", "application/x-www-form-urlencoded")
"""What tritonclient and `curl -d` send with any body. It is taken for what the method expects. A
page of another site could send the second one, too, but methods change nothing."""

_LENGTH = re.compile(r"[0-9]{1,18}")


class BodyReader:
    """Reads bodies.

    Parameters
    ----------
    max_bytes : int
        Maximum size of a body, also after it is decompressed.
    compute_thread : ComputeThread
    """

    def __init__(self, max_bytes: int, compute_thread: ComputeThread) -> None:
        self._max_bytes = max_bytes
        self._compute_thread = compute_thread

    def check_headers(self, body: Body, headers: Mapping[str, str]) -> None:
        """Refuse what the headers show to be unreadable, before the body is read.

        Raises
        ------
        UnsupportedContent
            If the type or the encoding is unknown.
        TooLarge
            If the body is longer than the maximum.
        """
        given = headers.get("content-type", "").partition(";")[0].strip().lower()
        if given not in (*body.media_types, *_TYPES_OF_CLIENTS):
            raise UnsupportedContent(
                f"Expected a body of the type {' or '.join(body.media_types)}, got "
                f"{shorten(given)}. Send the header 'Content-Type: {body.media_types[0]}'."
            )
        encoding = _content_encoding(headers)
        if encoding and encoding not in _WINDOW_BITS:
            raise UnsupportedContent(
                f"Expected a body in the encoding {listing(list(_WINDOW_BITS))}, or without one, "
                f"got {shorten(encoding)}. Send the body without compression."
            )
        length = headers.get("content-length", "")
        if _LENGTH.fullmatch(length) and int(length) > self._max_bytes:
            raise self._too_large(length)

    async def read(self, receive: Any) -> bytes:
        """Return the whole body as it was sent.

        Raises
        ------
        TooLarge
            If it is longer than the maximum.
        """
        parts: list[bytes] = []
        n_bytes = 0
        more = True
        while more:
            message = await receive()
            # After a disconnect there is no body; the task is cancelled in a moment.
            part = message.get("body", b"")
            more = message.get("more_body", False)
            n_bytes += len(part)
            if n_bytes > self._max_bytes:
                raise self._too_large("more")
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def decompress(self, content: bytes, headers: Mapping[str, str]) -> bytes:
        """Return the body without its compression.

        Raises
        ------
        InvalidInput
            If it is damaged.
        TooLarge
            If it is longer than the maximum.
        """
        encoding = _content_encoding(headers)
        if not encoding:
            return content
        decompressor = zlib.decompressobj(_WINDOW_BITS[encoding])

        def inflate(content: bytes, n_bytes: int) -> bytes:
            try:
                return decompressor.decompress(content, n_bytes)
            except zlib.error as error:
                raise InvalidInput(
                    [Violation("request", f"expected a body compressed with {encoding}: {error}")]
                ) from None

        found = inflate(content, _DIRECT_BYTES)
        if decompressor.unconsumed_tail:
            # One byte more than the maximum shows that there is more, and takes no more memory.
            room = self._max_bytes + 1 - len(found)
            found += await self._compute_thread.run_by_size(
                self._max_bytes, lambda: inflate(decompressor.unconsumed_tail, max(room, 1))
            )
        if len(found) > self._max_bytes:
            raise self._too_large("more after decompression")
        if not decompressor.eof or decompressor.unused_data:
            found_part = "more after its end" if decompressor.eof else "the beginning of one"
            raise InvalidInput(
                [
                    Violation(
                        "request",
                        f"expected one whole body compressed with {encoding}, got {found_part}",
                    )
                ]
            )
        return found

    def _too_large(self, found: str) -> TooLarge:
        return TooLarge(
            f"Expected a body of at most {self._max_bytes} bytes, got {found}. Send it in several "
            "requests."
        )


def _content_encoding(headers: Mapping[str, str]) -> str:
    encoding = headers.get("content-encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding
