# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of `mailgate status`: the service itself, and everything it needs, now."""

from __future__ import annotations

import asyncio
import gzip
import http
import http.client
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyclamd

from mailgate.archives.unpacker import Unpacker, UnpackerError
from mailgate.client.greeting import read_greeting
from mailgate.commands.check_names import name_of
from mailgate.commands.event_options import UNINDEXED_BYTES
from mailgate.commands.limits_status import limit_checks
from mailgate.commands.mail_queue import QueueUnreadableError, waiting
from mailgate.commands.phrases import Phrase, joined, phrase, quoted
from mailgate.config import Config, Endpoint, Scan, clamd_address
from mailgate.delivery.verify_cache import VerificationCache, count
from mailgate.event_index.follower import bytes_behind
from mailgate.event_index.store import StoreError
from mailgate.event_index.stores import open_store
from mailgate.event_loop import find_loop
from mailgate.removed_routes import RemovedRoutes
from mailgate.routes import Routes
from mailgate.scan.scanner import signature_age
from mailgate.state import open_read_only
from mailgate.translation import N_, SOURCE_LANGUAGE, translator

SECONDS = 5
MEGABYTE = 1 << 20
# The state directory of mailgate-front.service.
FRONT_QUEUE = Path("/var/lib/mailgate-front")
# Below it, files that grow are about to fail.
MIN_FREE_BYTES = 16 * MEGABYTE
# Removed domains that are listed.
MAX_DOMAINS = 10


@dataclass(frozen=True)
class Check:
    """Result of one check: its name, whether it passed, and the details, which are English until translated."""

    name: str
    ok: bool
    detail: Phrase


def run_checks(config: Config, routes: Routes) -> list[Check]:
    """Run all checks; never raise."""
    return [
        *(_banner(f"listening on {endpoint}", _reachable(endpoint)) for endpoint in config.listen),
        *(_banner(f"front {endpoint}", _reachable(endpoint)) for endpoint in config.front_listen),
        *(_exporter(endpoint) for endpoint in config.metrics.listen),
        _banner(f"queue {config.queue}", config.queue),
        queue_length_check(),
        *((_front_queue(FRONT_QUEUE),) if config.front_listen else ()),
        *(_clamd(text, config.scan) for text in (config.scan.socket, *config.scan.other_sockets)),
        *((unpacker_check(config.scan.unpacker),) if config.scan.unpacker else ()),
        _routes(config, routes),
        event_loop_check(config.event_loop),
        state_check(config.state_dir),
        *index_checks(config),
        _cache(config),
        *_rules(config),
        *_spam(config),
        *(Check(*result) for result in limit_checks(config)),
        *_signing(config),
    ]


def lines(checks: Iterable[Check], language: str) -> Iterator[str]:
    """Yield a line for each check; in English, names are those of JSON."""
    translate = translator(language)
    for check in checks:
        name, about = name_of(check.name, translate) if language != SOURCE_LANGUAGE else ("", check.name)
        title = " ".join(part for part in (name, about) if part)
        yield f"{'ok  ' if check.ok else 'FAIL'}  {title}: {check.detail.translated(translate)}"


def state_check(directory: Path) -> Check:
    """Check that the service can write its state: without room, it works, but forgets recipients and events."""
    name = "state directory"
    try:
        found = os.statvfs(directory)
    except OSError as error:
        return Check(name, False, quoted(error))
    # What is left for users without privileges, as the service.
    free = found.f_bavail * found.f_frsize
    text = None
    if free < MIN_FREE_BYTES:
        text = N_("{directory}: {free} MB free; mail continues, but counters, recipients and events cannot be stored")
    elif found.f_files and not found.f_favail:
        text = N_("{directory}: no inodes free; mail continues, but state cannot be stored")
    elif found.f_flag & os.ST_RDONLY:
        text = N_("{directory}: read-only; mail continues, but state cannot be stored")
    shown = phrase(text or N_("{directory}: {free} MB free"), directory=directory, free=free // MEGABYTE)
    return Check(name, text is None, shown)


def event_loop_check(wanted: str) -> Check:
    """Report the event loop that a start of the service uses; mail does not depend on uvloop."""
    _factory, name = find_loop(wanted)
    return Check("event loop", wanted != "uvloop" or name.startswith("uvloop"), quoted(name))


def index_checks(config: Config) -> list[Check]:
    """Check that the index of events is not far behind; searches then miss the newest events."""
    if not config.events.max_bytes:
        return []
    try:
        with closing(open_store(config, timeout=SECONDS)) as store:
            # Also asks it if there are no files.
            store.days()
            behind = bytes_behind(config.state_dir, store)
    except (OSError, StoreError) as error:
        kept = phrase(N_("mail continues; events are kept in files until then"))
        return [Check("index of events", False, joined([str(error), kept]))]
    detail = phrase(N_("{number} bytes of events are not indexed yet"), number=behind)
    if server := config.event_database.server:
        detail = joined([server, detail], ": ")
    if behind > UNINDEXED_BYTES:
        detail = joined([detail, phrase(N_("mail continues; see mailgate-index.service"))])
    return [Check("index of events", behind <= UNINDEXED_BYTES, detail)]


def unpacker_check(path: str) -> Check:
    """Have a small archive opened by the unpacker at this socket."""

    async def names() -> list[str]:
        async with asyncio.timeout(SECONDS):
            unpacker = Unpacker(path)
            return [found.name async for found in unpacker.inside(gzip.compress(b"test"), everything=True)]

    try:
        opened = asyncio.run(names())
    except (UnpackerError, TimeoutError) as error:
        return Check(f"unpacker {path}", False, quoted(error) if str(error) else phrase(N_("no answer in time")))
    if opened != [""]:
        return Check(f"unpacker {path}", False, phrase(N_("answered {answer}"), answer=opened))
    return Check(f"unpacker {path}", True, phrase(N_("opens archives")))


def _reachable(endpoint: Endpoint) -> Endpoint:
    """Return where to connect for a listening address, which may stand for all addresses of the host."""
    return Endpoint({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(endpoint.host, endpoint.host), endpoint.port)  # noqa: S104


def _banner(name: str, endpoint: Endpoint) -> Check:
    try:
        banner = read_greeting(endpoint, SECONDS)
    except OSError as error:
        return Check(name, False, quoted(error))
    return Check(name, banner.startswith("220"), quoted(banner))


def _exporter(endpoint: Endpoint) -> Check:
    """Ask for the page of load balancers; mail does not depend on it."""
    target = _reachable(endpoint)
    connection = http.client.HTTPConnection(target.host, target.port, timeout=SECONDS)
    try:
        connection.request("GET", "/ready")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return Check(f"metrics {endpoint}", False, joined([str(error), phrase(N_("mail continues"))]))
    finally:
        connection.close()
    answered = phrase(N_("/ready answers {status}"), status=status)
    return Check(f"metrics {endpoint}", status == http.HTTPStatus.OK, answered)


def queue_length_check() -> Check:
    """Count the messages in the queue."""
    name = "mail in the queue"
    try:
        number = len(waiting(SECONDS))
    except QueueUnreadableError as error:
        return Check(name, True, phrase(N_("unknown: {reason}"), reason=error))
    if not number:
        return Check(name, True, _messages(number))
    return Check(name, True, phrase(N_("{messages} (mailgate queue lists them)"), messages=_messages(number)))


def _messages(number: int) -> Phrase:
    return phrase(N_("{number} message") if number == 1 else N_("{number} messages"), number=number)


def _front_queue(directory: Path) -> Check:
    """Count the messages in the queue of the front; its directory is for its user and root only."""
    name = "mail in the queue of the front"
    try:
        number = sum(path.name.startswith("qf") for path in directory.iterdir())
    except PermissionError:
        return Check(name, True, phrase(N_("unknown; run as root")))
    except OSError as error:
        return Check(name, False, quoted(error))
    return Check(name, True, _messages(number))


def _clamd(text: str, scan: Scan) -> Check:
    name = f"clamd {text}"
    address = clamd_address(text)
    try:
        if isinstance(address, str):
            clamd = pyclamd.ClamdUnixSocket(filename=address, timeout=SECONDS)
        else:
            clamd = pyclamd.ClamdNetworkSocket(host=address[0], port=address[1], timeout=SECONDS)
        if not clamd.ping():
            return Check(name, False, phrase(N_("no answer to PING")))
        version = str(clamd.version())
    except (pyclamd.ConnectionError, OSError, ValueError) as error:
        return Check(name, False, quoted(error))
    age = signature_age(version, time.time())
    old = scan.max_signature_days and age is not None and age > scan.max_signature_days * 86400
    detail = phrase(N_("{version} (signatures too old)"), version=version) if old else quoted(version)
    return Check(name, not old, detail)


def _routes(config: Config, routes: Routes) -> Check:
    detail = phrase(N_("{number} from {file}"), number=len(routes), file=config.routes_file)
    removed = RemovedRoutes.load(config.state_dir, config.cache.removed_route_hours * 3600, routes).deferred
    if removed:
        domains = quoted(", ".join(removed[:MAX_DOMAINS]))
        if len(removed) > MAX_DOMAINS:
            domains = phrase(N_("{names} and {number} more"), names=domains, number=len(removed) - MAX_DOMAINS)
        text = N_("mail is deferred for removed domains: {domains}")
        detail = joined([detail, phrase(text, domains=domains)])
    return Check("routes", True, detail)


def _rules(config: Config) -> list[Check]:
    if not config.rules and not config.authentication.evaluate:
        return []
    # Imported here because dnspython takes long to import.
    from mailgate.commands.rules_status import rule_checks  # noqa: PLC0415

    return [Check(*result) for result in rule_checks(config)]


def _spam(config: Config) -> list[Check]:
    if not config.rspamd.socket:
        return []
    # Imported here because it imports dnspython.
    from mailgate.commands.spam_status import spam_checks  # noqa: PLC0415

    return [Check(*result) for result in spam_checks(config)]


def _signing(config: Config) -> list[Check]:
    if not config.dkim:
        return []
    # Imported here because dnspython takes long to import.
    from mailgate.commands.dkim import signing_checks  # noqa: PLC0415

    return [Check(*result) for result in signing_checks(config)]


def _cache(config: Config) -> Check:
    try:
        database = open_read_only(config.state_dir / VerificationCache.FILE)
        known, unknown, catch_all = count(database)
        database.close()
    except sqlite3.Error as error:
        return Check("recipient cache", False, quoted(f"{config.state_dir}: {error}"))
    text = N_("{known} known, {unknown} unknown, {catch_all} domains that accept any recipient")
    return Check("recipient cache", True, phrase(text, known=known, unknown=unknown, catch_all=catch_all))
