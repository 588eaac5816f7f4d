"""TLS: certificates from files, for the server and for the client."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import structlog

from quadnet.errors import FileUnusable
from service.net.reloading import Reloaded

_log = structlog.get_logger(__name__)

_MAX_BYTES = 2**20
_PEM = b"-----BEGIN "


@dataclass(frozen=True)
class ServerFiles:
    """The server's certificate chain and key; with `client_ca`, clients must show one, too."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def from_paths(
        cls, certificate: Path | None, key: Path | None, client_ca: Path | None
    ) -> ServerFiles | None:
        """Return the files; None, for a server without TLS, if certificate or key is None."""
        if certificate is None or key is None:
            return None
        return cls(certificate, key, client_ca)

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Return what the files hold; raise FileUnusable if they do not belong together."""
        key, certificate = _pem(self.key), _pem(self.certificate)
        _check_pair(self.certificate, self.key)
        client_ca = None if self.client_ca is None else _authorities(self.client_ca)
        return grpc.ssl_server_certificate_configuration(
            [(key, certificate)], root_certificates=client_ca
        )

    def _report_validity(self) -> None:
        """Warn of certificates that are not valid now, and measure when they expire.

        They are used all the same: the clock may be wrong, and no connection is worse.
        """
        from service.telemetry import metrics  # noqa: PLC0415 - clients import this module, and have none

        for path in (self.certificate, self.client_ca):
            if path is not None and (ends := _ends(path)):
                metrics.CERTIFICATE_EXPIRY.labels(str(path)).set(min(ends).timestamp())

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that follow the files: each new connection is shown what is new.

        Raises
        ------
        FileUnusable
            If a file cannot be read, or they do not belong together.
        """
        paths = [path for path in (self.certificate, self.key, self.client_ca) if path is not None]

        def read() -> grpc.ServerCertificateConfiguration:
            configuration = self.read()
            self._report_validity()
            return configuration

        reloaded = Reloaded(paths, read)
        first = shown = reloaded.value
        changing = threading.Lock()

        def changed() -> grpc.ServerCertificateConfiguration | None:
            """Return what the files say if it is new; gRPC asks at each connection.

            gRPC replaces its TLS context by whatever is returned. Doing so at each connection ended
            the process within some hundred concurrent handshakes.
            """
            nonlocal shown
            with changing:
                if reloaded.value is shown:
                    return None
                shown = reloaded.value
                return shown

        return grpc.dynamic_ssl_server_credentials(
            first,
            changed,  # type: ignore[arg-type]  # None means no change
            require_client_authentication=self.client_ca is not None,
        )


def channel_credentials(
    ca: Path | None, certificate: Path | None, key: Path | None
) -> grpc.ChannelCredentials:
    """Return a client's credentials: whom it trusts, and, if asked to show it, who it is.

    Raises
    ------
    FileUnusable
        If a file cannot be read.
    """
    return grpc.ssl_channel_credentials(
        root_certificates=None if ca is None else _pem(ca),
        private_key=None if key is None else _pem(key),
        certificate_chain=None if certificate is None else _pem(certificate),
    )


def _ends(path: Path) -> list[datetime]:
    """Return when the certificates in a file expire; warn of those that are not valid now."""
    from service.net.certificates import validities  # noqa: PLC0415 - it imports ssl: see below

    try:
        found = validities(_pem(path))
    except (ValueError, IndexError):
        _log.warning("certificate's dates not read", file=str(path))
        return []
    now = datetime.now(UTC)
    for each in found:
        if not each.begins <= now <= each.ends:
            _log.warning(
                "certificate expired" if each.ends < now else "certificate not valid yet",
                file=str(path),
                valid_from=each.begins.isoformat(),
                valid_until=each.ends.isoformat(),
            )
    return [each.ends for each in found]


def _pem(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise FileUnusable(f"The file {path} cannot be read: {error.strerror}.") from error
    if len(content) > _MAX_BYTES:
        raise FileUnusable(f"The file {path} is larger than {_MAX_BYTES} bytes.")
    if _PEM not in content:
        raise FileUnusable(f"The file {path} is not in PEM: it has no line '-----BEGIN ...'.")
    return content


def _authorities(path: Path) -> bytes:
    """Return the certificates in a file; gRPC would only fail later, and silently."""
    import ssl  # noqa: PLC0415 - only servers with TLS need it, and it takes a while to import

    content = _pem(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise FileUnusable(
            f"The file {path} holds no certificates, or a damaged one: expected those of the "
            "authorities that sign clients' certificates, in PEM."
        ) from error
    return content


def _check_pair(certificate: Path, key: Path) -> None:
    """Raise FileUnusable unless the key is the certificate's; gRPC would only fail later."""
    import ssl  # noqa: PLC0415 - as above

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=b"")
    except (ssl.SSLError, OSError) as error:
        raise FileUnusable(
            f"The certificate {certificate} and the key {key} do not belong together, or one of "
            "them is damaged. Expected a chain and its unencrypted private key, in PEM."
        ) from error
