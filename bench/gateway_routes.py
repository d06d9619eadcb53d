# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the gateway's routes table: loading a million routes, and looking one up.

    python bench/gateway_routes.py [--routes 1000000] [--output .cache/bench/gateway_routes.json]

The file is as the role writes it: sorted, one line per domain, one in seven a wildcard, one in forty with two next
hops; 10,000 servers. Loading reads and checks the whole file, as at start and reload. A lookup is one call of
`Routes.find`, timed individually minus the cost of the clock, for 100,000 names drawn with a fixed seed: 70 % exact,
20 % below a wildcard, 10 % unknown.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "roles" / "gateway" / "files"))

from mailgate.routes import Routes, load_routes  # noqa: E402

SERVERS = 10_000
LOOK_UPS = 100_000


def write_table(path: Path, routes: int) -> None:
    """Write a routes table, sorted by domain."""
    lines = {}
    for number in range(routes):
        server = number % SERVERS
        name = f"d{number}.f{server % 1000}.univ.example"
        hops = f"198.18.{server // 250 + 1}.{server % 250 + 1}"
        if number % 40 == 0:
            hops += f",198.19.{server // 250 + 1}.{server % 250 + 1}"
        lines[f"*.{name}" if number % 7 == 3 else name] = hops
    path.write_text("".join(f"{domain}\t{hops}\n" for domain, hops in sorted(lines.items())))


def names(patterns: list[str]) -> list[str]:
    """Return random names to look up."""
    draw = random.Random(1)  # noqa: S311 # a fixed draw, nothing secret
    exact = [pattern for pattern in patterns if not pattern.startswith("*")]
    wildcards = [pattern for pattern in patterns if pattern.startswith("*")]
    kinds = draw.choices(("exact", "below", "unknown"), (70, 20, 10), k=LOOK_UPS)
    drawn = {
        "exact": lambda: draw.choice(exact),
        "below": lambda: f"host{draw.randrange(100)}{draw.choice(wildcards)[1:]}",
        "unknown": lambda: f"mx{draw.randrange(10**6)}.elsewhere.example",
    }
    return [drawn[kind]() for kind in kinds]


def time_look_ups(routes: Routes, wanted: list[str]) -> list[float]:
    """Return the microseconds of each lookup."""
    clock = time.perf_counter_ns
    empty = []
    for _ in range(10_000):
        before = clock()
        after = clock()
        empty.append(after - before)
    own = statistics.median(empty)
    found = []
    for name in wanted:
        before = clock()
        routes.find(name)
        after = clock()
        found.append((after - before - own) / 1000)
    return found


def main() -> int:
    """Measure, print, write as JSON."""
    parser = argparse.ArgumentParser(description="Time the gateway's routes table.")
    parser.add_argument("--routes", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, default=ROOT / ".cache" / "bench" / "gateway_routes.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "routes")
        # In a separate process, whose memory does not count.
        writer = multiprocessing.get_context("spawn").Process(target=write_table, args=(path, args.routes))
        writer.start()
        writer.join()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, began_cpu = time.perf_counter(), time.process_time()
        routes = load_routes(path, own_addresses=["198.18.0.25"])
        load, load_cpu = time.perf_counter() - began, time.process_time() - began_cpu
    assert len(routes) == args.routes
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    wanted = names([route.pattern for route in routes])
    hits = sum(routes.find(name) is not None for name in wanted)
    times = sorted(time_look_ups(routes, wanted))
    result = {
        "routes": args.routes,
        "load_seconds": load,
        "load_cpu_seconds": load_cpu,
        "peak_mib_added": added,
        "look_ups": len(times),
        "found": hits,
        "look_up_us": {"median": statistics.median(times), "p99": times[len(times) * 99 // 100]},
    }
    memory = f"{added:,.0f} MiB added"
    print(f"{args.routes:,} routes loaded in {load:.2f} s ({load_cpu:.2f} s CPU), {memory}")
    print(f"lookup: median {result['look_up_us']['median']:.2f} us, p99 {result['look_up_us']['p99']:.2f} us")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
