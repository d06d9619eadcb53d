# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms of EHLO, MAIL and RCPT: the gateway accepts what other servers accept.

mta_replies.json has the forms and the replies of sendmail, Postfix, Exim and OpenSMTPD, recorded by bench/mta_forms.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TABLE = json.loads(Path(__file__).with_name("mta_replies.json").read_text())
FORMS = TABLE["forms"]
EXTENSIONS = "250-mailhost\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 SIZE 99999999"

RELAY = "asks to relay in some servers; the next hop may be one of them"
DOMAIN = "the domain of a recipient decides where the message goes"
PASSED_ON = "is passed on, and next hops refuse it"
UNKNOWN_CHARACTERS = "the character set is unknown"
#: Forms that the gateway refuses although at least two of the four accept them.
STRICTER = {
    "MAIL no domain": "nobody can reply to it, and next hops refuse it",
    "MAIL Latin-1 local part": UNKNOWN_CHARACTERS,
    "MAIL double brackets": "two addresses can be read from it",
    "MAIL parameter without space": "an address and its parameters cannot be told apart",
    "MAIL no EHLO": "RFC 5321 section 4.1.4, and the name is part of the trace field",
    "MAIL ENVID bare plus": PASSED_ON,
    "MAIL ENVID plus at end": PASSED_ON,
    "MAIL ENVID equals": PASSED_ON,
    "RCPT final dot in domain": DOMAIN,
    "RCPT no domain": DOMAIN,
    "RCPT source route": RELAY,
    "RCPT percent": RELAY,
    "RCPT bang": RELAY,
    "RCPT colon": RELAY,
    "RCPT space in local part": PASSED_ON,
    "RCPT UTF-8 local part": "RFC 6531 section 3.4; the client is told to declare SMTPUTF8",
    "RCPT Latin-1 local part": UNKNOWN_CHARACTERS,
    "RCPT double brackets": "two addresses can be read from it",
    "RCPT ORCPT bare plus": PASSED_ON,
    "RCPT ORCPT without type": PASSED_ON,
    "RCPT ORCPT equals": PASSED_ON,
}


async def reply_of(campus, say: list[str]) -> str:
    """Return the first refusal, else the reply to the last command."""
    campus.a.ehlo = EXTENSIONS
    client = await campus.connect(hello=False)
    for command in say:
        reply = await client.say(command.encode("utf-8", "surrogateescape"))
        if not reply.startswith("2"):
            break
    return reply


class TestForms:
    @pytest.mark.parametrize("name", FORMS)
    async def test_what_most_servers_accept_is_accepted(self, campus, name):
        reply = await reply_of(campus, FORMS[name]["say"])
        accepting = [mta for mta, code in FORMS[name]["replies"].items() if code // 100 == 2]
        assert len(FORMS[name]["replies"]) == 4
        if reply.startswith("2"):
            assert name not in STRICTER, "no longer stricter: remove it from the list"
        else:
            assert reply.startswith("5"), "a form that is refused is refused for good"
            assert len(accepting) < 2 or name in STRICTER, f"{reply}, but {accepting} accept it"

    @pytest.mark.parametrize("name", [name for name in FORMS if "control" in name or "delete" in name])
    async def test_control_characters_are_refused(self, campus, name):
        assert (await reply_of(campus, FORMS[name]["say"])).startswith("553 5.1.3 Control character")

    @pytest.mark.parametrize("name", [name for name, reason in STRICTER.items() if reason == RELAY])
    async def test_relay_syntax_is_refused(self, campus, name):
        assert (await reply_of(campus, FORMS[name]["say"])).startswith("5")
        assert campus.a.connections == campus.queue.connections == 0

    def test_the_list_has_only_forms_of_the_table(self):
        assert not set(STRICTER) - set(FORMS)
