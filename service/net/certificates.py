"""Reads the validity periods of certificates.

Python's ssl module returns them only for certificates that it has verified, so never for an expired
one. A certificate is encoded in DER, where each value follows its tag and its length. The validity
is the fifth value of the certificate's first part. Source: RFC 5280, section 4.1.
"""

import re
import ssl
from datetime import UTC, datetime
from typing import NamedTuple

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL)

_VERSION, _UTC_TIME = 0xA0, 0x17


class Validity(NamedTuple):
    """The period in which a certificate is valid."""

    begins: datetime
    ends: datetime


def read_validities(pem: bytes) -> list[Validity]:
    """Return the validity of each certificate in a PEM file that OpenSSL has accepted."""
    return [
        _read_validity(ssl.PEM_cert_to_DER_cert(found.decode("ascii", "replace").strip()))
        for found in _PEM.findall(pem)
    ]


def _read_validity(der: bytes) -> Validity:
    _, certificate = _read_der_values(der)[0]
    _, to_be_signed = _read_der_values(certificate)[0]
    values = _read_der_values(to_be_signed)
    # The version is optional, with default 1.
    number = 4 if values[0][0] == _VERSION else 3
    begins, ends = (_parse_time(*each) for each in _read_der_values(values[number][1]))
    return Validity(begins, ends)


def _read_der_values(der: bytes) -> list[tuple[int, bytes]]:
    """Return the tag and the content of each of the consecutive values."""
    found = []
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length > 127:
            n = length & 127
            length = int.from_bytes(der[at : at + n], "big")
            at += n
        found.append((tag, der[at : at + length]))
        at += length
    return found


def _parse_time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    # Two digits stand for a year from 1950 to 2049.
    if tag == _UTC_TIME:
        text = ("19" if text >= "5" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
