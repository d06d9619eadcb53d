# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a message after its scan: passed on as it came, passed on without a part of it, or stopped."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from mailgate.archives import archive
from mailgate.config import Attachments
from mailgate.content import attachments, mime, rar_scan
from mailgate.content.attachments import Violation
from mailgate.content.decodings import TooComplexError, suspicious_parts, sweep
from mailgate.content.notices import Notice, Removal, plain
from mailgate.content.policy import ContentPolicy, strictest_word
from mailgate.scan.clamd import AS_MAIL, CLEAN, Finding, ScanCall, ScanError, Verdict
from mailgate.smtp.reply import Reply

Violations = dict[mime.Part | None, tuple[str, Violation]]

# Smaller messages are taken apart right here, larger ones in a thread.
_LOOK_HERE = 64 * 1024


@dataclass(frozen=True)
class Rules:
    """How one message is judged: `number` is what the quarantine would keep it by."""

    policy: ContentPolicy
    attachments: Attachments
    notice: Notice
    max_parts: int = 100
    number: str = ""


@dataclass(frozen=True)
class ContentDecision:
    """What to do with a message.

    `action` is deliver (the octets in `content`), refuse (by `refusal`) or discard; `keep` says that the quarantine is
    to have it as it came. `found` is what scans found, `concern` what the policy on attachments says, `removed` the
    names of what was taken out, and `header` a field to put on top.
    """

    action: str
    content: bytes = b""
    refusal: Reply | None = None
    keep: bool = False
    found: Verdict = CLEAN
    violation: Violation | None = None
    removed: tuple[str, ...] = ()
    header: bytes = b""
    reason: str = ""

    @property
    def removal(self) -> Removal:
        """Why something was removed or stopped."""
        if self.found.finding is Finding.CLEAN and self.violation:
            return Removal("attachment", self.violation.what)
        kind = "encrypted" if self.found.finding is Finding.ENCRYPTED else "infected"
        return Removal(kind, self.found.name)


async def screen(content: bytes, scan: ScanCall, rules: Rules) -> ContentDecision:
    """Scan `content` whole and judge it; raises ScanError when there is no verdict: nothing passes unscanned."""
    root, ambiguous = _walk(content)
    found = await scan((AS_MAIL, content))
    if found.finding is Finding.CLEAN:
        found = await _second_look(content, root, scan, rules.policy)
    violations = await _concerns(content, root, rules) if rules.policy.minds_attachments else {}
    action, violation = _action(found, violations, rules.policy)
    if action == "defer":
        raise ScanError(f"over the scanner's limits: {found.name}")
    if action in ("deliver", "discard", "allow"):
        passed = action != "discard"
        return ContentDecision(
            "deliver" if passed else "discard", content if passed else b"", found=found, violation=violation, reason=""
        )
    if action == "refuse" or root is None:
        return _refuse(found, violation, "policy" if action == "refuse" else ambiguous)
    try:
        return await _without(
            content, root, scan, rules, found=found, violations=violations, kept=action == "quarantine"
        )
    except mime.AmbiguousError as error:
        return _refuse(found, violation, str(error))


async def _without(
    content: bytes,
    root: mime.Part,
    scan: ScanCall,
    rules: Rules,
    *,
    found: Verdict,
    violations: Violations,
    kept: bool,
) -> ContentDecision:
    """The message without what is not to pass, scanned again; raises AmbiguousError."""
    removals = {
        part: Removal("attachment", first.what) for part, (_action, first) in violations.items() if part is not None
    }
    if rules.policy.on(found.finding) != "deliver":
        removals.update(await _blame(content, root, scan, rules))
    stripped = _strip(content, root, removals, rules, kept=kept)
    again = await scan((AS_MAIL, stripped))
    if again.finding is Finding.CLEAN:
        again = await _second_look(stripped, _walk(stripped)[0], scan, rules.policy)
    if rules.policy.on(again.finding) != "deliver":
        raise mime.AmbiguousError(f"still {again.finding.value} without its infected parts: {again.name}")
    return ContentDecision(
        "deliver",
        stripped,
        keep=kept,
        found=found,
        violation=next((violation for _action, violation in violations.values()), None),
        removed=tuple(part.filename for part in removals),
        header=_broken(mime.broken_signatures(content, root, removals)),
    )


def _walk(content: bytes) -> tuple[mime.Part | None, str]:
    """The message's parts, or None and why not."""
    try:
        return mime.walk(content), ""
    except mime.AmbiguousError as error:
        return None, str(error)


async def _second_look(content: bytes, root: mime.Part | None, scan: ScanCall, policy: ContentPolicy) -> Verdict:
    small = len(content) <= _LOOK_HERE
    if suspects := rar_scan.suspects(content, root):
        packed = rar_scan.archives(content, suspects)
        verdict = await rar_scan.scan_all(packed if small else await asyncio.to_thread(list, packed), scan, policy)
        if policy.on(verdict.finding) != "deliver":
            return verdict
    places = list(suspicious_parts(content, root))
    if not places:
        return CLEAN
    found = itertools.chain.from_iterable(place() for place in places)
    try:
        # One at a time, as each may be as large as the message.
        while (octets := next(found, None) if small else await asyncio.to_thread(next, found, None)) is not None:
            verdict = await scan((octets,))
            if verdict.finding is Finding.CLEAN:
                verdict = await rar_scan.scan_reading(octets, scan, policy)
            if policy.on(verdict.finding) != "deliver":
                return verdict
    except TooComplexError:
        return Verdict(Finding.OVER_LIMITS, "Mailgate.TooManyReadings")
    return CLEAN


def _action(found: Verdict, violations: Violations, policy: ContentPolicy) -> tuple[str, Violation | None]:
    """The strictest action for all that there is, and the violation that asks for it."""
    words = [policy.on(found.finding), *(action for action, _concern in violations.values())]
    action = strictest_word(words)
    violation = next((violation for word, violation in violations.values() if word == action), None)
    return action, violation


async def _concerns(content: bytes, root: mime.Part | None, rules: Rules) -> Violations:
    """What the policy on attachments does not let pass, by part (None: somewhere in an ambiguous message)."""
    if len(content) <= _LOOK_HERE:
        with contextlib.suppress(archive.MustWaitError):
            return _look(content, root, rules, wait=False)
    return await asyncio.to_thread(_look, content, root, rules, wait=True)


def _look(content: bytes, root: mime.Part | None, rules: Rules, *, wait: bool) -> Violations:
    files: list[tuple[mime.Part | None, tuple[str, ...], bytes]]
    if root is None:
        files = [(None, (), octets) for octets in sweep(content)]
    else:
        leaves = [part for leaf in root.leaves() for part in (leaf, *_blocks(content, leaf))]
        files = [(leaf, leaf.names, leaf.decoded(content)) for leaf in leaves]
    minded = {}
    for part, names, octets in files:
        found = attachments.violations(names, octets, rules.attachments, wait=wait)
        action, violation = attachments.worst(found, rules.policy)
        if violation and action != "allow":
            minded[part] = (action, violation)
    return minded


def _blocks(content: bytes, leaf: mime.Part) -> list[mime.Part]:
    """Blocks of uuencode in a text that is not encoded itself."""
    if leaf.encoding not in mime.IDENTITY or not leaf.type.startswith("text/"):
        return []
    return mime.uu_blocks(content, leaf.body, leaf.end, leaf.charset)


async def _blame(content: bytes, root: mime.Part, scan: ScanCall, rules: Rules) -> dict[mime.Part, Removal]:
    """The parts that are infected by themselves.

    Raises AmbiguousError when a part is to be refused, or when no single part is to blame.
    """
    leaves = list(root.leaves())
    if len(leaves) > rules.max_parts:
        raise mime.AmbiguousError(f"more than {rules.max_parts} parts")
    guilty: dict[mime.Part, Removal] = {}
    for leaf in leaves:
        if leaf.start == leaf.end:
            continue
        verdict = await _worst_reading(content, leaf, scan, rules.policy)
        if verdict is None:
            continue
        blocks = {
            block: _removal(wrong)
            for block in _blocks(content, leaf)
            if (wrong := await _worst_reading(content, block, scan, rules.policy))
        }
        if not blocks and leaf is root:
            raise mime.AmbiguousError(f"the message is one part, and {verdict.finding.value}")
        guilty.update(blocks or {leaf: _removal(verdict)})
    if not guilty:
        raise mime.AmbiguousError("no single part is to blame")
    return guilty


async def _worst_reading(content: bytes, part: mime.Part, scan: ScanCall, policy: ContentPolicy) -> Verdict | None:
    """What is wrong with a part, read in each way that it may be; None if nothing is."""
    raw = content[part.start : part.end]
    ways = [(part.decoded(content),), (AS_MAIL, raw)]
    if part.encoding == "base64":
        ways += [(octets,) for octets in mime.base64_decodings(content[part.body : part.end])[1:]]
    if part.type.startswith("message/"):
        ways.append((AS_MAIL, part.decoded(content)))
    for pieces in ways:
        verdict = await scan(pieces)
        if verdict.finding is Finding.CLEAN:
            verdict = await rar_scan.scan_reading(b"".join(pieces), scan, policy)
        action = policy.on(verdict.finding)
        if action == "defer":
            raise ScanError(f"a part is over the scanner's limits: {verdict.name}")
        if action == "refuse":
            raise mime.AmbiguousError(f"a part is {verdict.finding.value}: {verdict.name}")
        if action != "deliver":
            return verdict
    return None


def _removal(verdict: Verdict) -> Removal:
    return Removal("encrypted" if verdict.finding is Finding.ENCRYPTED else "infected", verdict.name)


def _strip(content: bytes, root: mime.Part, removals: dict[mime.Part, Removal], rules: Rules, *, kept: bool) -> bytes:
    """The message with a notice in each removed part's place."""
    number = rules.number if kept else ""
    notices = {}
    for part, removal in removals.items():
        if part is root:
            raise mime.AmbiguousError("the message is one part")
        if any(other is not part and other.start <= part.start and part.end <= other.end for other in removals):
            continue
        if part.in_text:
            notices[part] = rules.notice.block(removal, part.filename, part.charset, number)
        else:
            notices[part] = rules.notice.part(removal, part.filename, number)
    return mime.replace(content, notices)


def _broken(signatures: Sequence[str]) -> bytes:
    if not signatures:
        return b""
    return f"X-Mailgate-Signature-Broken: {', '.join(signatures)} (a part of this message was removed)\r\n".encode()


def _refuse(found: Verdict, violation: Violation | None, reason: str) -> ContentDecision:
    text = {
        Finding.CLEAN: "Attachment not accepted here",
        Finding.INFECTED: "Message infected",
        Finding.ENCRYPTED: "Message holds encrypted content that cannot be checked",
        Finding.OVER_LIMITS: "Message is too complex to be checked",
    }[found.finding]
    name = found.name if found.finding is not Finding.CLEAN else str(violation)
    ascii_name = plain(name).encode("ascii", "replace").decode()
    return ContentDecision(
        "refuse", refusal=Reply.of(554, f"5.7.0 {text}: {ascii_name}"), found=found, violation=violation, reason=reason
    )
