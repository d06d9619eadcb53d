# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of bench/zones.py that runs on the DNS server: makes zones, and edits one big zone with the module's code.

zones_host.py make ZONES HOSTS        static zones sN.example and dynamic ones dN.example, HOSTS hosts in each
zones_host.py big RECORDS OWNERS      one zone with RECORDS records; changes the MX records of OWNERS names; prints JSON
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

DIRECTORY = Path("/var/lib/bind/bench")
CONFIGURATION = Path("/etc/bind/named.conf")
HEAD = "$TTL 1h\n@\tIN\tSOA\tns1 hostmaster 7 1h 15m 4w 5m\n\tIN\tNS\tns1\nns1\tIN\tA\t198.18.0.53\n"
OPTIONS = 'options { directory "/var/cache/bind"; recursion no; dnssec-validation no; notify no; };\n'


def zone_text(hosts: int) -> str:
    """Return a zone file as an admin would write it: an address and an MX record per host."""
    lines = [
        f"h{n}\tIN\tA\t198.18.{n // 250 % 250}.{n % 250 + 1}\n\tIN\tMX\t0 h{n}\t; own server\n" for n in range(hosts)
    ]
    return HEAD + "".join(lines)


def begin(zones: dict[str, str], text: str) -> None:
    """Write zones, each with its own statements, and start BIND with them."""
    # BIND writes its dynamic zones when it stops.
    subprocess.run(["systemctl", "stop", "named"], check=True)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)
    configuration = OPTIONS
    for name, statements in zones.items():
        (DIRECTORY / name).write_text(text)
        configuration += f'zone "{name}" {{ type primary; file "{DIRECTORY / name}"; {statements} }};\n'
    CONFIGURATION.write_text(configuration)
    subprocess.run(["chown", "-R", "bind:", str(DIRECTORY)], check=True)
    subprocess.run(["systemctl", "start", "named"], check=True)
    wait(list(zones))


def wait(zones: list[str]) -> None:
    """Wait until BIND serves all zones."""
    for name in zones:
        for _try in range(1200):
            if not subprocess.run(["rndc", "zonestatus", name], capture_output=True, check=False).returncode:
                break
            time.sleep(0.1)


def big(records: int, owners: int) -> None:
    """Edit a big zone, including verification, check, replacement and loading."""
    sys.path.insert(0, "/root/mailgate-outside.pyz")
    from mailgate_bind._bind.client import DnsClient  # noqa: PLC0415
    from mailgate_bind._bind.external_command import run  # noqa: PLC0415
    from mailgate_bind._bind.server import Bind  # noqa: PLC0415
    from mailgate_bind._bind.transaction import Request, ZoneRequest, update  # noqa: PLC0415

    begin({"big.example": ""}, zone_text((records - 3) // 2))
    step = (records - 3) // 2 // owners
    lines = [(0, "h0.big.example"), (10, "h1.big.example")]
    plan = [(f"h{n * step}.big.example", lines, None) for n in range(owners)]
    request = Request([ZoneRequest("big.example", "", plan)], True, 300, False, date.today())
    began, cpu = time.perf_counter(), time.process_time()
    client = DnsClient("127.0.0.1", 53, 5)
    update(Bind(run, str(CONFIGURATION), client.served), client, request)
    seconds = time.perf_counter() - began
    own, programs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "records": records,
                "owners": owners,
                "seconds": round(seconds, 1),
                "own_cpu_seconds": round(time.process_time() - cpu, 1),
                "own_peak_mib": own.ru_maxrss // 1024,
                "bind_tool_peak_mib": programs.ru_maxrss // 1024,
            }
        )
    )


if __name__ == "__main__":
    kind, first, second = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if kind == "make":
        static = {f"s{n}.example": "" for n in range(first)}
        dynamic = {f"d{n}.example": "allow-update { 127.0.0.1; };" for n in range(first)}
        begin({**static, **dynamic}, zone_text(second))
    else:
        big(first, second)
