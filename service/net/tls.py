"""TLS credentials from files, for the server and for the client."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import structlog

from quadnet.errors import FileUnusable
from service.net.reloading import WatchedFiles

_log = structlog.get_logger(__name__)

_MAX_BYTES = 2**20
_PEM = b"-----BEGIN "


@dataclass(frozen=True)
class ServerTLSFiles:
    """The server's certificate chain and key; with `client_ca`, clients need a certificate too."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def from_paths(
        cls, certificate: Path | None, key: Path | None, client_ca: Path | None
    ) -> ServerTLSFiles | None:
        """Return the files; None, for a server without TLS, if certificate or key is None."""
        if certificate is None or key is None:
            return None
        return cls(certificate, key, client_ca)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are given."""
        every = (self.certificate, self.key, self.client_ca)
        return tuple(path for path in every if path is not None)

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read the files; raise FileUnusable if one is unreadable or they do not match."""
        key, certificate = _read_pem(self.key), _read_pem(self.certificate)
        _check_pair(self.certificate, self.key)
        client_ca = None if self.client_ca is None else _read_authorities(self.client_ca)
        return grpc.ssl_server_certificate_configuration(
            [(key, certificate)], root_certificates=client_ca
        )

    def _report_validity(self) -> None:
        """Warn about certificates that are not valid now, and set the metric of their expiry.

        They are still used: the clock may be wrong, and no connection at all would be worse.
        """
        from service.telemetry import metrics  # noqa: PLC0415 - clients import this module without metrics

        for path in (self.certificate, self.client_ca):
            if path is not None and (ends := _read_expiry_dates(path)):
                metrics.CERTIFICATE_EXPIRY.labels(str(path)).set(min(ends).timestamp())

    def make_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that follow the files: new connections get the current certificate.

        Raises
        ------
        FileUnusable
            If a file is unreadable, or they do not match.
        """

        def read() -> grpc.ServerCertificateConfiguration:
            configuration = self.read()
            self._report_validity()
            return configuration

        files = WatchedFiles(self.paths, read)
        first = current = files.value
        changing = threading.Lock()

        def fetch_change() -> grpc.ServerCertificateConfiguration | None:
            """Return the configuration if it has changed. gRPC calls this for each connection.

            gRPC replaces its TLS context by any result other than None. Replacing it at each
            connection crashed the process within some hundred concurrent handshakes.
            """
            nonlocal current
            with changing:
                if files.value is current:
                    return None
                current = files.value
                return current

        return grpc.dynamic_ssl_server_credentials(
            first,
            fetch_change,  # type: ignore[arg-type]  # None means no change
            require_client_authentication=self.client_ca is not None,
        )


def make_channel_credentials(
    ca: Path | None, certificate: Path | None, key: Path | None
) -> grpc.ChannelCredentials:
    """Return a client's credentials: the trusted authority, and the client's own certificate.

    Raises
    ------
    FileUnusable
        If a file cannot be read.
    """
    return grpc.ssl_channel_credentials(
        root_certificates=None if ca is None else _read_pem(ca),
        private_key=None if key is None else _read_pem(key),
        certificate_chain=None if certificate is None else _read_pem(certificate),
    )


def _read_expiry_dates(path: Path) -> list[datetime]:
    """Return when the certificates in a file expire; warn about those that are not valid now."""
    from service.net.certificates import read_validities  # noqa: PLC0415 - imports ssl: see below

    try:
        found = read_validities(_read_pem(path))
    except (ValueError, IndexError):
        _log.warning("certificate dates unreadable", file=str(path))
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


def _read_pem(path: Path) -> bytes:
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


def _read_authorities(path: Path) -> bytes:
    """Return the file's content if it holds certificates. gRPC would fail later, and silently."""
    import ssl  # noqa: PLC0415 - only servers with TLS need it, and its import is slow

    content = _read_pem(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise FileUnusable(
            f"The file {path} has no certificates, or a damaged one: expected those of the "
            "authorities that sign the clients' certificates, in PEM."
        ) from error
    return content


def _check_pair(certificate: Path, key: Path) -> None:
    """Raise FileUnusable unless the key belongs to the certificate. gRPC would fail only later."""
    import ssl  # noqa: PLC0415 - as above

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=b"")
    except (ssl.SSLError, OSError) as error:
        raise FileUnusable(
            f"The certificate {certificate} and the key {key} do not belong together, or one of "
            "them is damaged. Expected a chain and its unencrypted private key, in PEM."
        ) from error
