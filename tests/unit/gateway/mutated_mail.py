# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages mutated at random around a hidden infection, or around the same file without it. A seed names a message."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from random import Random

from ambiguous_mail import GZIP, ambiguous, quoted
from composed_mail import ENDS, FOREIGN, JUNK, Composer
from infected_mail import HEAD, RAR, TEXT, ZIP, b64, corpus, evasions, everywhere, multi, part, rar_of, uu, zip_of

MARKS = (ZIP[300:330], RAR[300:330], GZIP[60:90])
PAYLOADS = (ZIP, RAR, GZIP)
HARMLESS = tuple(
    hidden(b"a harmless file with as many bytes as the infection has, so that ..") for hidden in (zip_of, rar_of)
)
SUBTYPES = (b"mixed", b"alternative", b"related", b"parallel", b"report", b"signed", b"x-foo", b"digest", b"form-data")
BOUNDARIES = (b"b", b"a", b"bb", b"b;", b"=_x", b"----=_Part_0", b"b c", b"'b'", b"b=c", b"b(c)")
# A parameter in another form; the value of the original is %s.
FORMS = (
    b"%n*=''%s", b"%n*=us-ascii'en'%s", b"%n*0=%s", b"%n*0*=''%s", b'%n="%s"', b"%n='%s'", b"%n=(c)%s", b"%n=%s(c)",
    b"%n = %s", b"%n=%s;", b'%n="\\%s"', b"%n==?us-ascii?q?%s?=", b"%n=%s x", b'x="; %n=q"; %n=%s', b"%n=q; %n=%s",
    b"%n=%s; %n=q", b"%n*0=q; %n=%s", b"%n=%s; %n*=''q", b"%n=q; %n*0*=''%s", b'x="%n=q;"; %n=%s', b"(%n=q) %n=%s",
    b"%n:%s", b"x-%n=q; %n=%s", b"%n;%n=%s", b'%n="%s\t"', b"%n=%s;\r\n %n=q", b"%n=%s;x=y", b"%n*1=%s; %n*0=\"\"",
)  # fmt: skip
ENCODINGS = (b"base64", b"7bit", b"8bit", b"binary", b"quoted-printable", b"x-uuencode", b"x-foo", b"Base64", b"")
ENCODING_FORMS = (
    b" %s", b"%s", b"\t%s", b"  %s", b" %s ", b" %s;", b" (c) %s", b" %s (c)", b' "%s"', b"\r\n %s", b"\r\n\t%s",
    b" \r\n %s", b" x-%s", b" %s, 7bit", b" %s; x=y", b" =?utf-8?q?%s?=", b" 7bit\r\nContent-Transfer-Encoding: %s",
    b" %s\r\nContent-Transfer-Encoding: 7bit", b" %s\x80", b" %s\r\n ", b" '%s'", b" %s.", b" \\%s",
)  # fmt: skip
TYPES = (
    b"text/plain", b"text/html", b"application/zip", b"application/x-foo", b"image/png", b"message/rfc822", b"text",
    b"message/delivery-status", b"text/plain; charset=utf-7", b"application/zip; name=x.zip", b"multipart/mixed",
    b"text/plain; boundary=b", b"message/partial; id=a; number=1; total=1", b"text/x-foo; charset=utf-8; charset=x",
)  # fmt: skip
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/=]{16,}\r\n){4,}[A-Za-z0-9+/=]*")


@lru_cache(maxsize=1)
def _sources() -> tuple[list[bytes], list[bytes]]:
    """Return infected messages to mutate, and real ones, which may be empty."""
    real = [raw for _name, raw in corpus() if len(raw) < 20_000]
    infected = [raw for _name, raw in [*ambiguous(), *evasions()] if len(raw) < 20_000]
    return infected, real


class Mutator:
    """Makes one message; without `infected`, one with harmless files only."""

    def __init__(self, seed: int, *, infected: bool = True) -> None:
        self.dice = Random(seed)
        self.infected = infected
        self.payloads = PAYLOADS if infected else HARMLESS

    def message(self) -> bytes:
        """Return the message with CRLF line ends, without NUL and in lines of at most 2,000 bytes."""
        dice = self.dice
        infected, real = _sources()
        draw = dice.random()
        if not self.infected:
            raw = dice.choice(real) if real and draw < 0.5 else self.structure()
        elif draw < 0.3:
            raw = dice.choice(infected)
        elif draw < 0.5 and real:
            raw = dice.choice([raw for _place, raw in everywhere(dice.choice(real))])
        elif draw < 0.7:
            raw = Composer(dice.randrange(1 << 30)).message()
        else:
            raw = self.structure()
        if self.infected and dice.random() < 0.4:
            raw = self.repacked(raw)
        for _count in range(dice.choice((0, 1, 1, 1, 2, 2, 3, 4))):
            raw = dice.choice(self.operators if self.infected else self.harmless)(self, raw)
        raw = re.sub(rb"(?<!\r)\n", b"\r\n", re.sub(rb"\r(?!\n)", b" ", raw)).replace(b"\0", b" ")
        return re.sub(rb"([^\n]{1990})(?=[^\r\n])", rb"\1\r\n", raw)

    def structure(self, depth: int = 0) -> bytes:
        """Return a plain message: the payload in a part, in any encoding, a few levels deep."""
        dice = self.dice
        node = self.leaf()
        for _level in range(dice.randrange(4)):
            boundary = dice.choice(BOUNDARIES) + b"%d" % dice.randrange(10)
            parts = [node, *[dice.choice((TEXT, b"\r\nhello", b"")) for _ in range(dice.randrange(3))]]
            dice.shuffle(parts)
            kind = b"multipart/" + dice.choice(SUBTYPES) + b'; boundary="' + boundary + b'"'
            node = multi(*parts, kind=kind, line=b"--" + boundary, end=b"--" + boundary + b"--\r\n")
            if dice.random() < 0.3:
                first = dice.choice((HEAD, HEAD, b"X-Foo: a\r\n", b""))
                inner = first + node
                coded = {b"base64": b64(inner), b"quoted-printable": quoted(inner.replace(b"\r\n", b"\n"))}
                encoding = dice.choice((b"7bit", b"7bit", *coded))
                node = part(coded.get(encoding, inner), dice.choice((b"message/rfc822", b"message/x-foo")), encoding)
        return HEAD + node

    def leaf(self) -> bytes:
        dice = self.dice
        payload = dice.choice(self.payloads)
        encoding = dice.choice((b"base64", b"base64", b"quoted-printable", b"x-uuencode", b"8bit"))
        if payload == HARMLESS[1]:
            # In other encodings it is damaged to some readers, and reported because it cannot be opened.
            encoding = b"base64"
        if encoding == b"base64":
            body = b64(payload, dice.choice((76, 76, 72, 64, 60, 32, 31, 4, 3, 1000, 1990)))
        elif encoding == b"quoted-printable":
            soft = dice.choice((b"=\r\n", b"=\r\n", b"= \r\n", b"=\t\r\n"))
            body = quoted(payload, dice.choice((30, 60, 72, 75)), soft)
        elif encoding == b"x-uuencode":
            body = uu(payload)
            encoding = dice.choice((b"x-uuencode", b"7bit", b"uuencode", b"x-uue"))
        else:
            body = GZIP.replace(b"\n", b"\r\n") if self.infected else b"\xe3\x81\x82\r\n" * 40
            encoding = dice.choice((b"8bit", b"binary", b"7bit"))
        kind = dice.choice(
            (b"application/zip; name=x.zip", b"application/zip", b"text/plain; name=x.zip", b"image/png")
        )
        return part(body, kind, encoding)

    def repacked(self, raw: bytes) -> bytes:
        """Put another payload, or another width, in place of the first base64."""
        dice = self.dice
        body = b64(dice.choice(self.payloads), dice.choice((76, 72, 64, 60, 40, 32, 20, 4, 77, 500)))
        return _BASE64.sub(lambda _found: body + b"\r\n", raw, count=1)

    def _line(self, raw: bytes, pattern: bytes) -> re.Match[bytes] | None:
        found = list(re.finditer(pattern, raw, re.IGNORECASE | re.MULTILINE))
        return self.dice.choice(found) if found else None

    def parameter(self, raw: bytes) -> bytes:
        found = self._line(raw, rb'(boundary|charset|name|filename|type)="?([^";\r\n]*)"?')
        if not found:
            return raw
        form = self.dice.choice(FORMS).replace(b"%n", found[1]).replace(b"%s", found[2])
        return raw[: found.start()] + form + raw[found.end() :]

    def value(self, raw: bytes) -> bytes:
        found = self._line(raw, rb'boundary="?([^";\r\n]*)"?')
        if not found:
            return raw
        other = self.dice.choice(
            (found[1] + b";", found[1][:1], found[1] + b"x", found[1].upper(), b"q", found[1] + b" ")
        )
        if self.dice.random() < 0.5:
            return raw[: found.start(1)] + other + raw[found.end(1) :]
        at = raw.find(b"--" + found[1])
        return raw if at < 0 else raw[:at] + b"--" + other + b"\r\n\r\nx\r\n--" + other + b"--\r\n" + raw[at:]

    def encoding(self, raw: bytes) -> bytes:
        found = self._line(raw, rb"^content-transfer-encoding:[ \t]*([^\r\n]*)")
        if not found:
            return raw
        value = found[1] if self.dice.random() < 0.8 else self.dice.choice(ENCODINGS)
        form = self.dice.choice((*ENCODING_FORMS, b" " * self.dice.choice((10, 500, 990, 1100, 1900)) + b"%s"))
        return raw[: found.start()] + b"Content-Transfer-Encoding:" + form.replace(b"%s", value) + raw[found.end() :]

    def field(self, raw: bytes) -> bytes:
        """Say a field once more, leave it out, or put something before or behind it."""
        dice = self.dice
        found = self._line(raw, rb"^content-[a-z-]+:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
        if not found:
            return raw
        line = found.group()
        change = dice.randrange(11)
        if change == 0:
            new = line + line
        elif change == 1:
            new = b""
        elif change == 2:
            new = b"Content-Type: " + dice.choice(TYPES) + b"\r\n" + line
        elif change == 3:
            new = line + b"Content-Type: " + dice.choice(TYPES) + b"\r\n"
        elif change == 4:
            new = b"Content-Transfer-Encoding: " + dice.choice(ENCODINGS) + b"\r\n" + line
        elif change == 5:
            new = line + b"Content-Transfer-Encoding: " + dice.choice(ENCODINGS) + b"\r\n"
        elif change == 6:
            new = dice.choice(JUNK) + b"\r\n" + line
        elif change == 7:
            new = line[:-2] + dice.choice(ENDS) + b"\r\n"
        elif change == 8:
            new = line.replace(b":", dice.choice((b" :", b":\r\n ", b"\t:", b": (c)", b":\t", b":\r\n \r\n ")), 1)
        elif change == 9:
            new = b"X-Foo: x\r\n" + dice.choice((b" ", b"\t", b" \r\n", b" x;\r\n ")) + line
        else:
            new = line.replace(b"; ", dice.choice((b";", b" ; ", b";\r\n\t", b"; (c) ", b";;", b";\r\n \r\n ")), 1)
        return raw[: found.start()] + new + raw[found.end() :]

    def kind(self, raw: bytes) -> bytes:
        found = self._line(raw, rb"^content-type:[ \t]*([^;\r\n]*)")
        if not found:
            return raw
        if found[1].lower().startswith(b"multipart"):
            new = b"multipart/" + self.dice.choice(SUBTYPES)
        else:
            new = self.dice.choice(TYPES)
        return raw[: found.start(1)] + new + raw[found.end(1) :]

    def delimiter(self, raw: bytes) -> bytes:
        dice = self.dice
        found = self._line(raw, rb"^--([^\r\n]*?)(--)?\r\n")
        if not found:
            return raw
        text = found[1]
        new = dice.choice((
            b"--%s \r\n", b"--%s\t\r\n", b"--%sx\r\n", b"--%s--\r\n", b"--%s--\r\n--%s\r\n", b"",
            b" --%s\r\n", b"--%s-\r\n",
            b"--%s\r\n\r\n", b"--%s\r\n--%s\r\n", b"--%s--x\r\n", b"-%s\r\n", b"--%s\r\n \r\n", b"x--%s\r\n",
            b"--%s ;\r\n",
        )).replace(b"%s", text)  # fmt: skip
        return raw[: found.start()] + new + raw[found.end() :]

    def body(self, raw: bytes) -> bytes:
        """Change the first base64: foreign characters, padding or lines inside, other lines around."""
        dice = self.dice
        found = _BASE64.search(raw)
        if not found:
            return raw
        text = found.group()
        at = dice.randrange(len(text))
        start = text.rfind(b"\r\n", 0, at) + 2 if b"\r\n" in text[:at] else 0
        change = dice.randrange(8)
        if change == 0:
            text = text[:at] + dice.choice(FOREIGN) + text[at:]
        elif change == 1:
            text = (
                text[:start]
                + dice.choice((b"--x\r\n", b"\r\n", b"====\r\n", b"X: y\r\n", b"--b\r\n", b"-\r\n"))
                + text[start:]
            )
        elif change == 2:
            text = dice.choice((b"\r\n", b"!\r\n", b"X: y\r\n", b"abcd\r\n", b"=\r\n", b"--\r\n", b" ")) + text
        elif change == 3:
            text = text.replace(b"\r\n", dice.choice((b" \r\n", b"\t\r\n", b"\r\n ", b"=\r\n", b"\r\n\r\n", b"!\r\n")))
        elif change == 4:
            text = text.replace(b"+", b"-").replace(b"/", b"_")
        elif change == 5:
            text = text.rstrip(b"=\r\n") + dice.choice((b"", b"=", b"\r\nAAAA", b"\r\n--\r\n", b"!!", b"\r\n.\r\n"))
        elif change == 6:
            text = (
                text.rstrip(b"\r\n")
                + b"\r\n"
                + dice.choice((b"hello\r\n", b"\r\nbye\r\n", b"-- \r\nme\r\n", b"X: y\r\n"))
            )
        else:
            flat = text.replace(b"\r\n", b"")
            width = dice.choice((1, 2, 3, 5, 19, 31, 77, 1990))
            text = b"\r\n".join(flat[one : one + width] for one in range(0, len(flat), width)) + b"\r\n"
        return raw[: found.start()] + text + raw[found.end() :]

    def cut(self, raw: bytes) -> bytes:
        dice = self.dice
        at = dice.randrange(len(raw)) if raw else 0
        if dice.random() < 0.5:
            return raw[:at] + raw[at + dice.randrange(1, 4) :]
        return (
            raw[:at]
            + dice.choice((b"\r\n", b" ", b";", b'"', b"=", b"\\", b"(", b")", b"--", b"\x80", b":", b"*"))
            + raw[at:]
        )

    def inside(self, raw: bytes) -> bytes:
        """Put the message into another one, or another one before or behind its first part."""
        dice = self.dice
        _infected, real = _sources()
        other = dice.choice(real) if real else HEAD + TEXT
        draw = dice.randrange(3)
        if draw == 0:
            kind = dice.choice((b"message/rfc822", b"message/rfc822", b"message/global", b"text/plain"))
            return HEAD + multi(TEXT, b"Content-Type: " + kind + b"\r\n\r\n" + raw)
        if draw == 1 and (found := self._line(raw, rb"^--[^\r\n]*\r\n")):
            enclosed = b"Content-Type: message/rfc822\r\n\r\n" + other + b"\r\n"
            return raw[: found.end()] + enclosed + found.group() + raw[found.end() :]
        header = other.partition(b"\r\n\r\n")[0]
        return re.sub(rb"(?im)^content-[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", b"", header + b"\r\n")[:4000] + raw

    operators: tuple[Callable[[Mutator, bytes], bytes], ...] = (
        parameter, parameter, parameter, value, value, encoding, encoding, field, field, field, kind, kind, delimiter,
        delimiter, body, body, body, cut, inside,
    )  # fmt: skip
    # A file that is damaged, or decoded in a wrong way, is not a harmless one.
    harmless: tuple[Callable[[Mutator, bytes], bytes], ...] = (parameter, value, kind, delimiter, inside)
