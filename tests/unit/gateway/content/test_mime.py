# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MIME structure: parts, headers, ambiguous messages and alternative decodings."""

from __future__ import annotations

import contextlib
import itertools
import re
from email import message_from_bytes
from email.message import EmailMessage

import pytest
from composed_mail import Composer
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgate.content import mime
from mailgate.content.decodings import decodings
from mailgate.content.readings import TooComplexError


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


class TestHeaders:
    def test_an_invalid_boundary_continuation_is_ambiguous(self):
        kind = b"multipart/mixed; boundary*0=a; boundary*1=b; boundary*=us-ascii''c"
        with pytest.raises(mime.AmbiguousError):
            mime.walk(b"Content-Type: " + kind + b"\r\n\r\n--ab\r\n\r\nx\r\n--ab--\r\n")

    def test_the_fast_header_reader_agrees_with_the_parser(self):
        seen = 0
        for seed in range(3000):
            raw = Composer(seed).message()
            for header in re.findall(
                rb"(?:^[Cc]ontent-[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+(?=\r\n)", raw, re.MULTILINE
            ):
                found = list(mime.CONTENT_FIELD.finditer(header))
                quick = mime.read_plain_header(header, found) if mime.is_plain(header, found) else None
                if quick:
                    seen += 1
                    assert quick == mime.read_header(header, found), header
        assert seen > 2000


class TestNames:
    @pytest.mark.parametrize(
        "parameters",
        [
            b'name="a.txt"; name="b.exe"', b'name="b.exe"; name="a.txt"', b"name=a.txt; name*=utf-8''b.exe",
            b"name=a.txt; name*=utf-8''%62%2Eexe", b"name*0=b.; name*1=exe; name=a.txt",
            b"name*1=exe; name*0=b.; name=a.txt",
            b'name="b.exe;a.txt"', b'name="b\\.exe"; name=a.txt', b"NAME=a.txt;\r\n\tName=b.exe", b"x=y; name = b.exe",
            b'name="b.exe', b"name*0*=utf-8''b%2E; name*1=exe",
            b'name=a.txt\r\nContent-Disposition: attachment; filename=b.exe',
            b"name=a.txt\r\nContent-Disposition: attachment; filename=c.txt; filename*=''b.exe",
        ],
    )  # fmt: skip
    def test_all_names_of_a_part_are_known(self, parameters):
        part = mime.walk(b"Content-Type: application/x-foo; " + parameters + b"\r\n\r\nx")
        assert "b.exe" in part.names

    def test_a_piece_of_a_name_is_not_a_name(self):
        part = mime.walk(b"Content-Type: application/x-foo; name*0=x.com; name*1=pany.pdf\r\n\r\nx")
        assert part.names == ("x.company.pdf",)


class TestParts:
    @settings(max_examples=200)
    @given(trees())
    def test_parts_cover_the_message_and_replacing_them_by_themselves_changes_nothing(self, raw):
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
    def test_any_content_is_parsed_or_ambiguous(self, raw):
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
    def test_any_content_can_be_decoded_for_a_rescan(self, raw):
        with contextlib.suppress(mime.AmbiguousError, TooComplexError):
            root = mime.walk(raw)
            for leaf in root.leaves():
                leaf.decoded(raw)
            list(decodings(raw, root))
        with contextlib.suppress(TooComplexError):
            list(decodings(raw, None))

    def test_leaves_agree_with_the_standard_library(self):
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
    def test_ambiguous_structures_are_named(self, raw, reason):
        with pytest.raises(mime.AmbiguousError, match=reason):
            mime.walk(raw)
