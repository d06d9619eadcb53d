# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits on clients in one worker: who is exempt, who is banned, and who is too fast."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from itertools import chain

from mailgate.config import Config
from mailgate.events import Events
from mailgate.limits.bans import BanTable
from mailgate.limits.exemption import exempt_tables, network_tables
from mailgate.limits.failures import Failures
from mailgate.limits.greylist import Greylisting
from mailgate.limits.local_store import LocalStore
from mailgate.limits.remote import Remote
from mailgate.limits.shared_limits import SharedLimits
from mailgate.limits.store import CALL_SECONDS, Ban, GuardedStore
from mailgate.network import client_key, client_network, network_of
from mailgate.rules.entries import pack
from mailgate.rules.lists import LoadedList, is_changed, load_lists
from mailgate.smtp.address import Mailbox
from mailgate.smtp.reply import Reply
from mailgate.worker_counters import WorkerCounters

log = logging.getLogger("mailgate")

# Counters of events.
BANNED, BAN_REFUSED, RATE_EXCEEDED, STORE_FAILED = "banned", "ban_refused", "rate_exceeded", "limits_store_failed"
SHARED_FAILED = "shared_state_failed"
RELAY_ALARM = "relay_alarm:"
SYNC_SECONDS = 0.5
# With other gateways, since a ban passes several workers.
SHARED_SYNC_SECONDS = 0.2
PRUNE_SECONDS = 300
# An alarm about one host is repeated after this time.
ALARM_SECONDS = 3600

IS_BANNED = Reply.of(421, "4.7.1 Your address is banned for a limited time; try again later")
TOO_MANY_CONNECTIONS = Reply.of(421, "4.7.1 Too many new connections from your address; try again later")
TOO_MANY_OF_CLIENT = Reply.of(450, "4.7.1 Too many recipients from your address; try again later")
TOO_MANY_OF_NETWORK = Reply.of(450, "4.7.1 Too many recipients from your network; try again later")
TOO_MANY_OF_SENDER = Reply.of(450, "4.7.1 Too many recipients from this sender; try again later")
TOO_MANY_FOR_RECIPIENT = Reply.of(450, "4.2.1 The recipient gets too many messages; try again later")


class ClientLimits:
    """Bans, rates and greylist of one worker.

    Args:
        config: Settings.
        counters: Memory of all workers.
        events: Log and counters.
        alarm: Called with a host that relays more mail than usual.
    """

    def __init__(
        self, config: Config, counters: WorkerCounters, events: Events, *, alarm: Callable[[str], object]
    ) -> None:
        self._events = events
        self._send_alarm = alarm
        self._rates = counters.rates
        self._local = LocalStore(config.state_dir, counters.rates)
        self._store_failed = Failures(events, STORE_FAILED)
        self._shared = SharedLimits(self._local, counters.rates, Failures(events, SHARED_FAILED))
        self._store = GuardedStore(self._local, counters.rates, self._store_failed)
        self._lists: dict[str, LoadedList] = {}
        self._refused = 0
        self.bans = BanTable(self._store)
        self.greylisting = Greylisting(self._store)
        self.use(config)

    def use(self, config: Config) -> None:
        """Apply settings."""
        self._config = config
        named = {entry[1:] for entry in chain(*_entries(config)) if entry.startswith("@")}
        self._lists = load_lists(
            {name: setting for name, setting in config.lists.items() if name in named}, self._lists
        )
        self._compile()
        self.bans.max_clients = config.bans.max_clients
        self._local.max_bans = config.bans.max_clients
        greylist = config.greylist
        self.greylisting.settings = greylist
        self._local.max_senders = greylist.max_entries
        self._local.window = greylist.window_hours * 3600
        self._local.lifetime = greylist.lifetime_days * 86400
        self._local.publishes = bool(config.shared_state.server)
        self._store.use(self._shared.use(config), CALL_SECONDS + config.shared_state.timeout_ms / 1000)
        rates = config.rates
        self._seconds = rates.minutes * 60
        self._counts_incoming = any(
            (rates.recipients_per_client, rates.recipients_per_network, rates.recipients_per_sender,
             rates.messages_per_recipient)
        )  # fmt: skip
        relayed = bool(config.relay_networks and (rates.relayed_per_client or rates.relay_alarm))
        #: Whether recipients are counted at all.
        self.counts_recipients = self._counts_incoming or relayed

    def _compile(self) -> None:
        if not self._config.rules:
            # Otherwise, rules report it.
            for name, each in self._lists.items():
                if each.problems:
                    self._events.emit("list_refused", list=name, problems=list(each.problems), number=1)
        tables = {name: each.table for name, each in self._lists.items()}
        self._exempt = exempt_tables(self._config, tables)
        self._unlimited = list(network_tables(self._config.rates.relay_unlimited, tables))

    async def refresh(self) -> None:
        """Load changed lists in a thread, since a million lines take a second."""
        old = self._lists
        if is_changed(old):
            settings = {name: each.setting for name, each in old.items()}
            lists = await asyncio.to_thread(load_lists, settings, old)
            if self._lists is old:
                self._lists = lists
                self._compile()

    def is_exempt(self, address: str) -> bool:
        """Return whether a client is never banned, limited or greylisted."""
        if not address:
            return True
        packed = pack(address)
        return any(table.contains(packed) for table in self._exempt)

    # Connections

    def refuse_connection(self, address: str) -> Reply | None:
        """Return the reply that refuses a connection of a client, or None; costs the others next to nothing."""
        if not address:
            return None
        if self.bans.find(address) and not self.is_exempt(address):
            # Written by `sync`, since writing a counter costs more than the refusal.
            self._refused += 1
            return IS_BANNED
        limit = self._config.rates.connections_per_client
        if not limit or self._rates.take(f"connections {client_key(address)}", limit, self._seconds):
            return None
        if self.is_exempt(address):
            return None
        self._events.count(RATE_EXCEEDED)
        return TOO_MANY_CONNECTIONS

    def ban(self, address: str, reason: str) -> bool:
        """Ban a client, unless it is exempt; return whether it is banned."""
        if self.is_exempt(address):
            return False
        if self.bans.find(address):
            return True
        network, now = client_network(address), int(time.time())
        until = now + self._config.bans.minutes * 60
        self.bans.add(Ban(network, until, now, reason))
        self._events.count(BANNED)
        self._events.emit("banned", client=address, network=network, minutes=self._config.bans.minutes, reason=reason)
        return True

    # Recipients

    async def refuse_recipient(self, client: str, sender: Mailbox, recipient: Mailbox) -> Reply | None:
        """Count a recipient; return the reply that defers it because a rate is exceeded, or None."""
        if client and self._config.may_relay(client):
            return await self._refuse_relayed(client)
        if not self._counts_incoming or self.is_exempt(client):
            return None
        rates = self._config.rates
        counted = [
            (limit, name, reply)
            for limit, name, reply in (
                (rates.recipients_per_client, f"client {client_key(client)}", TOO_MANY_OF_CLIENT),
                (rates.recipients_per_network, f"network {network_of(client)}", TOO_MANY_OF_NETWORK),
                (0 if sender.null else rates.recipients_per_sender, f"sender {sender}".lower(), TOO_MANY_OF_SENDER),
                (rates.messages_per_recipient, f"recipient {recipient}".lower(), TOO_MANY_FOR_RECIPIENT),
            )
            if limit
        ]
        exceeded = await self._store.take_all([(name, limit) for limit, name, _reply in counted], self._seconds)
        if exceeded is None:
            return None
        self._events.count(RATE_EXCEEDED)
        return counted[exceeded][2]

    async def _refuse_relayed(self, client: str) -> Reply | None:
        """Count a recipient of a host that may relay; give an alarm if its account may be abused."""
        rates, packed = self._config.rates, pack(client)
        if any(table.contains(packed) for table in self._unlimited):
            return None
        name = client_key(client)
        if rates.relay_alarm and not await self._store.take(f"alarm {name}", rates.relay_alarm, self._seconds):
            await self._alarm(client, name)
        limit = rates.relayed_per_client
        if not limit or await self._store.take(f"relayed {name}", limit, self._seconds):
            return None
        self._events.count(RATE_EXCEEDED)
        await self._alarm(client, name)
        return TOO_MANY_OF_CLIENT

    async def _alarm(self, client: str, name: str) -> None:
        if await self._store.take(f"alarmed {name}", 1, ALARM_SECONDS):
            rates = self._config.rates
            self._send_alarm(client)
            self._events.count(RELAY_ALARM + client)
            self._events.emit(
                "relay_alarm", client=client, minutes=rates.minutes, threshold=rates.relay_alarm or None,
                limit=rates.relayed_per_client or None,
            )  # fmt: skip

    async def greylist_seconds(self, client: str, sender: Mailbox, recipient: Mailbox) -> int:
        """Return how long a sender must still wait before it may write to a recipient, 0 if it need not."""
        return 0 if self.is_exempt(client) else await self.greylisting.wait_seconds(client, sender, recipient)

    # The store

    @property
    def remote(self) -> Remote | None:
        """The store that all gateways share; None if there is none."""
        return self._shared.remote

    async def sync(self) -> None:
        """Exchange bans with the store, for as long as the worker runs."""
        while True:
            self.count_refused()
            try:
                await self.bans.sync()
            except Exception:
                log.exception("cannot exchange bans")
            await asyncio.sleep(SHARED_SYNC_SECONDS if self._shared.store else SYNC_SECONDS)

    async def share(self, *, exchange: bool) -> None:
        """Keep the connection to the shared store, for as long as the worker runs.

        Args:
            exchange: Exchange bans with other gateways; one worker does.
        """
        await self._shared.keep(exchange=exchange)

    async def prune(self) -> None:
        """Delete superfluous senders of the greylist, for as long as the worker runs; one worker does."""
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            try:
                await asyncio.to_thread(self._local.prune)
            except sqlite3.Error as error:
                self._store_failed(str(error))

    def count_refused(self) -> None:
        """Add the refused connections to the counter."""
        if self._refused:
            self._events.count(BAN_REFUSED, self._refused)
            self._refused = 0

    def close(self) -> None:
        """Close the databases."""
        self.count_refused()
        self._local.close()


def _entries(config: Config) -> Iterator[tuple[str, ...]]:
    """Yield the settings whose lists are needed."""
    yield config.refusal.exempt
    yield config.bans.never
    yield config.rates.relay_unlimited
