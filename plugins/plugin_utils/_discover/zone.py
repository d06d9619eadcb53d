# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the mail-related records of zones from files or by transfer, with dnspython."""

from __future__ import annotations

import base64
import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

from .discover import ZoneData

try:
    import dns.exception
    import dns.message
    import dns.name
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.tsig
    import dns.xfr
    import dns.zone

    HAS_DNSPYTHON = True
except ImportError:
    HAS_DNSPYTHON = False

ALGORITHMS = ("hmac-sha256", "hmac-sha512", "hmac-sha384", "hmac-sha224", "hmac-sha1", "hmac-md5")

_KEY = re.compile(r'\bkey\s+"?([^\s"{;]+)"?\s*\{(.*?)\}\s*;', re.DOTALL)
_CLAUSE = re.compile(r'\b(algorithm|secret)\s+"?([^\s";]+)"?\s*;')
_HIGH = re.compile(r"\\?([\x80-\xff])")
_COMMENT = re.compile(r"/\*.*?\*/|(?://|#)[^\n]*", re.DOTALL)


class ReadError(Exception):
    """A zone or key cannot be read; the text says why and how to fix it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A TSIG key (RFC 8945); ``secret`` is in base64, and not shown."""

    name: str
    algorithm: str
    secret: str

    def __repr__(self) -> str:
        return f"Key({self.name!r}, {self.algorithm!r})"


def read_key(text: str) -> Key:
    """Return the key of a file in BIND's syntax, as `tsig-keygen` writes it. Raises ReadError."""
    found = _KEY.findall(_uncommented(text))
    if len(found) != 1:
        raise ReadError(f"has {len(found)} keys; it must have one, as tsig-keygen writes it")
    name, body = found[0]
    values = dict(_CLAUSE.findall(body))
    if values.keys() != {"algorithm", "secret"}:
        raise ReadError(f"key {name} needs an algorithm and a secret, as tsig-keygen writes them")
    return Key(name, values["algorithm"].lower(), values["secret"])


def _uncommented(text: str) -> str:
    # A secret in quotes may hold //, as base64 does.
    parts = re.split(r'("[^"\n]*")', text)
    return "".join(part if part.startswith('"') else _COMMENT.sub(" ", part) for part in parts)


def parse(text: str, zone: str, path: str = "the text") -> ZoneData:
    """Return the data of a zone file. ``$INCLUDE`` is relative to the current directory. Raises ReadError."""
    try:
        with io.StringIO(text) as stream:
            read = dns.zone.from_file(stream, zone, relativize=False, filename=path)
    except dns.zone.BadZone as error:
        raise ReadError(f"{path} is not a valid zone file of {zone}: {error.__doc__ or error}") from None
    except (dns.exception.DNSException, ValueError, KeyError) as error:
        raise ReadError(f"{path} cannot be read: {error}") from None
    except OSError as error:
        raise ReadError(
            f"{path}: $INCLUDE {error.filename}: {error.strerror}. Copy it to the directory of the zone file"
        ) from None
    return extract(read, zone)


def read_file(path: Path, zone: str) -> ZoneData:
    """Return the data of a zone file; ``$INCLUDE`` is relative to its directory. Raises ReadError."""
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror}") from None
    # Bytes above ASCII are escaped, because dnspython would read them as Unicode.
    text = _HIGH.sub(lambda match: f"\\{ord(match[1]):03d}", text)
    with contextlib.chdir(path.parent):
        return parse(text, zone, str(path))


def transfer(zone: str, address: str, port: int, key: Key | None, seconds: float) -> ZoneData:
    """Return the data of a zone transferred (AXFR over TCP, RFC 5936) within so many seconds. Raises ReadError."""
    read = dns.zone.Zone(dns.name.from_text(zone), relativize=False)
    try:
        query = _query(read, key)
        dns.query.inbound_xfr(address, read, query, port=port, timeout=seconds, lifetime=seconds)
    except dns.xfr.TransferError as error:
        raise ReadError(_refusal(error.rcode, key)) from None
    except dns.tsig.PeerBadTime:
        raise ReadError("the clocks of the server and this machine differ: synchronize them") from None
    except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.message.UnknownTSIGKey) as error:
        named = f"key {key.name}" if key else "no key"
        raise ReadError(f"with {named}: {error}. Name, algorithm and secret must be those of the server") from None
    except dns.exception.Timeout:
        raise ReadError(f"no answer within {seconds:g} s: check that TCP to its port is open from here") from None
    except EOFError:
        raise ReadError("the server closed the connection during the transfer") from None
    except (OSError, dns.exception.DNSException, ValueError) as error:
        raise ReadError(f"{error or type(error).__name__}") from None
    return extract(read, zone)


def _query(zone: dns.zone.Zone, key: Key | None) -> dns.message.Message:
    if key is None:
        return dns.xfr.make_query(zone, serial=None)[0]
    name = dns.name.from_text(key.name)
    algorithm = dns.tsig.HMAC_MD5 if key.algorithm == "hmac-md5" else dns.name.from_text(key.algorithm)
    try:
        ring = {name: dns.tsig.Key(name, base64.b64decode(key.secret, validate=True), algorithm)}
    except ValueError:
        raise ReadError(f"the secret of key {key.name} is not valid base64") from None
    return dns.xfr.make_query(zone, serial=None, keyring=ring, keyname=name, keyalgorithm=algorithm)[0]


def _refusal(code: dns.rcode.Rcode, key: Key | None) -> str:
    rcode = dns.rcode.to_text(code)
    if code == dns.rcode.REFUSED:
        who = f"key {key.name}" if key else "the address of this machine, or a key,"
        return f"the server refuses the transfer ({rcode}): add {who} to its allow-transfer"
    if code == dns.rcode.NOTAUTH:
        return f"the server is not authoritative for this zone, or rejects this key ({rcode})"
    return f"the server answers {rcode}"


def extract(read: dns.zone.Zone, zone: str) -> ZoneData:
    """Return the mail-related records of a dnspython zone with absolute names."""
    mx: dict[str, list[tuple[int, str]]] = {}
    addresses: dict[str, list[str]] = {}
    aliases: dict[str, str] = {}
    cuts: dict[str, list[str]] = {}
    for name, records in read.iterate_rdatasets():
        owner = _text(name)
        if records.rdtype == dns.rdatatype.MX:
            mx[owner] = sorted((record.preference, _text(record.exchange)) for record in records)
        elif records.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            addresses[owner] = sorted([*addresses.get(owner, []), *(record.address for record in records)])
        elif records.rdtype == dns.rdatatype.CNAME:
            aliases[owner] = _text(records[0].target)
        elif records.rdtype == dns.rdatatype.NS and owner != zone:
            cuts[owner] = sorted(_text(record.target) for record in records)
    return ZoneData(zone, mx, addresses, aliases, cuts)


def _text(name: dns.name.Name) -> str:
    return name.canonicalize().to_text(omit_final_dot=True) if name != dns.name.root else ""
