# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections through a router with each backend: a host outside, and one inside with several addresses."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from netfilter_kernel import GUARD, Kernel

from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Guard, Outbound, Permit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("kernel", ["nft"], indirect=True),
    pytest.mark.parametrize("backend", ["iptables", "nft"]),
]

GATEWAY = ["198.18.0.25", "2001:db8:18::25"]
PERMIT = ["198.18.1.40", "2001:db8:18:1::40"]
GUARDED = ["198.18.1.30", "2001:db8:18:1::30"]
OUTSIDE = ["198.19.255.10", "2001:db8:ffff::10"]
SERVER = """
import contextlib, socket
with socket.create_server(("::", 25), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64) as server:
    print(flush=True)
    while True:
        with contextlib.suppress(OSError):
            server.accept()[0].close()
"""
PROBE = """
import json, socket, sys
def result(source, target):
    try:
        socket.create_connection((target, 25), 1, (source, 0) if source else None).close()
        return "open"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timeout"
print(json.dumps({target: result(sys.argv[1], target) for target in sys.argv[2:]}))
"""


class Hosts:
    """The host outside and the host inside."""

    def __init__(self, pids: dict[str, int]) -> None:
        self.pids = pids

    def probe(self, host: str, targets: list[str], source: str = "") -> list[str]:
        enter = ["nsenter", f"--target={self.pids[host]}", "--net"]
        done = subprocess.run(
            [*enter, sys.executable, "-c", PROBE, source, *targets], capture_output=True, text=True, check=True
        )
        return list(json.loads(done.stdout).values())


@pytest.fixture
def hosts(kernel: Kernel) -> Iterator[Hosts]:
    started: list[subprocess.Popen[str]] = []
    pids = {}
    kernel.must("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    for name, router, addresses in (
        ("outside", ["198.19.255.1/24", "2001:db8:ffff::1/64"], ["198.19.255.10/24", "2001:db8:ffff::10/64"]),
        (
            "inside",
            ["198.18.255.1/16", "2001:db8:18::1/48"],
            [f"{a}/{48 if ':' in a else 16}" for a in GATEWAY + PERMIT + GUARDED],
        ),
    ):
        holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE, text=True
        )
        started.append(holder)
        assert holder.stdout
        holder.stdout.readline()
        pids[name] = holder.pid
        kernel.must("ip", "link", "add", f"{name}0", "type", "veth", "peer", "eth0", "netns", str(holder.pid))
        enter = ["nsenter", f"--target={holder.pid}", "--net"]
        for command in (
            *(["ip", "address", "add", a, "dev", f"{name}0", *(["nodad"] if ":" in a else [])] for a in router),
            ["ip", "link", "set", f"{name}0", "up"],
            *([*enter, "ip", "address", "add", a, "dev", "eth0", *(["nodad"] if ":" in a else [])] for a in addresses),
            [*enter, "ip", "link", "set", "eth0", "up"],
            *([*enter, "ip", "route", "add", "default", "via", a.partition("/")[0]] for a in router),
        ):
            kernel.must(*command)
        server = subprocess.Popen([*enter, sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
        started.append(server)
        assert server.stdout
        server.stdout.readline()
    found = Hosts(pids)
    # The first IPv6 packets wait for the duplicate address detection of the link-local addresses.
    deadline = time.monotonic() + 60
    while set(found.probe("outside", GATEWAY + PERMIT + GUARDED)) != {"open"}:
        assert time.monotonic() < deadline
    yield found
    for process in started:
        process.kill()
        process.wait()


def test_only_gateways_and_permits_are_reachable(kernel: Kernel, hosts: Hosts, backend: str) -> None:
    assert hosts.probe("outside", GATEWAY + PERMIT + GUARDED) == ["open"] * 6
    for guard, refused in (
        (GUARD, "refused"),
        (dataclasses.replace(GUARD, set_threshold=0), "refused"),
        (dataclasses.replace(GUARD, action="drop"), "timeout"),
        (dataclasses.replace(GUARD, mode="observe"), "open"),
        (dataclasses.replace(GUARD, interfaces=("wan0", "out+")), "refused"),
        (dataclasses.replace(GUARD, interfaces=("wan0",)), "open"),
        (dataclasses.replace(GUARD, networks=("198.18.0.0/16",)), "refused"),
    ):
        kernel.apply(guard, backend)
        assert hosts.probe("outside", GATEWAY + PERMIT + GUARDED) == ["open"] * 4 + [refused] * 2, guard
    assert hosts.probe("inside", OUTSIDE) == ["open"] * 2


def test_only_gateways_and_senders_may_send(kernel: Kernel, hosts: Hosts, backend: str) -> None:
    outbound = Outbound("enforce", (Permit("198.18.1.40"), Permit("2001:db8:18:1::40")))
    kernel.apply(dataclasses.replace(GUARD, outbound=outbound), backend)
    expected = {**dict.fromkeys(GATEWAY + PERMIT, "open"), **dict.fromkeys(GUARDED, "refused")}
    found = {}
    for source in expected:
        target = OUTSIDE[1] if ":" in source else OUTSIDE[0]
        (found[source],) = hosts.probe("inside", [target], source)
    assert found == expected


def test_banned_addresses_reach_nothing_and_are_counted(kernel: Kernel, hosts: Hosts, backend: str) -> None:
    kernel.apply(dataclasses.replace(GUARD, mode="observe"), backend)
    for addresses in (OUTSIDE, ["198.19.255.0/24", "2001:db8:ffff::/64"]):
        options = {"duration": 600, "reason": "flood", "dry": False}
        kernel.bans().change(addresses, **options, absent=False)
        assert hosts.probe("outside", GATEWAY + GUARDED) == ["timeout"] * 4
        bans = kernel.bans().change([], **options, absent=False)["bans"]
        assert all(ban["refused"] > 0 for ban in bans)
        kernel.bans().change(addresses, **options, absent=True)
        assert hosts.probe("outside", GATEWAY + GUARDED) == ["open"] * 4


def test_a_change_of_the_backend_lets_no_connection_through(kernel: Kernel, hosts: Hosts, backend: str) -> None:
    other = "nft" if backend == "iptables" else "iptables"
    kernel.apply(GUARD, backend)
    enter = ["nsenter", f"--target={hosts.pids['outside']}", "--net", sys.executable, "-c"]
    flood = PROBE.replace("print(", "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: print(")
    with subprocess.Popen(
        [*enter, flood.replace("}))", "}), flush=True)"), "", *GUARDED], stdout=subprocess.PIPE, text=True
    ) as prober:
        assert prober.stdout
        first = prober.stdout.readline()
        guard: Guard = GUARD
        for action in ("reject", "drop", "reject"):
            guard = dataclasses.replace(GUARD, action=action)
            kernel.apply(guard, other)
            kernel.apply(guard, backend)
        prober.terminate()
        lines = [first, *prober.stdout]
        results = [result for line in lines if line.endswith("}\n") for result in json.loads(line).values()]
    assert len(results) > 20
    assert "open" not in results
