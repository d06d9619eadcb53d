# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What options of the gateway cost for each message: own processor time with each of them, beside none.

A message of 4 KiB with a DKIM signature comes from a client to which rules apply. Each form has settings of its own
and a start of its own; forms alternate in each round. The DNS server is on loopback and answers at once, so that only
the gateway's work is seen. Processes of the index and of the exporter count as the gateway's, in lines of their own
where they are apart.

python3 -m bench.prices [--rounds N] [--messages N]       (as root; in a namespace of its own)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from typing import Any

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.machine import DOMAIN, GATEWAY, SETTINGS, BenchMachine, bench_machine, mailgate
from bench.rootfs import CACHE

CLIENT, ADDRESS = "198.19.1.1", "198.19.2.2"
SENDER = "sender.example"
NO_EVENTS = "[events]\nmax_bytes = 0\n"
METRICS = '[metrics]\nlisten = ["127.0.0.1:9225"]\n'
DNS = '[refusal]\ndns_servers = ["127.0.0.1:53"]\n'
DNSBL = '[[rules]]\nname = "list"\naction = "refuse"\n[rules.when]\ndns_list = "bl.example"\n'
# Settings of each form, and whether the index runs.
FORMS: dict[str, tuple[str, bool]] = {
    "none": (NO_EVENTS, False),
    "events": ("", False),
    "events and index": ("", True),
    "metrics": (NO_EVENTS + METRICS, False),
    "events, index and metrics": (METRICS, True),
    "SPF, DKIM, DMARC, ARC": (NO_EVENTS + DNS + "[authentication]\nevaluate = true\n", False),
    "a DNS list": (NO_EVENTS + DNS + DNSBL, False),
    "without uvloop": (NO_EVENTS, False),
}
TOP = {"without uvloop": 'event_loop = "asyncio"\n'}
DNS_SERVER = """\
import socket, sys
import dns.message, dns.rcode, dns.rrset

records = dict(line.split("\\t") for line in open(sys.argv[1], encoding="ascii").read().splitlines())
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
while True:
    data, client = server.recvfrom(4096)
    answer = dns.message.make_response(dns.message.from_wire(data))
    question = answer.question[0]
    name = question.name.to_text().lower().rstrip(".")
    if name in records and question.rdtype == 16:
        answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", records[name]))
    elif name not in records:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    server.sendto(answer.to_wire(), client)
"""


def main() -> None:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(prog="bench.prices")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=2000)
    with bench_machine(parser) as (machine, options):
        start(machine)
        result = measure(machine, options)
    (CACHE / "prices.json").write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))


def start(machine: BenchMachine) -> None:
    """Start the next hop, the scanner and the DNS server; write the signed message."""
    # Connections to ADDRESS come from CLIENT.
    subprocess.run(["ip", "route", "add", "local", CLIENT, "dev", "lo"], check=True)
    subprocess.run(["ip", "route", "add", "local", ADDRESS, "dev", "lo", "src", CLIENT], check=True)
    machine.start_clamd()
    machine.start_sink()
    machine.start_sink(10025, "queue")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = "".join(public.decode().splitlines()[1:-1])
    records = {
        SENDER: f'"v=spf1 ip4:{CLIENT} -all"',
        f"s._domainkey.{SENDER}": " ".join(f'"{part}"' for part in ("v=DKIM1; k=rsa; p=", text[:200], text[200:])),
        f"_dmarc.{SENDER}": '"v=DMARC1; p=reject"',
        f"mail.{SENDER}": '"v=spf1 -all"',
    }
    (machine.root / "records").write_text("".join(f"{name}\t{value}\n" for name, value in records.items()))
    content = machine.message(4)
    signature = dkim.sign(content, b"s", SENDER.encode(), private, include_headers=[b"from", b"subject"])
    (machine.root / "signed").write_bytes((signature + content).replace(b"\r\n", b"\n"))
    (machine.root / "dns_server.py").write_text(DNS_SERVER)


def measure(machine: BenchMachine, options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds; return medians."""
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in FORMS}
    for number in range(options.rounds):
        names = list(FORMS) if number % 2 == 0 else list(FORMS)[::-1]
        for name in names:
            turns[name].append(run(machine, name, options.messages))
        print(f"bench: round {number + 1} done", file=sys.stderr, flush=True)
    none = statistics.median(turn["gateway"] for turn in turns["none"])
    return {
        "machine": {"processors": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()},
        "messages": options.messages,
        "rounds": options.rounds,
        "forms": {
            name: {
                "own_cpu_ms": statistics.median(turn["gateway"] for turn in each),
                "share_of_none": statistics.median(
                    turn["gateway"] / first["gateway"] - 1 for turn, first in zip(each, turns["none"], strict=True)
                ),
                "index_cpu_ms": statistics.median(turn["index"] for turn in each),
                "index_share_of_none": statistics.median(turn["index"] for turn in each) / none,
            }
            for name, each in turns.items()
        },
    }


def run(machine: BenchMachine, name: str, messages: int) -> dict[str, float]:
    """Start the gateway in a form, send messages; return the processor time of each in ms."""
    settings, indexed = FORMS[name]
    listen = SETTINGS.replace(f'"127.0.0.1:{GATEWAY}"', f'"0.0.0.0:{GATEWAY}"')
    machine.start_gateway(settings=TOP.get(name, "") + listen, more=settings)
    if indexed:
        machine.start("index", mailgate("index"))
    server = machine.start("dns", ["sh", "-c", "PYTHONPATH=/opt/mailgate exec python3 /dns_server.py /records"])
    send(machine, 300)
    own, index = machine.cpu("gateway"), machine.cpu("index")
    send(machine, messages)
    if indexed:
        # It reads on for a moment.
        time.sleep(3)
    found = {
        "gateway": (machine.cpu("gateway") - own) / messages * 1000,
        "index": (machine.cpu("index") - index) / messages * 1000,
    }
    for each in ("gateway", "index"):
        machine.stop(each)
    server.kill()
    server.wait()
    return found


def send(machine: BenchMachine, number: int) -> None:
    """Send messages, one per connection."""
    machine.run(
        "load",
        ["smtp-source", "-s", "20", "-F", "/signed", "-m", str(number), "-M", f"mail.{SENDER}", "-f", f"a@{SENDER}",
         "-t", f"alice@{DOMAIN}", f"{ADDRESS}:{GATEWAY}"],
    )  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """Return the result as a text table."""
    lines = [
        f"{result['messages']} messages, median of {result['rounds']} rounds, {result['machine']['processors']}"
        f" processors, load {result['machine']['load'][0]:.1f}",
        "",
        f"{'option':28} own CPU ms   more   index CPU ms  of own",
    ]
    for name, row in result["forms"].items():
        lines.append(
            f"{name:28} {row['own_cpu_ms']:10.3f} {row['share_of_none']:6.1%} {row['index_cpu_ms']:12.3f}"
            f" {row['index_share_of_none']:8.1%}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
