# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dates and names of a certificate (RFC 5280) in DER form; the ssl module decodes trusted certificates only. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

_SEQUENCE, _UTC_TIME, _OID, _CONTEXT_3 = 0x30, 0x17, 0x06, 0xA3
_COMMON_NAME = bytes.fromhex("550403")
_ALT_NAME = bytes.fromhex("551d11")
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_LONG, _LENGTHS = 0x80, 4


class CertificateError(ValueError):
    """The bytes are not a certificate."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a client compares: validity in seconds since 1970, and names; the common name only without others."""

    not_before: int
    not_after: int
    names: tuple[str, ...]
    issuer: str

    def matches(self, host: str) -> bool:
        """Return whether the certificate is for a host name (RFC 9525, section 6.3)."""
        wanted = host.lower().rstrip(".")
        parent = wanted.partition(".")[2]
        return any(name == wanted or (name.startswith("*.") and parent == name[2:]) for name in self.names)


def read(der: bytes) -> Certificate:
    """Return the dates and names of a certificate.

    Raises:
        CertificateError: The bytes are something else.
    """
    try:
        certificate = _content(_elements(der), _SEQUENCE)
        parts = list(_elements(_content(_elements(certificate), _SEQUENCE)))
        if parts[0][0] == 0xA0:  # the version
            del parts[0]
        issuer, validity, subject = parts[2][1], parts[3][1], parts[4][1]
        before, after = (_time(tag, value) for tag, value in _elements(validity))
        names = [name for tag, value in parts[6:] if tag == _CONTEXT_3 for name in _alternatives(value)]
        return Certificate(before, after, tuple(names or _common_names(subject)), ", ".join(_common_names(issuer)))
    except (IndexError, ValueError, StopIteration) as error:
        raise CertificateError(f"not a certificate: {error or type(error).__name__}") from error


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element (ITU-T X.690)."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length >= _LONG:
            count = length - _LONG
            if not 0 < count <= _LENGTHS:
                raise CertificateError(f"a length of {count} bytes")
            length, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + length > len(data):
            raise CertificateError("an element ends after the certificate")
        yield tag, data[at : at + length]
        at += length


def _content(elements: Iterator[tuple[int, bytes]], wanted: int) -> bytes:
    tag, content = next(elements)
    if tag != wanted:
        raise CertificateError(f"tag {tag:#x} in place of {wanted:#x}")
    return content


def _time(tag: int, value: bytes) -> int:
    """Return a time in seconds since 1970; two digits of a year are 1950 to 2049."""
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return int(datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC).timestamp())


def _common_names(name: bytes) -> list[str]:
    found = []
    for _tag, relative in _elements(name):
        for _inner, attribute in _elements(relative):
            (tag, kind), (_text, value) = list(_elements(attribute))[:2]
            if tag == _OID and kind == _COMMON_NAME:
                found.append(value.decode("utf-8", "replace").lower())
    return found


def _alternatives(extensions: bytes) -> Iterator[str]:
    """Yield the DNS names and addresses of the extension subjectAltName."""
    for _tag, extension in _elements(_content(_elements(extensions), _SEQUENCE)):
        parts = list(_elements(extension))
        if parts[0][1] != _ALT_NAME:
            continue
        for tag, value in _elements(_content(_elements(parts[-1][1]), _SEQUENCE)):
            if tag == _DNS_NAME:
                yield value.decode("ascii", "replace").lower()
            elif tag == _IP_ADDRESS:
                yield str(ip_address(value))
