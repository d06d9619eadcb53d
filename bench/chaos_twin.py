# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A twin's gateway under load while its clamd is disturbed: no infected message in any mailbox of a real sendmail.

python3 -m bench.chaos_twin [--times 1000] [--seconds 600] [--seed 1]       (as root)
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from bench.campus import GATEWAYS, SERVERS, USERS, Campus, own_campus
from bench.chaos import MARKS, disturbed
from bench.rootfs import CACHE

GATEWAY, SERVER = GATEWAYS[0], "mech"
UNIT, SOCKET = "clamav-daemon.service", "clamav-daemon.socket"

# systemd holds clamd's socket, gives up on what fails too often, and lets a restart wait for some seconds.
START = f"""\
systemctl reset-failed {SOCKET} {UNIT} 2>/dev/null
[ -S /run/clamav/clamd.ctl ] || {{ systemctl stop {UNIT}; systemctl restart {SOCKET}; }}
[ $(systemctl show --property=SubState --value {UNIT}) = running ] || systemctl stop {UNIT}
systemctl start {SOCKET} {UNIT}
"""

# Lines with a mark in the mailboxes, in a queue, and in a file that does have one: a search that finds nothing there
# proves nothing.
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
        """Send a signal to it."""
        self._ending = self._campus.processes(GATEWAY, UNIT)
        self._campus.signal(GATEWAY, UNIT, number)

    def kill(self) -> None:
        """End it with -9 and wait for its end."""
        self.signal(signal.SIGKILL)
        self.ended()

    def ended(self) -> None:
        """Wait until those that got the last signal have ended; another may have taken their place."""
        until = time.monotonic() + 60
        while any(Path(f"/proc/{process}").exists() for process in self._ending):
            if time.monotonic() > until:
                raise RuntimeError("clamd does not end")
            time.sleep(0.01)

    def hide(self) -> None:
        """Take its socket away."""
        self._campus.sh(GATEWAY, "rm -f /run/clamav/clamd.ctl")

    def start(self) -> None:
        """Start it, if systemd has not."""
        self._campus.sh(GATEWAY, START)


def count(campus: Campus) -> tuple[int, int]:
    """Messages in all mailboxes, and lines with a mark of an infection in them or in a queue."""
    messages = found = 0
    for called in (*GATEWAYS, *SERVERS.values()):
        for mark in MARKS:
            there, control, received = map(int, campus.sh(called, COUNT.format(mark=mark.decode())).split())
            if control != 1:
                raise RuntimeError(f"{called}: the search does not find a mark that is there")
            found += there
        messages += received
    return messages, found


def main() -> None:
    """Boot, disturb, count, and take down."""
    parser = argparse.ArgumentParser(prog="bench.chaos_twin")
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=600, help="end after so long, however often it was")
    parser.add_argument("--seed", type=int, default=1)
    result: dict[str, object] = {}
    with own_campus(parser, "bench-chaos") as (campus, options):

        async def run() -> None:
            domain = next(domain for domain, server in SERVERS.items() if server == SERVER)
            address = (campus.twin.machine(GATEWAY).address, 25)
            recipients = [f"u{number}@{domain}" for number in range(USERS)]
            clamd, times = TwinClamd(campus), options.times
            result.update(
                await disturbed(clamd, address, recipients, times=times, seed=options.seed, seconds=options.seconds)
            )

        thread = campus.outside(run)
        thread.start()
        thread.join()
        campus.drained(60)
        result["delivered"], result["delivered_infected"] = count(campus)
    (CACHE / "chaos_twin.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    sound = result["delivered"] == result["accepted"] and not result["delivered_infected"]
    sys.exit(0 if sound and result["times"] else 1)


if __name__ == "__main__":
    main()
