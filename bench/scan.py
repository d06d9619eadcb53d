# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What scanning costs and withstands, with a real clamd on loopback: `python bench/scan.py time|memory|chaos`.

time    how much our judging of a message adds to the time clamd alone takes for the same octets, in one interleaved run
memory  the service's peak memory with many large messages at once, beside the setting that bounds it
chaos   clamd killed, stopped, slowed and fed too much again and again under load: nothing infected is ever delivered
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "roles/gateway/files"), str(ROOT / "tests/unit/gateway")]

from gateway_doubles import Hop, Received  # noqa: E402
from infected_mail import multi, part  # noqa: E402
from real_clamd import CLAMD, MISSING, RealClamd  # noqa: E402

from bench.chaos import HEAD, disturbed, infected, send  # noqa: E402
from mailgate.config import Attachments, Scan  # noqa: E402
from mailgate.content.notices import Notice  # noqa: E402
from mailgate.content.policy import ContentPolicy  # noqa: E402
from mailgate.content.screen import Rules, screen  # noqa: E402
from mailgate.scan.scanner import Scanner  # noqa: E402

SIZES = {"4 KB": (4096, 400), "60 KB": (61440, 300), "1 MB": (1 << 20, 60), "20 MB": (20 << 20, 12)}


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def message(size: int) -> bytes:
    """A message of about `size` octets as they are in real life: text, and an attachment in base64; each is another."""
    text = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + b"A line of a letter, as long as others.\r\n" * 30
    attachment = base64.encodebytes(os.urandom(max(60, int((size - 1700) * 0.73)))).replace(b"\n", b"\r\n")
    return HEAD + multi(text, part(attachment, b"application/octet-stream; name=a.bin"))


def clamd_alone(path: Path, content: bytes) -> float:
    """Seconds that clamd takes, asked by the shortest client there is."""
    started = time.perf_counter()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"zINSTREAM\0" + len(content).to_bytes(4, "big"))
        connection.sendall(content)
        connection.sendall(b"\0\0\0\0")
        answer = connection.recv(4096)
    assert answer == b"stream: OK\0", answer
    return time.perf_counter() - started


def write_signatures(directory: Path, number: int) -> None:
    """As many random signatures as asked for, a tenth of them of octets and the rest of hashes, beside the lab's."""
    dice = random.Random(1)  # noqa: S311
    with (directory / "bench.ndb").open("w") as file:
        for at in range(number // 10):
            file.write(f"Bench.Octets.{at}:0:*:{dice.randbytes(dice.randrange(16, 60)).hex()}\n")
    with (directory / "bench.hsb").open("w") as file:
        for at in range(number - number // 10):
            file.write(f"{dice.randbytes(32).hex()}:{dice.randrange(1000, 5_000_000)}:Bench.Hash.{at}:73\n")


async def measure_time(clamd: RealClamd) -> dict[str, object]:
    """By size of message, medians of both ways in milliseconds."""
    scanner = Scanner(Scan(socket=str(clamd.socket)), lambda *_, **__: None)
    rules = Rules(ContentPolicy(), Attachments(), Notice("en", "gw1.univ.example"))
    table: dict[str, object] = {}
    for name, (size, times) in SIZES.items():
        alone, ours, cpu = [], [], []
        for number in range(times + 5):
            # In turns, and each first as often as second: what else the machine does hits both alike. Never the same
            # octets twice: clamd remembers what was clean.
            for who in ("alone", "ours") if number % 2 else ("ours", "alone"):
                content = message(size)
                if who == "alone":
                    alone.append(clamd_alone(clamd.socket, content))
                else:
                    used, started = time.process_time(), time.perf_counter()
                    until = asyncio.get_running_loop().time() + 60
                    judged = await screen(content, lambda pieces, until=until: scanner.scan(pieces, until), rules)
                    ours.append(time.perf_counter() - started)
                    cpu.append(time.process_time() - used)
                    assert judged.content is content
        a, o = statistics.median(alone[5:]), statistics.median(ours[5:])
        table[name] = {
            "clamd_alone_ms": round(a * 1000, 3),
            "ours_ms": round(o * 1000, 3),
            "added_percent": round((o / a - 1) * 100, 1),
            "own_cpu_ms": round(statistics.median(cpu[5:]) * 1000, 3),
            "messages": times,
            **await several_at_a_time(clamd, scanner, rules, size, times // 4),
        }
    return table


async def several_at_a_time(
    clamd: RealClamd, scanner: Scanner, rules: Rules, size: int, number: int
) -> dict[str, float]:
    """Milliseconds a message when four are always under way, as under load; medians of rounds that take turns."""

    async def one(content: bytes) -> None:
        until = asyncio.get_running_loop().time() + 60
        assert (await screen(content, lambda pieces: scanner.scan(pieces, until), rules)).content is content

    async def client(left: list[bytes]) -> None:
        while left:
            await one(left.pop())

    rounds: dict[str, list[float]] = {"alone": [], "ours": []}
    with ThreadPoolExecutor(4) as clients:
        for turn in range(5):
            for who in ("alone", "ours") if turn % 2 else ("ours", "alone"):
                left = [message(size) for _ in range(max(4, number))]
                count, started = len(left), time.perf_counter()
                if who == "alone":
                    list(clients.map(lambda content: clamd_alone(clamd.socket, content), left))
                else:
                    await asyncio.gather(*(client(left) for _ in range(4)))
                rounds[who].append((time.perf_counter() - started) / count)
    alone, ours = (statistics.median(rounds[who]) for who in ("alone", "ours"))
    return {
        "four_clamd_alone_ms": round(alone * 1000, 3),
        "four_ours_ms": round(ours * 1000, 3),
        "four_added_percent": round((ours / alone - 1) * 100, 1),
    }


class _Forgetful(list[Received]):
    """Keeps nothing of what a hop has received."""

    def append(self, _: Received) -> None:
        pass


class Service:
    """`mailgate serve` with one route to `hop`, settings by section."""

    def __init__(self, directory: Path, hop_port: int, clamd: RealClamd, **sections: dict[str, object]) -> None:
        self.port = free_port()
        sections = {"scan": {"socket": str(clamd.socket), **sections.pop("scan", {})}, **sections}
        text = (
            f'hostname = "gw1.univ.example"\nroutes_file = "{directory}/routes"\nstate_dir = "{directory}"\n'
            f'listen = ["127.0.0.1:{self.port}"]\nqueue = "127.0.0.1:{hop_port}"\nworkers = 1\n'
        )
        for name, settings in sections.items():
            text += f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        (directory / "routes").write_text(f"a.example\t[127.0.0.1]:{hop_port}\n")
        (directory / "mailgate.toml").write_text(text)
        self.log = (directory / "mailgate.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mailgate", "serve", "--config", str(directory / "mailgate.toml")],
            env={**os.environ, "PYTHONPATH": str(ROOT / "roles/gateway/files")},
            stdout=self.log,
            stderr=self.log,
        )

    def family(self) -> list[int]:
        """The service's processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def peak_kib(self) -> int:
        """Peak memory of all its processes, added up."""
        total = 0
        for pid in self.family():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        return total

    async def ready(self) -> None:
        """Wait until it listens."""
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.05)
        raise RuntimeError(f"the service does not listen; its log is {self.log.name}")

    def stop(self) -> None:
        """End it as systemd does."""
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


async def measure_memory(clamd: RealClamd, directory: Path) -> dict[str, object]:
    """The service's peak memory, in MiB, when 100 clients send 20 MB at once and send again what is put off."""
    hop = Hop()
    hop.received = _Forgetful()
    await hop.start()
    bound = 268_435_456
    results: dict[str, object] = {}
    service = Service(
        directory,
        hop.port,
        clamd,
        limits={"max_bytes_in_flight": bound, "max_connections_per_client": 200, "max_connections": 200},
    )
    try:
        await service.ready()
        await send(("127.0.0.1", service.port), message(4096))
        results["idle_mib"] = service.peak_kib() // 1024
        content = message(20 << 20)
        answers: Counter[str] = Counter()
        waiting = 100
        rounds = 0
        started = time.monotonic()
        # As a sender does: what is put off is sent again.
        while waiting and rounds < 60:
            replies = await asyncio.gather(*(send(("127.0.0.1", service.port), content) for _ in range(waiting)))
            answers.update(replies)
            waiting = sum(not reply.startswith("250") for reply in replies)
            rounds += 1
        results.update(
            messages=100,
            octets_each=len(content),
            max_bytes_in_flight=bound,
            peak_mib=service.peak_kib() // 1024,
            answers=dict(answers),
            rounds=rounds,
            seconds=round(time.monotonic() - started, 1),
            not_delivered=waiting,
        )
    finally:
        service.stop()
        hop.stop()
    return results


async def chaos(clamd: RealClamd, directory: Path, times: int, seed: int) -> dict[str, object]:
    """What became of clean and infected messages while clamd was disturbed `times` times."""
    hop = Hop()
    await hop.start()
    service = Service(
        directory,
        hop.port,
        clamd,
        timeouts={"scan": 2},
        scan={"remembered": 200},
        limits={"max_connections_per_client": 200},
        cache={"resend_hours": 0},
    )
    try:
        await service.ready()
        address = ("127.0.0.1", service.port)
        result = await disturbed(clamd, address, ["alice@a.example"], times=times, seed=seed)
    finally:
        service.stop()
        hop.stop()
    delivered = [one.content for one in hop.received]
    return {
        **result,
        "delivered": len(delivered),
        "delivered_infected": sum(infected(content) for content in delivered),
    }


def main() -> int:
    """Run one of the measurements and print its result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "memory", "chaos"))
    parser.add_argument("--times", type=int, default=1000, help="disturbances of clamd (chaos)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--signatures", type=int, default=0, help="random signatures beside the lab's few (time)")
    options = parser.parse_args()
    if not CLAMD:
        print(MISSING, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="scan") as text:
        directory = Path(text)
        clamd = RealClamd(directory)
        if options.signatures:
            clamd.kill()
            write_signatures(clamd.database, options.signatures)
            clamd.start()
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        try:
            if options.what == "time":
                result = asyncio.run(measure_time(clamd))
            elif options.what == "memory":
                result = asyncio.run(measure_memory(clamd, directory))
            else:
                result = asyncio.run(chaos(clamd, directory, options.times, options.seed))
        finally:
            clamd.kill()
    print(json.dumps(result, indent=2))
    return 1 if result.get("delivered_infected") or result.get("delivered") != result.get("accepted") else 0


if __name__ == "__main__":
    sys.exit(main())
