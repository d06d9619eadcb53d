# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures, verified by dkimpy and by OpenDKIM; keys and their records."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import time
from pathlib import Path

import dkim
import pytest
from opendkim import NO_OPENDKIM, OPENDKIM, verify
from signed_mail import key

from mailgate.signing import key as keys
from mailgate.signing.key import KeyFileError, SigningKey, load_key
from mailgate.signing.record import problem_of, record_text, zone_line
from mailgate.signing.signature import Field, parts_of, signature_field, signed_names

TRACE = (
    b"Received: from a ([198.18.200.7])\r\n\tby gw1.univ.example with ESMTP id 1;\r\n\t30 Nov 2026 20:00:00 +0000\r\n"
)
FROM = b"From: Alice <alice@univ.example>\r\n"
HEADER = FROM + b"To: bob@x.example\r\nSubject:  A  folded\r\n\t subject \r\nDate: Mon, 30 Nov 2026 20:00:00 +0000\r\n"
MESSAGE = HEADER + b"\r\nHello  Bob,\t\r\n\r\nbye. \r\n\r\n\r\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key of 2048 bits."""
    path = tmp_path_factory.mktemp("dkim") / "key.pem"
    path.write_bytes(key(2048)[0])
    return path


@pytest.fixture(scope="module")
def signing_key(path: Path) -> SigningKey:
    return load_key(path)


def signed(signing_key: SigningKey, content: bytes = MESSAGE) -> bytes:
    """Return the message as it is delivered."""
    pieces = [TRACE, content]
    parts = parts_of(pieces)
    assert parts
    field = signature_field(parts, signing_key.sign, domain="univ.example", selector="gw1", now=int(time.time()))
    assert field
    return b"".join((field, *pieces))


def is_valid(content: bytes, signing_key: SigningKey) -> bool:
    record = record_text(signing_key.public).encode()
    return bool(dkim.verify(content, dnsfunc=lambda _name, timeout=5: record))


MESSAGES = {
    "plain": MESSAGE,
    "no body": HEADER + b"\r\n",
    "no empty line": HEADER,
    "empty lines only": HEADER + b"\r\n\r\n\r\n\r\n",
    "dots": HEADER + b"\r\n.\r\n..two\r\n",
    "utf-8": HEADER.replace(b"Alice", "山田".encode()) + "\r\nこんにちは\r\n".encode(),
    "several fields of a name": HEADER
    + b"To: c@x.example\r\nReferences: <1@x>\r\n <2@x>\r\nList-Id: <l.x>\r\n\r\nx\r\n",
    "empty field": HEADER + b"Cc:\r\nReply-To: \r\n\r\nx\r\n",
    "many references": HEADER + b"References:" + b"\r\n <1234567890@mail.example>" * 300 + b"\r\n\r\nx\r\n",
    "large": HEADER + b"\r\n" + b"0123456789 abcdef \t \r\n" * 30_000,
}


class TestSignature:
    @pytest.mark.parametrize("name", MESSAGES)
    def test_dkimpy_verifies_it(self, signing_key, name):
        assert is_valid(signed(signing_key, MESSAGES[name]), signing_key)

    @pytest.mark.skipif(not OPENDKIM, reason=NO_OPENDKIM)
    def test_opendkim_verifies_them(self, signing_key, tmp_path):
        contents = [signed(signing_key, each) for each in MESSAGES.values()]
        contents.append(signed(signing_key).replace(b"bye", b"bad"))
        results = verify(contents, "gw1._domainkey.univ.example", record_text(signing_key.public), tmp_path)
        assert results == [True] * (len(contents) - 1) + [False]

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"bye", b"bad"),
            (b"alice@", b"eve@"),
            (b"A  folded", b"Another"),
            (b"bob@", b"eve@"),
            (b"30 Nov", b"29 Nov"),
        ],
    )
    def test_a_change_invalidates_it(self, signing_key, old, new):
        content = signed(signing_key)
        assert content.count(old) >= 1
        head, received, rest = content.partition(b"Received:")
        assert not is_valid(head + received + rest.replace(old, new), signing_key)

    @pytest.mark.parametrize("field", [FROM, b"Subject: x\r\n", b"To: x@x.example\r\n", b"Date: today\r\n"])
    def test_nobody_can_add_a_field_that_readers_show(self, signing_key, field):
        assert not is_valid(field + signed(signing_key), signing_key)

    @pytest.mark.parametrize("field", [b"Received: from x by y; now\r\n", b"Return-Path: <>\r\n", b"X-Spam: no\r\n"])
    def test_servers_can_add_theirs(self, signing_key, field):
        assert is_valid(field + signed(signing_key), signing_key)

    def test_a_queue_can_add_date_and_recipients_that_are_missing(self, signing_key):
        content = signed(signing_key, FROM + b"\r\nx\r\n")
        assert is_valid(b"Date: Mon, 30 Nov 2026 20:00:00 +0000\r\nTo: x@x.example\r\n" + content, signing_key)

    def test_changed_white_space_is_the_same_message(self, signing_key):
        content = (
            signed(signing_key).replace(b"A  folded\r\n\t subject ", b"A folded subject").replace(b"Hello  ", b"Hello ")
        )
        assert is_valid(content, signing_key)

    @pytest.mark.parametrize(
        "header",
        [
            b" folded: x\r\n" + FROM,
            FROM + b"no colon\r\n",
            FROM + b"two words: x\r\n",
            FROM + b": x\r\n",
            FROM + b"To : x\r\n",
            b"",
        ],
    )
    def test_a_header_section_that_can_be_read_in_two_ways_is_not_signed(self, header):
        assert parts_of([header + b"\r\nx\r\n"]) is None

    def test_lines_are_short(self, signing_key):
        content = signed(signing_key, MESSAGES["several fields of a name"])
        assert max(map(len, content.partition(b"Received:")[0].split(b"\r\n"))) <= 78


class TestAddressLists:
    """sendmail has been asked what it does with each of these."""

    @pytest.mark.parametrize(
        "value",
        ["bob@x.example", "<bob@x.example>", "Bob<bob@x.example>", '"B,C" <bob@x.example>', "", "山田 <bob@x.example>",
         "bob@x.example,\r\n\tc@x.example", 'Bob  C  <bob@x.example>, "D. E"<d@x.example>', "=?utf-8?B?44?= <b@x.org>"],
    )  # fmt: skip
    def test_those_that_the_queue_leaves_unchanged_are_signed(self, value):
        fields = [Field("from", FROM), Field("to", b" " + value.encode())]
        assert signed_names(fields) == ["from", "from", "subject", "to", "to"]

    @pytest.mark.parametrize(
        "value",
        ["bob@x.example,c@x.example", "bob@x.example , c@x.example", "bob@x.example,", "bob@x.example, , c@x.example",
         "bob", "Friends: bob@x.example,c@x.example;", "bob @ x.example", "Bob. C <bob@x.example>", "<bob@x.example",
         "Bob <@y.example:bob@x.example>", "a@x.example b@x.example", '"bob@x.example"', "Bob [x] <bob@x.example>"],
    )  # fmt: skip
    def test_others_are_not(self, value):
        fields = [
            Field("from", FROM),
            Field("to", value.encode()),
            Field("to", b"c@x.example"),
            Field("cc", b"c@x.example"),
        ]
        assert signed_names(fields) == ["from", "from", "subject", "cc"]

    def test_a_long_list_takes_no_time(self, cpu_seconds):
        names = [
            Field("to", b"a " * 200_000),
            Field("cc", b"a@x.example, " * 50_000),
            Field("reply-to", b'"' * 200_000),
        ]
        found = []
        assert cpu_seconds(lambda: found.extend(signed_names(names))) < 1
        assert found == ["from", "subject"]


class TestKey:
    @pytest.mark.parametrize("format", [["-traditional"], []])
    def test_both_forms_of_pem_by_both_libraries(self, tmp_path, format, monkeypatch):
        path = tmp_path / "key.pem"
        subprocess.run(["openssl", "genrsa", *format, "-out", str(path), "1024"], check=True, capture_output=True)
        fast = load_key(path)
        monkeypatch.setattr(keys, "_fast_signer", lambda _text: None)
        slow = load_key(path)
        assert fast.sign(b"x") == slow.sign(b"x")
        public = dkim.crypto.parse_public_key(slow.public)
        assert dkim.crypto.RSASSA_PKCS1_v1_5_verify(hashlib.sha256(b"x"), slow.sign(b"x"), public)

    def test_the_public_key_is_that_of_openssl(self, signing_key):
        assert record_text(signing_key.public) == key(2048)[1]
        assert signing_key.bits == 2048

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (b"", "not a private RSA key"),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private RSA key"),
            (key(512)[0], "512 bits; must have 1024 to 4096"),
        ],
    )
    def test_others_are_refused(self, tmp_path, text, problem):
        path = tmp_path / "key.pem"
        path.write_bytes(text)
        with pytest.raises(KeyFileError, match=problem):
            load_key(path)

    def test_a_file_that_is_missing(self, tmp_path):
        with pytest.raises(KeyFileError, match="No such file"):
            load_key(tmp_path / "none")


class TestRecord:
    def test_a_zone_line_has_strings_of_at_most_255_bytes(self, signing_key):
        line = zone_line("univ.example", "gw1", signing_key.public)
        assert line.startswith('gw1._domainkey.univ.example. IN TXT ( "v=DKIM1; k=rsa; p=')
        strings = line.split('"')[1::2]
        assert "".join(strings) == record_text(signing_key.public)
        assert max(map(len, strings)) == 255

    @pytest.mark.parametrize(
        ("record", "problem"),
        [
            ("v=DKIM1; k=rsa; p={}", ""),
            ("p={};", ""),
            ("v=DKIM1; t=y; n=note; s=email; h=sha1:sha256; p= {} ", ""),
            ("v=DKIM1; p=", "has a revoked key"),
            ("v=DKIM1; p=AAAA", "has another key"),
            ("v=DKIM1; k=ed25519; p={}", "is not a record of an RSA key"),
            ("v=DKIM1; h=sha1; p={}", "does not allow signatures of mail with SHA-256"),
            ("v=DKIM1; s=tlsrpt; p={}", "does not allow signatures of mail with SHA-256"),
            ("site-verification", "has no key record"),
        ],
    )
    def test_what_verifiers_need(self, signing_key, record, problem):
        text = record.format(base64.b64encode(signing_key.public).decode())
        assert problem_of([text.encode()], signing_key.public) == problem

    def test_several_records(self, signing_key):
        text = record_text(signing_key.public).encode()
        assert problem_of([text, text], signing_key.public) == "has several key records"
        assert problem_of([text, b"site-verification"], signing_key.public) == ""
        assert problem_of([], signing_key.public) == "has no key record"
