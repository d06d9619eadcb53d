# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail authentication of one received message: SPF, DKIM, ARC and DMARC, with DNS, within a limit of time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mailgate.authentication import dmarc, signatures
from mailgate.authentication.dmarc import Aligned, Dmarc
from mailgate.authentication.header import domain_name
from mailgate.authentication.lookups import Found, Lookup, Records, T, complete
from mailgate.authentication.results import field
from mailgate.authentication.signatures import Chain, Signature, SignedMessage, overall
from mailgate.rules.model import Answer, Facts, Question

log = logging.getLogger("mailgate")

# From this size on, hashes are computed in a thread.
INLINE_BYTES = 65536
Ask = Callable[[Lookup], Awaitable[Records | None]]


@dataclass(frozen=True)
class Authentication:
    """Results for a message.

    Attributes:
        spf: Result of SPF.
        identity: The property and domain that SPF is about: `mailfrom`, or `helo` for the null sender.
        signatures: The DKIM signatures.
        dmarc: Result of DMARC.
        chain: The ARC chain.
    """

    spf: str
    identity: tuple[str, str]
    signatures: tuple[Signature, ...]
    dmarc: Dmarc
    chain: Chain

    @property
    def answers(self) -> dict[Question, Answer | None]:
        """The results as answers to conditions; None for what DNS did not decide."""
        results = {"dkim": overall(self.signatures), "dmarc": self.dmarc.result, "arc": self.chain.result}
        return {
            Question(name, ""): None if result == "temperror" else Answer(result=result)
            for name, result in results.items()
        }

    @property
    def noted(self) -> dict[str, object]:
        """The results for the log."""
        arc = self.chain.result
        return {
            "spf": self.spf,
            "dkim": overall(self.signatures),
            "dmarc": self.dmarc.result,
            "arc": None if arc == "none" else arc,
        }

    def field(self, identifier: str) -> bytes:
        """Return the header field."""
        return field(identifier, (self.spf, *self.identity), self.signatures, self.dmarc, self.chain.result)


def prepare() -> None:
    """Read the list of public suffixes, which takes a fifth of a second."""
    dmarc.organizational_domain("example.com")


async def authenticate(content: bytes, facts: Facts, spf: Answer | None, ask: Ask, deadline: float) -> Authentication:
    """Return the results for a message; what is not known in time is `temperror`.

    Args:
        content: The message as received.
        facts: Client, HELO name, sender, and addresses in From.
        spf: Result of SPF, None if DNS failed.
        ask: Looks records up.
        deadline: Time of the event loop.
    """
    threaded = len(content) > INLINE_BYTES

    async def until(evaluate: Callable[[Found], T], most: int, late: T) -> T:
        try:
            async with asyncio.timeout_at(deadline):
                result = await complete(evaluate, ask, most, threaded=threaded)
        except TimeoutError:
            return late
        except Exception:
            # An error of a library must not stop mail.
            log.exception("mail authentication failed")
            return late
        return late if result is None else result

    message = SignedMessage(content)
    found, chain = await asyncio.gather(
        until(message.signatures, signatures.MAX_LOOKUPS, [Signature("temperror")]),
        until(message.chain, signatures.MAX_LOOKUPS, Chain("temperror")),
    )
    identity = ("helo", domain_name(facts.helo)) if facts.sender.null else ("mailfrom", facts.sender.domain)
    result = spf.result if spf else "temperror"
    uncertain = result == "temperror" or overall(found) == "temperror"
    aligned = Aligned(identity[1] if result == "pass" else "", found, uncertain)
    domains = [mailbox.domain for authors in facts.authors for mailbox in authors]
    # The same message has the same sample when it is sent again; the hash has a key, so that no sender can choose it.
    sample = hash(content[:INLINE_BYTES]) % 100
    decided = await until(
        lambda records: dmarc.evaluate(domains, aligned, records, sample),
        dmarc.MAX_LOOKUPS,
        Dmarc("temperror", domains[0] if domains else ""),
    )
    return Authentication(result, identity, tuple(found), decided, chain)
