# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms of relay attempts: senders and recipients by which mail for a stranger's domain may pass a server. Pure.

Sources: the relay test of abuse.net, RFC 2505, the ORDB and MAPS tests, CVE-1999-0682 (encapsulated addresses of
Exchange), SRS (forged return paths), and the address syntaxes of RFC 733, 822, 1123 and 5321.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

STRANGER = "example.com"
"""A domain that exists but is nobody's (RFC 2606), so that a server cannot refuse it as unknown."""
USER = "mailgate-verify"

_NULL = "<>"

_STRANGERS = (
    ("plain address", "<{u}@{t}>"),
    ("upper case", "<{U}@{T}>"),
    ("without angle brackets", "{u}@{t}"),
    ("space before the bracket", " <{u}@{t}>"),
    ("final dot", "<{u}@{t}.>"),
    ("subdomain of the stranger that begins with ours", "<{u}@{d}.{t}>"),
    ("quoted local part", '<"{u}"@{t}>'),
    ("display name", '"{u}@{d}" <{u}@{t}>'),
    ("comment before the domain", "<{u}(@{d})@{t}>"),
    ("comment at the end", "<{u}@{t}(@{d})>"),
    ("comment at the start", "<(@{d}){u}@{t}>"),
    ("second address first", "<{u}@{d},{u}@{t}>"),
    ("IPv4 literal", "<{u}@[192.0.2.1]>"),
    ("IPv4 address without brackets", "<{u}@192.0.2.1>"),
    ("IPv6 literal", "<{u}@[IPv6:2001:db8::1]>"),
    ("decimal address", "<{u}@#3221225985>"),
    ("two at signs, ours first", "<{u}@{d}@{t}>"),
    ("no dot in the domain", "<{u}@{t0}>"),
    ("space after the address", "<{u}@{t} >"),
    ("tab before the stranger", "<{u}@{d}\t@{t}>"),
    ("backslash before the at sign", "<{u}\\@{d}@{t}>"),
    ("percent and empty domain", "<{u}%{t}@>"),
    ("source route through our domain", "<@{d}:{u}@{t}>"),
    ("source route through the server", "<@{h}:{u}@{t}>"),
    ("source route through the address", "<@{a}:{u}@{t}>"),
    ("source route through two hosts", "<@{d},@{h}:{u}@{t}>"),
    ("source route without at sign", "<{d}:{u}@{t}>"),
    ("source route through localhost", "<@localhost:{u}@{t}>"),
    ("protocol before the address", "<SMTP:{u}@{t}>"),
)
"""The recipient's domain is the stranger's in any reading."""
_HIDDEN = (
    ("second address in the brackets", "<{u}@{t},{u}@{d}>"),
    ("two at signs, ours last", "<{u}@{t}@{d}>"),
    ("two at signs, the server last", "<{u}@{t}@{h}>"),
    ("two at signs, the address last", "<{u}@{t}@{a}>"),
    ("quoted address at our domain", '<"{u}@{t}"@{d}>'),
    ("quoted address at the server", '<"{u}@{t}"@{h}>'),
    ("quoted address at the address", '<"{u}@{t}"@{a}>'),
    ("quoted address alone", '<"{u}@{t}">'),
    ("backslash at our domain", "<{u}\\@{t}@{d}>"),
    ("percent at our domain", "<{u}%{t}@{d}>"),
    ("percent at the server", "<{u}%{t}@{h}>"),
    ("percent at the address", "<{u}%{t}@{a}>"),
    ("percent at localhost", "<{u}%{t}@localhost>"),
    ("percent at the loopback address", "<{u}%{t}@[127.0.0.1]>"),
    ("percent alone", "<{u}%{t}>"),
    ("two percents", "<{u}%{t}%{d}@{h}>"),
    ("percent twice the stranger", "<{u}%{t}%{t}@{d}>"),
    ("quoted percent at our domain", '<"{u}%{t}"@{d}>'),
    ("quoted percent alone", '<"{u}%{t}">'),
    ("bang path", "<{t}!{u}>"),
    ("bang path at our domain", "<{t}!{u}@{d}>"),
    ("bang path at the server", "<{t}!{u}@{h}>"),
    ("bang path at the address", "<{t}!{u}@{a}>"),
    ("bang path through our domain", "<{d}!{t}!{u}>"),
    ("bang path through the server", "<{h}!{t}!{u}>"),
    ("quoted bang path at our domain", '<"{t}!{u}"@{d}>'),
    ("bang path and percent", "<{t}!{u}%{t}@{d}>"),
    ("bang path with two colons", "<{t0}::{u}@{d}>"),
    ("source route with percent", "<@{d}:{u}%{t}@{h}>"),
    ("Exchange encapsulation at our domain", "<IMCEASMTP-{u}+40{t}@{d}>"),
    ("Exchange encapsulation at the address", "<IMCEASMTP-{u}+40{t}@{a}>"),
    ("Exchange encapsulation in brackets", "<[SMTP:{u}@{t}]@{d}>"),
    ("forged SRS0 return path", "<SRS0=HHHH=TT={t}={u}@{d}>"),
    ("forged SRS1 return path", "<SRS1=HHHH={d}==HHHH=TT={t}={u}@{d}>"),
    ("hexadecimal at sign", "<{u}%40{t}@{d}>"),
    ("X.400 address", "</C=XX/A=RELAY/P={t0}/S={u}/@{d}>"),
)
"""The stranger's address is hidden in a local part at a domain or name of the server."""
_SENDERS = (
    ("null sender", "<>"),
    ("sender of the stranger", "<{u}@{t}>"),
    ("sender at our domain", "<{u}@{d}>"),
    ("postmaster at our domain", "<postmaster@{d}>"),
    ("sender at the server", "<{u}@{h}>"),
    ("sender at the address", "<{u}@{a}>"),
    ("sender at localhost", "<{u}@localhost>"),
    ("sender without a domain", "<{u}>"),
    ("root", "<root@{h}>"),
)


@dataclass(frozen=True, slots=True)
class Form:
    """An attempt: the arguments of MAIL FROM and RCPT TO.

    A server that accepts any user of its own domains may accept a `local` form without relaying.
    """

    name: str
    sender: str
    recipient: str
    local: bool


def literal(address: str) -> str:
    """Return an address as an address literal (RFC 5321, section 4.1.3)."""
    return f"[IPv6:{address}]" if ip_address(address).version == 6 else f"[{address}]"


def forms(domain: str, host: str, address: str, stranger: str = STRANGER) -> list[Form]:
    """Return all forms.

    Args:
        domain: A domain that the server accepts mail for.
        host: The name of the server.
        address: Its address.
        stranger: A domain that it must not accept mail for.
    """
    values = {
        "u": USER,
        "U": USER.upper(),
        "t": stranger,
        "T": stranger.upper(),
        "t0": stranger.partition(".")[0],
        "d": domain,
        "h": host,
        "a": literal(address),
    }
    found = [
        Form(name, _NULL, text.format(**values), local)
        for recipients, local in ((_STRANGERS, False), (_HIDDEN, True))
        for name, text in recipients
    ]
    plain = f"<{USER}@{stranger}>"
    # The first sender is that of all forms above.
    return found + [Form(name, sender.format(**values), plain, local=False) for name, sender in _SENDERS[1:]]
