# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running twin as the scenario uses it: probes on its hosts, mailboxes, addresses by name."""

from __future__ import annotations

import base64
import json
import re
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from lab.mail import Letter
from lab.twin import Twin

PROBE = Path(__file__).with_name("probe.py").read_bytes()
RECEIVED = re.compile(rb"^Received:.*?\bby ([\w.-]+)", re.MULTILINE | re.DOTALL)


class Campus:
    """The hosts of a twin, by short name."""

    def __init__(self, twin: Twin) -> None:
        self.twin = twin

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The plan of the twin's inventory, with the tables as the roles read them."""
        done = self.twin.run(
            [
                "ansible",
                "all",
                "--limit",
                "all[0]",
                "-i",
                str(self.twin.inventory_path),
                "-m",
                "campus.mailgate.mail_plan",
            ],
            env={"ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal"},
        )
        text = done.stdout.decode()
        plan: dict[str, Any] = json.loads(text[text.index("{") :])
        return plan

    def address(self, name: str) -> str:
        """Return the IPv4 address, else the IPv6 address, of the host with this name or first labels."""
        for host, facts in self.plan["hosts"].items():
            if host == name or host.startswith(f"{name}."):
                return str(facts["address"] or facts["address6"])
        raise KeyError(name)

    def short(self, host: str) -> str:
        """Return the short name of a host: its first label, or two labels if the first is not unique."""
        labels = host.split(".")
        same_label = [other for other in self.plan["hosts"] if other.startswith(f"{labels[0]}.")]
        return ".".join(labels[: 1 if len(same_label) == 1 else 2])

    def short_name(self, address: str) -> str:
        """Return the short name of the host with this address, or the address."""
        for host, facts in self.plan["hosts"].items():
            if address in (facts["address"], facts["address6"]):
                return self.short(host)
        return address

    def sh(self, host: str, script: str, stdin: bytes = b"") -> str:
        """Run a shell line on a host and return its output; raise RuntimeError if it fails."""
        done = self.twin.exec(host, ["sh", "-c", script], input=stdin)
        if done.returncode:
            raise RuntimeError(f"{host}: {script}: {done.stderr.decode().strip() or done.returncode}")
        return done.stdout.decode()

    def probe(self, host: str, probe: str, **arguments: Any) -> dict[str, Any]:
        """Run a probe on a host and return its answer."""
        job = json.dumps({"probe": probe} | arguments)
        done = self.twin.exec(host, ["python3", "-", job], input=PROBE)
        if done.returncode:
            raise RuntimeError(f"{host}: probe {probe}: {done.stderr.decode().strip().splitlines()[-1]}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def send(self, host: str, letter: Letter, via: str, port: int = 25) -> int:
        """Send a letter from a host to an address; return the code of the last reply."""
        message = letter.base64()
        answer = self.probe(
            host, "send", to=[letter.recipient], sender=letter.sender, message=message, via=via, port=port
        )
        return int(answer["code"])

    def refusal(self, host: str, recipient: str, via: str) -> str:
        """Send RCPT from a host; return the stage of the reply and its codes."""
        answer = self.probe(host, "send", to=[recipient], sender="", via=via)
        return f"{answer['stage']} {answer['code']} {answer['text'].split()[0]}"

    def probe_port(self, host: str, address: str) -> str:
        """Connect from a host to port 25 of an address; return `220`, `refused` or `silence`."""
        return str(self.probe(host, "connect", address=address)["seen"])

    def await_port(self, host: str, seconds: float = 30) -> None:
        """Wait until port 25 of a host sends a banner to a client outside."""
        deadline = time.monotonic() + seconds
        while self.probe_port("outside", self.address(host)) != "220":
            if time.monotonic() > deadline:
                raise TimeoutError(f"{host} did not answer on port 25 within {seconds:.0f} s")
            time.sleep(0.2)

    def copies(self, server: str, letter: Letter, wait: float = 20) -> list[bytes]:
        """Wait for a message in its recipient's mailbox; return all copies of it."""
        user = letter.recipient.split("@")[0]
        answer = self.probe(server, "mailbox", user=user, message_id=letter.message_id, wait=wait)
        return [base64.b64decode(copy) for copy in answer["copies"]]

    def path(self, copies: list[bytes]) -> list[str]:
        """Return the hosts that a message passed, first to last, from its Received fields."""
        if not copies:
            return ["nowhere"]
        names = [name.decode() for name in reversed(RECEIVED.findall(copies[0]))]
        hosts = {facts["mail_name"] or host: host for host, facts in self.plan["hosts"].items()}
        hops = [self.short(hosts[name]) if name in hosts else name for name in names]
        return [hop for index, hop in enumerate(hops) if index == 0 or hop != hops[index - 1]]
