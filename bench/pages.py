# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long pages of the web page take, with an index of many messages, without and during a flood (`lab.flood`).

The index has messages of the last 30 days, made with the given seed (`bench.search`). Index, page and its data side
run with the priority of their units. Each page is read in turn, again and again, one at a time: as the web server in
front does, and, in another round, by Chromium until it is drawn. Its own work is in the times, and takes from the
gateway's processors. Screenshots of the pages during the flood, in both languages, are in `.cache/bench/pages`.

python3 -m bench.pages [--messages N] [--rate N] [--seconds N]       (as root; in a namespace of its own)
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from bench.browser import Browser, browser
from bench.inner_server import INNER
from bench.machine import DOMAIN, GATEWAY, SETTINGS, BenchMachine, bench_machine, mailgate
from bench.rootfs import CACHE
from bench.search import message
from lab.flood import Target, flood, own_addresses

STATE, SOCKET, PORT = "var/lib/mailgate", "/run/mailgate-web.sock", 8025
DAYS = 30
WEB = f'[web]\npostmasters = ["alice"]\nlisten = "127.0.0.1:{PORT}"\n'


def main() -> None:
    """Measure, print, write as JSON."""
    parser = argparse.ArgumentParser(prog="bench.pages")
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=500, help="attempts of the flood a second")
    parser.add_argument("--seconds", type=int, default=30)
    with bench_machine(parser) as (machine, options):
        own_addresses()
        paths = start(machine, options)
        result = measure(paths, options)
    (CACHE / "pages.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def start(machine: BenchMachine, options: argparse.Namespace) -> dict[str, str]:
    """Start the gateway with its index and page; return the paths of the pages by name."""
    machine.start_inner_servers()
    machine.start_clamd()
    # For `mailq`, which is Postfix's here.
    machine.start_postfix(milter=False)
    state = machine.root / STATE
    sample = write(state / "events", options.messages, random.Random(options.seed))  # noqa: S311 (test data)
    machine.start_gateway(next_hop=INNER, settings=SETTINGS + WEB)
    machine.run("index", mailgate("index", "--once"), seconds=7200)
    machine.start("index", ["nice", "-n", "19", *mailgate("index")])
    machine.start("data", ["nice", "-n", "15", *mailgate("web-data", "--socket", SOCKET)])
    machine.start("web", ["nice", "-n", "10", *mailgate("web", "--socket", SOCKET)])
    deadline = time.monotonic() + 30
    while True:
        try:
            read("/")
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    return {
        "now": "/",
        "search domain": "/search?text=d1.univ.example",
        "search recipient": f"/search?text={sample['recipients'][0]}",
        "search id": f"/search?text={sample['id']}",
        "live log": "/live",
        "queue": "/queue",
        "report of 30 days": "/report?period=30d",
        "mail": f"/mail?id={sample['id']}",
        "quarantine": "/quarantine",
        "address": f"/address?client=192.0.2.1&recipient=x@{DOMAIN}",
        "routes": "/routes",
    }


def write(directory: Path, messages: int, chance: random.Random) -> dict[str, Any]:
    """Write files of events as the service does; return the event of a message in the middle."""
    directory.mkdir(parents=True)
    end, sample = time.time(), {}
    moments = ((number, end - DAYS * 86400 * (1 - number / messages)) for number in range(messages))
    for hour, numbered in itertools.groupby(moments, key=lambda each: int(each[1] // 3600)):
        name = time.strftime("%Y%m%d-%H", time.gmtime(hour * 3600))
        with (directory / f"{name}.0000.jsonl").open("wb") as file:
            for number, moment in numbered:
                for event in message(number, moment, chance):
                    file.write(json.dumps({"v": 1, "time": round(moment, 3), **event}).encode() + b"\n")
                    if number == messages // 2 and event["event"] == "message":
                        sample = event
    return sample


def measure(paths: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Read all pages for some seconds, and again during a flood, in both ways."""
    result: dict[str, Any] = {"messages": options.messages, "seed": options.seed, "rate": options.rate}
    with ProcessPoolExecutor(1) as pool, browser() as chromium:
        chromium.headers({"X-Remote-User": "alice"})
        for name, visit in {"read": read, "drawn": lambda path: drawn(chromium, path)}.items():
            quiet = times(visit, paths, pool.submit(time.sleep, options.seconds))
            target = Target("127.0.0.1", GATEWAY, f"alice@{DOMAIN}")
            flooding = pool.submit(flood, target, options.rate, options.seconds)
            during = times(visit, paths, flooding)
            if name == "drawn":
                screenshots(chromium, paths)
            beside, met = flooding.result()
            result[name] = {
                "attempts": met.attempts,
                "refused": met.refused,
                "ordinary_not_accepted": beside.not_accepted,
                "quiet": quiet,
                "flood": during,
            }
    return result


def times(visit: Callable[[str], float], paths: dict[str, str], until: Future[Any]) -> dict[str, Any]:
    """Visit the pages in turn until something has ended; return the number, median and maximum in ms of each."""
    found: dict[str, list[float]] = {name: [] for name in paths}
    while not until.done():
        for name, path in paths.items():
            found[name].append(visit(path))
    return {
        name: {"visits": len(each), "median_ms": round(statistics.median(each), 1), "max_ms": round(max(each), 1)}
        for name, each in found.items()
    }


def screenshots(chromium: Browser, paths: dict[str, str]) -> None:
    """Write a picture of each page in both languages."""
    directory = CACHE / "pages"
    directory.mkdir(parents=True, exist_ok=True)
    for language in ("en", "ja"):
        chromium.headers({"X-Remote-User": "alice", "Cookie": f"mailgate_language={language}"})
        for name, path in paths.items():
            drawn(chromium, path)
            chromium.screenshot(directory / f"{name.replace(' ', '_')}.{language}.png")


def drawn(chromium: Browser, path: str) -> float:
    """Visit a page; return the milliseconds until it was drawn."""
    return chromium.visit(f"http://127.0.0.1:{PORT}{path}")


def read(path: str) -> float:
    """Read a page as the web server in front does; return the milliseconds; raise RuntimeError if it is not whole."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    try:
        connection.request("GET", path, headers={"X-Remote-User": "alice"})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200 or b"</html>" not in body:
        raise RuntimeError(f"{path}: {answer.status}: {text_of(body)}")
    return (time.perf_counter() - began) * 1000


def text_of(page: bytes) -> str:
    """Return the text of a page's main part."""
    return " ".join(re.sub(r"<[^>]*>", " ", page.decode().partition("<main")[2]).split())


if __name__ == "__main__":
    main()
