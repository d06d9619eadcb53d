# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Admission of clients: who gets a place, and whose place is taken when places are short.

Waiting is cheap and work is not, so connections and transactions have limits of their own. When three quarters of
either are in use, clients without an accepted message must be quick, as with Postfix's stress-adaptive settings. When
all are in use, the idlest client of the largest network gives way; clients of networks that have delivered mail before
give way last.

A worker can close its own clients only. If another one has clients that may give way, a new client is admitted beyond
the limit, and the other worker closes one within a second.

A visit is in a ranking only while the gateway waits for the client: a client that waits for us is never closed. Clients
are ranked only from the time at which places become short until they suffice again, since ranking costs time with each
command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, takewhile

from mailgate.config import Config
from mailgate.network import network_of
from mailgate.ranking import Ranking
from mailgate.smtp.reply import Reply
from mailgate.worker_counters import WorkerCounters

# Open files of a worker beside connections to clients and next hops: databases, messages for clamd.
OTHER_FILES = 100
SWEEP_SECONDS = 1.0
# More clients closed at once would delay the others, and connect again at the same moment.
SWEEP_CLIENTS = 200
# Share of the connections that may exceed the limit until other workers have closed as many.
EXCESS_SHARE = 0.05
# A client that has been served this recently is not idle.
MIN_IDLE_SECONDS = 3.0
# Waiting for a connection to a next hop ends after `timeouts.connect`; slow clients must give way before that.
CONTENDED_SHARE = 0.5

TOO_MANY_CONNECTIONS = Reply.of(421, "4.3.2 Too many connections; try again later")
TOO_MANY_FROM_CLIENT = Reply.of(421, "4.7.0 Too many connections from your address; try again later")
TOO_MANY_TRANSACTIONS = Reply.of(451, "4.3.2 Too many simultaneous messages; try again later")
TIMEOUT = Reply.of(421, "4.4.2 Timeout exceeded")


@dataclass(eq=False, slots=True)
class Visit:
    """One connection as admission sees it; `close` ends it with a reply."""

    address: str
    close: Callable[[Reply], None]
    #: It has delivered mail itself.
    delivered: bool = False
    #: It has named a recipient, and holds one of the places for transactions.
    working: bool = False
    #: The gateway waits for the client, since this time.
    waiting: bool = False
    since: float = 0.0
    ranking: Ranking[Visit] | None = None
    #: Bytes of the message that is being received; None if there is none.
    received: int | None = None
    #: See `Admission.knows`; None before it is asked, as it is not for a client whose recipient is refused.
    known: bool | None = None

    @property
    def network(self) -> str:
        """Network of the client."""
        return network_of(self.address)


class Admission:
    """The clients of one worker, within limits that all workers share.

    Args:
        config: Settings.
        counters: Counters of all workers.
        clock: Time in seconds.
        later: Runs a function after some seconds.
        contended: Whether deliveries wait for a connection to a next hop.
    """

    def __init__(
        self,
        config: Config,
        counters: WorkerCounters,
        *,
        clock: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
        contended: Callable[[], bool] = lambda: False,
    ) -> None:
        self._counters = counters
        self._later = later
        self._contended = contended
        # In the order of their arrival.
        self._visits: dict[Visit, None] = {}
        self._receiving: set[Visit] = set()
        # From those whose place is taken first to those whose place is taken last.
        self._strangers: Ranking[Visit] = Ranking()
        self._known: Ranking[Visit] = Ranking()
        self._delivered: Ranking[Visit] = Ranking()
        self._working: Ranking[Visit] = Ranking()
        self._ranked = False
        self._sweeping = False
        self.clock = clock
        self.min_idle = MIN_IDLE_SECONDS
        self.use(config)

    def use(self, config: Config, open_files: int | None = None) -> None:
        """Apply settings.

        Args:
            config: Settings.
            open_files: How many files this worker may open; None for no limit.
        """
        self._config = config
        self._max_connections = config.limits.max_connections
        if open_files is not None:
            share = self._counters.share
            others = OTHER_FILES + round(config.limits.max_outbound_connections * share)
            clients = max(open_files // 2, open_files - others)
            self._max_connections = min(self._max_connections, max(1, round(clients / share)))

    @property
    def _short_of_connections(self) -> bool:
        return self._counters.connections * 4 >= self._max_connections * 3

    @property
    def _short_of_transactions(self) -> bool:
        return self._counters.transactions * 4 >= self._config.limits.max_transactions * 3

    def hurries(self, visit: Visit) -> bool:
        """Return whether places are short and the client has sent no message."""
        return not visit.delivered and self._short_of_connections

    def _is_known(self, address: str) -> bool:
        """Return whether the client's network has delivered mail before, or the client may relay."""
        return self._counters.has_delivered(network_of(address)) or (bool(address) and self._config.may_relay(address))

    def knows(self, visit: Visit) -> bool:
        """Return whether the client's network had delivered mail, or the client may relay, when it was first asked."""
        if visit.known is None:
            visit.known = self._is_known(visit.address)
        return visit.known

    # Connections

    def check_client(self, address: str) -> Reply | None:
        """Return the reply that refuses one more connection of this client, or None."""
        limit = self._config.limits.max_connections_per_client
        return TOO_MANY_FROM_CLIENT if self._counters.connections_of(address) >= limit else None

    def check_room(self, address: str) -> Reply | None:
        """Take the place of an idle client if there is no other; return the reply that refuses this one, or None."""
        if self._counters.connections < self._max_connections:
            return None
        known = self._is_known(address)
        if self._displace(self._strangers, 0.0 if known else self.min_idle):
            return None
        if self._displace_known():
            return None
        excess = self._counters.connections - self._max_connections
        allowed = max(1, round(self._max_connections * EXCESS_SHARE))
        if excess < min(allowed, self._counters.offered_by_others):
            return None
        return TOO_MANY_CONNECTIONS

    def enter(self, address: str, close: Callable[[Reply], None]) -> Visit:
        """Count a connection."""
        visit = Visit(address, close)
        self._counters.add_connection(address)
        self._visits[visit] = None
        self.wait(visit)
        if not self._sweeping:
            self._sweeping = True
            self._later(SWEEP_SECONDS, self._sweep_again)
        return visit

    def leave(self, visit: Visit) -> None:
        """Stop counting a connection; calling it again does nothing."""
        if visit in self._visits:
            self.serve(visit)
            self.end_transaction(visit)
            self._visits.pop(visit)
            self._counters.remove_connection(visit.address)

    def rename(self, visit: Visit, address: str) -> None:
        """Count a connection under another address."""
        self.serve(visit)
        self._counters.remove_connection(visit.address)
        visit.address, visit.known = address, None
        self._counters.add_connection(address)

    # Progress

    def wait(self, visit: Visit) -> None:
        """Note that the gateway waits for the client from now on."""
        if visit.ranking is not None or visit.received is not None:
            self.serve(visit)
        if visit in self._visits:
            visit.waiting, visit.since = True, self.clock()
            if self._ranked:
                self._rank(visit)

    def serve(self, visit: Visit) -> None:
        """Note that the client waits for the gateway from now on."""
        visit.waiting = False
        if visit.ranking is not None:
            visit.ranking.remove(visit)
            visit.ranking = None
        if visit.received is not None:
            visit.received = None
            self._receiving.discard(visit)

    def receive(self, visit: Visit) -> None:
        """Note that the client sends a message from now on; its bytes are to be added to `visit.received`."""
        self.serve(visit)
        if visit in self._visits:
            visit.since = self.clock()
            visit.received = 0
            self._receiving.add(visit)

    def begin_transaction(self, visit: Visit) -> Reply | None:
        """Count a transaction that names a recipient; return the reply that defers it, or None."""
        if visit.working or visit not in self._visits:
            return None
        full = self._counters.transactions >= self._config.limits.max_transactions
        if full and not self._displace(self._working, self.min_idle):
            return TOO_MANY_TRANSACTIONS
        visit.working = True
        self._counters.add_transactions(1)
        return None

    def end_transaction(self, visit: Visit) -> None:
        """Stop counting a transaction; calling it again does nothing."""
        if visit.working:
            visit.working = False
            self._counters.add_transactions(-1)

    def accept_message(self, visit: Visit) -> None:
        """Note that a message of the client was accepted."""
        visit.delivered = True
        self._counters.record_delivery(visit.network)

    # When places are short

    def sweep(self) -> None:
        """Close clients that are too slow for the places that are left; called every second."""
        self._make_room()
        stress = self._config.timeouts.stress
        contended = self._contended()
        short = contended or self._short_of_connections or self._short_of_transactions
        self._close_slow(stress if short else self._config.timeouts.data_idle)
        if not short:
            self._end_ranking()
            self._counters.offer(0)
            return
        self._begin_ranking()
        if contended:
            self._close_idle(self._working, stress * CONTENDED_SHARE, lambda: True)
        self._close_idle(self._working, stress, lambda: self._short_of_transactions)
        for ranking in (self._strangers, self._known):
            self._close_idle(ranking, stress, lambda: self._short_of_connections)
        self._offer()

    def _sweep_again(self) -> None:
        self.sweep()
        self._sweeping = bool(self._visits)
        if self._sweeping:
            self._later(SWEEP_SECONDS, self._sweep_again)

    def _begin_ranking(self) -> None:
        """Rank the clients that the gateway waits for, and from now on each of them at once."""
        if not self._ranked:
            self._ranked = True
            for visit in sorted((visit for visit in self._visits if visit.waiting), key=lambda visit: visit.since):
                self._rank(visit)

    def _end_ranking(self) -> None:
        if self._ranked:
            self._ranked = False
            for visit in self._visits:
                if visit.ranking is not None:
                    visit.ranking.remove(visit)
                    visit.ranking = None

    def _rank(self, visit: Visit) -> None:
        if visit.working:
            visit.ranking = self._working
        elif visit.delivered:
            visit.ranking = self._delivered
        else:
            visit.ranking = self._known if self.knows(visit) else self._strangers
        visit.ranking.add(visit)

    def _close_idle(self, ranking: Ranking[Visit], seconds: float, short: Callable[[], bool]) -> None:
        """Close clients that have waited for `seconds`, the idlest first, while places are short."""
        now = self.clock()
        for _client in range(SWEEP_CLIENTS):
            visit = next(iter(ranking), None)
            if visit is None or now - visit.since < seconds or not short():
                break
            self._close(visit, TIMEOUT)

    def _close_slow(self, grace: float) -> None:
        rate = self._config.limits.min_data_rate
        if rate:
            now = self.clock()
            for visit in list(self._receiving):
                if now - visit.since > grace + (visit.received or 0) / rate:
                    self._close(visit, TIMEOUT)

    def _displace(self, ranking: Ranking[Visit], idle: float) -> bool:
        """Close the idlest client of the largest network if it has waited for `idle` seconds; return whether it has."""
        self._begin_ranking()
        visit = ranking.first_of_largest()
        if visit is None or self.clock() - visit.since < idle:
            return False
        self._close(visit, TOO_MANY_CONNECTIONS)
        return True

    def _displace_known(self) -> bool:
        """Close an idle client of a network with history; it may keep its connection, but not for long now."""
        idle = self._known_idle
        return self._displace(self._known, idle) or self._displace(self._delivered, idle)

    @property
    def _known_idle(self) -> float:
        """Seconds after which a client of a network with history is idle."""
        return max(self.min_idle, self._config.timeouts.stress)

    def _make_room(self) -> None:
        """Close clients instead of those that other workers have admitted beyond the limit."""
        for _client in range(SWEEP_CLIENTS):
            within = self._counters.connections <= self._max_connections
            if within or not (self._displace(self._strangers, self.min_idle) or self._displace_known()):
                break

    def _offer(self) -> None:
        """Report to the other workers how many clients may give way to theirs."""
        idle = self._count_idle(self._strangers, self.min_idle)
        idle += sum(self._count_idle(ranking, self._known_idle) for ranking in (self._known, self._delivered))
        self._counters.offer(idle)

    def _count_idle(self, ranking: Ranking[Visit], seconds: float) -> int:
        """Return how many clients have waited for `seconds`, up to the number that a sweep closes."""
        now = self.clock()
        idle = takewhile(lambda visit: now - visit.since >= seconds, islice(ranking, SWEEP_CLIENTS))
        return sum(1 for _visit in idle)

    def _close(self, visit: Visit, reply: Reply) -> None:
        # At once, so that its place is free and it is not found again.
        self.leave(visit)
        visit.close(reply)
