# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random infected messages with all features and errors of MIME, and how mail readers decode them.

A seed names a message. Many are so broken that no reader finds the infection; `readers_find` tells.
"""

from __future__ import annotations

import base64
import binascii
import io
import quopri
import re
import zipfile
from collections.abc import Iterator
from email import message_from_bytes, policy
from random import Random

from gateway_doubles import EICAR
from infected_mail import HEAD, TEXT, ZIP, b64, uu, yenc

TYPES = (
    b"application/zip; name=x.zip",
    b"application/octet-stream",  # language: quoted
    b"text/plain", b"text/html; charset=utf-8",
    b'image/png; name="a.png"', b"application/zip;\r\n name*=utf-8''x.zip", b"audio/x", b"x/y", b"application", b"",
    b"text/plain; charset=utf-16", b"message/rfc822", b"message/delivery-status", b"application/ms-tnef",
    b"text/rfc822-headers", b"multipart/mixed", b"application/pkcs7-mime; name=smime.p7m",
)  # fmt: skip
MESSAGES = (
    b"message/rfc822", b"message/rfc822", b"message/global", b"message/news", b"message/foo", b"text/plain",
    b"message/partial; id=a; number=1; total=1", b"Message/RFC822; x=y", b"message/feedback-report",
    b"message/disposition-notification", b"message/external-body",
)  # fmt: skip
BOUNDARIES = (*(b"b", b"bb", b"=_x.y", b"----=_NextPart_000", b"a'()+_,-./:=?z", b"B" * 70, b"x y", b"b--", b"--b"),)
DISPOSITIONS = (b"attachment; filename=x.zip", b"inline", b'attachment;\r\n filename="x.zip"', b"attachment;")
# What is changed in a header line, and into what.
FIELDS = (
    b"Content-Type: text/plain", b"Content-Type: multipart/mixed; boundary=zz", b"Content-Transfer-Encoding: 7bit",
    b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable",
)  # fmt: skip
COLONS = (b":", b" : ", b":\t", b":\r\n ", b":  ", b":\r\n\t\r\n ")
ENDS = (b";", b" (c)", b" ;x", b"; charset=foo", b'; a="', b" \t", b";\r\n x=y", b"; boundary=q", b"\\", b"\x80")
JUNK = (
    b"junk line", b"X-A: b", b" folded first", b"X-A:", b":", b"From x", b">From x", b"X\x80: y", b"   ", b"X A: b",
    b"Content-Type", b"-- ", b"--b",
)  # fmt: skip
ENCODINGS = (
    b'"base64"', b"BASE64", b"base64 ", b"base64 (x)", b"(x)base64", b"x-base64", b"base-64", b"bas\\e64",
    b"base64,7bit", b"=?utf-8?q?base64?=", b"base64\r\n ;y", b"binary base64",
)  # fmt: skip
MULTIPARTS = (
    b"multipart/related", b"multipart/foo", b"multipart", b"multipart/", b"MULTIPART/Mixed", b"multipart /mixed",
    b"multi\\part/mixed", b'"multipart/mixed"', b"multipart/mixed/x", b"multipart/digest", b"multipart/encrypted",
    b"multipart/report; report-type=x", b"multipart/signed; micalg=a", b"multipart/parallel", b"multipart/form-data",
    b"multipart/x-mixed-replace", b"multipart/byteranges", b"text/plain", b"(x)multipart/mixed",
)  # fmt: skip
BOUNDARY_FORMS = (
    b"boundary*=us-ascii''%s", b"boundary='%s'", b'boundary="%s "', b"boundary = %s", b'boundary="%s',
    b"boundary=%s trailing", b"boundary=%s;boundary=zz", b"boundary=zz; boundary=%s", b'BOUNDARY="%s"',
    b"boundary=(c)%s", b"boundary=%s(c)", b'x="; boundary=zz"; boundary=%s', b'boundary=="%s"', b"boundary:%s",
    b"boundary =?utf-8?q?%s?=", b'boundary*0=""; boundary*1="%s"', b'boundary="\\%s"',
)  # fmt: skip
NAMES = (b"content-", b"Content_", b"Content -", b"\xef\xbb\xbfContent-", b"X-Content-")
INSERTED = (b"\r\n", b" ", b"\t", b"=", b"-", b"\x80", b'"', b";", b"\r\n\r\n", b"--")
# Characters in the middle of base64, lines before it and behind it.
FOREIGN = (b"!", b" ", b"\t", b"-", b"*", b"\x80", b"\r\n\r\n", b" \r\n", b"=", b"<", b".")
BEFORE = (b"=\r\n", b"====\r\n", b"\r\n\r\n", b"----\r\n", b"begin\r\n", b"AA==\r\n", b"hello you\r\n", b"\xef\xbb\xbf")
BEHIND = (b"=", b"==", b"===\r\n", b"\r\n\r\n", b"\r\nAAAA", b"\r\n--", b"\r\n-- \r\nsig\r\n", b"\r\n.")
WRONG = (b"7bit", b"8bit", b"binary", b"", b"x-foo", b"quoted-printable", b"uuencode", b"base64x", b"b")


class Composer:
    """Composes one random message."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)

    def message(self) -> bytes:
        """Return the message with CRLF line ends."""
        dice = self.dice
        heads = (b"", b"Subject: x\r\n", b"MIME-Version: 1.0\r\n", b"Received: x\r\n", b"\xef\xbb\xbfFrom: x\r\n")
        raw = HEAD if self.now(0.8) else dice.choice(heads)
        raw += self.multipart(0) if self.now(0.75) else self.node(0)
        if self.now(0.15):
            at = dice.randrange(len(raw))
            raw = raw[:at] + raw[at + dice.randrange(1, 4) :]
        if self.now(0.1):
            at = dice.randrange(len(raw))
            raw = raw[:at] + dice.choice(INSERTED) + raw[at:]
        raw = re.sub(rb"(?<!\r)\n", b"\r\n", re.sub(rb"\r(?!\n)", b" ", raw))
        return raw if raw.endswith(b"\r\n") else raw + b"\r\n"

    def now(self, chance: float) -> bool:
        return self.dice.random() < chance

    def node(self, depth: int) -> bytes:
        draw = self.dice.random()
        if depth > 3 or draw < 0.5:
            return self.leaf()
        return self.multipart(depth) if draw < 0.8 else self.nested(depth)

    def nested(self, depth: int) -> bytes:
        heads = (HEAD,) * 6 + (b"", b"", b"X-Foo: a\r\n", HEAD.lower(), b"Comments: x\r\n", b"Sender: x\r\n")
        inner = self.dice.choice(heads) + self.node(depth + 1)
        encoding = self.dice.choice((b"", b"7bit", b"8bit", b"base64", b"quoted-printable"))
        header = b"Content-Type: " + self.dice.choice(MESSAGES) + b"\r\n"
        if encoding:
            header += b"Content-Transfer-Encoding: " + encoding + b"\r\n"
        if encoding == b"base64":
            inner = b64(inner)
        elif encoding == b"quoted-printable":
            inner = quopri.encodestring(inner.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        return self.mutated(header) + b"\r\n" + inner

    def multipart(self, depth: int) -> bytes:
        dice = self.dice
        boundary = dice.choice(BOUNDARIES) + (b"" if self.now(0.5) else b"%d" % depth)
        quoted = b'"' + boundary + b'"' if self.now(0.8) else boundary
        header = b"Content-Type: multipart/mixed" + dice.choice((b"; ", b";\r\n ", b";\r\n\t", b";", b"; \r\n\t"))
        clean = (TEXT, b"\r\nplain", b"Content-Type: text/html\r\n\r\n<p>" + b"x" * 50, b"")
        parts = [dice.choice(clean) for _ in range(dice.randrange(3))]
        parts.insert(dice.randrange(len(parts) + 1), self.node(depth + 1))
        body = dice.choice((b"", b"", b"", b"preamble\r\n", self.leaf() + b"\r\n" if self.now(0.3) else b"x\r\n"))
        for part in parts:
            behind = dice.choice((b"", b"", b"", b"", b"", b" ", b"\t", b"  ", b"x", b"--" if self.now(0.2) else b""))
            between = dice.choice((b"\r\n", b"\r\n", b"\r\n", b"\r\n\r\n", b""))
            body += b"--" + boundary + behind + b"\r\n" + part + between
        wrong = (b"--\r\n",) * 5 + (b"--", b"\r\n", b"-- \r\n", b"--x\r\n")
        body += b"--" + boundary + dice.choice(wrong) if self.now(0.9) else b""
        if self.now(0.12):
            again = b"--" + boundary + b"\r\n" + self.leaf() + b"\r\n--" + boundary + b"--\r\n"
            body += dice.choice((b"epilogue\r\n", self.leaf(), again, b"\r\n"))
        return self.mutated(header + b"boundary=" + quoted + b"\r\n") + b"\r\n" + body

    def leaf(self) -> bytes:
        body, encoding = self.coded()
        kind = self.dice.choice(TYPES)
        lines = [b"Content-Type: " + kind] if kind else []
        lines += [b"Content-Transfer-Encoding: " + encoding] if encoding else []
        lines += [b"Content-Disposition: " + self.dice.choice(DISPOSITIONS)] if self.now(0.3) else []
        self.dice.shuffle(lines)
        return self.mutated(b"".join(line + b"\r\n" for line in lines)) + b"\r\n" + body

    def coded(self) -> tuple[bytes, bytes]:
        """Return the encoded infection and the name of the encoding."""
        dice = self.dice
        kind = dice.choice(("base64", "base64", "base64", "unnamed", "quoted-printable", "uuencode", "yenc"))
        if kind == "quoted-printable":
            names = (b"quoted-printable", b"quoted-printable", b"Quoted-Printable", b"7bit", b"quoted-printable;")
            return self.quoted(), dice.choice(names)
        if kind == "uuencode":
            text = dice.choice((b"", b"text\r\n", b"\r\n")) + uu(ZIP, dice.choice(("x.zip", "a b.zip", "x")))
            names = (b"7bit", b"8bit", b"x-uuencode", b"uuencode", b"X-UUE", b"")
            return text + dice.choice((b"", b"\r\n", b"\r\nbye")), dice.choice(names)
        if kind == "yenc":
            return yenc(ZIP), dice.choice((b"8bit", b"binary", b"7bit"))
        return self.base64(), b"base64" if kind == "base64" else dice.choice(WRONG)

    def base64(self) -> bytes:
        dice = self.dice
        flat = base64.b64encode(ZIP)
        if self.now(0.2):
            flat = flat.rstrip(b"=")
        body = b"\r\n".join(re.findall(b".{1,%d}" % dice.choice((76, 76, 76, 60, 72, 75, 4, 1, 1000, 77, 64)), flat))
        if self.now(0.1):
            at = dice.randrange(3, len(ZIP) - 3)
            between = dice.choice((b"", b"\r\n", b"\r\n\r\n"))
            body = base64.b64encode(ZIP[:at]) + between + base64.b64encode(ZIP[at:])
        if self.now(0.15):
            at = dice.randrange(len(body))
            body = body[:at] + dice.choice(FOREIGN) + body[at:]
        if self.now(0.1):
            body = dice.choice(BEFORE) + body
        return body + dice.choice(BEHIND) if self.now(0.15) else body

    def quoted(self) -> bytes:
        plain = [bytes([byte]) if 33 <= byte < 127 and byte != 61 and self.now(0.1) else b"" for byte in ZIP]
        units = [text or b"=%02X" % byte for text, byte in zip(plain, ZIP, strict=True)]
        out, line = b"", 0
        for unit in units:
            if line + len(unit) > self.dice.choice((70, 72, 74)):
                out += self.dice.choice((b"=\r\n", b"= \r\n", b"=\t\r\n")) if self.now(0.2) else b"=\r\n"
                line = 0
            out += unit
            line += len(unit)
        return out

    def mutated(self, header: bytes) -> bytes:
        """Return the header, two times in five with an error."""
        dice = self.dice
        if self.now(0.6) or not header:
            return header
        lines = header.split(b"\r\n")[:-1]
        at = dice.randrange(len(lines))
        line = lines[at]
        change = dice.randrange(14)
        if change == 0:
            lines.insert(dice.randrange(len(lines) + 1), dice.choice(FIELDS))
        elif change == 1:
            lines[at] = line.replace(b": ", dice.choice(COLONS), 1)
        elif change == 2:
            lines[at] = line.swapcase()
        elif change == 3:
            lines[at] = line + dice.choice(ENDS)
        elif change == 4:
            lines.insert(dice.randrange(len(lines) + 1), dice.choice(JUNK))
        elif change == 5:
            lines[at] = line.replace(b"base64", dice.choice(ENCODINGS))
        elif change == 6:
            lines[at] = line.replace(b"multipart/mixed", dice.choice(MULTIPARTS))
        elif change == 7:
            form = dice.choice(BOUNDARY_FORMS)
            lines[at] = re.sub(rb'boundary="?([^";\r\n]*)"?', lambda found: form % found[1], line)
        elif change == 8:
            del lines[at]
        elif change == 9:
            lines.append(line)
        elif change == 10:
            lines[at] = line.replace(b"Content-", dice.choice(NAMES))
        elif change == 11:
            lines[at] = line.replace(b"Transfer-Encoding", b"Encoding")
        elif change == 12:
            lines.insert(0, b"")
        else:
            lines.reverse()
        return b"".join(one + b"\r\n" for one in lines)


def readers_find(content: bytes) -> list[str]:
    """Return the decodings that find the infection: the standard library's parsers, and uuencode in texts."""
    return sorted({name for name, payload in _read(content) if _infected(payload)})


def _read(content: bytes) -> Iterator[tuple[str, bytes]]:
    yield "as it is", content
    yield from (("uuencode", payload) for payload in _uudecoded(content))
    for rules in (policy.compat32, policy.default):
        try:
            for one in message_from_bytes(content, policy=rules).walk():  # type: ignore[arg-type]
                if one.is_multipart():
                    continue
                payload = bytes(one.get_payload(decode=True) or b"")  # type: ignore[arg-type]
                yield f"{one.get_content_type()} in {one.get('content-transfer-encoding')}", payload
                yield from (("uuencode in a part", inner) for inner in _uudecoded(payload))
        except Exception:  # the parser's own bugs
            continue


def _uudecoded(text: bytes) -> Iterator[bytes]:
    lines = re.sub(rb"\r?\n", b"\n", text)
    for block in re.finditer(rb"^begin [0-7]+ [^\n]*\n(.*?)(?:^end|\Z)", lines, re.DOTALL | re.MULTILINE):
        out = b""
        for line in filter(None, block[1].split(b"\n")):
            for length in (len(line), (((line[0] - 32) & 63) * 4 + 5) // 3):
                try:
                    out += binascii.a2b_uu(line[:length])
                    break
                except binascii.Error:
                    continue
        yield out


def _infected(payload: bytes) -> bool:
    at = payload.find(b"PK\3\4")
    if EICAR in payload or at < 0:
        return EICAR in payload
    try:
        with zipfile.ZipFile(io.BytesIO(payload[at:])) as archive:
            return any(EICAR in archive.read(name) for name in archive.namelist())
    except Exception:  # damaged
        return False
