# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of MAIL and RCPT: accepted syntax, relay forms, rejected input, and printing."""

from __future__ import annotations

import string
from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.smtp import address
from mailgate.smtp.address import AddressError, Mailbox, parse_mailbox, parse_recipient, parse_sender

ATEXT = string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-"


PLAIN = "".join(sorted(set(ATEXT) - set("%!")))


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


DOT_STRING = st.lists(st.text(PLAIN, min_size=1, max_size=10), min_size=1, max_size=4).map(".".join)


QUOTABLE = st.text(
    st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="%!@"), min_size=1, max_size=25
)


def outcome(parse: Callable[[str], object], argument: str) -> object:
    """Return the path or the reply that rejects it."""
    try:
        return parse(argument)
    except AddressError as error:
        return error.reply, error.relay


class TestParse:
    @pytest.mark.parametrize(
        ("argument", "local", "domain"),
        [
            ("TO:<alice@a.example>", "alice", "a.example"),
            ("to: <Alice@A.EXAMPLE>", "Alice", "a.example"),
            ("TO:<a.b+c=d@x-y.example>", "a.b+c=d", "x-y.example"),
            ('TO:<"a b"@a.example>', "a b", "a.example"),
            (r'TO:<"a\"b>c"@a.example>', 'a"b>c', "a.example"),
            ("TO:<alice@localhost>", "alice", "localhost"),
            ("TO:<x@[198.18.0.1]>", "x", "[198.18.0.1]"),
            ("TO:<x@[IPv6:2001:DB8::1]>", "x", "[IPv6:2001:db8::1]"),
            ("TO:<PostMaster>", "postmaster", ""),
            ("TO: alice@a.example", "alice", "a.example"),
            ("TO:< alice@a.example >", "alice", "a.example"),
            ("TO:<.a..b.@a.example>", ".a..b.", "a.example"),
            ('TO:<"a".b@a.example>', "a.b", "a.example"),
            ('TO:<""@a.example>', "", "a.example"),
            ("TO:<a(b)@a.example>", "a", "a.example"),
            (r"TO:<a\"b@a.example>", 'a"b', "a.example"),
            ("TO:<" + "a" * 255 + "@a.example>", "a" * 255, "a.example"),
        ],
    )
    def test_accepted(self, argument, local, domain):
        assert parse_recipient(argument).mailbox == Mailbox(local, domain)

    @pytest.mark.parametrize(
        "inner",
        [
            "a%b@c.example",
            "a!b@c.example",
            "b!a",
            "@c.example:a@b.example",
            "@c.example,@d.example:a@b.example",
            "a@b@c.example",
            '"a@b"@c.example',
            '"a%b"@c.example',
            '"a\\@b"@c.example',
            "a\\@b@c.example",
            "a(b%c)@c.example",
            'a"!"b@c.example',
        ],
    )
    def test_relay_forms(self, inner):
        with pytest.raises(AddressError) as caught:
            parse_recipient(f"TO:<{inner}>")
        assert caught.value.relay
        assert str(caught.value) == "550 5.7.1 Relaying denied"

    @pytest.mark.parametrize(
        "argument",
        [
            None,
            "",
            "TO",
            "FROM:<a@b.example>",
            "TO:",
            "TO:a@b.example>",
            "TO:a b@b.example",
            "TO:<a@b.example",
            "TO:<a@b.example>x",
            "TO:<>",
            "TO:<alice>",
            "TO:<a@>",
            "TO:<a:b@b.example>",
            "TO:<(a)@b.example>",
            "TO:<a(@b.example>",
            'TO:<a"@b.example>',
            "TO:<a\\",
            "TO:<a b@b.example>",
            "TO:<a@b..example>",
            "TO:<a@.example>",
            "TO:<a@b.example.>",
            "TO:<a@-b.example>",
            "TO:<a@b_c.example>",
            "TO:<a@[198.18.0.300]>",
            "TO:<a@[IPv6:198.18.0.1]>",
            "TO:<a@[x]>",
            "TO:<a\0@b.example>",
            "TO:<a@b.example\0>",
            "TO:<a\r@b.example>",
            "TO:<a\n@b.example>",
            "TO:<a\t@b.example>",
            'TO:<"a\0"@b.example>',
            "TO:<\x7f@b.example>",
            "TO:<\xe9@b.example>",
            'TO:<"a@b.example>',
            "TO:<" + "a" * 256 + "@b.example>",
            "TO:<a@" + "b." * 130 + "example>",
            "TO:<a@" + "b" * 64 + ".example>",
            "TO:<a@b.example> X=1 X=2",
            "TO:<a@b.example> =1",
            "TO:<a@b.example> X==",
        ],
    )
    def test_rejected(self, argument):
        with pytest.raises(AddressError) as caught:
            parse_recipient(argument)
        assert not caught.value.relay
        assert caught.value.reply.code in (501, 553)
        assert caught.value.reply.text.startswith("5.")

    def test_senders(self):
        assert parse_sender("FROM:<>").mailbox.null
        assert str(parse_sender("FROM:<a..b.@keitai.example>").mailbox) == "a..b.@keitai.example"
        assert str(parse_sender("FROM:<bounce+a=b%x!y@list.example>").mailbox) == "bounce+a=b%x!y@list.example"
        assert str(parse_sender("FROM:<x@my_host.example.>").mailbox) == "x@my_host.example"
        assert str(parse_sender("FROM:<@a.example,@b.example:x@c.example>").mailbox) == "x@c.example"
        assert str(parse_sender('FROM:<""@b.example>').mailbox) == '""@b.example'
        path = parse_sender("FROM:<a@b.example> size=12 BODY=8BITMIME")
        assert path.parameters == {"SIZE": "12", "BODY": "8BITMIME"}

    @given(st.text(st.characters(max_codepoint=300), max_size=80))
    def test_an_accepted_address_has_one_at_and_no_relay_character(self, inner):
        try:
            mailbox = parse_recipient(f"TO:<{inner}>").mailbox
        except AddressError:
            return
        printed = str(mailbox)
        assert printed.isascii()
        assert printed.isprintable()
        assert printed.count("@") == (1 if mailbox.domain else 0)
        assert not set("%!@") & set(mailbox.local)
        assert mailbox.domain or mailbox.local == "postmaster"

    @given(st.text(alphabet='ab.@"\\<>[]:%! ', max_size=300))
    def test_random_input_is_parsed_quickly_and_without_other_errors(self, text):
        for parse in (parse_recipient, parse_sender):
            try:
                parse(f"{'TO' if parse is parse_recipient else 'FROM'}:<{text}>")
            except AddressError:
                continue

    @given(
        st.sampled_from(["<{}@{}>", "<{}@{}> SIZE=1", "<{}@{}>\tBODY=8BITMIME  X=y", "<{}@{}>x", " <{}@{}> ", "{}@{}"]),
        st.text(alphabet='aZ9.+=%!"\\@:\u017f\u212a\n ', max_size=6) | st.just("a" * 255) | st.just("a" * 256),
        st.text(alphabet="aZ9.-_[]>\u017f\n ", max_size=6) | DOMAIN | st.just("a." * 127 + "a") | st.just("a." * 128),
    )
    def test_usual_paths_are_parsed_as_all_others(self, form, local, domain):
        path = form.format(local, domain)
        for parse, argument in ((parse_recipient, f"To:{path}"), (parse_sender, f"FROM:{path}")):
            found = outcome(parse, argument)
            with mock.patch.object(address, "_usual", return_value=None):
                assert found == outcome(parse, argument), argument

    def test_invalid_input_is_rejected_quickly(self):
        for text in ("a" * 300 + "(", "a." * 150 + "(", '"' + "\\a" * 150, "a@" + "a-" * 150):
            with pytest.raises(AddressError):
                parse_sender(f"FROM:<{text}>")


class TestPrint:
    @given(DOT_STRING, DOMAIN)
    def test_plain_addresses_are_printed_as_written(self, local, domain):
        if len(local) <= 64:
            text = f"{local}@{domain}"
            assert str(parse_recipient(f"TO:<{text}>").mailbox) == text

    @given(QUOTABLE, DOMAIN)
    def test_any_local_part_can_be_printed_and_parsed_again(self, local, domain):
        mailbox = Mailbox(local, domain)
        if len(str(mailbox).rpartition("@")[0]) <= 64:
            assert parse_mailbox(str(mailbox), sender=True) == mailbox
