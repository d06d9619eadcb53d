# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host outside, a router and a gateway in network namespaces of their own, and real connections between them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

OUTSIDE = {4: "198.19.255.10", 6: "2001:db8:ffff::10"}
GATEWAY = {4: "198.18.0.25", 6: "2001:db8:18::25"}
OTHER = "198.18.0.26"
_LISTEN = """
import socket, sys
both = socket.create_server(("::", 25), family=socket.AF_INET6, dualstack_ipv6=True, backlog=999)
print("up", flush=True)
while True:
    both.accept()[0].close()
"""
_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 25), timeout=0.4).close()
    print("open")
except OSError as error:
    print(type(error).__name__)
"""


class Net:
    """The three namespaces."""

    def __init__(self, directory: Path) -> None:
        self._holders = {name: self._hold(directory / name) for name in ("outside", "router", "gateway")}
        self._listener: subprocess.Popen[str] | None = None
        for one, device, other, peer in (
            ("router", "outside0", "outside", "eth0"),
            ("router", "inside0", "gateway", "eth0"),
        ):
            self.must(one, "ip", "link", "add", device, "type", "veth", "peer", "name", peer, "netns", self.pid(other))
        self._addresses(
            "outside", "eth0", ["198.19.255.10/24", "2001:db8:ffff::10/64"], "198.19.255.1", "2001:db8:ffff::1"
        )
        self._addresses("router", "outside0", ["198.19.255.1/24", "2001:db8:ffff::1/64"])
        self._addresses("router", "inside0", ["198.18.0.1/24", "2001:db8:18::1/64"])
        own = ["198.18.0.25/24", "198.18.0.26/24", "2001:db8:18::25/64"]
        self._addresses("gateway", "eth0", own, "198.18.0.1", "2001:db8:18::1")
        self.must(
            "router",
            "sh",
            "-c",
            "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding",
        )
        self._listener = self.popen("gateway", sys.executable, "-c", _LISTEN)
        assert self._listener.stdout
        assert self._listener.stdout.readline() == "up\n"

    def pid(self, name: str) -> str:
        return str(self._holders[name].pid)

    def popen(self, name: str, *command: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["nsenter", "--target", self.pid(name), "--net", "--mount", *command],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    def run(self, name: str, command: Sequence[str], text: str = "") -> tuple[int, str, str]:
        with self.popen(name, *command) as process:
            out, error = process.communicate(text, timeout=60)
            return process.returncode, out, error

    def must(self, name: str, *command: str, text: str = "") -> str:
        status, out, error = self.run(name, command, text)
        assert status == 0, (command, error)
        return out

    def router(self, command: Sequence[str]) -> tuple[int, str, str]:
        return self.run("router", command)

    def connect(self, version: int) -> str:
        return self.must("outside", sys.executable, "-c", _CONNECT, GATEWAY[version]).strip()

    def close(self) -> None:
        for process in (self._listener, *self._holders.values()):
            if process:
                process.kill()
                process.communicate()

    @staticmethod
    def _hold(ready: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", f"ip link set lo up; touch {ready}; exec sleep 900"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return process

    def _addresses(self, name: str, device: str, own: list[str], gateway: str = "", gateway6: str = "") -> None:
        lines = [f"ip addr add {address} dev {device} {'nodad' if ':' in address else ''}" for address in own]
        lines.append(f"ip link set {device} up")
        if gateway:
            lines += [f"ip route add default via {gateway}", f"ip -6 route add default via {gateway6}"]
        self.must(name, "sh", "-ec", "\n".join(lines))
