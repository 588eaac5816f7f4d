"""From when to when certificates are valid.

Python's ssl module tells this of certificates that it has verified only, and so of no expired one.
A certificate is DER, in which each value follows its tag and its length: the validity is the fifth
value of a certificate's first part. Source: RFC 5280, section 4.1.
"""

import re
import ssl
from datetime import UTC, datetime
from typing import NamedTuple

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL)

_VERSION, _UTC_TIME = 0xA0, 0x17


class Validity(NamedTuple):
    """From when to when a certificate is valid."""

    begins: datetime
    ends: datetime


def validities(pem: bytes) -> list[Validity]:
    """Return the validity of each certificate in a PEM file that OpenSSL has accepted."""
    return [
        _validity(ssl.PEM_cert_to_DER_cert(found.decode("ascii", "replace").strip()))
        for found in _PEM.findall(pem)
    ]


def _validity(der: bytes) -> Validity:
    _, certificate = _values(der)[0]
    _, to_be_signed = _values(certificate)[0]
    values = _values(to_be_signed)
    # The version may be left out: then it is 1.
    number = 4 if values[0][0] == _VERSION else 3
    begins, ends = (_time(*each) for each in _values(values[number][1]))
    return Validity(begins, ends)


def _values(der: bytes) -> list[tuple[int, bytes]]:
    """Return the tag and the content of each value that follows another here."""
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


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    # Two digits are a year from 1950 to 2049.
    if tag == _UTC_TIME:
        text = ("19" if text >= "5" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
