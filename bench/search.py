# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Index of events: time to index, size, memory, and times of searches and of a report; for each of the two stores.

    python -m bench.search --messages 200000                     a first look
    python -m bench.search --messages 200000 --store postgres    the same in a PostgreSQL of its own, with TLS
    python -m bench.search --messages 10000000 --ask             the size of the goal, about 15 GB of disk

With `--ask` it waits for a line on standard input between indexing, which takes long, and what needs a quiet machine.

Events are written as the service writes them, four per message, by a random generator with the given seed, spread over
some days. The time of a search includes opening the files of all days, or connecting to the server, not the start of
Python, which is `command_start_cpu_s`. A search is repeated for other values of the same kind; the first one reads from
disk what the others have in memory.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from bench.rootfs import CACHE

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "roles" / "gateway" / "files"
DAYS = 30
# Messages whose values are searched for.
SAMPLES = 20
START = 1_800_000_000
SETTINGS = "mailgate.toml"
sys.path[:0] = [str(PACKAGE), str(ROOT / "tests" / "unit" / "gateway")]

from event_database import DatabaseServer, settings_text  # noqa: E402

from mailgate.cli import argument_parser  # noqa: E402
from mailgate.commands.event_options import EventReader, query_of  # noqa: E402
from mailgate.config_file import load_config  # noqa: E402


def main() -> int:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(prog="bench.search", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--days", type=int, default=DAYS, help=f"over which they are spread (default: {DAYS})")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("files", "postgres"), default="files")
    parser.add_argument("--repeat", type=int, default=20, help="searches of each kind (default: 20)")
    parser.add_argument("--ask", action="store_true", help="wait for a line on standard input before searches")
    parser.add_argument("--directory", type=Path, help="where to write; must have room (default: a temporary one)")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="bench-search", dir=options.directory))
    # The user of the server must reach its part.
    directory.chmod(0o755)
    server = database(directory) if options.store == "postgres" else None
    samples: list[dict[str, str]] = []
    try:
        result = index(directory, options, samples, server)
        if options.ask:
            print("Indexed; press Enter when the machine is quiet:", flush=True)
            sys.stdin.readline()
        result |= measure(directory, samples, options)
    finally:
        if server:
            server.crash()
        shutil.rmtree(directory)
    CACHE.mkdir(parents=True, exist_ok=True)
    name = "search" if options.store == "files" else f"search_{options.store}"
    (CACHE / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    for name, value in result.items():
        print(f"{name:28} {value}")
    return 0


def database(directory: Path) -> DatabaseServer:
    """Start a PostgreSQL with the settings of Debian's, apart from their memory."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=database", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=directory, check=True, capture_output=True,
    )  # fmt: skip
    place = directory / "server"
    place.mkdir()
    certificate = str(directory / "cert.pem"), str(directory / "key.pem")
    server = DatabaseServer(
        place, certificate, "shared_buffers = 512MB\nmax_wal_size = 2GB\ncheckpoint_timeout = 15min\n"
    )
    server.start()
    server.prepare()
    return server


def index(
    directory: Path, options: argparse.Namespace, samples: list[dict[str, str]], server: DatabaseServer | None = None
) -> dict[str, object]:
    """Write events, and values to search for in `samples`; index them and return the results, times in seconds."""
    messages, seed = options.messages, options.seed
    began = time.monotonic()
    written = write(directory, options, random.Random(seed), samples)  # noqa: S311 (test data)
    generated = time.monotonic() - began
    settings = directory / SETTINGS
    (directory / "routes").write_text("*.univ.example\t198.18.1.1\n")
    settings.write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{directory}/routes"\nstate_dir = "{directory}"\n'
        f"[events]\nsubject = true\ndays = 3650\nmax_bytes = {1 << 50}\nindex_max_bytes = {1 << 50}\n"
        + (settings_text(replace(server.empty(), timeout=600)) if server else "")
    )
    indexed = run(settings, "index", "--once")
    if server:
        size = int(
            server.sql("events1", "VACUUM ANALYZE", "SELECT pg_database_size(current_database())").splitlines()[-1]
        )
    else:
        size = sum(path.stat().st_size for path in (directory / "event_index").iterdir())
    return {
        "messages": messages,
        "events": 4 * messages,
        "days": options.days,
        "seed": seed,
        "generate_s": round(generated, 1),
        "events_mb": written >> 20,
        "index_s": round(indexed.seconds, 1),
        "index_cpu_s": round(indexed.cpu, 1),
        "index_cpu_us_per_event": round(indexed.cpu / (4 * messages) * 1e6, 1),
        "index_mb": size >> 20,
        "index_bytes_per_message": round(size / messages),
        "index_mb_per_million_events": round(size / messages / 4 * 1e6 / (1 << 20)),
        "index_memory_mb": round(indexed.memory),
    }


def measure(directory: Path, samples: list[dict[str, str]], options: argparse.Namespace) -> dict[str, object]:
    """Search and report; return the results, times in seconds."""
    settings = directory / SETTINGS
    result: dict[str, object] = {
        "command_start_cpu_s": round(min(run(settings, "search", "--help").cpu for _round in range(5)), 3),
    }
    kinds: dict[str, list[tuple[float, int]]] = {}
    for number in range(options.repeat):
        for name, words in searches(samples[number % len(samples)]).items():
            kinds.setdefault(name, []).append(once(settings, words))
    for name, runs in kinds.items():
        times = sorted(each[0] * 1000 for each in runs)
        late = times[max(0, math.ceil(0.95 * len(times)) - 1)]
        result[f"search_{name}"] = (
            f"median {statistics.median(times):.1f} ms, p95 {late:.1f} ms, first {runs[0][0] * 1000:.1f} ms,"
            f" {runs[0][1]} found"
        )
    until = time.strftime("%Y-%m-%d", time.gmtime(START + (options.days + 1) * 86400))
    report = run(settings, "report", "--json", "--since", "2027-01-01", "--until", until)
    result |= {
        "report_s": round(report.seconds, 2),
        "report_cpu_s": round(report.cpu, 2),
        "report_mb": round(report.memory),
    }
    return result


def searches(samples: dict[str, str]) -> dict[str, list[str]]:
    """Return the searches by name."""
    return {
        "frequent_recipient": ["--to", "r1@d1.univ.example"],
        "rare_recipient": ["--to", samples["recipient"]],
        "sender": ["--from", samples["sender"]],
        "domain": ["--domain", "d1.univ.example"],
        "client": ["--client", samples["client"]],
        "id": ["--id", samples["id"]],
        "message_id": ["--message-id", samples["message_id"]],
        "subject": ["--subject", "number777 invoice"],
        "verdict_and_domain": ["--verdict", "refused", "--domain", "d2.univ.example"],
        "two_frequent": ["--to", "r1@d1.univ.example", "--verdict", "queued"],
        "time": ["--since", "2027-01-20T12:00", "--until", "2027-01-20T12:05"],
        "nothing": ["--to", "nobody@nowhere.example"],
    }


def once(settings: Path, words: list[str]) -> tuple[float, int]:
    """Return the seconds of one search with newly opened files, without the start of Python, and what it found."""
    parser = argument_parser()
    options = parser.parse_args(["search", "--config", str(settings), *words])
    config = load_config(settings)
    began = time.perf_counter()
    with closing(EventReader(config)) as reader:
        found = reader.find(query_of(options, config))
    return time.perf_counter() - began, len(found)


@dataclass(frozen=True)
class Run:
    """A finished command: wall and processor time in seconds, and memory in MB."""

    seconds: float
    cpu: float
    memory: float


def run(settings: Path, command: str, *words: str) -> Run:
    """Run the command line in a process of its own."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "mailgate", command, "--config", str(settings), *words],
        cwd=PACKAGE,
        stdout=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "TZ": "UTC"},
    )
    _process, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"mailgate {command} {' '.join(words)}: exit status {process.returncode}")
    return Run(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def write(directory: Path, options: argparse.Namespace, chance: random.Random, samples: list[dict[str, str]]) -> int:
    """Write the events of the messages; return their size in bytes, and values to search for in `samples`."""
    messages, seconds = options.messages, options.days * 86400
    every = max(1, messages // SAMPLES)
    (directory / "events").mkdir()
    size = 0
    hour, file = 0, None
    for number in range(messages):
        moment = START + number * seconds / messages
        if int(moment // 3600) != hour:
            hour = int(moment // 3600)
            name = time.strftime("%Y%m%d-%H", time.gmtime(hour * 3600))
            if file:
                file.close()
            file = (directory / "events" / f"{name}.0000.jsonl").open("wb")
        for event in message(number, moment, chance):
            line = json.dumps({"v": 1, "time": round(moment, 3), **event}).encode() + b"\n"
            size += len(line)
            assert file
            file.write(line)
            if number % every == every // 2 and event["event"] == "message":
                samples.append({name: str(event[name]) for name in ("sender", "client", "id", "message_id")})
                samples[-1]["recipient"] = str(event["recipients"][0])  # type: ignore[index]
    if file:
        file.close()
    return size


def message(number: int, moment: float, chance: random.Random) -> Iterator[dict[str, object]]:
    """Yield the events of one message."""
    identity = f"{int(moment * 1000):x}{chance.getrandbits(24):06x}"
    session = f"{int(moment * 1000):x}{chance.getrandbits(24):06x}"
    client = f"198.{18 + chance.randrange(2)}.{int(chance.paretovariate(0.5)) % 256}.{chance.randrange(256)}"
    # A few recipients and domains get most mail.
    domain = f"d{int(chance.paretovariate(0.8)) % 168}.univ.example"
    recipient = f"r{int(chance.paretovariate(0.6)) % 100_000}@{domain}"
    sender = f"s{int(chance.paretovariate(0.4)) % 1_000_000}@x{chance.randrange(50_000)}.example"
    drawn = chance.random()
    reply, queued = f"250 2.0.0 Message accepted as {identity}", None
    if drawn < 0.05:
        reply = "554 5.7.0 Message refused: infected (Win.Test.EICAR_HDB-1)"
    elif drawn < 0.07:
        queued = 1
    yield {"event": "recipient", "id": identity, "recipient": recipient, "verified": "server",
           "next_hops": ["[198.18.1.25]:25"]}  # fmt: skip
    yield {"event": "delivered", "id": identity, "next_hop": "[198.18.1.25]:25", "recipients": [recipient],
           "reply": f"250 2.0.0 5AUH6V{number:08d} Message accepted for delivery", "queue_id": f"5AUH6V{number:08d}",
           "seconds": round(chance.expovariate(50), 3)}  # fmt: skip
    yield {"event": "message", "id": identity, "client": client, "helo": f"mail.{sender.partition('@')[2]}",
           "session": session, "sender": sender, "recipients": [recipient], "size": chance.randrange(1000, 100_000),
           "message_id": f"<{chance.getrandbits(64):016x}@{sender.partition('@')[2]}>",
           "subject": f"invoice number{number % 1000} of {chance.choice(('May', 'June', 'July'))}", "reply": reply,
           "delivered": 1, **({"queued": queued} if queued else {}),
           "seconds": round(chance.expovariate(20), 3)}  # fmt: skip
    yield {"event": "connection", "id": session, "client": client, "helo": "mail.example", "messages": 1, "refused": 0,
           "errors": 0, "seconds": 0.2}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
