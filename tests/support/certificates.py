"""Certificates for servers and clients on this machine, in files."""

import datetime as dt

import trustme


class Authority:
    """A certificate authority that writes its certificates into a directory."""

    def __init__(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._authority = trustme.CA()
        self.file = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def issue(self, name, *, expired=False):
        """Make a certificate for this machine, and return the files of it and its key."""
        ended = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        issued = self._authority.issue_cert(
            "127.0.0.1", "localhost", common_name=name, **({"not_after": ended} if expired else {})
        )
        certificate = self._directory / f"{name}.pem"
        key = self._directory / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def serve_with(self, name="server", **options):
        """Return the options of a server with a new certificate."""
        certificate, key = self.issue(name, **options)
        return "--tls-cert", str(certificate), "--tls-key", str(key)
