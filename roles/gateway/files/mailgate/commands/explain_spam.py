# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `mailgate explain` says of the spam scan of a message: it is sent to rspamd, as the service does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from mailgate.config import Config
from mailgate.message import Client, Message
from mailgate.rules.model import Answer, Facts
from mailgate.rules.ruleset import RuleSet
from mailgate.smtp.reply import Reply
from mailgate.spam.check import choices, request_headers
from mailgate.spam.decision import OFF, Decision, decide, thresholds
from mailgate.spam.fields import without_forged
from mailgate.spam.rspamd import RspamdError, Score, address_of, check
from mailgate.spam.scanner import NotScanned
from mailgate.translation import N_, Translator

_SCORE = N_("Score of rspamd: {score}; marked as spam from {tag}, refused from {refuse} (0: never).")
_FORCED = N_("A module of rspamd rejects the message with any score.")
_SYMBOLS = N_("Symbols of rspamd: {symbols}")
_NOT_SCANNED = N_("Not scanned for spam: {reason}.")
_OFF = N_("The recipient's domain has switched the spam scan off.")


@dataclass(frozen=True)
class SpamExplanation:
    """What the spam scan does to a message.

    Attributes:
        choice: What the recipient's domain has chosen.
        thresholds: Scores from which a message is marked and refused.
        result: Result of the scan; None if it is switched off.
        effect: `pass`, `tag`, `refuse`, `defer`, `failed` or `too_large`.
        reply: The reply to the message if it is not accepted.
        greylist: Whether a new sender is deferred first.
    """

    choice: str
    thresholds: tuple[int, int] = (0, 0)
    result: Score | NotScanned | None = None
    effect: str = "pass"
    reply: Reply | None = None
    greylist: bool = False


def scans(config: Config, client: str, *, exempt: bool) -> bool:
    """Return whether mail of a client is scanned for spam."""
    if not config.rspamd.socket:
        return False
    return not exempt or (config.rspamd.relayed != OFF and config.may_relay(client))


def explain_spam(
    config: Config, facts: Facts, content: bytes, names: Answer | None, *, allowed: bool, exempt: bool
) -> SpamExplanation:
    """Return what the spam scan does; asks rspamd.

    Args:
        config: Settings.
        facts: What is known of the message.
        content: The message.
        names: Names of the client, None if DNS failed.
        allowed: Whether a rule allows the message.
        exempt: Whether no rule applies to the client.
    """
    recipient = facts.recipient
    chosen = choices(config, (recipient,), relayed=exempt)
    choice = chosen[recipient]
    if choice == OFF:
        return SpamExplanation(choice)
    message = Message(
        "explain", Client(facts.client, facts.helo, "ESMTP"), facts.sender, (recipient,), without_forged(content)
    )
    name = names.verified[0] if names and names.verified else ""
    result = asyncio.run(_scan(config, message, name, relayed=exempt))
    accepted = allowed or RuleSet.is_postmaster(recipient, config.hostname)
    decided: Decision = decide(result, config.rspamd, chosen, frozenset((recipient,) if accepted else ()))
    greylist = bool(decided.greylisted)
    return SpamExplanation(choice, thresholds(config.rspamd, choice), result, decided.effect, decided.reply, greylist)


async def _scan(config: Config, message: Message, name: str, *, relayed: bool) -> Score | NotScanned:
    settings = config.rspamd
    if len(message.content) > settings.max_size:
        return NotScanned(f"message exceeds {settings.max_size} bytes")
    deadline = asyncio.get_running_loop().time() + settings.seconds
    headers = list(request_headers(config, message, name, relayed=relayed))
    try:
        return await check(address_of(settings.socket), message.content, headers, deadline)
    except RspamdError as error:
        return NotScanned(str(error), failed=True)


def spam_lines(found: SpamExplanation, translate: Translator) -> Iterator[str]:
    """Yield the explanation in words."""
    result = found.result
    if result is None:
        yield translate(_OFF)
    elif isinstance(result, NotScanned):
        yield translate(_NOT_SCANNED).format(reason=result.reason)
    else:
        tag, refuse = found.thresholds
        yield translate(_SCORE).format(score=f"{result.score:.2f}", tag=tag, refuse=refuse)
        if result.symbols:
            yield translate(_SYMBOLS).format(symbols=", ".join(result.symbols))
        if result.forced:
            yield translate(_FORCED)


def spam_as_json(found: SpamExplanation | None) -> dict[str, object] | None:
    """Return the explanation as an object."""
    if not found:
        return None
    result = found.result
    return {
        "choice": found.choice,
        "effect": found.effect,
        "greylist": found.greylist,
        "score": result.score if isinstance(result, Score) else None,
        "symbols": list(result.symbols) if isinstance(result, Score) else [],
        "not_scanned": result.reason if isinstance(result, NotScanned) else None,
    }
