# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail while programs are killed: nothing that was answered 250 may be lost, nor come twice without RFC 1047.

python3 -m bench.kill [--messages 20000] [--kills 30] [--sessions 20]       (as root; on a loopback of its own)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.house import DOMAIN, GATEWAY, QUEUE, SINK, House, own_house
from bench.rootfs import CACHE
from bench.sender import Senders

# In turn: a worker, the whole service, the scanner, the inner server, the queue, and all at once, as a host that fails.
VICTIMS = ("worker", "service", "clamd", "server", "queue", "host")
SECOND = 0.3


@dataclass
class Mailbox:
    """What a server has, by message: as its 250 was sent, so that it survives the server's end."""

    log: Path
    found: Counter[int] = field(default_factory=Counter)

    def read(self) -> None:
        """Count what is written in the log, a number a line."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.found = Counter(int(line) for line in lines)


SERVER = r"""
import asyncio, os, re, sys
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
number = re.compile(rb"^Subject: (\d+)", re.M)
async def serve(reader, writer):
    try:
        writer.write(b"220 server\r\n")
        while line := await reader.readuntil(b"\r\n"):
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go\r\n")
                text = await reader.readuntil(b"\r\n.\r\n")
                # Its mailbox, before its answer: a server that is killed between the two makes the case of RFC 1047.
                os.write(log, number.search(text)[1] + b"\n")
                await asyncio.sleep(0)
                writer.write(b"250 2.0.0 taken\r\n")
            elif verb == b"EHLO":
                writer.write(b"250-server\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            elif verb == b"RCPT" and b"<mailgate-" in line:
                writer.write(b"550 5.1.1 unknown\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 2.0.0 ok\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), limit=1 << 22)
    await server.serve_forever()
asyncio.run(main())
"""


class Campus:
    """The programs of the run, each of which can be killed and started again."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("server", "queue"):
            (house.root / f"{name}.py").write_text(SERVER)

    def start(self, name: str) -> None:
        """Start one, without waiting for it."""
        if name == "clamd":
            command = ["clamd", "--config-file=/etc/clamav/clamd.conf"]
        elif name == "service":
            command = ["python3", "-I", "/opt/mailgate", "serve", "--config", "/etc/mailgate.toml"]
        else:
            port = SINK if name == "server" else QUEUE
            command = ["python3", f"/{name}.py", str(port), f"/{name}.log"]
        self.processes[name] = self.house.start(name, command)

    def kill(self, name: str) -> None:
        """Kill with -9: a worker, a program with all its processes, or all of the gateway host's."""
        if name == "worker":
            workers = [p for p in self.house.processes("service") if p != self.processes["service"].pid]
            if workers:
                os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311
            return
        for one in ("service", "clamd", "queue") if name == "host" else (name,):
            for process in self.house.processes(one):
                os.kill(process, signal.SIGKILL)
            self.processes[one].wait()

    def revive(self) -> None:
        """Start again what has ended, as systemd would."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                if name == "clamd":
                    (self.house.root / "run/clamav/clamd.ctl").unlink(missing_ok=True)
                self.start(name)


async def killing(campus: Campus, senders: Senders, kills: int, victims: Counter[str]) -> None:
    """Kill in turn, evenly over the messages; start again after a moment."""
    for number in range(kills):
        wanted = min(senders.total, round(senders.total * (number + 0.5) / kills))
        while len(senders.accepted) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        name = VICTIMS[number % len(VICTIMS)]
        campus.kill(name)
        victims[name] += 1
        await asyncio.sleep(SECOND)
        campus.revive()


def main() -> None:
    """Prepare the system, then go on inside namespaces of our own."""
    parser = argparse.ArgumentParser(prog="bench.kill")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--sessions", type=int, default=20)
    with own_house(parser) as (house, options):
        result = run(house, options)
    (CACHE / "kill.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    sys.exit(0 if not result["lost"] and not result["unexplained_doubles"] else 1)


def run(house: House, options: argparse.Namespace) -> dict[str, Any]:
    """The run and its account."""
    house.start_clamd()
    house.start_gateway()
    for process in house.running:
        process.terminate()
        process.wait()
    (house.root / "run/clamav/clamd.ctl").unlink(missing_ok=True)
    campus = Campus(house)
    for name in ("server", "queue", "clamd", "service"):
        campus.start(name)
    senders = Senders(
        options.messages, options.sessions, [("127.0.0.1", GATEWAY)], lambda number: f"u{number % 50}@{DOMAIN}"
    )
    victims: Counter[str] = Counter()
    started = time.monotonic()

    async def all_of_it() -> None:
        await asyncio.gather(senders.run(), killing(campus, senders, options.kills, victims))

    asyncio.run(asyncio.wait_for(all_of_it(), 1800))
    server, queue = (Mailbox(house.root / f"{name}.log") for name in ("server", "queue"))
    server.read()
    queue.read()
    arrived = server.found + queue.found
    lost = sorted(senders.accepted - set(arrived))
    doubled = {number: count for number, count in arrived.items() if count > 1}
    # RFC 1047: an answer was lost, of the gateway to the sender or of a server to the gateway. The first shows at the
    # sender, the second in the queue, which got what the server may have had.
    explained = [n for n in doubled if senders.doubtful[n] or (server.found[n] and queue.found[n])]
    return {
        "messages": options.messages,
        "kills": dict(victims),
        "seconds": round(time.monotonic() - started, 1),
        "accepted": len(senders.accepted),
        "arrived_at_server": sum(1 for n in server.found if n not in queue.found),
        "in_queue": len(queue.found),
        "lost": len(lost),
        "doubled": len(doubled),
        "unexplained_doubles": len(doubled) - len(explained),
        "retries": sum(senders.attempts.values()) - options.messages,
        "refusals": dict(senders.refused),
    }


if __name__ == "__main__":
    main()
