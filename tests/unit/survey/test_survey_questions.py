# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a host, from its variables and the plan, if there is one."""

from __future__ import annotations

import socket
import threading

import pytest

from ansible_collections.campus.mailgate.plugins.plugin_utils._survey.banner import banner
from ansible_collections.campus.mailgate.plugins.plugin_utils._survey.questions import ask

HOST = "mail.eng.univ.example"
STATIC = [{"domain": domain, "next_hop": "198.18.2.25"} for domain in ("sci.univ.example", "bio.univ.example")]
PLAN = {
    "hosts": {
        HOST: {"kinds": ["servers"], "address": "198.18.1.25", "address6": "", "keep_route": ["bio.univ.example"]}
    },
    "gateways": [{"address": "198.18.0.25", "address6": "2001:db8:18::25"}],
    "sendmail": {HOST: {"local": ["eng.univ.example"], "relay": [], "static": STATIC}},
}


def test_a_server_of_the_plan():
    asked = ask(HOST, {"ansible_host": "10.0.0.1", "mailgate_domains": ["eng.univ.example"]}, PLAN)
    assert asked.functions == ("servers",)
    assert asked.addresses == ("198.18.1.25",)
    assert asked.arguments["senders"] == ["198.18.0.25"]
    # A route that the admin keeps is not compared.
    assert [each["domain"] for each in asked.arguments["table"]["static"]] == ["sci.univ.example"]
    assert not asked.foreign


@pytest.mark.parametrize(
    ("values", "functions", "foreign"),
    [
        ({"mailgate_mta": "none", "mailgate_domains": ["a.example"]}, ("servers",), True),
        ({"mailgate_border": {"managed": False, "outside_interface": "wan0"}}, ("borders",), True),
        ({"mailgate_mta": "none", "mailgate_domains": [], "mailgate_dns": {"zones": []}}, ("dns", "servers"), False),
        ({"mailgate_border": {"outside_interface": "wan0"}}, ("borders",), False),
        ({}, (), False),
    ],
)
def test_what_others_maintain_is_not_logged_in_to(values, functions, foreign):
    asked = ask("x.univ.example", values, {})
    assert (asked.functions, asked.foreign) == (functions, foreign)
    assert "servers" not in asked.arguments["functions"] or values.get("mailgate_mta") != "none"


def test_kinds_of_the_plan_that_others_maintain():
    plan = {"hosts": {HOST: {"kinds": ["destinations"], "mta": "none", "address": "198.18.1.25"}}}
    asked = ask(HOST, {"mailgate_domains": ["eng.univ.example"]}, plan)
    assert (asked.functions, asked.foreign, asked.addresses) == (("servers",), True, ("198.18.1.25",))


def test_values_that_are_still_to_be_decided():
    values = {
        "ansible_host": "TODO: address of the border router",
        "mailgate_border": {"outside_interface": "TODO: its external interface"},
    }
    asked = ask("TODO.border.univ.example", values, {})
    assert asked.refusal == "its address is still to be decided: address of the border router"
    assert asked.arguments["outside_interfaces"] == []


def serve(lines):
    """Answer one SMTP session on loopback; return its port and what the client said."""
    listener = socket.create_server(("127.0.0.1", 0))
    said: list[bytes] = []

    def session():
        connection, _address = listener.accept()
        with connection, connection.makefile("rb") as stream:
            for line in lines:
                connection.sendall(line)
                said.append(stream.readline().strip())

    thread = threading.Thread(target=session, daemon=True)
    thread.start()
    return listener, said, thread


def test_the_greeting_of_a_server():
    replies = [b"220 mail.example ESMTP\r\n", b"250-mail.example\r\n250-SIZE 1000\r\n250 STARTTLS\r\n", b"221 bye\r\n"]
    listener, said, thread = serve(replies)
    found = banner("127.0.0.1", 60, listener.getsockname()[1])
    thread.join(60)
    assert (found["code"], found["text"], found["error"]) == (220, "mail.example ESMTP", "")
    assert found["extensions"] == ["size", "starttls"]
    assert [each.split()[0].lower() for each in said if each] == [b"ehlo", b"quit"]


def test_a_server_that_rejects_and_one_that_is_not_there():
    listener, _said, _thread = serve([b"554 no\r\n"])
    port = listener.getsockname()[1]
    assert banner("127.0.0.1", 60, port)["code"] == 554
    listener.close()
    assert banner("127.0.0.1", 60, port)["error"] == "Connection refused"
