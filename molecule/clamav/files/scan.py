# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scan samples with clamd's INSTREAM (clamd(8)) and print its literal replies as JSON. Read by python3 on the host."""

import base64
import io
import json
import socket
import struct
import zipfile

SOCKET = "/run/clamav/clamd.ctl"
# In two parts, so that scanners do not report this file.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + rb"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
BY_HASH = b"\x00\x01mailgate-lab-virus-known-by-its-hash-77e0d3\xff"


def message(attachment: bytes) -> bytes:
    """Return a message with an attachment."""
    return b"\r\n".join(
        [
            b"From: a@outside.example",
            b"To: bob@mech.eng.univ.example",
            b"MIME-Version: 1.0",
            b'Content-Type: multipart/mixed; boundary="=_b"',
            b"",
            b"--=_b",
            b"Content-Type: text/plain",
            b"",
            b"hello",
            b"--=_b",
            b"Content-Type: application/octet-stream",  # language: quoted
            b"Content-Transfer-Encoding: base64",
            b"",
            base64.encodebytes(attachment).replace(b"\n", b"\r\n") + b"--=_b--",
            b"",
        ]
    )


def archive(size: int, flags: int = 0) -> bytes:
    """Return a zip file of zeros; `flags` goes into both of its headers (1: encrypted)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        made.writestr("zeros", bytes(size))
    data = bytearray(buffer.getvalue())
    data[6] |= flags
    data[data.index(b"PK\x01\x02") + 8] |= flags
    return bytes(data)


def scan(data: bytes) -> str:
    """Return clamd's reply to one stream."""
    with socket.socket(socket.AF_UNIX) as clamd:
        clamd.settimeout(60)
        try:
            clamd.connect(SOCKET)
            clamd.sendall(b"zINSTREAM\0")
            for start in range(0, len(data), 65536):
                chunk = data[start : start + 65536]
                clamd.sendall(struct.pack("!I", len(chunk)) + chunk)
            clamd.sendall(struct.pack("!I", 0))
        except PermissionError:
            return "permission denied"
        except (BrokenPipeError, ConnectionResetError):
            pass  # clamd closes the connection once a stream is too long; its reply can still be read
        return clamd.recv(4096).decode().rstrip("\0")


MIB = 1 << 20
SAMPLES = {
    "clean": message(b"nothing to see"),
    "eicar": message(EICAR),
    "text": b"hello mailgate-lab-virus-in-a-body-5f2c9e bye\r\n",
    "hash": message(BY_HASH),
    "new": b"hello mailgate-lab-virus-of-tomorrow-1b9d4f bye\r\n",
    "encrypted": message(archive(10, flags=1)),
    "too big inside": message(archive(201 * MIB)),
    "largest message": bytes(26214400),
    "too long": bytes(28 * MIB),
}
print(json.dumps({name: scan(data) for name, data in SAMPLES.items()}))
