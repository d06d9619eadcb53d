# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes that the scenario runs on a host: send mail as an external sender, connect to ports, read mailboxes.

The file is the standard input of `python3 -` on the host. Its argument is a JSON object: the name of a probe in
`probe`, and the probe's arguments. The result is a JSON object on standard output. It needs only Python and dnspython.
"""

from __future__ import annotations

import base64
import json
import smtplib
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
CONNECT_TIMEOUT = 3.0  # a host that is off does not reply; the network of a twin is fast
TIMEOUT = 15.0


def mx(domain: str) -> Answer:
    """Return the MX records of a domain from this host's resolver: preference and exchange, best first."""
    import dns.resolver  # noqa: PLC0415  only the sender's host needs dnspython

    try:
        answer = dns.resolver.resolve(domain, "MX", lifetime=TIMEOUT)
    except dns.resolver.NoAnswer:
        return {"lines": []}
    return {"lines": sorted((rr.preference, rr.exchange.to_text(omit_final_dot=True)) for rr in answer)}


def exchanges(domain: str) -> list[str]:
    """Return the mail exchanges of a domain, best first (RFC 5321, section 5.1)."""
    return [exchange for _, exchange in mx(domain)["lines"]] or [domain]


def addresses(host: str) -> list[str]:
    """Return the addresses of a host, IPv4 and IPv6, in the resolver's order."""
    try:
        found = socket.getaddrinfo(host, 25, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return []
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def dialogue(
    address: str, port: int, *, sender: str, recipients: list[str], message: bytes | None, login: Sequence[str]
) -> Answer:
    """Run one SMTP session up to RCPT, or with a message to its end; return the last command and its reply.

    `login` is empty, or a user and a password.
    """
    with smtplib.SMTP(timeout=CONNECT_TIMEOUT, local_hostname="outside.example") as session:
        code, text = session.connect(address, port)
        assert session.sock is not None
        session.sock.settimeout(TIMEOUT)
        if code == 220:
            session.ehlo()
            if login:
                session.login(*login)
            eight_bit = ["BODY=8BITMIME"] if session.has_extn("8bitmime") else []
            stage, (code, text) = "MAIL", session.mail(sender, eight_bit)
            for recipient in recipients:
                if code == 250:
                    stage, (code, text) = "RCPT", session.rcpt(recipient)
            if code == 250 and message is not None:
                stage, (code, text) = "DATA", session.data(message)
        else:
            stage = "banner"
    return {"stage": stage, "code": code, "text": text.decode("utf-8", "replace")}


def send(
    to: list[str],
    sender: str,
    message: str = "",
    via: str = "",
    port: int = 25,
    *,
    lines: int = 0,
    login: Sequence[str] = (),
) -> Answer:
    """Send a message (base64) and so many further lines, or stop after RCPT without a message.

    The server is the first recipient's MX, or the address `via`.

    As a sending MTA does, try the next address, then the next exchange, when one cannot be reached.
    """
    data = base64.b64decode(message) + (b"x" * 70 + b"\r\n") * lines if message else None
    hosts = [via] if via else exchanges(to[0].rpartition("@")[2])
    tried = []
    for host in hosts:
        for address in [via] if via else addresses(host):
            try:
                answer = dialogue(address, port, sender=sender, recipients=to, message=data, login=login)
            except (OSError, smtplib.SMTPServerDisconnected) as error:
                tried.append(f"{host} [{address}]: {error}")
                continue
            return answer | {"host": host, "address": address, "tried": tried}
    return {"stage": "connect", "code": 0, "text": "; ".join(tried), "host": "", "address": "", "tried": tried}


def connect(address: str, port: int = 25, timeout: float = 3.0) -> Answer:
    """Open a TCP connection; return the start of the server's first line, or how the connection failed."""
    try:
        with socket.create_connection((address, port), timeout) as connection:
            connection.settimeout(timeout)
            return {"seen": connection.recv(200).decode("ascii", "replace")[:3] or "closed"}
    except ConnectionRefusedError:
        return {"seen": "refused"}
    except TimeoutError:
        return {"seen": "silence"}
    except OSError as error:
        return {"seen": error.strerror or str(error)}


def mailbox(user: str, message_id: str, wait: float = 20.0) -> Answer:
    """Wait for a message in a user's mbox; return all copies (base64) without the mbox separator line."""
    wanted = f"Message-ID: <{message_id}>".encode()
    deadline = time.monotonic() + wait
    content = b""
    while True:
        before, content = content, read_if_there(Path("/var/mail", user))
        # Each entry ends with an empty line, which is the separator's first byte.
        entries = (b"\n" + content).replace(b"\nFrom ", b"\n\nFrom ").split(b"\nFrom ")[1:]
        copies = [entry.partition(b"\n")[2] for entry in entries if wanted in entry]
        # This copy, or a further one, may be half written.
        written = content == before and content.endswith(b"\n\n")
        if (copies and written) or time.monotonic() > deadline:
            return {"copies": [base64.b64encode(copy).decode() for copy in copies]}
        time.sleep(0.1)


def read_if_there(path: Path) -> bytes:
    """Return the content of a file; empty if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


PROBES: dict[str, Callable[..., Answer]] = {"mx": mx, "send": send, "connect": connect, "mailbox": mailbox}


def main() -> None:
    """Run the probe named in the argument."""
    job = json.loads(sys.argv[1])
    json.dump(PROBES[job.pop("probe")](**job), sys.stdout)


if __name__ == "__main__":
    main()
