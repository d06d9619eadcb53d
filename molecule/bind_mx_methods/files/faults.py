# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill a run of the module before each of its writing calls in turn; zones on disk and served must be old or new.

Runs on the DNS server with the code of the timer's archive. In each round a profile hook kills a forked run by SIGKILL
before its n-th call that writes a file, renames, starts `rndc reload` or sends a packet; the last round is not killed.
After each round BIND loads what is on disk, and another run must complete the change. One zone has records in an
included file too: both files together must be the old zone or the new one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

sys.path.insert(0, "/usr/local/lib/mailgate-outside.pyz")

import dns.message
import dns.query
from mailgate_bind._bind.client import DnsClient, read_keys
from mailgate_bind._bind.external_command import run
from mailgate_bind._bind.server import Bind
from mailgate_bind._bind.transaction import Request, ZoneRequest, update

FILES = {
    "plain.example": Path("/etc/bind/campus/plain.zone"),
    "univ.example": Path("/etc/bind/zones/univ.example.zone"),
}
OWNERS = {
    "plain.example": ["plain.example", "eng.plain.example"],
    "univ.example": ["univ.example"],
    "key.example": ["key.example"],
}
KEYS = read_keys("/etc/bind/update.key")
POSIX = {"open", "write", "fsync", "rename", "replace", "unlink", "chmod", "fchmod", "chown", "fchown", "utime",
         "setxattr", "mkdir", "rmdir", "link", "truncate"}  # fmt: skip


def request(gateway: str, *, check_only: bool = False) -> Request:
    """Return a plan that sets the MX record of every zone to one gateway."""
    lines = [(0, f"{gateway}.univ.example")]
    zones = [ZoneRequest(name, "inside", [(owner, lines, None) for owner in owners]) for name, owners in OWNERS.items()]
    return Request(zones, True, 30, check_only, date.today(), keys=KEYS, other_views=["outside"])


def work(gateway: str, *, check_only: bool = False):
    """Do what the module does."""
    return update(
        Bind(run, "/etc/bind/named.conf"), DnsClient("127.0.0.1", 53, 5), request(gateway, check_only=check_only)
    )


class Killer:
    """A profile hook that kills the process before its n-th writing call."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self, frame, event, arg) -> None:
        """Count calls of C functions."""
        if event == "c_call" and self.writes(frame, arg):
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def writes(frame, arg) -> bool:
        """Return whether a call may change a file, what BIND has loaded, or, by a packet, a zone."""
        name, owner = arg.__name__, getattr(arg, "__self__", None)
        module = getattr(arg, "__module__", None) or type(owner).__module__
        if module == "posix":
            return name in POSIX
        if module == "_posixsubprocess":
            return "reload" in frame.f_locals.get("args", ())
        if module in {"_io", "io"}:
            return name in {"write", "flush", "close"} and getattr(owner, "mode", "rb") not in {"r", "rb"}
        return module in {"_socket", "socket"} and name in {"send", "sendall", "sendto"}


def killed_at(n: int, gateway: str) -> bool:
    """Run the work in a child; return whether it was killed."""
    child = os.fork()
    if not child:
        sys.setprofile(Killer(n))
        work(gateway)
        sys.setprofile(None)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, status
    return False


def ask(name: str, rtype: str) -> str:
    """Return what BIND serves, in a comparable form."""
    answer = dns.query.udp(dns.message.make_query(name, rtype), "127.0.0.1", timeout=5)
    return str(sorted(record.to_text() for rrset in answer.answer for record in rrset))


def served(name: str) -> tuple[str, list[str]]:
    """Return a zone's SOA record and its planned names' MX records."""
    return ask(name, "SOA"), [ask(owner, "MX") for owner in OWNERS[name]]


def planned(name: str, gateway: str) -> list[str]:
    """Return the planned MX records."""
    return [str([f"0 {gateway}.univ.example."]) for _owner in OWNERS[name]]


def on_disk(name: str) -> list[str]:
    """Return the records of a zone's files without the SOA record, as BIND reads them."""
    command = ["named-checkzone", "-i", "none", "-q", "-s", "full", "-o", "-", "-D", name, str(FILES[name])]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    return [" ".join(line.split()) for line in done.stdout.splitlines() if " SOA " not in " ".join(line.split())]


def with_gateway(name: str, lines: list[str], gateway: str) -> list[str]:
    """Return the records with the planned MX records."""
    ours = tuple(f"{owner}. " for owner in OWNERS[name])
    return [
        f"{line.rsplit(' ', 1)[0]} {gateway}.univ.example." if line.startswith(ours) and " MX " in line else line
        for line in lines
    ]


def is_whole(name: str, old: tuple[str, list[str]], gateway: str) -> bool:
    """Return whether a zone is served as before or as planned; BIND may load it between two queries."""
    for _look in range(20):
        now = served(name)
        if now == old or (now[1] == planned(name, gateway) and now[0] != "[]"):
            return True
        time.sleep(0.05)
    return False


def main() -> None:
    """Kill the run at every n, until one completes."""
    work("gw1")
    gateways, n, bridges = ["gw2", "gw1"], 0, 0
    while True:
        gateway = gateways[n % 2]
        univ = FILES["univ.example"].read_bytes()
        new_univ = work(gateway, check_only=True).zones[1].edit.data
        old = {name: on_disk(name) for name in FILES}
        old_served = {name: served(name) for name in OWNERS}
        killed = killed_at(n, gateway)
        for name, lines in old.items():
            now, new = on_disk(name), with_gateway(name, lines, gateway)
            assert new != lines
            assert now in (lines, new), f"call {n}: {name} on disk is neither old nor new: {now}"
        assert FILES["univ.example"].read_bytes() in {univ, new_univ}, f"call {n}: a file neither old nor new"
        bridges += b".before-mailgate" in FILES["plain.example"].read_bytes()
        for name in OWNERS:
            assert is_whole(name, old_served[name], gateway), f"call {n}: {name} is served as {served(name)}"
        subprocess.run(["rndc", "reload"], check=True, capture_output=True)
        for name in OWNERS:
            assert is_whole(name, old_served[name], gateway), f"call {n}: {name}, loaded, is served as {served(name)}"
        work(gateway)
        for name in OWNERS:
            assert served(name)[1] == planned(name, gateway), f"call {n}: {name} after another run"
        for path in FILES.values():
            left = [other.name for other in path.parent.iterdir() if "mailgate" in other.name]
            assert not left, f"call {n}: {left} after another run"
            assert b".before-mailgate" not in path.read_bytes()
        if not killed:
            break
        n += 1
    assert bridges > 2, bridges
    print(f"killed before each of {n} writing calls")


main()
