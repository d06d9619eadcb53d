# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Infected messages that mail readers take in more than one way; a reader or clamd alone misses the infection."""

from __future__ import annotations

import base64
import random
import re
import zlib
from collections.abc import Iterator

from gateway_doubles import EICAR
from infected_mail import HEAD, TEXT, ZIP, b64, multi, part, uu


def deflated(content: bytes) -> bytes:
    """Return the content as a deflate stream without a header."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def _gzip(seed: int) -> bytes:
    content = bytes(random.Random(seed).choices(b"abcdefgh", k=200)) + EICAR
    return b"\x1f\x8b\x08\x01\x01\x01\x01\x01\x02\x03" + deflated(content)


# Without NUL and CR, so that it survives as text, and with an LF on which all behind it depends. It has no trailer,
# which would hold NULs.
GZIP = next(packed for packed in map(_gzip, range(5000)) if not {0, 13} & set(packed) and 10 in packed[:60])


def quoted(payload: bytes, width: int = 72, soft: bytes = b"=\r\n") -> bytes:
    """Return quoted-printable in which each LF of the payload is a line end."""
    lines = []
    for line in payload.split(b"\n"):
        units = [b"=%02X" % byte for byte in line]
        lines.append(soft.join(b"".join(units[at : at + width // 3]) for at in range(0, len(units), width // 3)))
    return b"\r\n".join(lines)


def with_lines(payload: bytes) -> bytes:
    """Return the payload as an 8-bit body."""
    return payload.replace(b"\n", b"\r\n")


def inside_text(packed: bytes, outer: bytes, inner: bytes, *, width: int = 76) -> bytes:
    """Return the body of a multipart whose text, to readers that know the boundary `outer` only, is all of `inner`."""
    return (
        b"--" + outer + b"\r\n\r\nhello\r\n--" + outer + b"\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
        b"--" + inner + b"\r\n" + part(b64(packed, width)) + b"\r\n--" + inner + b"--\r\n\r\n--" + outer + b"--\r\n"
    )


def closed_first(packed: bytes, inner: bytes, outer: bytes) -> bytes:
    """Return the body of a multipart that the boundary `inner` closes before the one of `outer` begins."""
    return (
        b"--" + inner + b"\r\n\r\nhello\r\n--" + inner + b"--\r\n\r\n"
        b"--" + outer + b"\r\n" + part(b64(packed)) + b"\r\n--" + outer + b"--\r\n"
    )


def _encodings(packed: bytes) -> Iterator[tuple[str, bytes]]:
    field = b"Content-Transfer-Encoding:"
    for name, form in {
        "2,000 blanks": field + b" " * 2000 + b"base64",
        "2,000 tabs": field + b"\t" * 2000 + b"base64",
        "1,100 blanks": field + b" " * 1100 + b"base64",
        "blanks behind": field + b" base64" + b" " * 1900,
        "blanks in folds": field + b"\r\n" + b" " * 900 + b"\r\n" + b" " * 900 + b"\r\n base64",
        "a fold of blanks only": field + b"\r\n  \r\n base64",
        "1,900 blanks before the type": field + b" base64\r\nContent-Type:" + b" " * 1900 + b"application/zip",
        "a long comment": field + b" (" + b"x" * 1900 + b") base64",
        "a long name": field + b' base64\r\nContent-Disposition: attachment; filename="' + b"x" * 1900 + b'"',
        "many folds": field + b"\r\n " * 400 + b"base64",
        "no blank": field + b"base64",
        "a tab": field + b"\tbase64",
        "a comment inside": field + b" base(x)64",
        "twice": field + b" 7bit\r\n" + field + b" base64",
        "twice, base64 first": field + b" base64\r\n" + field + b" 7bit",
        "twice, in two cases": field + b" 7bit\r\n" + field.upper() + b" BASE64",
        "in an encoded word": field + b" =?us-ascii?Q?base64?=",
        "as a parameter": field + b' x; y="base64"\r\nContent-Encoding: base64',
        "a parameter behind": field + b" base64; x=y",
        "a folded field": b"X-Foo: bar\r\n " + field + b" base64",
        "behind a folded blank line": b"X-Foo: bar\r\n \r\n" + field + b" base64",
    }.items():
        kind = b"" if b"content-type" in form.lower() else b"Content-Type: application/zip\r\n"
        yield f"encoding {name}", HEAD + multi(TEXT, kind + form + b"\r\n\r\n" + b64(packed))


def _boundaries(packed: bytes) -> Iterator[tuple[str, bytes]]:
    mixed = b"multipart/mixed; "
    for form, first, second in (
        (b'boundary="b;"', b"b", b"b;"),
        (b'boundary="b c"', b"b", b"b c"),
        (b'boundary="b\\c"', b"bc", b"b\\c"),
        (b'boundary="b\\"c"', b'b"c', b"b\\"),
        (b"boundary=b(c)", b"b", b"b(c)"),
        (b"boundary=b(c)", b"b(c)", b"b"),
        (b"boundary='b'", b"b", b"'b'"),
        (b"boundary='b'", b"'b'", b"b"),
        (b'boundary="b "', b"b ", b"b"),
        (b"boundary=b/c", b"b", b"b/c"),
        (b"boundary=b=c", b"b", b"b=c"),
        (b"boundary=b,c", b"b", b"b,c"),
        (b"boundary=b:c", b"b", b"b:c"),
        (b"boundary=b@c", b"b", b"b@c"),
        (b"boundary*=''a; boundary=b", b"a", b"b"),
        (b"boundary*=''a; boundary=b", b"b", b"a"),
        (b"boundary*0=a; boundary=b", b"a", b"b"),
        (b"boundary*0=a; boundary=b", b"b", b"a"),
        (b"boundary=a; boundary*0*=''b", b"a", b"b"),
        (b"boundary=a; boundary*0*=''b", b"b", b"a"),
        (b"boundary=a; boundary*=us-ascii'en'%62", b"a", b"b"),
        (b"boundary*0=a; boundary*1=b", b"a", b"ab"),
        (b"boundary=a; boundary=b", b"a", b"b"),
        (b"boundary=a; boundary=b", b"b", b"a"),
        (b"boundary=a; BOUNDARY=b", b"a", b"b"),
        (b'foo="bla;boundary=b"; boundary=a', b"a", b"b"),
        (b'boundary=a; foo="bla;boundary=b"', b"a", b"b"),
        (b'foo="bla;boundary=b"; boundary=a', b"b", b"a"),
        (b'foo="bla\\";boundary=b"; boundary=a', b"a", b"b"),
        (b"(boundary=b) boundary=a", b"a", b"b"),
        (b"boundary=a (; boundary=b)", b"a", b"b"),
        (b"x-boundary=b; boundary=a", b"a", b"b"),
        (b"charset=x; charset=y; boundary=b", b"x", b"b"),
        (b"boundary==?us-ascii?Q?b?=", b"=?us-ascii?Q?b?=", b"b"),
        (b"boundary=a;\r\n boundary=b", b"a", b"b"),
        (b"boundary=a\r\nContent-Type: multipart/mixed; boundary=b", b"a", b"b"),
        (b"boundary=a\r\ncontent-type : multipart/mixed; boundary=b", b"a", b"b"),
        (b"boundary=a\r\nX-Foo: x;\r\n boundary=b", b"a", b"b"),
        (b"boundary=a\r\n ;boundary=b", b"a", b"b"),
        (b"boundary=a; boundary", b"a", b"b"),
    ):
        head = HEAD + b"Content-Type: " + mixed + form + b"\r\n\r\n"
        for width in (76, 32):
            yield (
                f"boundary {form!r} {second!r} in {first!r} {width}",
                head + inside_text(packed, first, second, width=width),
            )
        yield f"boundary {form!r} {first!r} closed before {second!r}", head + closed_first(packed, first, second)


def _quoted(packed: bytes) -> Iterator[tuple[str, bytes]]:
    kind = b"application/octet-stream; name=x.zip"  # language: quoted
    for name, body in {
        "hard line ends": quoted(packed),
        "soft breaks": quoted(packed, 60),
        "soft breaks with a blank": quoted(packed, 60, b"= \r\n"),
        "soft breaks with tabs": quoted(packed, 60, b"=\t \t\r\n"),
        "blanks at the end": quoted(packed, 60).replace(b"\r\n", b"  \r\n"),
        "lower case": quoted(packed, 60).lower(),
    }.items():
        for subtype in (b"mixed", b"parallel", b"x-foo", b"report", b"signed", b"digest", b"form-data"):
            for declared in (kind, b"text/plain; name=x.zip", b"text/plain"):
                leaf = part(body, declared, b"quoted-printable")
                mail = multi(TEXT, leaf, kind=b"multipart/" + subtype + b"; boundary=b")
                yield f"quoted-printable {name} {subtype!r} {declared!r}", HEAD + mail
    folded = (b"\r\n base64", b"\r\n Quoted-Printable", b"\r\n x-uuencode", b"(x)\r\n base64")
    for encoding in (b"8bit", b"binary", b"7bit", b"", *folded):
        for subtype in (b"mixed", b"parallel", b"x-foo"):
            leaf = part(with_lines(GZIP), kind, encoding)
            yield (
                f"as it is {encoding!r} {subtype!r}",
                HEAD + multi(TEXT, leaf, kind=b"multipart/" + subtype + b"; boundary=b"),
            )


def _types(packed: bytes) -> Iterator[tuple[str, bytes]]:
    for form in (
        b"Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b",
        b"Content-Type: multipart/mixed; boundary=b\r\nContent-Type: text/plain",
        b"Content-Type: text/plain; x=multipart/mixed; boundary=b",
        b"Content-Type: text/plain; boundary=b",
        b"Content-Type: message/rfc822; boundary=b",
        b"Content-Type: (multipart/mixed) text/plain; boundary=b",
        b"Content-Type: text/plain (; multipart/mixed; boundary=b",
        b"Content-Type:" + b" " * 1900 + b"multipart/mixed; boundary=b",
        b"Content-Type: multipart/mixed;" + b" " * 1900 + b"boundary=b",
        b"Content-Type: multipart/mixed; x=" + b"y" * 1900 + b"; boundary=b",
        b"Content-Type: multipart/mixed;" + b" x=y;" * 300 + b" boundary=b",
        b"Content-Type: multipart/mixed" + b";\r\n x=y" * 300 + b";\r\n boundary=b",
        b"X-Foo: bar\r\n Content-Type: multipart/mixed; boundary=b",
        b"X-Foo: bar\r\n \r\nContent-Type: multipart/mixed; boundary=b",
        b"Content-Type: text/plain\r\n\t\r\nContent-Type: multipart/mixed; boundary=b",
        b"X-Foo: " + b"x" * 1900 + b"\r\nContent-Type: multipart/mixed; boundary=b",
        b"Content-Type: multipart/mixed; boundary=b; type=text/plain; type=multipart/mixed",
    ):
        yield (
            f"type {form[:90]!r} {len(form)}",
            HEAD + form + multi(TEXT, part(b64(packed))).partition(b'boundary="b"')[2],
        )
    body = b64(packed)
    for names in (
        b'name="a.txt"; name="b.zip"', b"name=a.txt; name*=utf-8''b.zip", b"name*0=a; name*1=.zip; name=c.txt",
        b'name="a;b.zip"', b'name="a\\"b.zip"', b"name=a(b).zip", b'name="=?utf-8?q?a?=" b', b"name=a b.zip",
        b"charset=utf-8; charset=utf-16", b"charset*=''utf-16; charset=utf-8", b'x="; name=b.zip"',
    ):  # fmt: skip
        yield f"parameters {names!r}", HEAD + multi(TEXT, part(body, b"application/zip; " + names))
        yield (
            f"parameters {names!r}, uuencode",
            HEAD + multi(TEXT, part(uu(packed), b"application/zip; " + names, b"x-uuencode")),
        )


def _alphabets(packed: bytes) -> Iterator[tuple[str, bytes]]:
    flat = re.sub(rb"\r\n", b"", b64(packed))
    for name, body in {
        "with - and _": b64(packed).replace(b"+", b"-").replace(b"/", b"_"),
        "each line padded": b"\r\n".join(flat[at : at + 4] + b"====" for at in range(0, len(flat), 4)),
        "a delimiter-like line inside": b64(packed)[:156] + b"----\r\n" + b64(packed)[156:],
        "a blank line inside": b64(packed)[:156] + b"\r\n" + b64(packed)[156:],
        "a tab in each line": b64(packed).replace(b"\r\n", b"\t\r\n"),
    }.items():
        yield f"base64 {name}", HEAD + multi(TEXT, part(body))


def _texts(packed: bytes) -> Iterator[tuple[str, bytes]]:
    leaf = part(b64(packed))
    yield "text: an empty line before the header", b"\r\n" + multi(TEXT, leaf)
    yield "text: an empty line within the header", HEAD + b"\r\n" + leaf
    yield "text: an empty line before the header of a part", HEAD + multi(TEXT, b"\r\n" + leaf)
    yield "text: the same, and other fields", HEAD + multi(TEXT, b"\r\nX-Foo: x\r\n y\r\n" + leaf)
    coded = b"see this\r\n\r\n" + b64(packed) + b"\r\n\r\nbye and thank you for all"
    yield "text: base64 between words", HEAD + multi(TEXT, TEXT + b"\r\n" + coded)
    inner = b"Content-Type: multipart/parallel; boundary=b\r\n" + multi(TEXT, leaf, kind=b"multipart/mixed; boundary=b")
    for kind in (b"message/x-foo", b"message/partial", b"message/delivery-status"):
        yield f"text: a file as {kind!r}", HEAD + part(b64(packed), kind)
        if packed == ZIP:
            yield f"text: a file behind other bytes as {kind!r}", HEAD + part(b64(b"abc" + packed), kind)
    for kind in (b"application/zip", b"text/plain", b"image/png"):
        yield f"text: a message in base64 as {kind!r}", HEAD + multi(TEXT, part(b64(inner), kind))
        yield f"text: a message as {kind!r}", HEAD + part(inner, kind, b"8bit")
    yield (
        "text: what begins with an equals sign",
        HEAD + multi(TEXT, part(quoted(packed).replace(b"=3D", b"=="), b"text/plain", b"quoted-printable")),
    )
    invalid = b"Content-Type: application/zip\r\n:\r\nContent-Transfer-Encoding:\r\n \r\n  8bit\r\n\r\n"
    for kind in (b"digest", b"parallel", b"mixed"):
        mail = multi(TEXT, invalid + with_lines(GZIP), kind=b"multipart/" + kind + b"; boundary=b")
        yield f"text: a file behind an invalid line in {kind!r}", HEAD + mail
    coded = uu(packed)
    at = coded.index(b"\r\n", 200) - 10
    for name, form in {
        "a wrong mode": coded.replace(b"begin 644", b"begin x9", 1),
        "a character inserted": coded[:at] + b"\x80" + coded[at:],
        "an invalid character": coded[:at] + b"\x80" + coded[at + 1 :] if coded[at : at + 1] == b" " else coded,
    }.items():
        yield f"text: uuencode with {name}", HEAD + multi(TEXT, part(form, b"text/plain", b"7bit"))
    hexed = b"".join(b"=%02X" % byte for byte in uu(packed))
    lines = b"=\r\n".join(hexed[at : at + 72] for at in range(0, len(hexed), 72))
    yield "text: uuencode in quoted-printable", HEAD + multi(TEXT, part(lines, b"text/plain", b"quoted-printable"))
    yield "text: uuencode in base64", HEAD + multi(TEXT, part(b64(uu(packed)), b"text/plain"))
    plain = b"multipart/mixed; boundary=b\r\nX-Foo: x; boundary=a"
    for first, second in ((b"a", b"b"), (b"b", b"a")):
        yield (
            f"text: boundary in another field {first!r}",
            HEAD + b"Content-Type: " + plain + b"\r\n\r\n" + inside_text(packed, first, second, width=32),
        )


def shown() -> Iterator[tuple[str, bytes]]:
    """Yield messages whose readers decode the signature itself, in characters that hide it from a search for bytes."""
    signature = EICAR.decode("ascii")
    for charset in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"):
        text = signature.encode(charset)
        if charset == "utf-7":
            text = b"+" + base64.b64encode(signature.encode("utf-16-be")).rstrip(b"=") + b"-"
        leaf = part(b64(text), b"text/html; charset=" + charset.encode())
        yield f"charset {charset}", HEAD + multi(TEXT, leaf)
    half = len(EICAR) // 2
    for soft in (b"=\r\n", b"= \r\n", b"=\t\r\n"):
        broken = EICAR[:half] + soft + EICAR[half:]
        for kind in (b"mixed", b"parallel", b"mixed;"):
            leaf = part(broken, b"text/html", b"quoted-printable")
            yield f"soft break {soft!r} {kind!r}", HEAD + multi(TEXT, leaf, kind=b"multipart/" + kind + b"; boundary=b")
    long = b"x" * 1200 + b"".join(b"=%02X" % byte for byte in EICAR)
    yield "a long line", HEAD + multi(TEXT, part(long, b"text/plain", b"quoted-printable"))


def ambiguous(packed: bytes = ZIP) -> Iterator[tuple[str, bytes]]:
    """Yield all the messages, by name; `packed` is an archive with the infection."""
    yield from _encodings(packed)
    yield from _boundaries(packed)
    yield from _quoted(packed)
    yield from _types(packed)
    yield from _alphabets(packed)
    yield from _texts(packed)
