# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SMTP smuggling through the gateway to a real Postfix that accepts bare line feeds, with both policies.

python3 -m bench.smuggle       (as root; in its own network namespace). For sendmail: bench/forms.py in a twin.
"""

from __future__ import annotations

import argparse
import re
import sys
import time

from bench.forms import ENDS, send
from bench.machine import DOMAIN, GATEWAY, POSTFIX, SINK, BenchMachine, bench_machine

SERVER = r"""
import asyncio
async def serve(reader, writer):
    try:
        writer.write(b"220 server\r\n")
        while line := await reader.readuntil(b"\r\n"):
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go\r\n")
                with open("/arrived", "ab") as log:
                    log.write(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"250 2.0.0 ok\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", PORT, limit=1 << 22)
    await server.serve_forever()
asyncio.run(main())
"""


def main() -> None:
    """Send all forms through Postfix and through the gateway; exit with 1 if one gets through the gateway."""
    with bench_machine(argparse.ArgumentParser(prog="bench.smuggle")) as (machine, _options):
        bad = sum(through(machine, policy) for policy in ("", "refuse", "normalize"))
    print("nothing was smuggled through the gateway" if not bad else f"SMUGGLED: {bad}")
    sys.exit(1 if bad else 0)


def through(machine: BenchMachine, policy: str) -> int:
    """Send all forms through the gateway (without a policy: directly to Postfix); return how many it let through."""
    if not policy:
        (machine.root / "server.py").write_text(SERVER.replace("PORT", str(SINK)))
        machine.start("sink", ["python3", "/server.py"])
        machine.start_clamd()
        machine.start_postfix(milter=False)
    else:
        machine.start_gateway(f'[content]\nbare_newlines = "{policy}"\n', next_hop=POSTFIX)
    arrived = machine.root / "arrived"
    arrived.write_bytes(b"")
    answers = [
        send("127.0.0.1", GATEWAY if policy else POSTFIX, f"alice@{DOMAIN}", n, end) for n, end in enumerate(ENDS)
    ]
    while machine.postfix_queue():
        time.sleep(0.1)
    time.sleep(0.5)
    text = arrived.read_bytes()
    # A separate message begins with the trace field of the server that accepted it.
    own = re.findall(rb"(?m)^Received:(?:(?!^Subject:).*\n)+?^Subject: smuggled (\d+)", text.replace(b"\r\n", b"\n"))
    print(f"{policy or 'directly to Postfix'}: {len(ENDS)} forms, {sum(a.startswith('250') for a in answers)} accepted,"
          f" smuggled: {sorted({ENDS[int(n)] for n in own}) or 'none'}")  # fmt: skip
    if policy:
        machine.stop("gateway")
    return len(own) if policy else 0


if __name__ == "__main__":
    main()
