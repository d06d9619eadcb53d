# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decision on a message's content: deliver it as it is, deliver it without some parts, or stop it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from mailgate.archives.unpacker import OWN, Unpacker, UnpackerError
from mailgate.config import Attachments
from mailgate.content import archive_scan, attachments, mime
from mailgate.content.archive_scan import Scans
from mailgate.content.attachments import Violation
from mailgate.content.decodings import of_leaf, suspicious_parts
from mailgate.content.notices import Notice, Removal, plain
from mailgate.content.policy import ContentPolicy, strictest_action
from mailgate.content.readings import TooComplexError, all_decodings, distinct
from mailgate.scan.clamd import AS_MAIL, CLEAN, Finding, ScanCall, ScanError, Verdict
from mailgate.smtp.reply import Reply

# The action for a part and the violation that calls for it; the part is None in an ambiguous message.
Violations = dict[mime.Part | None, tuple[str, Violation]]

# Messages up to this size are parsed in the event loop, larger ones in a thread.
_INLINE_SIZE = 64 * 1024
# Messages up to this size are searched for archives in the event loop.
_INLINE_SEARCH = 1024 * 1024
# Messages up to this size are decoded in the event loop in other ways than by their headers; there may be thousands.
_INLINE_DECODING = 8 * 1024


@dataclass(frozen=True)
class Rules:
    """What the decision on one message depends on; `number` is its number in the quarantine if it is kept."""

    policy: ContentPolicy
    attachments: Attachments
    notice: Notice
    max_parts: int = 100
    number: str = ""
    unpacker: Unpacker = OWN


@dataclass(frozen=True)
class ContentDecision:
    """What to do with a message.

    Attributes:
        action: deliver, refuse or discard.
        content: The message to deliver.
        refusal: The reply to the client, if the action is refuse.
        keep: Whether to keep the original message in the quarantine.
        found: What the scans found.
        violation: What violates the policy on attachments.
        removed: File names of the removed parts.
        header: A field to add at the top.
        reason: Why nothing was removed from a message that is refused.
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
        """Why a part was removed or the message was stopped."""
        if self.found.finding is Finding.CLEAN and self.violation:
            return Removal("attachment", self.violation.what)
        return _removal(self.found)


async def screen(content: bytes, clamd: ScanCall, rules: Rules) -> ContentDecision:
    """Scan the whole of `content`, by `clamd` and by the unpacker, and return the decision.

    Raises:
        ScanError: There is no verdict. Nothing passes unscanned.
    """
    scan = Scans(clamd, rules.unpacker)
    root, ambiguous = _walk(content)
    found = await _verdict(content, root, scan, rules.policy)
    violations = await _violations(content, root, rules) if rules.policy.checks_attachments else {}
    action, violation = _action(found, violations, rules.policy)
    if action == "defer":
        raise ScanError(f"message exceeds scanner limits: {found.name}")
    if action == "discard":
        return ContentDecision("discard", found=found, violation=violation)
    if action in ("deliver", "allow"):
        return ContentDecision("deliver", content, found=found, violation=violation)
    if action == "refuse" or root is None:
        return _refuse(found, violation, "policy" if action == "refuse" else ambiguous)
    try:
        return await _remove_parts(
            content, root, scan, rules, found=found, violations=violations, keep=action == "quarantine"
        )
    except mime.AmbiguousError as error:
        return _refuse(found, violation, str(error))


async def _remove_parts(
    content: bytes,
    root: mime.Part,
    scan: Scans,
    rules: Rules,
    *,
    found: Verdict,
    violations: Violations,
    keep: bool,
) -> ContentDecision:
    """Remove what must not pass and scan the rest again; raise AmbiguousError if that is not possible."""
    removals = {
        part: Removal("attachment", first.what) for part, (_action, first) in violations.items() if part is not None
    }
    if rules.policy.action_for(found.finding) != "deliver":
        try:
            located = await _locate_infected(content, root, scan, rules)
        except TooComplexError:
            raise mime.AmbiguousError("too many ways to decode a part") from None
        removals.update((part, _removal(verdict)) for part, verdict in located.items())
        keep = keep or any(rules.policy.action_for(verdict.finding) == "quarantine" for verdict in located.values())
    stripped = _strip(content, root, removals, rules, keep=keep)
    verdict = await _verdict(stripped, _walk(stripped)[0], scan, rules.policy)
    if rules.policy.action_for(verdict.finding) != "deliver":
        raise mime.AmbiguousError(f"still {verdict.finding.value} without its infected parts: {verdict.name}")
    return ContentDecision(
        "deliver",
        stripped,
        keep=keep,
        found=found,
        violation=next((violation for _action, violation in violations.values()), None),
        removed=tuple(part.filename for part in removals),
        header=_signature_header(mime.broken_signatures(content, root, removals)),
    )


def _walk(content: bytes) -> tuple[mime.Part | None, str]:
    """Return the tree of parts, or None and why the structure is ambiguous."""
    try:
        return mime.walk(content), ""
    except mime.AmbiguousError as error:
        return None, str(error)


async def _verdict(content: bytes, root: mime.Part | None, scan: Scans, policy: ContentPolicy) -> Verdict:
    """Return the verdict on a whole message: clamd's, or what is found in places that clamd does not open."""
    search = partial(archive_scan.suspects, content, root)
    # A thread searches a large message while clamd scans it: the event loop would stand still for 0.5 ms per megabyte.
    searching = asyncio.ensure_future(asyncio.to_thread(search)) if len(content) > _INLINE_SEARCH else None
    try:
        found = await scan((AS_MAIL, content))
        if policy.action_for(found.finding) != "deliver":
            return found
        suspects = await searching if searching else search()
    finally:
        if searching:
            searching.cancel()
    hidden = await _rescan(content, root, suspects, scan, policy)
    return found if hidden.finding is Finding.CLEAN else hidden


async def _rescan(
    content: bytes, root: mime.Part | None, suspects: Sequence[mime.Part], scan: Scans, policy: ContentPolicy
) -> Verdict:
    """Scan what clamd does not open: files in archives, and alternative decodings."""
    inline = len(content) <= _INLINE_SIZE
    if suspects:
        archives = archive_scan.archives(content, suspects)
        verdict = await scan.archives(archives if inline else await asyncio.to_thread(list, archives), policy)
        if policy.action_for(verdict.finding) != "deliver":
            return verdict
    suspicious = list(suspicious_parts(content, root))
    if not suspicious:
        return CLEAN
    decodings = distinct(suspicious, len(content))
    held: list[archive_scan.Held] = []
    try:
        # One at a time, as each may be as large as the message.
        while data := await _next(decodings, content):
            verdict = await scan((data,))
            if policy.action_for(verdict.finding) == "deliver":
                verdict = await scan.alternative(data, policy, held)
            if policy.action_for(verdict.finding) != "deliver":
                return verdict
    except TooComplexError:
        return Verdict(Finding.OVER_LIMITS, "Mailgate.TooManyDecodings")
    return scan.cut(held, policy)


async def _next(decodings: Iterator[bytes], content: bytes) -> bytes | None:
    """Return the next decoding of the message, or None; decoding may take long."""
    return next(decodings, None) if len(content) <= _INLINE_DECODING else await asyncio.to_thread(next, decodings, None)


def _action(found: Verdict, violations: Violations, policy: ContentPolicy) -> tuple[str, Violation | None]:
    """Return the strictest action for the finding and the violations, and the first violation that calls for it."""
    action = strictest_action(
        [policy.action_for(found.finding), *(needed for needed, _violation in violations.values())]
    )
    violation = next((violation for needed, violation in violations.values() if needed == action), None)
    return action, violation


async def _violations(content: bytes, root: mime.Part | None, rules: Rules) -> Violations:
    """Return what violates the policy on attachments, by part."""
    inline = len(content) <= _INLINE_SIZE
    result: Violations = {}
    files = _files(content, root) if inline else await asyncio.to_thread(_files, content, root)
    try:
        for part, names, data in files:
            found = [
                violation async for violation in attachments.violations(names, data, rules.attachments, rules.unpacker)
            ]
            action, first = attachments.strictest_violation(found, rules.policy)
            if first and action != "allow":
                result[part] = (action, first)
    except UnpackerError as error:
        raise ScanError(str(error)) from error
    return result


def _files(content: bytes, root: mime.Part | None) -> list[tuple[mime.Part | None, tuple[str, ...], bytes]]:
    """Return the files of a message: the part, its names and its decoded content."""
    if root is None:
        found: list[tuple[mime.Part | None, tuple[str, ...], bytes]] = []
        # The scan has reported what is beyond the limits.
        with contextlib.suppress(TooComplexError):
            found += ((None, (), data) for data in distinct([partial(all_decodings, content)], len(content)))
        return found
    leaves = [part for leaf in root.leaves() for part in (leaf, *_blocks(content, leaf))]
    return [(leaf, leaf.names, leaf.decoded(content)) for leaf in leaves]


def _blocks(content: bytes, leaf: mime.Part) -> list[mime.Part]:
    """Return the uuencoded blocks of a text that is not itself encoded."""
    if leaf.encoding not in mime.IDENTITY or not leaf.type.startswith("text/"):
        return []
    return mime.uu_blocks(content, leaf.body, leaf.end, leaf.charset)


async def _locate_infected(content: bytes, root: mime.Part, scan: Scans, rules: Rules) -> dict[mime.Part, Verdict]:
    """Return the infected parts and the verdicts on them.

    Raises:
        mime.AmbiguousError: A part must be refused, or no single part is infected.
        ScanError: There is no verdict on a part.
    """
    leaves = list(root.leaves())
    if len(leaves) > rules.max_parts:
        raise mime.AmbiguousError(f"more than {rules.max_parts} parts")
    infected: dict[mime.Part, Verdict] = {}
    for leaf in leaves:
        if leaf.start == leaf.end:
            continue
        verdict = await _part_verdict(content, leaf, scan, rules.policy)
        if verdict is None:
            continue
        blocks = {
            block: found
            for block in _blocks(content, leaf)
            if (found := await _part_verdict(content, block, scan, rules.policy))
        }
        if not blocks and leaf is root:
            raise mime.AmbiguousError(f"the message is one part, and {verdict.finding.value}")
        infected.update(blocks or {leaf: verdict})
    if not infected:
        raise mime.AmbiguousError("no single part is infected")
    return infected


async def _part_verdict(content: bytes, part: mime.Part, scan: Scans, policy: ContentPolicy) -> Verdict | None:
    """Return the first verdict that the policy does not deliver, of all ways to decode a part; None if none is."""
    others = [] if part.in_text else of_leaf(content, part)
    decodings = distinct(
        [lambda: iter((part.decoded(content), AS_MAIL + content[part.start : part.end])), *others], len(content)
    )
    while data := await _next(decodings, content):
        verdict = await scan((data,))
        if policy.action_for(verdict.finding) == "deliver":
            verdict = await scan.decoding(data, policy)
        action = policy.action_for(verdict.finding)
        if action == "defer":
            raise ScanError(f"a part exceeds scanner limits: {verdict.name}")
        if action == "refuse":
            raise mime.AmbiguousError(f"a part is {verdict.finding.value}: {verdict.name}")
        if action != "deliver":
            return verdict
    return None


def _removal(verdict: Verdict) -> Removal:
    kinds = {Finding.ENCRYPTED: "encrypted", Finding.UNCHECKED: "unchecked", Finding.OVER_LIMITS: "unchecked"}
    return Removal(kinds.get(verdict.finding, "infected"), verdict.name)


def _strip(content: bytes, root: mime.Part, removals: dict[mime.Part, Removal], rules: Rules, *, keep: bool) -> bytes:
    """Return the message with each removed part replaced by a notice."""
    number = rules.number if keep else ""
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


def _signature_header(signatures: Sequence[str]) -> bytes:
    if not signatures:
        return b""
    return f"X-Mailgate-Signature-Broken: {', '.join(signatures)} (a part of this message was removed)\r\n".encode()


def _refuse(found: Verdict, violation: Violation | None, reason: str) -> ContentDecision:
    text = {
        Finding.CLEAN: "Attachment not allowed",
        Finding.INFECTED: "Message contains malware",
        Finding.ENCRYPTED: "Encrypted content not allowed",
        Finding.UNCHECKED: "Content that cannot be checked not allowed",
        Finding.OVER_LIMITS: "Message exceeds scanner limits",
    }[found.finding]
    cause = found.name if found.finding is not Finding.CLEAN else str(violation)
    ascii_cause = plain(cause).encode("ascii", "replace").decode()
    return ContentDecision(
        "refuse", refusal=Reply.of(554, f"5.7.0 {text}: {ascii_cause}"), found=found, violation=violation, reason=reason
    )
