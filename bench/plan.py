# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the plan (tables, proof, comparison of the methods) for campuses of growing size.

    python bench/plan.py [--domains 168 10000 …] [--output .cache/bench/plan.json]

The campus scales like the paper's: 142 servers and 18 faculties with a hub each for 168 domains, up to 5,000 servers
and 500 faculties; beyond that each server has more domains. One domain in seven is a wildcard, one server in fifty is
permitted, one in fifty is a backup of another; two gateways, one border, one DNS server with a zone per faculty.

Each size runs in a separate process. `read` checks the facts from Ansible's inventory; `derive` makes the tables;
`prove` walks them; `compare` does so for three methods; `routes` makes the gateways' table as the role gets it. The
STATIC lines of a host are made on demand: `static` times the host with most lines. Growth is CPU time for ten times
the domains (10 is linear); stages are CPU time too. Peak memory is that of the process.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".cache" / "collections"))

from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.findings import HostFacts  # noqa: E402
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.inventory import read_campus  # noqa: E402
from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import make_plan  # noqa: E402
from ansible_collections.campus.mailgate.plugins.plugin_utils._plan.routes import derive  # noqa: E402
from ansible_collections.campus.mailgate.plugins.plugin_utils._proof.methods import compare_with  # noqa: E402
from ansible_collections.campus.mailgate.plugins.plugin_utils._proof.proof import prove  # noqa: E402
from ansible_collections.campus.mailgate.plugins.plugin_utils._proof.simulation import Simulation  # noqa: E402

SIZES = (168, 10_000, 100_000, 1_000_000)
TODAY = date(2026, 4, 1)
STAGES = ("read", "derive", "prove", "compare", "routes")


def campus(domains: int) -> list[HostFacts]:
    """Return the facts of a campus with this many domains."""
    servers = min(5_000, round(domains * 142 / 168))
    faculties = min(500, round(domains * 18 / 168))
    whole: dict[str, object] = {
        "mailgate_campus": "Bench University",
        "mailgate_networks": ["198.18.0.0/15"],
        "mailgate_method": "gateway",
        "mailgate_delivery": "direct",
        "mailgate_language": "en",
    }
    zones = ["univ.example", *(f"f{number}.univ.example" for number in range(faculties))]
    facts = [
        HostFacts(name, [group], {**whole, **own})
        for name, group, own in (
            ("gw1.univ.example", "gateways", {"ansible_host": "198.18.0.25", "mailgate_gateway": {"preference": 0}}),
            ("gw2.univ.example", "gateways", {"ansible_host": "198.18.0.26", "mailgate_gateway": {"preference": 10}}),
            ("border.univ.example", "borders", {"ansible_host": "198.18.0.1", "mailgate_border": _OUTSIDE}),
            ("ns1.univ.example", "dns", {"ansible_host": "198.18.0.53", "mailgate_dns": {"zones": zones}}),
        )
    ]
    homes: list[list[str]] = [[] for _ in range(servers)]
    for number in range(domains):
        server = number % servers
        faculty = server % faculties
        if number < faculties:
            homes[server].append(f"f{faculty}.univ.example")
        elif number % 7 == 3:
            homes[server].append(f"*.lab{number}.f{faculty}.univ.example")
        else:
            homes[server].append(f"d{number}.f{faculty}.univ.example")
    for server, own in enumerate(homes):
        faculty = server % faculties
        hub = f"s{faculty}.f{faculty}.univ.example"
        variables: dict[str, object] = {
            **whole,
            "ansible_host": f"198.{18 + (server + 256) // 65536}.{(server + 256) // 256 % 256}.{server % 256}",
            "mailgate_hub": hub,
            "mailgate_domains": own,
        }
        if server >= faculties and server % 50 == 0:
            variables["mailgate_permit"] = {"reason": "measurements", "owner": "netlab", "until": "2029-03-31"}
        if server >= faculties and server % 50 == 1:  # for the previous server of the same faculty
            variables["mailgate_backup_domains"] = homes[server - faculties]
        facts.append(HostFacts(f"s{server}.f{faculty}.univ.example", [f"faculty{faculty}"], variables))
    return facts


_OUTSIDE = {"outside_interface": "outside0"}


def measure(domains: int) -> dict[str, object]:
    """Plan one campus in this process; return the seconds and the peak memory in MiB."""
    facts = campus(domains)
    began = time.perf_counter()
    clock = [time.process_time()]

    def lap() -> float:
        clock.append(time.process_time())
        return clock[-1] - clock[-2]

    read, _warnings = read_campus(facts, TODAY)
    seconds = {"read": lap()}
    tables = derive(read)
    seconds["derive"] = lap()
    simulation = Simulation(read, tables)
    groups = simulation.domain_groups()
    proof = prove(simulation, groups)
    seconds["prove"] = lap()
    methods = compare_with(tables, simulation, groups)
    seconds["compare"] = lap()
    routes = [{"domain": each.domain, "next_hops": list(each.next_hops), "home": each.home} for each in tables.routes]
    seconds["routes"] = lap()
    wall = time.perf_counter() - began
    assert proof.ok
    assert methods["gateway"].exposed_domains == 0
    assert len(routes) == domains
    result: dict[str, object] = {
        "domains": domains,
        "servers": len(read.of_kind("servers")),
        "scenarios": len(proof.counts),
        "inside_pairs": sum(proof.counts[next(iter(proof.counts))]["inside"].values()),
        "wall_seconds": wall,
        "cpu_seconds": {"total": clock[-1] - clock[0], **seconds},
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    fullest = max(tables.sendmail.values(), key=lambda table: len(table.static))
    lap()
    lines = sum(1 for _ in fullest.static)
    result["static"] = {"lines": lines, "seconds": lap()}
    if domains <= 1000:  # what the module returns, with every host's STATIC lines and the report
        rounds = []
        for _ in range(5):
            lap()
            make_plan(facts, TODAY)
            rounds.append(lap())
        result["module_result_seconds"] = sorted(rounds)[2]
    return result


def main() -> int:
    """Measure each size, print a line for each, write the result as JSON."""
    parser = argparse.ArgumentParser(description="Time plan and proof for campuses of growing size.")
    parser.add_argument("--domains", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--output", type=Path, default=ROOT / ".cache" / "bench" / "plan.json")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one)))
        return 0
    results = []
    print(
        f"{'domains':>9} {'servers':>8} {'wall s':>8} {'CPU s':>8} {'growth':>7} {'peak MiB':>9}  " + "  ".join(STAGES)
    )
    for domains in args.domains:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(domains)], check=True, stdout=subprocess.PIPE, text=True
        )
        found = json.loads(done.stdout)
        before = results[-1] if results else None
        seconds = found["cpu_seconds"]
        # Per tenfold domains, so that different steps are comparable: linear growth is 10.
        if before:
            ratio = seconds["total"] / before["cpu_seconds"]["total"]
            found["growth_per_tenfold"] = ratio ** (1 / math.log10(domains / before["domains"]))
        results.append(found)
        growth = f"{found['growth_per_tenfold']:.1f}x" if before else ""
        stages = "  ".join(f"{seconds[stage]:.3f}" for stage in STAGES)
        times = f"{found['wall_seconds']:>8.3f} {seconds['total']:>8.3f} {growth:>7}"
        print(f"{domains:>9,} {found['servers']:>8,} {times} {found['peak_mib']:>9,.0f}  {stages}", flush=True)
        if "module_result_seconds" in found:
            print(f"{'':>9} the module's whole result with report: {found['module_result_seconds']:.3f} s")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    args.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
