# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small campus for benches, as a twin: outside, border, DNS, two gateways, two final servers with real sendmail."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import dns.resolver

from bench.rootfs import CACHE
from lab import host
from lab.demo import play
from lab.twin import Twin

GATEWAYS = ("gw1", "gw2")
#: The final servers by domain.
SERVERS = {"mech.eng.univ.example": "mech", "bio.sci.univ.example": "bio"}
USERS = 20

# As in the demo, the queue is run every few seconds, so that a bench need not wait.
INVENTORY = """\
all:
  vars:
    mailgate_campus: Bench
    mailgate_networks: [198.18.0.0/16]
    sendmail_routes_queue_interval: 10s
    gateway_timeouts: {connect: 3}
    gateway_build_dir: "{{ inventory_dir }}/build"
  hosts:
    gw1.univ.example: {ansible_host: 198.18.0.25, mailgate_gateway: {preference: 0}}
    gw2.univ.example: {ansible_host: 198.18.0.26, mailgate_gateway: {preference: 10}}
    border.univ.example: {ansible_host: 198.18.0.1, mailgate_border: {outside_interface: outside0}}
    ns1.univ.example:
      ansible_host: 198.18.0.53
      mailgate_dns: {named_conf: /etc/bind/named.conf, zones: [univ.example]}
    mech.eng.univ.example: {ansible_host: 198.18.1.30, mailgate_domains: [mech.eng.univ.example]}
    bio.sci.univ.example: {ansible_host: 198.18.2.30, mailgate_domains: [bio.sci.univ.example]}
"""

# A final server has users; the lock of a killed procmail must not delay mail for the default of 17 minutes.
SETUP = f"""\
for n in $(seq 0 {USERS - 1}); do id u$n >/dev/null 2>&1 || useradd --no-create-home u$n; done
printf 'LOCKTIMEOUT=10\\nLOCKSLEEP=1\\n' >/etc/procmailrc
"""

# Control files in a queue. Files that a killed sendmail had just created are empty; it had not replied for them yet.
QUEUED = "find /var/spool/mqueue -name '[qh]f*' -size +0"

_RECEIVED = re.compile(rb"^Received:(?:[^\n]|\n[ \t])*?\bby ([\w.-]+)(?:[^\n]|\n[ \t])*?\bid (\w+)", re.MULTILINE)
_SUBJECT = re.compile(rb"^Subject: (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Copy:
    """A message in a mailbox: its content, and its hops, first to last, as (host, queue id)."""

    content: bytes
    trace: tuple[tuple[str, str], ...]

    @property
    def number(self) -> int | None:
        """The number that its sender gave it, None if the message is incomplete."""
        found = _SUBJECT.search(self.content)
        return int(found[1]) if found and b"\nEnd of %s.\n" % found[1] in self.content else None


def copies(mailbox: bytes) -> Iterator[Copy]:
    """Return the messages of an mbox file."""
    for entry in (b"\n" + mailbox).split(b"\nFrom ")[1:]:
        header = entry.partition(b"\n\n")[0]
        hops = [(by.decode().partition(".")[0], number.decode()) for by, number in _RECEIVED.findall(header)]
        yield Copy(entry, tuple(reversed(hops)))


@contextlib.contextmanager
def bench_campus(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[Campus, argparse.Namespace]]:
    """Boot the campus of a bench, yield it and the parsed options, take it down; the options can skip both."""
    parser.add_argument("--name", default=name, help="the twin's name")
    parser.add_argument(
        "--up", action=argparse.BooleanOptionalAction, default=True, help="boot the twin first, or use a running one"
    )
    parser.add_argument(
        "--down",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="take the twin down afterwards, or leave it running",
    )
    options = parser.parse_args()
    campus = Campus(options.name)
    try:
        if options.up:
            campus.up()
        campus.empty_mailboxes()
        yield campus, options
    finally:
        if options.down:
            campus.twin.down()


class Campus:
    """The twin of the campus and operations on its hosts."""

    def __init__(self, name: str) -> None:
        inventory = CACHE / name / "inventory.yml"
        inventory.parent.mkdir(parents=True, exist_ok=True)
        inventory.write_text(INVENTORY)
        self.directory = inventory.parent
        self.twin = Twin(inventory, name)

    def up(self) -> None:
        """Boot the twin and apply site.yml."""
        self.twin.up()
        done = play(self.twin, log=self.directory / "site.log")
        if done.status:
            raise RuntimeError(f"site.yml failed; see {self.directory / 'site.log'}")
        for server in SERVERS.values():
            self.sh(server, SETUP)

    def sh(self, called: str, script: str) -> str:
        """Run a shell line on a host and return its output; raise RuntimeError if it fails."""
        done = self.twin.exec(called, ["sh", "-c", script], timeout=120)
        if done.returncode:
            raise RuntimeError(f"{called}: {script}: {done.stderr.decode().strip() or done.returncode}")
        return done.stdout.decode()

    def outside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> threading.Thread:
        """Return a thread, not yet started, that runs `work` in the network namespace of the host `outside`."""
        namespace = f"/run/netns/{self.twin.machine('outside').netns}"

        def run() -> None:
            handle = os.open(namespace, os.O_RDONLY)
            try:
                # setns(2) moves only this thread and the threads that it starts.
                if ctypes.CDLL(None, use_errno=True).setns(handle, 0):
                    raise OSError(ctypes.get_errno(), f"setns {namespace}")
            finally:
                os.close(handle)
            asyncio.run(work())

        return threading.Thread(target=run, daemon=True)

    def recipient(self, number: int) -> str:
        """Return the recipient of the message with this number."""
        domains = list(SERVERS)
        return f"u{number // len(domains) % USERS}@{domains[number % len(domains)]}"

    def processes(self, called: str, unit: str) -> list[int]:
        """Return the processes of a host's systemd unit, by their ids on this machine."""
        top = host.cgroups(self.twin.name, self.twin.machine(called).short)[0]
        found = []
        for path in top.rglob(f"{unit}/cgroup.procs"):
            with contextlib.suppress(OSError):
                found += [int(word) for word in path.read_text().split()]
        return found

    def signal(self, called: str, unit: str, number: signal.Signals) -> None:
        """Send a signal to all processes of a unit."""
        for process in self.processes(called, unit):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def queued(self, called: str) -> list[int]:
        """Return the numbers of the messages in a host's queue, from sendmail's control files."""
        script = f"{QUEUED} -exec sed -n 's/^H.*Subject: //p' {{}} +"
        return [int(line) for line in self.sh(called, script).split()]

    def drained(self, seconds: float) -> float:
        """Wait until all queues are empty, for at most `seconds`; return the seconds waited."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if not any(int(self.sh(called, f"{QUEUED} | wc -l")) for called in (*GATEWAYS, *SERVERS.values())):
                break
            time.sleep(1)
        return time.monotonic() - began

    def mail(self) -> list[Copy]:
        """Return all messages in the mailboxes of the final servers."""
        found: list[Copy] = []
        for server in SERVERS.values():
            done = self.twin.exec(server, "for f in /var/mail/u*; do case $f in *.lock) ;; *) cat $f; esac; done")
            found += copies(done.stdout)
        return found

    def empty_mailboxes(self) -> None:
        """Empty the mailboxes."""
        for server in SERVERS.values():
            self.sh(server, "rm -f /var/mail/u*")


def exchanges(domain: str) -> list[tuple[str, int]]:
    """Return address and port of a domain's mail exchanges, best first, from this host's own DNS server."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    records = sorted((record.preference, str(record.exchange)) for record in resolver.resolve(domain, "MX"))
    return [(str(found), 25) for _preference, name in records for found in resolver.resolve(name, "A")]
