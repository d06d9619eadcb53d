# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where bench.chaos runs: a gateway and a real clamd on loopback, or a twin's gateway with real sendmail behind it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench.campus import GATEWAYS, SERVERS, USERS, Campus, bench_campus
from bench.chaos import MARKS, disturbed, infected
from bench.service import Service

from gateway_doubles import Hop  # isort: skip  bench.chaos extends the path
from real_clamd import CLAMD, MISSING, RealClamd  # isort: skip

GATEWAY, SERVER = GATEWAYS[0], "mech"
UNIT, SOCKET = "clamav-daemon.service", "clamav-daemon.socket"

# systemd owns clamd's socket, gives up on units that fail too often, and delays restarts for some seconds.
START = f"""\
systemctl reset-failed {SOCKET} {UNIT} 2>/dev/null
[ -S /run/clamav/clamd.ctl ] || {{ systemctl stop {UNIT}; systemctl restart {SOCKET}; }}
[ $(systemctl show --property=SubState --value {UNIT}) = running ] || systemctl stop {UNIT}
systemctl start {SOCKET} {UNIT}
"""

# Counts lines with a mark in the mailboxes and queues, and in a control file that has one: proof that the search works.
COUNT = """\
cd /tmp && echo '{mark}' >control
grep -a -F -h -e '{mark}' /var/mail/u* /var/spool/mqueue/* 2>/dev/null | wc -l
grep -a -F -h -e '{mark}' control | wc -l
grep -a -h '^Subject: bench$' /var/mail/u* | wc -l
"""


class TwinClamd:
    """The clamd of a twin's gateway."""

    def __init__(self, campus: Campus) -> None:
        self._campus = campus
        self._ending: list[int] = []

    def signal(self, number: signal.Signals, /) -> None:
        """Send a signal."""
        self._ending = self._campus.processes(GATEWAY, UNIT)
        self._campus.signal(GATEWAY, UNIT, number)

    def kill(self) -> None:
        """Kill it with SIGKILL and wait for its end."""
        self.signal(signal.SIGKILL)
        self.ended()

    def ended(self) -> None:
        """Wait for the end of the processes that got the last signal; systemd may have started others."""
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{process}").exists() for process in self._ending):
            if time.monotonic() > deadline:
                raise RuntimeError("clamd did not end within 60 s")
            time.sleep(0.01)

    def hide(self) -> None:
        """Remove its socket."""
        self._campus.sh(GATEWAY, "rm -f /run/clamav/clamd.ctl")

    def start(self) -> None:
        """Start it, unless systemd has done so."""
        self._campus.sh(GATEWAY, START)


def count_infected(campus: Campus) -> tuple[int, int]:
    """Return the number of delivered messages, and of lines with an infection's mark in mailboxes and queues."""
    messages = found = 0
    for called in (*GATEWAYS, *SERVERS.values()):
        for mark in MARKS:
            there, control, received = map(int, campus.sh(called, COUNT.format(mark=mark.decode())).split())
            if control != 1:
                raise RuntimeError(f"{called}: the search did not find the mark in the control file")
            found += there
        messages += received
    return messages, found


def on_twin(parser: argparse.ArgumentParser) -> dict[str, object]:
    """Disturb the clamd of a twin's gateway; return the result with the messages found in mailboxes."""
    result: dict[str, object] = {}
    with bench_campus(parser, "bench-chaos") as (campus, options):

        async def run() -> None:
            domain = next(domain for domain, server in SERVERS.items() if server == SERVER)
            address = (campus.twin.machine(GATEWAY).address, 25)
            recipients = [f"u{number}@{domain}" for number in range(USERS)]
            clamd, seconds = TwinClamd(campus), options.seconds or 600
            result.update(
                await disturbed(clamd, address, recipients, times=options.times, seed=options.seed, seconds=seconds)
            )

        thread = campus.outside(run)
        thread.start()
        thread.join()
        campus.drained(60)
        result["delivered"], result["delivered_infected"] = count_infected(campus)
    return result


def on_loopback(parser: argparse.ArgumentParser) -> dict[str, object]:
    """Disturb a real clamd on loopback; return the result with the messages that the next hop received."""
    options = parser.parse_args()
    if not CLAMD:
        sys.exit(MISSING)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="chaos") as name:
        clamd = RealClamd(Path(name))
        try:
            return asyncio.run(_on_loopback(clamd, Path(name), options))
        finally:
            clamd.kill()


async def _on_loopback(clamd: RealClamd, directory: Path, options: argparse.Namespace) -> dict[str, object]:
    hop = Hop()
    await hop.start()
    service = Service(
        directory,
        hop.port,
        clamd.socket,
        timeouts={"scan": 2},
        scan={"remembered": 200},
        limits={"max_connections_per_client": 200},
        cache={"resend_hours": 0},
    )
    try:
        await service.ready()
        result = await disturbed(
            clamd,
            ("127.0.0.1", service.port),
            ["alice@a.example"],
            times=options.times,
            seed=options.seed,
            seconds=options.seconds or 3600,
        )
    finally:
        service.stop()
        hop.stop()
    delivered = [one.content for one in hop.received]
    return {
        **result,
        "delivered": len(delivered),
        "delivered_infected": sum(infected(content) for content in delivered),
    }
