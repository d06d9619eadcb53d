# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Octets of messages: DATA decoding, form, parts; nothing is lost or changed that need not be."""

from __future__ import annotations

import base64
import itertools
import re
from email import message_from_bytes
from email.message import EmailMessage

import pytest
from composed_mail import Composer
from gateway_doubles import EICAR, Clamd
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgate import message
from mailgate.config import Attachments
from mailgate.content import mime
from mailgate.content.decodings import decodings
from mailgate.content.notices import Notice
from mailgate.content.policy import ContentPolicy
from mailgate.content.screen import Rules, screen
from mailgate.scan.clamd import Finding, ScanError, Verdict, parse_answer
from mailgate.smtp import data
from mailgate.smtp.address import Mailbox

LINES = st.lists(
    st.sampled_from([b"", b".", b"..", b".x", b"x", b"x.", b"\xff\xe9", b"\0", b"a\rb", b"c\nd", b"\n.\n"])
)


@given(LINES, st.integers(1, 7), st.binary(max_size=9))
def test_decoder_undoes_stuffing_however_it_arrives(lines, step, after):
    content = b"".join(line + b"\r\n" for line in lines)
    stream = data.stuff(content) + b".\r\n" + after
    decoder = data.DataDecoder(10_000)
    rest = b""
    for start in range(0, len(stream), step):
        piece = stream[start : start + step]
        rest += piece if decoder.done else decoder.feed(piece)
    assert decoder.done
    assert rest == after
    assert decoder.content() == content


@given(st.binary(max_size=60).filter(lambda octets: b"\r\n.\r\n" not in b"\r\n" + octets))
def test_nothing_but_crlf_dot_crlf_ends_the_data(octets):
    decoder = data.DataDecoder(10_000)
    assert decoder.feed(octets) == b""
    assert not decoder.done


def test_what_is_too_big_is_read_to_its_end_but_not_kept():
    decoder = data.DataDecoder(1000)
    for _ in range(50):
        assert decoder.feed(b"x" * 98 + b"\r\n") == b""
    assert decoder._content.getvalue() == b""
    assert decoder.feed(b".\r\nQUIT\r\n") == b"QUIT\r\n"
    assert decoder.too_big


@given(st.binary(max_size=200))
def test_normalized_has_only_whole_line_ends(octets):
    once = message.normalize(octets)
    assert not message.has_bare_newlines(once)
    assert message.normalize(once) == once
    if not message.has_bare_newlines(octets):
        assert once == octets


def test_boundary_in_pieces_that_do_not_fit_is_ambiguous():
    kind = b"multipart/mixed; boundary*0=a; boundary*1=b; boundary*=us-ascii''c"
    with pytest.raises(mime.AmbiguousError):
        mime.walk(b"Content-Type: " + kind + b"\r\n\r\n--ab\r\n\r\nx\r\n--ab--\r\n")


def test_headers_of_plain_form_are_read_as_the_parser_reads_them():
    seen = 0
    for seed in range(3000):
        raw = Composer(seed).message()
        for header in re.findall(rb"(?:^[Cc]ontent-[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+(?=\r\n)", raw, re.MULTILINE):
            found = list(mime._CONTENT.finditer(header))
            quick = (
                mime._read_plain(header, found) if all(mime._PLAIN.fullmatch(one.group()) for one in found) else None
            )
            if quick:
                seen += 1
                assert quick == mime._read(header, found), header
    assert seen > 2000


@given(st.lists(st.integers(0, 30), max_size=8), st.integers(2, 20))
def test_long_lines_are_found(lengths, limit):
    content = b"".join(b"x" * length + b"\r\n" for length in lengths)
    assert message.has_long_line(content, limit) == any(length + 2 > limit for length in lengths)


def test_trace_field_follows_the_grammar():
    client = message.Client("2001:db8::7", "pc7", "ESMTP")
    received = message.Message("abc", client, Mailbox("", ""), (), b"")
    field = message.received_header(received, hostname="gw1.univ.example", now=0)
    assert re.fullmatch(
        rb"Received: from pc7 \(\[IPv6:2001:db8::7\]\)\r\n\tby gw1.univ.example with ESMTP id abc;"
        rb"\r\n\t\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n",
        field,
    )


def multipart(boundary: str, *parts: bytes, preamble: bytes = b"", epilogue: bytes = b"\r\n") -> bytes:
    delimiter = b"--" + boundary.encode()
    body = preamble + b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--" + epilogue
    return b'Content-Type: multipart/mixed; boundary="' + boundary.encode() + b'"\r\n\r\n' + body


HEADERS = st.sampled_from(
    [b"", b"Content-Type: text/html\r\n", b"X: y\r\n z\r\n", b"Content-Transfer-Encoding: base64\r\n"]
)
LEAF = st.builds(
    lambda header, lines: header + b"\r\n" + b"\r\n".join(lines),
    HEADERS,
    st.lists(st.sampled_from([b"", b"text", b"--", b"--b", b"\xff", b"--other--", b"."]), max_size=4),
)


@st.composite
def trees(draw, depth=0):
    kind = draw(st.sampled_from(["leaf", "leaf", "multi", "mail"])) if depth < 4 else "leaf"
    if kind == "leaf":
        return draw(LEAF)
    if kind == "mail":
        return b"Content-Type: message/rfc822\r\n\r\n" + draw(trees(depth + 1))
    parts = draw(st.lists(trees(depth + 1), min_size=1, max_size=3))
    return multipart(
        f"=_{depth}_'?",
        *parts,
        preamble=draw(st.sampled_from([b"", b"This is MIME\r\n", b"\r\n"])),
        epilogue=draw(st.sampled_from([b"", b"\r\n", b"\r\nend\r\n"])),
    )


@settings(max_examples=200)
@given(trees())
def test_parts_cover_the_message_and_replacing_them_by_themselves_changes_nothing(raw):
    try:
        root = mime.walk(raw)
    except mime.AmbiguousError:
        return
    leaves = list(root.leaves())
    assert (root.start, root.end) == (0, len(raw))
    for first, second in itertools.pairwise(leaves):
        assert first.start <= first.body <= first.end <= second.start
    nonempty = [leaf for leaf in leaves if leaf.start < leaf.end]
    assert mime.replace(raw, {leaf: raw[leaf.start : leaf.end] for leaf in nonempty}) == raw
    for leaf in nonempty:
        changed = mime.replace(raw, {leaf: b"\r\nNOTICE"})
        assert changed == raw[: leaf.start] + b"\r\nNOTICE" + raw[leaf.end :]


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.text(alphabet='-b=:;\r\n" aCont/x', max_size=300).map(str.encode))
def test_any_octets_are_walked_or_called_ambiguous(raw):
    try:
        root = mime.walk(raw)
    except mime.AmbiguousError:
        return
    assert root.end == len(raw)


@settings(max_examples=300)
@given(
    st.binary(max_size=300)
    | st.text(alphabet='-b=:;\r\n" aCont/xegi 64`M#', max_size=400).map(str.encode)
    | st.lists(
        st.sampled_from(
            [
                b"begin 644 x\r\n",
                b"`\r\nend\r\n",
                b"=ybegin \r\n",
                b"=yend",
                b"=3D= \r\n",
                b"QUJD" * 20,
                b"==\r\n",
                b"\r\n",
            ]
        )
    ).map(b"".join)
)
def test_any_octets_get_their_second_look(raw):
    try:
        root = mime.walk(raw)
        list(decodings(raw, root))
        for leaf in root.leaves():
            leaf.decoded(raw)
    except mime.AmbiguousError:
        pass
    list(decodings(raw, None))


def test_leaves_agree_with_the_standard_library():
    mail = EmailMessage()
    mail["Subject"] = "x"
    mail.set_content("text\n")
    mail.add_alternative("<p>text</p>", subtype="html")
    mail.add_attachment(b"\0\1\2" * 50, maintype="application", subtype="zip", filename="å.zip")
    inner = EmailMessage()
    inner.set_content("inner\n")
    inner.add_attachment(b"xyz", maintype="image", subtype="png", filename="b.png")
    mail.add_attachment(inner)
    raw = mail.as_bytes().replace(b"\n", b"\r\n")
    ours = [(leaf.type, leaf.filename, leaf.decoded(raw)) for leaf in mime.walk(raw).leaves()]
    theirs = [
        (part.get_content_type(), part.get_filename() or "", part.get_payload(decode=True))
        for part in message_from_bytes(raw).walk()
        if not part.is_multipart()
    ]
    assert [(kind, name) for kind, name, _ in ours] == [(kind, name) for kind, name, _ in theirs]
    assert ours[2][2] == theirs[2][2] == b"\0\1\2" * 50


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"Content-Type: multipart/mixed\r\n\r\nx\r\n", "without boundary"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n", "open and close once"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\nx\r\n", "open and close once"),
        (multipart("b", b"\r\nx", epilogue=b"\r\n--b\r\n\r\ny\r\n--b--\r\n"), "open and close once"),
        (b"Content-Type: text/plain\r\n" + multipart("b", b"\r\nx"), "given twice"),
        (b"no field\r\n" + multipart("b", b"\r\nx"), "no field"),
        (b"Content-Transfer-Encoding: base64\r\n" + multipart("b", b"\r\nx"), "multipart in base64"),
    ],
)
def test_ambiguous_structures_are_named(raw, reason):
    with pytest.raises(mime.AmbiguousError, match=reason):
        mime.walk(raw)


async def by_content(pieces) -> Verdict:
    return parse_answer(Clamd.by_content(b"".join(pieces)))


INFECTED = (
    b"Content-Type: application/zip; name=evil.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.b64encode(EICAR)
)
CLEAN = b"Content-Type: text/plain\r\n\r\nhello"


def judge(raw: bytes, scan=by_content, **changes):
    rules = Rules(ContentPolicy(**changes), Attachments(), Notice("ja", "gw1.univ.example"))
    return screen(raw, scan, rules)


@pytest.mark.parametrize(
    ("raw", "removed"),
    [
        (multipart("b", CLEAN, INFECTED), 1),
        (multipart("b", INFECTED, CLEAN, INFECTED), 2),
        (multipart("b", CLEAN, multipart("c", CLEAN, INFECTED)), 1),
        (multipart("b", CLEAN, b"Content-Type: message/rfc822\r\n\r\n" + multipart("c", CLEAN, INFECTED)), 1),
    ],
)
async def test_only_infected_parts_are_replaced(raw, removed):
    judged = await judge(raw)
    assert judged.refusal is None
    assert len(judged.removed) == removed
    kept = raw.split(INFECTED)
    at = 0
    for piece in kept:
        at = judged.content.index(piece, at) + len(piece)
    assert INFECTED not in judged.content
    texts = [
        part.get_payload(decode=True).decode()
        for part in message_from_bytes(judged.content).walk()
        if part.get_content_disposition() == "inline"
    ]
    assert len(texts) == removed
    assert "evil.zip" in texts[0]
    assert "Eicar-Signature" in texts[0]
    assert texts[0].index("取り除きました") < texts[0].index("has removed it")


async def test_infection_outside_the_parts_or_in_ambiguous_ones_refuses_the_message():
    for raw in (
        multipart("b", CLEAN, preamble=EICAR + b"\r\n"),
        multipart("b", CLEAN, INFECTED, epilogue=b"\r\n" + EICAR),
        multipart("b", CLEAN, INFECTED).replace(b"--b--", b"--c--"),
        multipart("b", *[CLEAN] * 200, INFECTED),
    ):
        judged = await judge(raw)
        assert judged.refusal
        assert judged.refusal.code == 554
        assert judged.content == b""
        assert judged.reason


async def test_still_infected_after_stripping_is_refused():
    async def stubborn(pieces) -> Verdict:
        return Verdict(Finding.INFECTED, "Whole") if b"Subject" in b"".join(pieces) else await by_content(pieces)

    judged = await judge(b"Subject: x\r\n" + multipart("b", CLEAN, INFECTED), stubborn)
    assert judged.refusal
    assert "still infected" in judged.reason


@pytest.mark.parametrize(
    ("policy", "refused", "stripped"), [("strip", False, True), ("refuse", True, False), ("deliver", False, False)]
)
async def test_encrypted_content_has_its_own_policy(policy, refused, stripped):
    async def scan(pieces) -> Verdict:
        if b"secret" in b"".join(pieces):
            return parse_answer(b"stream: Heuristics.Encrypted.Zip FOUND\0")
        return parse_answer(b"stream: OK\0")

    raw = multipart("b", CLEAN, b"Content-Type: application/zip\r\n\r\nsecret")
    judged = await judge(raw, scan, encrypted=policy)
    assert bool(judged.refusal) == refused
    assert bool(judged.removed) == stripped
    assert (judged.content == raw) == (policy == "deliver")


async def test_over_limits_is_no_verdict_unless_refused_by_policy():
    async def scan(_) -> Verdict:
        return parse_answer(b"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0")

    with pytest.raises(ScanError):
        await judge(multipart("b", CLEAN), scan)
    assert (await judge(multipart("b", CLEAN), scan, over_limits="refuse")).refusal.code == 554
