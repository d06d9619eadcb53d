# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail through a twin with real sendmail while programs and a gateway host are killed: nothing that was answered 250 is
lost, and each double has its reason.

python3 -m bench.kill_twin [--messages 20000] [--kills 30] [--sessions 16]       (as root)

A twin's host keeps its disk when its power is cut, and what was written is there whether fsync was called or not: what
a server puts on its disk before it answers is not tested here.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from bench.campus import GATEWAYS, SERVERS, Campus, Copy, exchanges, own_campus
from bench.rootfs import CACHE
from bench.sender import Senders

VICTIMS = ("worker", "service", "clamd", "server", "queue", "host")
# How long an inner server, a queue or a host is down; the others are started again by systemd.
DOWN_SECONDS = 2.0
MOST_SECONDS = 900
DRAIN_SECONDS = 300


class Killer:
    """Kills with -9, and starts again what systemd does not."""

    def __init__(self, campus: Campus) -> None:
        self.campus = campus
        self.kills = 0

    def kill(self, victim: str, gateway: str) -> None:
        """Kill one victim, of this gateway or of the inner server whose turn it is, and have it come back."""
        server = list(SERVERS.values())[self.kills // len(VICTIMS) % len(SERVERS)]
        self.kills += 1
        match victim:
            case "worker":
                # The supervisor is the unit's first process.
                workers = sorted(self.campus.processes(gateway, "mailgate.process.supervisor"))[1:]
                if workers:
                    os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311
            case "service":
                self.campus.signal(gateway, "mailgate.process.supervisor", signal.SIGKILL)
            case "clamd":
                self.campus.signal(gateway, "clamav-daemon.service", signal.SIGKILL)
            case "server":
                self._sendmail(server)
            case "queue":
                # With a server down, so that there is mail in it.
                self._sendmail(server, gateway)
            case "host":
                self.campus.twin.stop(gateway)
                time.sleep(DOWN_SECONDS)
                self.campus.twin.start(gateway)

    def _sendmail(self, server: str, queue: str = "") -> None:
        hosts = [name for name in (server, queue) if name]
        for name in hosts:
            self.campus.signal(name, "sendmail.service", signal.SIGKILL)
            time.sleep(DOWN_SECONDS)
        for name in reversed(hosts):
            self.campus.sh(name, "systemctl restart sendmail")


def killing(campus: Campus, senders: Senders, kills: int, seconds: float) -> Counter[str]:
    """Kill in turn, evenly over the messages, until all are accepted; who was killed how often."""
    killer, victims = Killer(campus), Counter[str]()
    until = time.monotonic() + seconds
    for number in range(kills):
        wanted = min(senders.total, round(senders.total * (number + 0.5) / kills))
        while len(senders.accepted) < wanted:
            if time.monotonic() > until:
                return victims
            time.sleep(0.02)
        victim = VICTIMS[number % len(VICTIMS)]
        began = time.monotonic()
        # The one that takes the mail now.
        gateway = campus.twin.machine(senders.latest).short
        killer.kill(victim, gateway)
        victims[victim] += 1
        took = time.monotonic() - began
        print(
            f"  {number + 1:2} {victim:8} {gateway} at {len(senders.accepted)} messages, {took:.1f} s", file=sys.stderr
        )
    return victims


def why_twice(traces: Sequence[tuple[tuple[str, str], ...]], senders: Senders, number: int) -> str:
    """Whose lost answer made two copies of a message, by where their ways part."""
    first, second = traces[0], traces[1]
    if first == second:
        return "an inner server's own delivery was cut off"
    if first[:1] != second[:1]:
        if senders.doubtful[number]:
            return "a gateway's answer to the sender was lost"
        return "the queue's answer to a gateway was lost" if number in senders.put_off else "unexplained"
    # The same message of the same gateway: straight to the server, and through the queue; or twice out of the queue.
    if len(first) != len(second):
        return "a server's answer to a gateway was lost"
    return "a server's answer to the queue was lost" if first[:2] == second[:2] and len(first) > 2 else "unexplained"


def account(mail: Iterable[Copy], queued: Iterable[int], senders: Senders) -> dict[str, Any]:
    """What became of the messages."""
    arrived: dict[int, list[tuple[tuple[str, str], ...]]] = defaultdict(list)
    cut_off = 0
    for copy in mail:
        if copy.number is None:
            cut_off += 1
        else:
            arrived[copy.number].append(copy.trace)
    waiting = Counter(queued)
    lost = sorted(number for number in senders.accepted if number not in arrived and not waiting[number])
    doubled = {number: traces for number, traces in arrived.items() if len(traces) > 1}
    reasons: Counter[str] = Counter()
    unexplained = {}
    for number, traces in doubled.items():
        ordered = sorted(traces)
        for pair in itertools.pairwise(ordered):
            why = why_twice(pair, senders, number)
            reasons[why] += 1
            if why == "unexplained":
                unexplained[number] = traces
    return {
        "accepted": len(senders.accepted),
        "arrived": len(arrived),
        "arrived_through_a_queue": sum(any(len(trace) > 2 for trace in traces) for traces in arrived.values()),
        "in_queues": sum(waiting.values()),
        "lost": len(lost),
        "lost_numbers": lost[:20],
        "doubled": len(doubled),
        "doubles_by_reason": dict(reasons),
        "unexplained": dict(list(unexplained.items())[:5]),
        "unexplained_doubles": len(unexplained),
        "never_accepted": senders.total - len(senders.accepted),
        "cut_off_copies": cut_off,
    }


def run(campus: Campus, options: argparse.Namespace) -> dict[str, Any]:
    """The run and its account."""
    senders: list[Senders] = []

    async def send() -> None:
        own = Senders(
            options.messages, options.sessions, exchanges(next(iter(SERVERS))), campus.recipient, pause=0.5, patience=30
        )
        senders.append(own)
        await own.run()

    thread = campus.outside(send)
    started = time.monotonic()
    thread.start()
    while not senders and thread.is_alive():
        time.sleep(0.02)
    victims = killing(campus, senders[0], options.kills, MOST_SECONDS)
    thread.join(max(1.0, MOST_SECONDS - (time.monotonic() - started)))
    seconds = time.monotonic() - started
    waited = campus.drained(DRAIN_SECONDS)
    hosts = (*GATEWAYS, *SERVERS.values())
    queued = [number for name in hosts for number in campus.queued(name)]
    return {
        "messages": options.messages,
        "kills": dict(victims),
        "seconds": round(seconds, 1),
        "seconds_until_queues_were_empty": round(waited, 1),
        "accepted_by": dict(senders[0].accepted_by),
        "retries": sum(senders[0].attempts.values()) - options.messages,
        "refusals": dict(senders[0].refused),
        "unreachable": dict(senders[0].unreachable),
        **account(campus.mail(), queued, senders[0]),
    }


def main() -> None:
    """Boot, run, tell, and take down."""
    parser = argparse.ArgumentParser(prog="bench.kill_twin")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--sessions", type=int, default=16)
    with own_campus(parser, "bench-kill") as (campus, options):
        result = run(campus, options)
    (CACHE / "kill_twin.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    failed = result["lost"] or result["unexplained_doubles"] or result["never_accepted"]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
