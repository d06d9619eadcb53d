# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that select events, shared by `mailgate search`, `tail` and `trace`, and how their events are read."""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from mailgate.config import Config, ConfigError
from mailgate.event_index.follower import unindexed
from mailgate.event_index.local_files import LocalFiles
from mailgate.event_index.query import Query, subject_terms
from mailgate.event_index.shard import time_of
from mailgate.event_index.store import StoreError
from mailgate.event_index.stores import open_store
from mailgate.event_index.terms import VERDICTS, Event
from mailgate.event_privacy import AddressHasher, hasher
from mailgate.network import network_of

# Events that the index does not have yet are read up to this size.
UNINDEXED_BYTES = 64 * 1024 * 1024
_AGE = re.compile(r"(\d+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_PREFIX = {4: 24, 6: 48}

Criterion = tuple[tuple[str, str], ...]


def moment(text: str) -> datetime:
    """Parse a date, a date and time (local unless it has a UTC offset), or an age as 2h or 7d."""
    if age := _AGE.fullmatch(text):
        try:
            return datetime.now().astimezone() - timedelta(seconds=int(age[1]) * _SECONDS[age[2]])
        except OverflowError:
            pass
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a valid date; expected for example 2026-07-01, 2026-07-01T08:00, 2h or 7d"
        ) from None


def client(text: str) -> str:
    """Parse an IP address, or a network of the size that events are found by; return an address or `NET/24`."""
    try:
        if "/" not in text:
            return str(ipaddress.ip_address(text))
        network = ipaddress.ip_network(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid IP address or network") from None
    if network.prefixlen != _PREFIX[network.version]:
        raise argparse.ArgumentTypeError(f"{text}: only IPv4 /24 and IPv6 /48 networks can be searched for")
    return str(network)


def add_criteria(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("criteria, all of which must hold")
    group.add_argument("--address", metavar="ADDRESS", help="sender or recipient")
    group.add_argument("--from", dest="sender", metavar="ADDRESS", help="sender; <> for the null sender")
    group.add_argument("--to", dest="recipient", metavar="ADDRESS", help="recipient")
    group.add_argument("--domain", help="domain of the sender or a recipient, with all names below it")
    group.add_argument(
        "--client", type=client, metavar="ADDRESS", help="IP address, IPv4 /24 or IPv6 /48 of the client"
    )
    group.add_argument("--id", help="id of the message or connection, or queue id")
    group.add_argument("--message-id", metavar="ID", help="header field Message-ID")
    group.add_argument("--subject", help="words of the subject (needs the setting events.subject)")
    group.add_argument("--verdict", choices=VERDICTS, help="what the gateway did with it")
    group.add_argument("--rule", help="first refusal rule that applied")
    group.add_argument("--virus", help="name of the virus or of the violated policy")


def add_period(parser: argparse.ArgumentParser) -> None:
    """Add the options of the time."""
    parser.add_argument("--since", type=moment, metavar="TIME", help="start, as 2026-07-01, 2026-07-01T08:00, 2h or 7d")
    parser.add_argument("--until", type=moment, metavar="TIME", help="end, exclusive")


def query_of(options: argparse.Namespace, config: Config) -> Query:
    """Return the query that the options ask for; raise ConfigError."""
    since, until = getattr(options, "since", None), getattr(options, "until", None)
    if options.subject and not config.events.subject:
        raise ConfigError(["--subject: subjects are not recorded; set events.subject"])
    return Query(
        terms=tuple(_criteria(options, key_of(config))),
        since=since.timestamp() if since else 0.0,
        until=until.timestamp() if until else float("inf"),
        limit=getattr(options, "limit", 0) or 50,
    )


def key_of(config: Config) -> AddressHasher | None:
    """Return the hasher of addresses, None without one; raise ConfigError."""
    try:
        return hasher(config.events, config.state_dir)
    except OSError as error:
        raise ConfigError([f"events.hash_addresses: the key cannot be read: {error}"]) from error


def _criteria(options: argparse.Namespace, hashes: AddressHasher | None) -> Iterator[Criterion]:
    if options.address:
        yield (*address_terms("from", options.address, hashes), *address_terms("to", options.address, hashes))
    if options.sender is not None:
        yield address_terms("from", options.sender, hashes)
    if options.recipient:
        yield address_terms("to", options.recipient, hashes)
    if options.domain:
        domain = options.domain.lower().removeprefix("*.").rstrip(".")
        yield (("from_domain", domain), ("to_domain", domain))
    if options.client:
        network = options.client.partition("/")
        yield (("network", network_of(network[0])) if network[1] else ("client", options.client),)
    if options.id:
        yield (("number", options.id),)
    if options.message_id:
        yield (("number", f"<{options.message_id.strip('<>')}>"),)
    for option, role in (("verdict", "verdict"), ("rule", "rule"), ("virus", "name")):
        if value := getattr(options, option):
            yield ((role, value.lower()),)
    if options.subject:
        yield from subject_terms(options.subject)


def address_terms(role: str, address: str, hashes: AddressHasher | None) -> Criterion:
    """Return the alternatives for an address: plain, and as a hash if events have hashes."""
    plain = address.strip("<>").lower()
    names = dict.fromkeys((plain, hashes.address(plain))) if hashes else (plain,)
    return tuple((role, name) for name in names)


class EventReader:
    """Index and files of events, read together; the files alone while an event database is away."""

    def __init__(
        self, config: Config, remark: Callable[[str], object] | None = None, max_bytes: int = UNINDEXED_BYTES
    ) -> None:
        """Read the events that are not in the index yet.

        Args:
            config: Settings.
            remark: Receives a line about what is missing; without it, standard error does.
            max_bytes: Size up to which these events are read.
        """
        remark = remark or note
        self._config, self._remark, self._max_bytes = config, remark, max_bytes
        self._files: LocalFiles | None = None
        self._recent: list[Event] = []
        self.store = open_store(config, remark)
        behind = 0
        try:
            try:
                self._recent, behind = unindexed(config.state_dir, self.store, max_bytes)
            except StoreError as error:
                self._files = self._files_after(error)
        except BaseException:
            self.store.close()
            raise
        if behind:
            remark(
                f"the index is behind: {behind >> 20} MB of the newest events are missing; see mailgate-index.service"
            )

    def close(self) -> None:
        """Close the index."""
        self.store.close()

    def find(self, query: Query) -> list[Event]:
        """Return the newest events that meet the criteria, newest first."""
        return self._ask(
            lambda: self._merged(self.store.find(query), query)[::-1][: query.limit], lambda files: files.find(query)
        )

    def of(self, number: str) -> list[Event]:
        """Return the events of an id, queue id or Message-ID, by time."""
        query = Query(((("number", number),),))
        return self._ask(lambda: self._merged(self.store.of(number), query), lambda files: files.of(number))

    def _ask(self, indexed: Callable[[], list[Event]], local: Callable[[LocalFiles], list[Event]]) -> list[Event]:
        """Return what the index has, or the files of this gateway while an event database is away."""
        if not self._files:
            try:
                return indexed()
            except StoreError as error:
                self._files = self._files_after(error)
        return local(self._files)

    def _files_after(self, error: StoreError) -> LocalFiles:
        """Return the files, to be read from now on; raise the error if the index is this gateway's own."""
        if not self._config.event_database.server:
            raise error
        self._remark(f"the event database is away ({error}): only the events in the files of this gateway are searched")
        return LocalFiles(self._config.state_dir, self._max_bytes, self._remark)

    def _merged(self, indexed: list[Event], query: Query) -> list[Event]:
        """Return indexed and recent events by time; what was indexed in this moment is in both."""
        recent = [event for event in self._recent if query.matches(event)]
        if recent:
            known = {json.dumps(event, sort_keys=True) for event in indexed}
            indexed = [*indexed, *(event for event in recent if json.dumps(event, sort_keys=True) not in known)]
        return sorted(indexed, key=time_of)


def note(line: str) -> None:
    """Print a remark beside the result."""
    print(f"mailgate: {line}", file=sys.stderr)
