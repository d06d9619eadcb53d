# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail while programs and hosts are killed: no message that got a 250 reply is lost, each duplicate has a known cause.

    python3 -m bench.kill [--on loopback] [--messages 20000] [--kills 30] [--sessions 20]       (as root)
    python3 -m bench.kill --on twin [--messages 20000] [--kills 30] [--sessions 16]             (as root; real sendmail)

The only cause of duplicates is a lost reply (RFC 1047). A twin's host keeps its disk when its power is cut, whether
fsync was called or not, so this does not test what a server has written to disk before it replies.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from bench.rootfs import CACHE
from bench.sender import Senders

# In turn: a worker, the whole service, the scanner, the final server, the queue, and all of a gateway host.
VICTIMS = ("worker", "service", "clamd", "server", "queue", "host")

#: The way of one copy of a message: (host, id there) for each hop.
Trace: TypeAlias = tuple[tuple[str, str], ...]
Explain: TypeAlias = Callable[[int, Sequence[Trace]], Iterable[str]]


class Hosts(Protocol):
    """Programs and hosts that can be killed."""

    def kill(self, victim: str, /) -> str:
        """Kill one of VICTIMS and have it come back; return its name for the log."""


def kill_in_turn(hosts: Hosts, senders: Senders, kills: int, seconds: float) -> Counter[str]:
    """Kill the victims in turn, evenly over the accepted messages, for at most `seconds`; return the kills."""
    victims = Counter[str]()
    deadline = time.monotonic() + seconds
    for number in range(kills):
        accepted = min(senders.total, round(senders.total * (number + 0.5) / kills))
        while len(senders.accepted) < accepted:
            if time.monotonic() > deadline:
                return victims
            time.sleep(0.02)
        victim = VICTIMS[number % len(VICTIMS)]
        messages, started = len(senders.accepted), time.monotonic()
        name = hosts.kill(victim)
        victims[victim] += 1
        seconds_down = time.monotonic() - started
        print(f"  {number + 1:2} {name:12} at {messages} messages, {seconds_down:.1f} s", file=sys.stderr)
    return victims


def account(
    arrived: Mapping[int, Sequence[Trace]], queued: Iterable[int], senders: Senders, explain: Explain
) -> dict[str, Any]:
    """Compare what has arrived with what was accepted.

    Args:
        arrived: traces of all copies, by number of the message.
        queued: numbers of the messages in queues.
        senders: the senders after the run.
        explain: returns the causes of a message's duplicates, "unexplained" among them.
    """
    waiting = Counter(queued)
    lost = sorted(number for number in senders.accepted if number not in arrived and not waiting[number])
    duplicated = {number: traces for number, traces in arrived.items() if len(traces) > 1}
    reasons: Counter[str] = Counter()
    unexplained = {}
    for number, traces in duplicated.items():
        causes = list(explain(number, traces))
        reasons.update(causes)
        if "unexplained" in causes:
            unexplained[number] = traces
    return {
        "accepted": len(senders.accepted),
        "arrived": len(arrived),
        "in_queues": sum(waiting.values()),
        "lost": len(lost),
        "lost_numbers": lost[:20],
        "doubled": len(duplicated),
        "doubles_by_reason": dict(reasons),
        "unexplained": dict(list(unexplained.items())[:5]),
        "unexplained_doubles": len(unexplained),
        "never_accepted": senders.total - len(senders.accepted),
        "retries": sum(senders.attempts.values()) - senders.total,
        "refusals": dict(senders.refused),
        "accepted_by": dict(senders.accepted_by),
        "unreachable": dict(senders.unreachable),
    }


def main() -> None:
    """Run the bench on loopback or on a twin; print the result, write it as JSON."""
    from bench.kill_places import on_loopback, on_twin  # noqa: PLC0415  places import this module

    parser = argparse.ArgumentParser(prog="bench.kill")
    parser.add_argument("--on", choices=("loopback", "twin"), default="loopback")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--sessions", type=int, help="parallel sessions (loopback: 20, twin: 16)")
    place = parser.parse_known_args()[0].on
    result = on_twin(parser) if place == "twin" else on_loopback(parser)
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / f"kill_{place}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    sys.exit(1 if result["lost"] or result["unexplained_doubles"] or result["never_accepted"] else 0)


if __name__ == "__main__":
    main()
