# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DKIM signatures after the queue: a message is signed, given to the real sendmail, and verified as it arrives."""

from __future__ import annotations

import base64
import hashlib
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import real_sendmail
from real_sendmail import run

from ansible_collections.campus.mailgate.plugins.module_utils._routes.table import Route
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail import host
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.settings import Listener, Settings
from mailgate.signing.signature import parts_of, signature_field

pytestmark = pytest.mark.slow

SERVER = "198.18.1.3"
PLAN = Settings(
    "gw1.univ.example",
    (Listener("127.0.0.1", 10025),),
    ("gw1.univ.example",),
    ("a.univ.example",),
    (Route("x.example", SERVER),),
)
HEADER = (
    "From: Alice <alice@univ.example>\r\nTo: {}\r\nSubject: hi\r\nMessage-ID: <{}@univ.example>\r\n"
    "Date: Mon, 30 Nov 2026 20:00:00 +0000\r\n"
)
VALID = [
    "bob@x.example", "bob@x.example,c@x.example", "bob@x.example , c@x.example", "bob@x.example,", "bob",
    "Friends: bob@x.example,c@x.example;", "Bob. C <bob@x.example>", "Bob [x] <bob@x.example>", "<bob@x.example",
    "Bob<bob@x.example>", '"B,C" <bob@x.example>', "(a, b) bob@x.example", "a@x.example b@x.example",
    "undisclosed-recipients:;",
    ", ".join(f"user{number}@x.example" for number in range(60)), "=?utf-8?B?44GT?= <bob@x.example>",
]  # fmt: skip


def messages() -> dict[str, bytes]:
    """Return the messages by name; those that sendmail is known to change begin with `changed`."""
    found = {value: f"{HEADER.format(value, number)}\r\nhi\r\n".encode() for number, value in enumerate(VALID)}
    plain = HEADER.format("bob@x.example", "{}")
    found["without date, id and recipients"] = b"From: alice@univ.example\r\nSubject: without\r\n\r\nhi\r\n"
    found["8-bit"] = (
        plain.format("8") + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n\r\nこんにちは\r\n"
    ).encode()  # fmt: skip
    found["dots and blanks"] = f"{plain.format('dots')}Bcc: x@x.example\r\nCc:\r\n\r\n.x\r\n..y \t\r\n\r\n".encode()
    found["a line of 990 bytes"] = f"{plain.format('990')}\r\n{'x' * 990}\r\n".encode()
    found["changed: a line of 991 bytes"] = f"{plain.format('991')}\r\n{'x' * 991}\r\n".encode()
    found["changed: From without a blank"] = (
        plain.format("two").replace("Alice <alice@univ.example>", "a@univ.example,b@univ.example") + "\r\nhi\r\n"
    ).encode()
    return found


def through_sendmail(contents: list[bytes]) -> list[bytes]:
    """Return the messages as a server of the world gets them, in any order; runs in the system."""
    for command in (["ip", "link", "set", "lo", "up"], ["ip", "addr", "add", f"{SERVER}/32", "dev", "lo"]):
        subprocess.run(command, check=True)
    host.own_addresses = lambda table: []
    host.apply(PLAN, run, check=False)
    # Mail for other domains goes by this mailer.
    table = Path("/etc/mail/mailertable")
    table.write_text(f"x.example\tesmtp:[{SERVER}]\n")
    subprocess.run(["makemap", "hash", str(table)], input=table.read_bytes(), check=True)
    Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    threading.Thread(target=_answer_nothing, daemon=True).start()
    received: list[bytes] = []
    server = socket.create_server((SERVER, 25))
    threading.Thread(target=_receive, args=(server, received), daemon=True).start()
    for content in contents:
        _queue(content)
    subprocess.run(["/usr/sbin/sendmail", "-C", "/etc/mail/sendmail.cf", "-q"], check=False, timeout=60)
    # It delivers in other processes.
    deadline = time.monotonic() + 60
    while len(received) < len(contents) and time.monotonic() < deadline:
        time.sleep(0.02)
    return received


def _answer_nothing() -> None:
    """Be a DNS server that knows no name."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, address = server.recvfrom(2000)
        question = query[12 : query.index(b"\0", 12) + 5]
        server.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + question, address)


def _receive(server: socket.socket, received: list[bytes]) -> None:
    """Be the server that mail is delivered to."""
    while True:
        connection, _address = server.accept()
        lines = connection.makefile("rb")
        connection.sendall(b"220 x\r\n")
        while line := lines.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                connection.sendall(b"250-x\r\n250 8BITMIME\r\n")
            elif verb == b"DATA":
                connection.sendall(b"354 go on\r\n")
                data = list(iter(lines.readline, b".\r\n"))
                received.append(b"".join(each.removeprefix(b".") for each in data))
                connection.sendall(b"250 ok\r\n")
            else:
                connection.sendall(b"250 ok\r\n")
        connection.close()


def _queue(content: bytes) -> None:
    """Give a message to the queue."""
    sendmail = subprocess.Popen(
        ["/usr/sbin/sendmail", "-bs", "-C", "/etc/mail/sendmail.cf"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert sendmail.stdin and sendmail.stdout
    stuffed = b"".join(b"." + line if line.startswith(b".") else line for line in content.splitlines(keepends=True))
    body = b"" if content.isascii() else b" BODY=8BITMIME"
    commands = (
        b"EHLO gw1",
        b"MAIL FROM:<alice@univ.example>" + body,
        b"RCPT TO:<bob@x.example>",
        b"DATA",
        stuffed + b".",
    )
    for command in (b"", *commands):
        if command:
            sendmail.stdin.write(command + b"\r\n")
            sendmail.stdin.flush()
        while (reply := sendmail.stdout.readline())[3:4] == b"-":
            pass
        assert reply[:1] in b"23", reply
    sendmail.stdin.close()
    sendmail.wait(60)


def test_signatures_are_valid_after_the_queue():
    # Tests with other releases of ansible-core, which collect this file, do without it.
    import dkim

    system = real_sendmail.system()
    if system is None:
        pytest.skip(real_sendmail.REASON)
    private = subprocess.run(["openssl", "genrsa", "-traditional", "1024"], capture_output=True, check=True).stdout
    public = subprocess.run(
        ["openssl", "rsa", "-pubout", "-outform", "DER"], input=private, capture_output=True, check=True
    ).stdout
    numbers = dkim.crypto.parse_pem_private_key(private)

    def signed(content: bytes) -> bytes:
        parts = parts_of([content])
        assert parts
        field = signature_field(
            parts,
            lambda data: bytes(dkim.crypto.RSASSA_PKCS1_v1_5_sign(hashlib.sha256(data), numbers)),
            domain="univ.example",
            selector="gw1",
            now=1,
        )
        assert field
        return field + content

    given = {name: signed(content) for name, content in messages().items()}
    received = system.do(through_sendmail, list(given.values()))
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    valid = {}
    for name, content in given.items():
        signature = content.partition(b"\tb=")[2][:60]
        (found,) = (each for each in received if signature in each)
        valid[name] = dkim.verify(found, dnsfunc=lambda _name, timeout=5: record)
    assert valid == {name: not name.startswith("changed") for name in given}
