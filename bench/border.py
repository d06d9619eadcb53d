# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the border rules: installing 10,000 permits, and forwarding past them. Needs root.

    python bench/border.py [--rounds 7] [--output .cache/bench/border.json]

The router is this process, in its own network namespace with one host outside and one inside; /etc and /usr/local/sbin
are throw-away overlays. **Installing**: one run of ansible-playbook (local connection), with the module, and with
ansible.builtin.iptables in a loop over 10 and over 60 rules. The difference gives the cost per rule; 10,000 rules are
extrapolated from it, in favour of the loop: each of its calls lists all earlier rules, so later calls cost more.
**Forwarding**: SYN packets from a raw socket outside to the last permit, and whole connections to it; the three sets of
rules alternate. The best round counts, since other programs on the machine only add time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".cache" / "collections"))

from ansible_collections.campus.mailgate.plugins.action import zipapp  # noqa: E402
from ansible_collections.campus.mailgate.plugins.module_utils._iptables import model  # noqa: E402
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.router import Router  # noqa: E402

INSIDE = "198.18.255.30"
OUTSIDE = "198.19.255.10"
MANY = 10_000
AS_RULES = 1_000_000


def run(*command: str, text: str = "") -> str:
    """Run a program and return its output; exit if it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def permits(count: int) -> list[str]:
    """Return the addresses of permitted servers; only the last one exists."""
    return [f"198.18.{number // 250}.{number % 250 + 1}" for number in range(count - 1)] + [INSIDE]


def load(count: int, threshold: int) -> None:
    """Install rules as the module does."""
    guard = model.Guard(
        interfaces=("outside0",),
        networks=("198.18.0.0/16", "2001:db8:18::/48"),
        gateways=("198.18.254.25", "2001:db8:18::25"),
        permits=tuple(model.Permit(address, "bench") for address in permits(count)),
        set_threshold=threshold,
    )

    def call(command: Sequence[str]) -> tuple[int, str, str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    router = Router(call, shutil.which)
    router.apply(router.compare([model.render(guard, family) for family in model.FAMILIES]), 0)


def playbook(directory: Path, task: dict[str, Any], values: dict[str, Any]) -> dict[str, float]:
    """Run one task with ansible-playbook; return wall-clock and CPU seconds."""
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"name": "Bench", **task}]}]
    (directory / "play.json").write_text(json.dumps(play))
    (directory / "values.json").write_text(json.dumps({"ansible_python_interpreter": sys.executable, **values}))
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    program = Path(sys.executable).with_name("ansible-playbook")
    arguments = ["--inventory=localhost,", "--connection=local", f"--extra-vars=@{directory}/values.json"]
    run(str(program), *arguments, f"{directory}/play.json")
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall_seconds": wall, "cpu_seconds": sum(after[:2]) - sum(before[:2])}


def measure_applying(directory: Path) -> dict[str, Any]:
    """Time the module with 10,000 permits, again without a change, and the loop with 10 and with 60 rules."""
    module = {
        "outside_interface": "outside0",
        "networks": ["198.18.0.0/16"],
        "gateways": ["198.18.254.25"],
        "permits": "{{ permits }}",
    }
    listed = {"permits": [{"address": address, "reason": "bench"} for address in permits(MANY)]}
    result: dict[str, Any] = {"permits": MANY}
    for name in ("module", "module_again"):
        result[name] = playbook(directory, {"campus.mailgate.iptables_chain": module}, listed)
    live = run("ipset", "save", "mailgate-permits").count("\nadd ")
    assert live == MANY, live
    result["iptables_restore_calls_a_family"] = {"test": 1, "load": 1}
    rule = {
        "chain": "FORWARD",
        "in_interface": "outside0",
        "protocol": "tcp",
        "destination": "{{ item }}",
        "destination_port": "25",
        "jump": "ACCEPT",
    }
    loops = {}
    for count in (10, 60):
        run("iptables", "-F", "FORWARD")
        task = {"ansible.builtin.iptables": rule, "loop": "{{ permits }}"}
        loops[count] = playbook(directory, task, {"permits": permits(count)})
        assert run("iptables-save").count("-j ACCEPT") == count
    result["loop"] = {str(count): times for count, times in loops.items()}
    result["loop_a_rule"] = {key: (loops[60][key] - loops[10][key]) / 50 for key in loops[10]}
    result["loop_extrapolated"] = {key: value * MANY for key, value in result["loop_a_rule"].items()}
    return result


def forwarded() -> int:
    """Return the number of packets that the router has forwarded to the inside."""
    (link,) = json.loads(run("ip", "-json", "-stats", "link", "show", "inside0"))
    return int(link["stats64"]["tx"]["packets"])


def send_syns(count: int) -> float:
    """Send SYN packets to the last permit from a raw socket; return the seconds."""
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, socket.inet_aton(OUTSIDE), socket.inet_aton(INSIDE))
    tcp = struct.pack(">HHIIBBHHH", 40000, 25, 1, 0, 0x50, 2, 64240, 0, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.connect((INSIDE, 0))
        began = time.perf_counter()
        for _ in range(count):
            raw.send(ip + tcp)
        return time.perf_counter() - began


def connect(count: int) -> float:
    """Open connections to the last permit, one after another; return the seconds."""
    began = time.perf_counter()
    for _ in range(count):
        with socket.create_connection((INSIDE, 25), timeout=10) as connection:
            # Close with a reset, so that no port stays in TIME_WAIT.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return time.perf_counter() - began


def listen() -> None:
    """Accept and close connections."""
    with socket.create_server((INSIDE, 25), backlog=1024) as server:
        print("ready", flush=True)
        while True:
            with contextlib.suppress(OSError):
                server.accept()[0].close()


@contextlib.contextmanager
def hosts() -> Iterator[tuple[int, int]]:
    """Connect an outside and an inside host to this network; yield their process ids."""
    with contextlib.ExitStack() as stack:
        pids = []
        for name, host, router in (("outside", OUTSIDE, "198.19.255.1"), ("inside", INSIDE, "198.18.255.1")):
            process = subprocess.Popen(
                ["unshare", "--net", "sh", "-c", "echo; exec sleep 3600"], stdout=subprocess.PIPE
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            assert process.stdout
            process.stdout.readline()
            enter = ["nsenter", f"--target={process.pid}", "--net"]
            run("ip", "link", "add", f"{name}0", "type", "veth", "peer", "eth0", "netns", str(process.pid))
            run("ip", "address", "add", f"{router}/24", "dev", f"{name}0")
            run("ip", "link", "set", f"{name}0", "up")
            run(*enter, "ip", "address", "add", f"{host}/24", "dev", "eth0")
            run(*enter, "ip", "link", "set", "eth0", "up")
            run(*enter, "ip", "route", "add", "default", "via", router)
            pids.append(process.pid)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
        yield pids[0], pids[1]


def measure_forwarding(rounds: int) -> list[dict[str, Any]]:
    """Time SYN packets and connections past 10 permits, 10,000 in a set, and 10,000 as one rule each."""
    kinds: list[dict[str, Any]] = [
        {"permits": 10, "as": "rules", "threshold": 64, "syns": 100_000, "connections": 2_000},
        {"permits": MANY, "as": "set", "threshold": 64, "syns": 100_000, "connections": 2_000},
        {"permits": MANY, "as": "rules", "threshold": AS_RULES, "syns": 5_000, "connections": 500},
    ]
    for kind in kinds:
        kind |= {"syn_us": [], "connect_us": []}
    with hosts() as (outside, inside), contextlib.ExitStack() as stack:
        me = [sys.executable, str(Path(__file__).resolve())]
        server = stack.enter_context(
            subprocess.Popen(["nsenter", f"--target={inside}", "--net", *me, "--listen"], stdout=subprocess.PIPE)
        )
        stack.callback(server.kill)
        assert server.stdout
        server.stdout.readline()
        for _ in range(rounds):
            for kind in kinds:
                load(kind["permits"], kind["threshold"])
                for option, count, key in (
                    ("--syns", kind["syns"], "syn_us"),
                    ("--connect", kind["connections"], "connect_us"),
                ):
                    before = forwarded()
                    out = run("nsenter", f"--target={outside}", "--net", *me, option, str(count))
                    assert forwarded() - before >= count * 0.99, "packets were lost on the way"
                    kind[key].append(float(out) / count * 1e6)
    for kind in kinds:
        for key in ("syn_us", "connect_us"):
            kind[key] = {"best": min(kind[key]), "median": statistics.median(kind[key]), "rounds": kind[key]}
    return kinds


def in_namespaces(arguments: Sequence[str]) -> int:
    """Run this program again in its own network and mount namespaces."""
    os.environ |= {"MAILGATE_BENCH_BORDER": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    os.environ |= {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
        "ANSIBLE_HOME": str(ROOT / ".cache/ansible"),
    }
    return subprocess.run(["unshare", "--net", "--mount", sys.executable, *arguments], check=False).returncode


def build_loader(path: Path) -> None:
    """Build the loader as the role does."""
    utils = ROOT / "plugins" / "module_utils"
    arguments = {
        "packages": [utils / "_border", utils / "_iptables", utils / "_replace.py"],
        "parent": "mailgate_border",
        "entry_point": "mailgate_border._border.command:main",
        "interpreter": "/usr/bin/python3 -I",
        "exclude": [],
        "wheelhouse": None,
    }
    zipapp.write(path, zipapp.build(arguments)[0])


def prepare(directory: Path) -> None:
    """Mount throw-away overlays on the directories of the rules and the loader."""
    run("mount", "-t", "tmpfs", "tmpfs", str(directory))
    for name in ("up", "work", "sbin"):
        (directory / name).mkdir()
    layers = f"lowerdir=/etc,upperdir={directory}/up,workdir={directory}/work"
    run("mount", "-t", "overlay", "bench", "-o", layers, "/etc")
    build_loader(directory / "sbin" / "mailgate-border")
    run("mount", "--bind", str(directory / "sbin"), "/usr/local/sbin")
    os.environ["XTABLES_LOCKFILE"] = str(directory / "xtables.lock")
    run("ip", "link", "set", "lo", "up")


def show(applying: dict[str, Any], forwarding: list[dict[str, Any]]) -> None:
    """Print both tables."""
    print(f"{'installing 10,000 permits':44}{'wall s':>10}{'CPU s':>10}")
    for label, key in (
        ("iptables_chain, one call", "module"),
        ("iptables_chain again, no change", "module_again"),
        ("ansible.builtin.iptables, 60 rules", "60"),
        ("ansible.builtin.iptables, extrapolated", "loop_extrapolated"),
    ):
        times = applying["loop"][key] if key in applying["loop"] else applying[key]
        print(f"{label:44}{times['wall_seconds']:10,.1f}{times['cpu_seconds']:10,.1f}")
    print(f"\n{'forwarding past':28}{'us/SYN':>10}{'ratio':>7}{'us/connection':>18}{'ratio':>7}")
    first = forwarding[0]
    for kind in forwarding:
        syn, whole = kind["syn_us"]["best"], kind["connect_us"]["best"]
        ratios = syn / first["syn_us"]["best"], whole / first["connect_us"]["best"]
        label = f"{kind['permits']:,} permits, {kind['as']}"
        print(f"{label:28}{syn:10.2f}{ratios[0]:7.2f}{whole:18.1f}{ratios[1]:7.2f}")


def main() -> int:
    """Measure, print, write as JSON."""
    parser = argparse.ArgumentParser(description="Time the border's rules.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=ROOT / ".cache" / "bench" / "border.json")
    for option in ("--syns", "--connect"):
        parser.add_argument(option, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--listen", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.listen:
        listen()
    if args.syns or args.connect:
        print(send_syns(args.syns) if args.syns else connect(args.connect))
        return 0
    if "MAILGATE_BENCH_BORDER" not in os.environ:
        return in_namespaces(sys.argv)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        prepare(directory)
        applying = measure_applying(directory)
        run("iptables", "-F", "FORWARD")
        result = {"applying": applying, "forwarding": measure_forwarding(args.rounds)}
        # The overlay on /etc stays mounted until this process ends.
        subprocess.run(["umount", "--lazy", "/etc", "/usr/local/sbin", name], check=False)
    show(applying, result["forwarding"])
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
