# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MX records of many zones: one call of bind_mx, compared with loops over other modules; and one big zone.

    python3 -m bench.zones [--zones 200] [--hosts 20] [--rounds 3] [--records 1000000] [--owners 10000]     (as root)

A twin of one DNS server (real BIND), all with Ansible over ssh. In each zone one MX record is replaced by two others:
  bind_mx, files      static zones, one call: edited, verified, checked, replaced, loaded
  bind_mx, updates    the same with RFC 2136 updates on dynamic zones, one call
  nsupdate            community.general.nsupdate on the same dynamic zones, one loop item per record set
  lineinfile          ansible.builtin.lineinfile on the same static zones, one loop item per line, then the serials with
                      ansible.builtin.replace, one item per zone, then one `rndc reload`. Nothing is verified.
Each round starts from the same zones. `seconds` are wall-clock medians; ratios are valid within one run only.
community.general comes from the PyPI package `ansible`, unpacked under .cache/bench/zones.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from lab.twin import REPOSITORY, Twin

sys.path.insert(0, str(REPOSITORY / ".cache" / "collections"))

from ansible_collections.campus.mailgate.plugins.action.zipapp import build

DIRECTORY = REPOSITORY / ".cache" / "bench" / "zones"
ANSIBLE = "ansible==12.3.0"
HOST = "ns1.univ.example"
INVENTORY = f"""\
all:
  vars: {{mailgate_campus: Bench, mailgate_networks: [198.18.0.0/16]}}
  hosts:
    {HOST}: {{ansible_host: 198.18.0.53, mailgate_dns: {{zones: [univ.example]}}}}
"""
NEW = [{"preference": 0, "exchange": "h1.{}"}, {"preference": 10, "exchange": "h2.{}"}]


def playbook(tasks: list[dict[str, Any]]) -> str:
    """Return a playbook with one play, as JSON (a subset of YAML)."""
    return json.dumps([{"hosts": HOST, "gather_facts": False, "tasks": tasks}])


def bind_mx(kind: str, zones: int) -> list[dict[str, Any]]:
    """Return the tasks of one bind_mx call."""
    names = [f"{kind}{n}.example" for n in range(zones)]
    wanted = [
        {
            "zone": name,
            "owners": [{"owner": f"h0.{name}", "mx": [{**mx, "exchange": mx["exchange"].format(name)} for mx in NEW]}],
        }
        for name in names
    ]
    return [{"name": "bind_mx", "campus.mailgate.bind_mx": {"zones": wanted}}]


def nsupdate(zones: int) -> list[dict[str, Any]]:
    """Return the tasks with one item per record set."""
    values = ["0 h1.{{ item }}.", "10 h2.{{ item }}."]
    arguments = {
        "server": "127.0.0.1",
        "zone": "{{ item }}",
        "record": "h0.{{ item }}.",
        "type": "MX",
        "ttl": 3600,
        "value": values,
    }
    return [
        {"name": "nsupdate", "community.general.nsupdate": arguments, "loop": [f"d{n}.example" for n in range(zones)]}
    ]


def lineinfile(zones: int) -> list[dict[str, Any]]:
    """Return the tasks with one item per line and one per serial."""
    loop = [f"s{n}.example" for n in range(zones)]

    def each(module: str, **arguments: str) -> dict[str, Any]:
        path = {"path": "/var/lib/bind/bench/{{ item }}"}
        return {"name": module, f"ansible.builtin.{module}": {**path, **arguments}, "loop": loop}

    return [
        each("lineinfile", regexp="MX\t0 h0\t", line="\tIN\tMX\t0 h1"),
        each("lineinfile", insertafter="MX\t0 h1$", line="\tIN\tMX\t10 h2"),
        each("replace", regexp="hostmaster 7 ", replace="hostmaster 8 "),
        {"name": "reload", "ansible.builtin.command": {"argv": ["rndc", "reload"]}},
    ]


def community_general() -> Path:
    """Download and unpack community.general once; return the directory of collections."""
    found = DIRECTORY / "collections"
    if not found.exists():
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(DIRECTORY), ANSIBLE]
        subprocess.run(pip, check=True)
        (wheel,) = DIRECTORY.glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            wanted = [name for name in archive.namelist() if name.startswith("ansible_collections/community/general/")]
            archive.extractall(found, wanted)
    return found


def timed(twin: Twin, name: str, tasks: list[dict[str, Any]]) -> float:
    """Run a playbook and return its seconds; every item must report a change."""
    path = DIRECTORY / f"{name}.yml"
    path.write_text(playbook(tasks))
    both = f"{REPOSITORY}/.cache/collections:{DIRECTORY}/collections"
    began = time.perf_counter()
    line = ["ansible-playbook", "-i", str(twin.inventory_path), str(path)]
    done = twin.run(line, env={"ANSIBLE_COLLECTIONS_PATH": both, "ANSIBLE_DISPLAY_OK_HOSTS": "true"})
    seconds = time.perf_counter() - began
    if done.returncode or b"ok: [" in done.stdout:
        sys.exit(f"{name} failed or changed nothing:\n{done.stdout.decode()[-2000:]}{done.stderr.decode()[-2000:]}")
    return seconds


def check(twin: Twin, kind: str, zones: int) -> None:
    """Check that the server answers with the new records of every zone."""
    script = (
        "import dns.message as m, dns.query as q\n"
        f"for n in range({zones}):\n"
        f"  z = '{kind}%d.example' % n\n"
        "  r = sorted(x.to_text() for s in q.udp(m.make_query('h0.' + z, 'MX'), '127.0.0.1').answer for x in s)\n"
        "  assert r == ['0 h1.%s.' % z, '10 h2.%s.' % z], (z, r)\n"
    )
    twin.exec(HOST, ["python3", "-c", script]).check_returncode()


def main() -> None:
    """Measure, print, write as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zones", type=int, default=200)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--owners", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=REPOSITORY / ".cache" / "bench" / "zones.json")
    given = parser.parse_args()
    community_general()
    inventory = DIRECTORY / "inventory.yml"
    inventory.write_text(INVENTORY)
    twin = Twin(inventory, name="bench-zones")
    peers = {
        "bind_mx, files": ("s", bind_mx("s", given.zones)),
        "bind_mx, updates": ("d", bind_mx("d", given.zones)),
        "nsupdate": ("d", nsupdate(given.zones)),
        "lineinfile": ("s", lineinfile(given.zones)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    twin.up()
    try:
        host = (REPOSITORY / "bench" / "zones_host.py").read_bytes()
        utils = REPOSITORY / "plugins" / "module_utils"
        archive, _wheels = build(
            {
                "packages": [utils / "_bind", utils / "_zone", utils / "_replace.py"],
                "parent": "mailgate_bind",
                "entry_point": "mailgate_bind._bind.external_command:main",
                "interpreter": "/usr/bin/python3 -I",
                "exclude": [],
                "wheelhouse": None,
            }
        )
        twin.exec(HOST, ["tee", "/root/zones_host.py"], input=host).check_returncode()
        twin.exec(HOST, ["tee", "/root/mailgate-outside.pyz"], input=archive).check_returncode()
        for _round in range(given.rounds):
            for name, (kind, tasks) in peers.items():
                make = ["python3", "/root/zones_host.py", "make", str(given.zones), str(given.hosts)]
                twin.exec(HOST, make).check_returncode()
                seconds[name].append(timed(twin, name.replace(", ", "-"), tasks))
                check(twin, kind, given.zones)
        big = {}
        if given.records:
            line = ["python3", "/root/zones_host.py", "big", str(given.records), str(given.owners)]
            done = twin.exec(HOST, line)
            if done.returncode:
                sys.exit(done.stderr.decode()[-2000:])
            big = json.loads(done.stdout)
    finally:
        twin.down()
    medians = {name: statistics.median(each) for name, each in seconds.items() if each}
    size = f"{given.zones} zones of {2 * given.hosts + 3} records"
    print(f"\n{size}, one MX record replaced by two in each; median of {given.rounds}")
    for name, value in medians.items():
        print(f"  {name:18} {value:8.1f} s   {value / medians['bind_mx, files']:6.1f} x")
    if big:
        print(f"one zone of {big['records']:,} records, {big['owners']:,} names changed: {big}")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    context = {"machine": platform.platform(), "arguments": {k: str(v) for k, v in vars(given).items()}}
    given.output.write_text(
        json.dumps({**context, "seconds": seconds, "medians": medians, "big": big}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
