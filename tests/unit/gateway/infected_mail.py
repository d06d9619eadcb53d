# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Infected messages: an infection at every place of a given message, and in every form that hides it."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import itertools
import os
import re
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import sample_archives
from gateway_doubles import EICAR

from mailgate.content import mime

CORPORA = (
    Path(os.environ.get("MAILGATE_CORPORA") or Path(__file__).resolve().parents[3].parent / "shared" / "corpora")
    / "mime"
)
NO_CORPORA = f"no messages in {CORPORA} (set MAILGATE_CORPORA to the directory that holds mime/)"


def corpus() -> list[tuple[str, bytes]]:
    """Return real messages by name, with CRLF line ends."""
    paths = sorted(path for path in CORPORA.rglob("*") if path.is_file() and path.suffix in (".eml", ".txt", ""))
    return [
        (str(path.relative_to(CORPORA)), re.sub(rb"\r(?!\n)", b" ", re.sub(rb"\r?\n", b"\r\n", path.read_bytes())))
        for path in paths
        if path.name != "LICENSE"
    ]


def zipped(content: bytes, name: str = "x.com", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, method)
    return out.getvalue()


def hiding(content: bytes) -> bytes:
    """Return the content behind bytes that deflate compresses: what it cannot compress it stores in the clear."""
    return b"".join(bytes([byte, byte % 7, 32]) for byte in range(256)) + content


def zip_of(content: bytes) -> bytes:
    """Return a zip whose plain bytes do not show the content, and whose base64 does not look like text."""
    return zipped(hiding(content))


def rar_of(content: bytes) -> bytes:
    """Return a RAR, which clamd cannot open, with a gzip file."""
    return sample_archives.rar5(gzip.compress(hiding(content), mtime=0), b"x.gz")


ZIP = zip_of(EICAR)
RAR = rar_of(EICAR)


def b64(payload: bytes, width: int = 76) -> bytes:
    flat = base64.b64encode(payload)
    return b"\r\n".join(flat[at : at + width] for at in range(0, len(flat), width))


def uu(payload: bytes, name: str = "x.zip") -> bytes:
    lines = [binascii.b2a_uu(payload[at : at + 45]).rstrip(b"\n") for at in range(0, len(payload), 45)]
    return b"\r\n".join([b"begin 644 " + name.encode(), *lines, b"`", b"end"])


def yenc(payload: bytes) -> bytes:
    out = b""
    for byte in payload:
        coded = (byte + 42) % 256
        out += bytes([61, (coded + 64) % 256]) if coded in (0, 10, 13, 61) else bytes([coded])
    return b"=ybegin line=999 size=%d name=x.zip\r\n%s\r\n=yend size=%d" % (len(payload), out, len(payload))


def part(body: bytes, kind: bytes = b"application/zip; name=x.zip", encoding: bytes = b"base64") -> bytes:
    return b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body


INFECTED = part(b64(ZIP))
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n\r\nhello"
HEAD = b"From: a@sender.example\r\nTo: b@a.univ.example\r\nSubject: x\r\nMIME-Version: 1.0\r\n"


def multi(
    *parts: bytes, kind: bytes = b'multipart/mixed; boundary="b"', line: bytes = b"--b", end: bytes = b"--b--\r\n"
) -> bytes:
    return b"Content-Type: " + kind + b"\r\n\r\n" + b"".join(line + b"\r\n" + one + b"\r\n" for one in parts) + end


def everywhere(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Return the message with an infection at each possible place."""
    header, blank, _body = raw.partition(b"\r\n\r\n")
    boundary = b"=_every_=where"
    inner = raw if blank else raw + b"\r\n"
    wrapped = b'multipart/mixed; boundary="' + boundary + b'"'
    rest = b"\r\n".join(
        re.findall(rb"^(?!content-|mime-version|[ \t])[!-9;-~]+:[^\r\n]*$", header, re.IGNORECASE | re.MULTILINE)
    )
    top = (rest + b"\r\n" if rest else b"") + b"MIME-Version: 1.0\r\n"
    for name, parts in (
        ("beside the message", (b"Content-Type: message/rfc822\r\n\r\n" + inner, INFECTED)),
        ("before the message", (INFECTED, b"Content-Type: message/rfc822\r\n\r\n" + inner)),
    ):
        yield name, top + multi(*parts, kind=wrapped, line=b"--" + boundary, end=b"--" + boundary + b"--\r\n")
    yield "uuencode at the end", raw + b"\r\n" + uu(ZIP) + b"\r\n"
    yield "as the body", (rest + b"\r\n" if rest else b"") + b"MIME-Version: 1.0\r\n" + INFECTED + b"\r\n"
    lines = [match.start() for match in re.finditer(rb"^--[^\r\n]+(?<!--)\r\n", raw, re.MULTILINE)]
    for number, at in enumerate(lines[:12]):
        delimiter = raw[at : raw.index(b"\r\n", at) + 2]
        yield f"as part before delimiter {number}", raw[:at] + delimiter + INFECTED + b"\r\n" + raw[at:]
    try:
        root = mime.walk(raw)
    except mime.AmbiguousError:
        return
    for number, leaf in enumerate(itertools.islice(root.leaves(), 12)):
        if leaf is not root:
            yield f"in place of part {number}", raw[: leaf.start] + INFECTED + raw[leaf.end :]


def evasions(packed: bytes = ZIP) -> Iterator[tuple[str, bytes]]:
    """Return forms in which some mail readers find the infection; `packed` is an archive with it."""
    infected = part(b64(packed))
    good = HEAD + multi(TEXT, infected)
    body = b64(packed)
    for kind in (
        b"multipart/mixed; boundary=b", b"MULTIPART/MIXED; BOUNDARY=b",
        b"multipart/mixed (c); (boundary=a) boundary=b",
        b"multipart/mixed; boundary=a; boundary=b", b"multipart/mixed; boundary=b; boundary=a",
        b"multipart/mixed; boundary*=us-ascii''b", b"multipart/mixed; boundary*0=b", b"multipart; boundary=b",
        b"multipart/mixed;\r\n\tboundary=b", b'multipart/mixed; boundary="b" ; x', b"multipart/mixed; boundary='b'",
        b"multipart/mixed; boundary=b;", b"multipart/x-unknown; boundary=b", b"text/plain; boundary=b",
        b"multipart/mixed", b'multipart/mixed; boundary=""', b'multipart/mixed; boundary="b',
        b"multipart/mixed;boundary=b",
        b"multipart/mixed; boundary = b", b"=?utf-8?q?multipart/mixed?=; boundary=b",
        b"multipart/mixed; \0boundary=b",
        b"multipart/parallel; boundary=b", b"multipart/signed; boundary=b; protocol=x",
        b"multipart/alternative; boundary=b",
        b"multipart/related; boundary=b", b"multipart/report; boundary=b", b"multipart/digest; boundary=b",
        b"multipart/appledouble; boundary=b", b'multipart/mixed; boundary="\\b"',
        b"multipart/mixed; charset=x; boundary=b",
    ):  # fmt: skip
        yield f"kind {kind!r}", HEAD + multi(TEXT, infected, kind=kind)
    for line in (b"--b ", b"--b\t", b" --b", b"--bx", b"--b-", b"-b", b"--B", b"--b;"):
        yield f"delimiter {line!r}", HEAD + multi(TEXT, infected, line=line)
    yield "never closed", HEAD + multi(TEXT, infected, end=b"")
    yield "closed first", HEAD + multi(end=b"--b--\r\n") + b"--b\r\n" + infected + b"\r\n--b--\r\n"
    yield "opened again", HEAD + multi(TEXT) + b"--b\r\n" + infected + b"\r\n--b--\r\n"
    yield "behind the end", HEAD + multi(TEXT) + infected
    yield "before the beginning", good.replace(b"--b\r\n", infected + b"\r\n--b\r\n", 1)
    one, two = b"Content-Type: multipart/mixed; boundary=a\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n"
    inside = multi(infected).partition(b"\r\n\r\n")[2]
    yield "two boundaries, first wrong", HEAD + one + two + b"\r\n" + inside
    yield "two boundaries, second wrong", HEAD + two + one + b"\r\n" + inside
    yield "two types", HEAD + b"Content-Type: text/plain\r\n" + two + b"\r\n" + inside
    for encoding in (
        b"BASE64", b" base64", b"base64 (c)", b"(c) base64", b'"base64"', b"base64;", b"\r\n base64", b"base 64",
        b"x-base64",
        b"7bit", b"8bit", b"quoted-printable", b"", b"x-unknown", b"base64\r\nContent-Transfer-Encoding: 7bit",
        b"7bit\r\nContent-Transfer-Encoding: base64", b"=?utf-8?q?base64?=", b"base64, base64", b"b\0ase64",
        b"base64\xa0",
    ):  # fmt: skip
        yield f"encoding {encoding!r}", HEAD + multi(TEXT, part(body, encoding=encoding))
    flat = base64.b64encode(packed)
    for name, coded in {
        "one a line": b"\r\n".join(flat[at : at + 1] for at in range(len(flat))),
        "three a line": b64(packed, 3),
        "one line": flat,
        "padding left out": flat.rstrip(b"="),
        "cut short": base64.b64encode(packed + bytes(range(9)))[:-6],
        "foreign characters": b"!".join(flat[at : at + 5] for at in range(0, len(flat), 5)),
        "spaces": b" ".join(flat[at : at + 5] for at in range(0, len(flat), 5)),
        "dashes first": b"-----\r\n" + body,
        "padding and another character": flat[:400] + b"=\x80" + flat[400:],
        "padding and a mark": flat[:400] + b"==!\r\n?" + flat[400:],
        "padding in the middle": base64.b64encode(packed[:100]) + b"\r\n" + base64.b64encode(packed[100:]),
        "padding on every line": b"\r\n".join(
            base64.b64encode(packed[at : at + 55]) for at in range(0, len(packed), 55)
        ),
        "empty lines": body.replace(b"\r\n", b"\r\n\r\n"),
        "bare LF": body.replace(b"\r\n", b"\n"),
        "BOM": b"\xef\xbb\xbf" + body,
        "text behind": body + b"\r\n\r\n-- \r\nsignature of somebody",
        "equals first": b"=\r\n" + body,
    }.items():
        yield f"base64 {name}", HEAD + multi(TEXT, part(coded))
    hexed = b"".join(b"=%02X" % byte for byte in packed)
    for name, coded in {
        "long": hexed,
        "soft breaks": b"=\r\n".join(hexed[at : at + 75] for at in range(0, len(hexed), 75)),
        "lower case": hexed.lower(),
        "soft breaks with spaces": b"= \r\n".join(hexed[at : at + 75] for at in range(0, len(hexed), 75)),
    }.items():
        yield f"quoted-printable {name}", HEAD + multi(TEXT, part(coded, encoding=b"quoted-printable"))
    for name, text in {
        "uuencode": uu(packed), "uuencode without end": uu(packed)[:-6], "yenc": yenc(packed),
        "uuencode with text around": b"see this:\r\n" + uu(packed) + b"\r\nbye",
    }.items():  # fmt: skip
        yield f"{name} in a text", HEAD + multi(b"Content-Type: text/plain\r\n\r\n" + text)
        yield f"{name} alone", HEAD + b"\r\n" + text + b"\r\n"
        yield f"{name} alone, few headers", b"Subject: x\r\n\r\n" + text + b"\r\n"
    yield "x-uuencode", HEAD + multi(part(uu(packed), encoding=b"x-uuencode"))
    for first in (
        b"X-Foo: 1\r\n",
        b"",
        b"Subject: x\r\n",
        b"\r\n",
        b" \r\n",
        b"\xef\xbb\xbf",
        b"no header\r\n",
        b"X : y\r\n",
    ):
        yield f"first line {first!r}", first + multi(TEXT, infected)
        yield f"first line {first!r}, more", first + good
    yield "no MIME-Version", good.replace(b"MIME-Version: 1.0\r\n", b"")
    yield "BOM in the part", HEAD + multi(TEXT, b"\xef\xbb\xbf" + infected)
    yield "space before the colon", HEAD + multi(TEXT, infected.replace(b":", b" :"))
    yield "header of the part folded", HEAD + multi(TEXT, infected.replace(b": ", b":\r\n "))
    yield "junk in the header", HEAD + b"this is no header\r\n" + multi(TEXT, infected)
    yield "junk in the part's header", HEAD + multi(TEXT, b"this is no header\r\n" + infected)
    for name in (
        b"name*=utf-8''x%2Ezip", b"name*0=x.; name*1=zip", b"name==?utf-8?b?eC56aXA=?=", b'name="x.zip\0.txt"',
        b"name=x.zip; name=y.txt", b'name="x".zip', b"name*0*=''x; name*2=y",
    ):  # fmt: skip
        yield f"name {name!r}", HEAD + multi(TEXT, part(body, b"application/octet-stream; " + name))  # language: quoted
    for kind in (
        b"message/rfc822", b"message/news", b"message/global", b"message/partial; id=x; number=1; total=1",
        b"MESSAGE/RFC822",
        b"message/external-body; access-type=x", b"message/x-unknown", b"message/http", b"message",
        b"text/rfc822-headers",
    ):  # fmt: skip
        yield f"inside {kind!r}", HEAD + b"Content-Type: " + kind + b"\r\n\r\n" + good
        yield f"inside {kind!r} in base64", HEAD + multi(TEXT, part(b64(good), kind))
        yield f"inside {kind!r} in a part", HEAD + multi(TEXT, b"Content-Type: " + kind + b"\r\n\r\n" + good)
    yield "multipart in base64", HEAD + part(b64(inside), two.removeprefix(b"Content-Type: ").rstrip())
    for depth in (2, 10, 28, 50, 100):
        mail, nest = good, infected
        for level in range(depth):
            mail = HEAD + b"Content-Type: message/rfc822\r\n\r\n" + mail
            mark = b"n%d" % level
            nest = multi(nest, kind=b"multipart/mixed; boundary=" + mark, line=b"--" + mark, end=b"--" + mark + b"--")
        yield f"{depth} messages deep", mail
        yield f"{depth} multiparts deep", HEAD + nest
        nested = packed
        for level in range(depth if depth < 50 else 0):
            nested = zipped(nested, f"{level}.zip")
        yield f"{depth} archives deep", HEAD + multi(TEXT, part(b64(nested)))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as out:
        entry = tarfile.TarInfo("x.com")
        entry.size = len(EICAR)
        out.addfile(entry, io.BytesIO(EICAR))
    yield "tar.gz", HEAD + multi(TEXT, part(b64(tar.getvalue())))
    yield "tnef", HEAD + multi(TEXT, part(b64(tnef("x.zip", packed)), b"application/ms-tnef; name=winmail.dat"))
    for write in (sample_archives.rar4, sample_archives.rar5, sample_archives.cab, sample_archives.lha):
        # These archives store their files, so that a bare one would be in the clear.
        for inner, content in (("zip", packed), ("gzip", gzip.compress(hiding(EICAR), mtime=0))):
            outer = write(content, b"x.bin")
            yield f"archive {write.__name__} {inner}", HEAD + multi(TEXT, part(b64(outer)))
            yield f"archive {write.__name__} {inner} in a zip", HEAD + multi(TEXT, part(b64(zipped(outer, "x"))))
    yield "several", HEAD + multi(infected, TEXT, part(b64(packed), b"text/plain"), infected)


def tnef(name: str, content: bytes, *, long_name: str = "", as_object: bool = False) -> bytes:
    """Return a winmail.dat with one attachment ([MS-OXTNEF] 2.1); long name and content are MAPI properties."""

    def attribute(level: int, number: int, data: bytes) -> bytes:
        return (
            bytes([level])
            + number.to_bytes(4, "little")
            + len(data).to_bytes(4, "little")
            + data
            + (sum(data) % 65536).to_bytes(2, "little")
        )

    def variable(tag: int, kind: int, data: bytes) -> bytes:
        return struct.pack("<HHII", kind, tag, 1, len(data)) + data + bytes(-len(data) % 4)

    named = struct.pack("<HH16sII", 0x001F, 0x8000, bytes(16), 1, 6) + "a.b".encode("utf-16-le") + bytes(2)
    properties = [
        struct.pack("<HHI", 0x0003, 0x0E20, len(content)),
        named + struct.pack("<II", 1, 2) + "x".encode("utf-16-le") + bytes(2),
        struct.pack("<HHIQQ", 0x1014, 0x6666, 2, 1, 2),
    ]
    if long_name:
        properties.append(variable(0x3707, 0x001F, long_name.encode("utf-16-le") + b"\0\0"))
    if as_object:
        properties.append(variable(0x3701, 0x000D, bytes(16) + content))
    return (
        bytes.fromhex("789f3e22") + b"\x01\0"
        + attribute(1, 0x00089006, b"\0\0\1\0")
        + attribute(2, 0x00069002, b"\1\0" + b"\xff" * 4 + b"\0" * 8)
        + attribute(2, 0x00018010, name.encode() + b"\0")
        + (b"" if as_object else attribute(2, 0x0006800F, content))
        + attribute(2, 0x00069005, struct.pack("<I", len(properties)) + b"".join(properties))
    )  # fmt: skip


def still_infected(content: bytes) -> bool:
    """Whether a decoding finds the infection: the standard library's parsers, or decoding everything."""
    blobs = [content, content.replace(b"\r\n", b"")]
    for rules in (policy.compat32, policy.default):
        try:
            for one in message_from_bytes(content, policy=rules).walk():  # type: ignore[arg-type]
                if not one.is_multipart():
                    blobs.append(one.get_payload(decode=True) or b"")  # type: ignore[arg-type]
        except Exception:  # the parser's own bugs
            continue
    for run in re.findall(rb"(?:[A-Za-z0-9+/=]+[\s!]*)+", content):
        flat = re.sub(rb"[^A-Za-z0-9+/]", b"", run)
        if len(flat) > 60:
            blobs += [binascii.a2b_base64(flat[at : at + (len(flat) - at) // 4 * 4]) for at in range(4)]
    blobs.append(binascii.a2b_qp(content))
    return any(mark in blob for blob in blobs for mark in (EICAR, ZIP[60:90], binascii.b2a_uu(ZIP[:45]).strip()))
