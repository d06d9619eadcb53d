# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each way in which a message is looked at is needed: without it, an infected message passes a real clamd."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import outcomes
import pytest
from ambiguous_mail import GZIP, ambiguous, shown
from infected_mail import EICAR, HEAD, INFECTED, RAR, TEXT, ZIP, b64, evasions, multi, part
from sample_archives import BSDTAR
from sample_archives import MISSING as NO_BSDTAR

from mailgate.content import archive_scan, decodings, mime, readings, screen, transfer
from mailgate.content.policy import ContentPolicy

NEVER = re.compile(rb"(?!)")


def nothing(*_args: object, **_names: object) -> Any:
    return iter(())


def first(decode: Callable[[bytes], list[bytes]]) -> Callable[[bytes], list[bytes]]:
    return lambda body: decode(body)[:1]


def no_ambiguous(raw: bytes, root: mime.Part | None) -> Any:
    return iter(()) if root is None else decodings.suspicious_parts(raw, root)


def words_around(payload: bytes) -> bytes:
    return b"hello everybody\r\n\r\n" + b64(payload) + b"\r\n\r\nthis is all there is to say about it"


ZIPS = dict((*evasions(), *ambiguous(), *shown()))
RARS = dict((*evasions(RAR), *ambiguous(RAR)))
# Behind the last part, where clamd opens nothing.
BEHIND = HEAD + multi(TEXT)
HALF = len(EICAR) // 2
BROKEN = EICAR[:HALF] + b"=\r\n" + EICAR[HALF:]

# By name: what is switched off, and a message that needs it.
LOOKS: dict[str, tuple[list[tuple[Any, str, Any]], bytes]] = {
    "messages whose structure is ambiguous": (
        [(screen, "suspicious_parts", no_ambiguous)],
        ZIPS["multipart in base64"],
    ),
    "parts whose header is not plain": ([(mime, "is_plain", lambda *_: True)], ZIPS["encoding 2,000 blanks"]),
    "headers with long lines": (
        [(mime, "_MAX_HEADER_LINE", 1 << 30), (mime, "_PLAIN_FIELD", re.compile(rb"(?s).*"))],
        ZIPS["encoding 2,000 blanks"],
    ),
    "headers with a line of blanks": ([(mime, "_BLANK_LINE", NEVER)], ZIPS["encoding behind a folded blank line"]),
    "enclosed messages": ([(decodings, "_message", nothing)], RARS["inside b'message/news' in base64"]),
    "forwarded messages by their first field": (
        [(decodings, "_as_mail", nothing)],
        HEAD + multi(TEXT, b"Content-Type: message/rfc822\r\n\r\nX-Foo: x\r\n" + INFECTED),
    ),
    "charsets": ([(decodings, "_in_charsets", nothing)], ZIPS["charset utf-7"]),
    "control characters in quoted-printable": (
        [(decodings, "CONTROL", NEVER)],
        RARS["quoted-printable hard line ends b'mixed' b'text/plain'"],
    ),
    "soft breaks with blanks": ([(decodings, "_SOFT_BREAK", NEVER)], ZIPS["soft break b'= \\r\\n' b'mixed'"]),
    "base64 behind its padding": ([(decodings, "_AFTER_PADDING", NEVER)], ZIPS["base64 padding in the middle"]),
    "base64 in other ways": (
        [(module, "base64_decodings", first(transfer.base64_decodings)) for module in (decodings, transfer)],
        ZIPS["base64 padding in the middle"],
    ),
    "base64 for URLs": (
        [(decodings, "_is_url_safe", lambda *_: False)],
        HEAD + multi(TEXT, part(b64(GZIP).replace(b"+", b"-").replace(b"/", b"_"))),
    ),
    "uuencode": ([(readings, "_UU", NEVER)], RARS["uuencode in a text"]),
    "yEnc": ([(readings, "_YENC", NEVER)], ZIPS["yenc in a text"]),
    "files that are not encoded": ([(decodings, "as_files", nothing), (readings, "as_files", nothing)],
                                   ZIPS["as it is b'8bit' b'parallel'"]),
    "headers inside a text": ([(decodings, "_FIELD_LINE", NEVER)], b"\r\n" + multi(TEXT, part(b64(RAR, 32)))),
    "lines of base64 in a text": (
        [(decodings, "_CODED_TEXT", NEVER)],
        HEAD + multi(TEXT, TEXT + b"\r\n" + words_around(ZIP)),
    ),
    "what is behind the last part": ([(decodings, "_MINIMUM_SIZE", 1 << 30)], ZIPS["behind the end"]),
    "runs of base64": ([(readings, "_RUN", NEVER)], HEAD + multi(TEXT, TEXT + b"\r\n" + words_around(GZIP))),
    "base64 with words before it": (
        [(readings, "_SHIFTED_SIZE", -1)],
        BEHIND + TEXT + b"\r\nwxyz !" + b" ".join(re.findall(rb".{5}", b64(EICAR * 3, 5000))),
    ),
    "quoted-printable of a whole message": (
        [(readings, "_QUOTED", NEVER)],
        BEHIND + part(BROKEN, b"text/plain", b"quoted-printable"),
    ),
    "bodies": (
        [(readings, "bodies", nothing)],
        BEHIND + part(b64(GZIP, 32).replace(b"\r\n", b"!\r\n")),
    ),
    "what is encoded twice": ([(readings, "_MIME", NEVER)], ZIPS["multipart in base64"]),
    "RARs among the parts": ([(archive_scan, "suspects", nothing)], HEAD + multi(TEXT, part(b64(RAR)))),
    "RARs in other decodings": (
        [(archive_scan, "_in_decoding", lambda _data: [])],
        RARS["kind b'multipart/mixed; boundary=a; boundary=b'"],
    ),
}  # fmt: skip


async def passes(real_clamd, raw: bytes) -> bool:
    found = await outcomes.inspect_all(real_clamd.socket, [("sample", raw)], lambda name: name)
    return found.bad != []


@pytest.mark.skipif(not BSDTAR, reason=NO_BSDTAR)
@pytest.mark.parametrize("look", LOOKS)
async def test_without_a_look_a_message_passes_infected(real_clamd, monkeypatch, look):
    switched, raw = LOOKS[look]
    # Otherwise what one reading leaves damaged is stopped as unchecked, without any other look.
    policy = ContentPolicy(over_limits="refuse", unchecked="deliver")
    monkeypatch.setattr(outcomes, "RULES", replace(outcomes.RULES, policy=policy))
    assert not await passes(real_clamd, raw)
    for module, name, value in switched:
        monkeypatch.setattr(module, name, value)
    mime._cached_header.cache_clear()
    try:
        assert await passes(real_clamd, raw)
    finally:
        mime._cached_header.cache_clear()
