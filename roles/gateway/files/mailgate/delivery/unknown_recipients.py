# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits on unknown recipients, so that guessing addresses (a directory harvest attack) costs servers and disk little.

A session, a client (an IPv4 address or an IPv6 /64) or a domain exceeds a limit if more recipients than the limit are
unknown, and if these are more than `max_unknown_percent` of those that were unknown or accepted. So a mailing list with
some dead addresses and a large provider stay below it. Above it:

* session: the session is closed (421).
* client: recipients that were never seen are deferred (450) and no server is asked. Known recipients are accepted as
  usual, because several senders may share an address.
* client, above a higher limit: it is banned, and its session is closed (421).
* domain, for attacks from many addresses: servers are asked, but their refusals are not cached. For clients whose
  network has not delivered a message, they are asked `max_probes_under_attack` times a second; other recipients that
  were never seen are deferred (450).
* client or domain: refusals are not logged one by one, but as one event per minute.

Replies are not delayed: that would hold connections, which are more scarce than commands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from mailgate.config import Limits
from mailgate.events import Events
from mailgate.network import client_key
from mailgate.smtp.address import Mailbox
from mailgate.smtp.refusals import may_be_unknown_recipient
from mailgate.smtp.reply import Reply
from mailgate.worker_counters import WorkerCounters

DEFERRED = Reply.of(450, "4.7.1 Too many unknown recipients from your address; try again later")
DOMAIN_DEFERRED = Reply.of(450, "4.7.1 Too many unknown recipients in this domain; try again later")
SESSION_LIMIT = Reply.of(421, "4.7.1 Too many unknown recipients; closing connection")

SUMMARY_SECONDS = 60
MAX_SUMMARIES = 1000
# Accepted recipients that a session compares with; further ones count each time.
MAX_ACCEPTED = 1000


# A client with this many accepted recipients in the ten minutes is not banned: its good mail counts more.
SPARED = 20


class UnknownRecipients:
    """Unknown recipients of all sessions of all workers, and the summaries of this worker."""

    def __init__(
        self,
        limits: Limits,
        counters: WorkerCounters,
        events: Events,
        *,
        later: Callable[[float, Callable[[], None]], object],
        ban: Callable[[str, str], bool] = lambda _client, _reason: False,
    ) -> None:
        self.limits = limits
        #: Unknown and deferred recipients of a client above which `ban` is called with it and a reason; 0 for never.
        self.ban_limit = 0
        self._ban = ban
        self._counters = counters
        self._events = events
        self._later = later
        self._refused: Counter[tuple[str, str]] = Counter()

    def exceeds(self, unknown: int, accepted: int, limit: int) -> bool:
        """Return whether the numbers of recipients exceed `limit`, 0 for no limit."""
        total = unknown + accepted
        return 0 < limit < unknown and unknown * 100 > total * self.limits.max_unknown_percent

    def client_exceeds(self, client: str) -> bool:
        """Return whether a client exceeds its limit."""
        totals = self._counters.recipients_of(_client_name(client))
        return self.exceeds(*totals, self.limits.max_unknown_recipients_per_client)

    def domain_exceeds(self, domain: str) -> bool:
        """Return whether the recipients of a domain, of all clients or of those without history, exceed its limit.

        The mail of a busy domain would hide an attack on it for long, and little of it is from clients without history.
        """
        limit = self.limits.max_unknown_recipients_per_domain
        names = (_domain_name(domain), _strangers_name(domain))
        return any(self.exceeds(*self._counters.recipients_of(name), limit) for name in names)

    def domain_defers(self, domain: str) -> bool:
        """Count a recipient of a client without history that would be verified; return whether it is deferred."""
        limit = self.limits.max_probes_under_attack
        if not limit or not self.domain_exceeds(domain):
            return False
        return not self._counters.rates.take(f"probes {domain}", limit, 1)

    def count(self, client: str, domain: str, *, unknown: bool, stranger: bool = False) -> None:
        """Count a recipient that is unknown or was accepted; `stranger`: its client has no history."""
        for name in (_client_name(client), _domain_name(domain)):
            self._counters.count_recipient(name, unknown=unknown)
        if stranger:
            self._counters.count_recipient(_strangers_name(domain), unknown=unknown)

    def count_deferred(self, client: str) -> None:
        """Count a recipient that was deferred because the client guesses."""
        self._counters.count_recipient(_deferred_name(client), unknown=True)

    def bans(self, client: str) -> bool:
        """Ban a client that has guessed too much; return whether it is banned now."""
        if not self.ban_limit:
            return False
        unknown, accepted = self._counters.recipients_of(_client_name(client))
        if accepted >= SPARED:
            return False
        guesses = unknown + self._counters.recipients_of(_deferred_name(client))[0]
        return self.exceeds(guesses, accepted, self.ban_limit) and self._ban(client, f"{guesses} unknown recipients")

    def summarize(self, client: str, domain: str) -> bool:
        """Add a refusal to the summary of its client or domain; return False if neither exceeds its limit."""
        if self.client_exceeds(client):
            key = ("client", client_key(client))
        elif self.domain_exceeds(domain):
            key = ("domain", domain)
        else:
            return False
        if not self._refused:
            self._later(SUMMARY_SECONDS, self.report)
        if key not in self._refused and len(self._refused) >= MAX_SUMMARIES:
            key = (key[0], "others")
        self._refused[key] += 1
        return True

    def report(self) -> None:
        """Log the summaries."""
        for (kind, name), number in self._refused.items():
            self._events.emit("unknown_recipients", **{kind: name}, refused=number)
        self._refused.clear()


class SessionRecipients:
    """Recipients that one session has named."""

    def __init__(self, shared: UnknownRecipients) -> None:
        self._shared = shared
        self._unknown = 0
        self._accepted: set[Mailbox] = set()

    def add(self, client: str, recipient: Mailbox, reply: Reply, *, stranger: bool = False) -> bool:
        """Count a reply to RCPT; return whether the session exceeds its limit.

        `stranger`: the client's network has not delivered a message.

        A recipient that is accepted again does not count again, and a deferred one counts for the session only.
        """
        if reply.ok:
            if recipient not in self._accepted:
                if len(self._accepted) < MAX_ACCEPTED:
                    self._accepted.add(recipient)
                self._shared.count(client, recipient.domain, unknown=False, stranger=stranger)
            return False
        if may_be_unknown_recipient(reply):
            self._shared.count(client, recipient.domain, unknown=True, stranger=stranger)
        elif reply is DEFERRED:
            self._shared.count_deferred(client)
        else:
            return False
        self._unknown += 1
        if self._shared.bans(client):
            return True
        return self._shared.exceeds(self._unknown, len(self._accepted), self._shared.limits.max_unknown_recipients)


def _client_name(client: str) -> str:
    return f"client {client_key(client)}"


def _deferred_name(client: str) -> str:
    return f"deferred {client_key(client)}"


def _strangers_name(domain: str) -> str:
    return f"strangers {domain}"


def _domain_name(domain: str) -> str:
    return f"domain {domain}"
