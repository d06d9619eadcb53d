# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a message after its scan: passed on as it came, passed on without what is infected, or refused."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.header import decode_header, make_header

from mailgate import mime
from mailgate.clamd import CLEAN, Finding, ScanError, Verdict
from mailgate.config import Scan
from mailgate.reply import Reply

ScanCall = Callable[[Sequence[bytes]], Awaitable[Verdict]]

# clamd takes octets for mail, and takes them apart, only if it knows their first header field. This one it knows.
AS_MAIL = b"Received: from mailgate\r\n"

_NOTICES = {
    "en": {
        Finding.INFECTED: "The attachment {file} was infected ({name}). The mail gateway {host} has removed it."
        " The rest of this message is as it was sent.",
        Finding.ENCRYPTED: "The attachment {file} is encrypted and could not be checked for viruses ({name})."
        " The mail gateway {host} has removed it. The rest of this message is as it was sent.",
    },
    "ja": {
        Finding.INFECTED: "添付ファイル {file} はウイルスに感染していたため ({name})、メールゲートウェイ {host}"
        " が取り除きました。このメールの他の部分は送信されたままです。",
        Finding.ENCRYPTED: "添付ファイル {file} は暗号化されていてウイルス検査ができないため ({name})、"
        "メールゲートウェイ {host} が取り除きました。このメールの他の部分は送信されたままです。",
    },
}
_NO_NAME = {"en": "(without a name)", "ja": "(名前なし)"}


@dataclass(frozen=True)
class Judgement:
    """The octets to pass on, or the reply that refuses them; `found` is what the scan of the whole message found."""

    content: bytes = b""
    refusal: Reply | None = None
    found: Verdict = CLEAN
    removed: tuple[str, ...] = ()
    reason: str = ""


async def screen(content: bytes, scan: ScanCall, settings: Scan, *, language: str, hostname: str) -> Judgement:
    """Scan `content` whole and judge it; raises ScanError when there is no verdict: nothing passes unscanned."""
    found = await scan((AS_MAIL, content))
    policy = _policy(found, settings)
    if policy == "deliver":
        return Judgement(content, found=found)
    if policy == "defer":
        raise ScanError(f"over the scanner's limits: {found.name}")
    if policy == "refuse":
        return _refuse(found, "policy")
    try:
        stripped, removed = await _strip(content, scan, settings, language=language, hostname=hostname)
    except mime.AmbiguousError as error:
        return _refuse(found, str(error))
    again = await scan((AS_MAIL, stripped))
    if _policy(again, settings) != "deliver":
        return _refuse(found, f"still {again.finding.value} without its infected parts: {again.name}")
    return Judgement(stripped, found=found, removed=removed)


def _policy(verdict: Verdict, settings: Scan) -> str:
    return {
        Finding.CLEAN: "deliver",
        Finding.INFECTED: settings.infected,
        Finding.ENCRYPTED: settings.encrypted,
        Finding.OVER_LIMITS: settings.over_limits,
    }[verdict.finding]


def _refuse(found: Verdict, reason: str) -> Judgement:
    text = {
        Finding.INFECTED: "Message infected",
        Finding.ENCRYPTED: "Message holds encrypted content that cannot be checked",
        Finding.OVER_LIMITS: "Message is too complex to be checked",
    }[found.finding]
    return Judgement(refusal=Reply.of(554, f"5.7.0 {text}: {_plain(found.name)}"), found=found, reason=reason)


async def _strip(
    content: bytes, scan: ScanCall, settings: Scan, *, language: str, hostname: str
) -> tuple[bytes, tuple[str, ...]]:
    """The message with a notice in each infected part's place, and the names of those parts.

    Raises AmbiguousError when the structure is, or when no single part is to blame.
    """
    root = mime.walk(content)
    leaves = list(root.leaves())
    if leaves == [root]:
        raise mime.AmbiguousError("the message is one part, and infected")
    if len(leaves) > settings.max_parts:
        raise mime.AmbiguousError(f"more than {settings.max_parts} parts")
    notices: dict[mime.Part, bytes] = {}
    for leaf in leaves:
        if leaf.start == leaf.end:
            continue
        for pieces in ((leaf.decoded(content),), (AS_MAIL, content[leaf.start : leaf.end])):
            verdict = await scan(pieces)
            policy = _policy(verdict, settings)
            if policy == "defer":
                raise ScanError(f"a part is over the scanner's limits: {verdict.name}")
            if policy == "refuse":
                raise mime.AmbiguousError(f"a part is {verdict.finding.value}: {verdict.name}")
            if policy == "strip":
                notices[leaf] = notice(verdict, leaf.filename, language=language, hostname=hostname)
                break
    if not notices:
        raise mime.AmbiguousError("no single part is to blame")
    return mime.replace(content, notices), tuple(leaf.filename for leaf in notices)


def notice(verdict: Verdict, filename: str, *, language: str, hostname: str) -> bytes:
    """A text part that tells the recipient what was removed, in `language` first and in the other one below."""
    paragraphs = []
    for code in sorted(_NOTICES, key=lambda code: code != language):
        file = _plain(_readable(filename)) or _NO_NAME[code]
        paragraphs.append(_NOTICES[code][verdict.finding].format(file=file, name=_plain(verdict.name), host=hostname))
    text = "\r\n\r\n".join(paragraphs) + "\r\n"
    body = base64.encodebytes(text.encode("utf-8")).replace(b"\n", b"\r\n")
    return (
        b"Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: inline\r\n\r\n" + body.removesuffix(b"\r\n")
    )


def _readable(filename: str) -> str:
    """A file name that may be written as RFC 2047 encoded words."""
    try:
        return str(make_header(decode_header(filename)))
    except (ValueError, LookupError):
        return filename


def _plain(text: str) -> str:
    """A name out of a message, fit for one line of text."""
    return "".join(character if character.isprintable() else "?" for character in text)[:100]
