# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prober against servers on loopback: what it finds, its limits, and servers that misbehave."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import subprocess
from dataclasses import replace

import pytest
from smtp_server import SmtpServer, strict

from ansible_collections.campus.mailgate.plugins.module_utils._verify.certificate import CertificateError, read
from ansible_collections.campus.mailgate.plugins.module_utils._verify.forms import forms
from ansible_collections.campus.mailgate.plugins.module_utils._verify.prober import Limits, Prober, Server
from ansible_collections.campus.mailgate.plugins.module_utils._verify.session import Session
from ansible_collections.campus.mailgate.plugins.modules import smtp_probe

# More than a busy machine needs.
LIMITS = Limits(connect=60, reply=60, total=120)


def probe(server: SmtpServer, limits: Limits = LIMITS, **asked):
    """Probe one server, and return its answer."""

    async def run():
        async with server.running():
            target = Server("gw1.univ.example", "127.0.0.1", server.port, **asked)
            return await Prober(limits, name="client.example").ask_all([target])

    (answer,) = asyncio.run(run())
    return answer


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Return the paths of a certificate for gw1.univ.example, which ends in 30 days, and of its key."""
    directory = tmp_path_factory.mktemp("certificate")
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=other"
    names = "subjectAltName=DNS:GW1.univ.example,DNS:*.lab.example,IP:198.18.0.25"
    done = subprocess.run(
        [*command.split(), "-addext", names, "-keyout", key, "-out", cert], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("openssl cannot make a certificate")
    return cert, key


def test_greeting_extensions_and_size():
    answer = probe(SmtpServer())
    assert answer["state"] == "open"
    assert answer["greeting"] == "220 gw1.univ.example ESMTP"
    assert answer["extensions"] == {"SIZE": "1000"}
    assert answer["size"]["code"] == 552
    assert not answer["unfinished"]


def test_domains_and_unknown_users():
    server = SmtpServer()
    answer = probe(server, domains=["a.univ.example", "*.lab.univ.example", "b.example"], unknown=["a.univ.example"])
    assert [each["code"] for each in answer["domains"]] == [250, 250, 550]
    assert answer["unknown"][0]["code"] == 550
    assert "RCPT TO:<postmaster@mailgate-check.lab.univ.example>" in server.commands


def test_no_message_is_ever_sent():
    server = SmtpServer(rcpt=lambda *_: "250 OK")
    probe(server, domains=["a.univ.example"] * 3, unknown=["a.univ.example"], relay="a.univ.example")
    assert not [each for each in server.commands if each.upper().startswith(("DATA", "BDAT"))]
    session = Session(None, None, 1)
    with pytest.raises(ValueError, match="not a command of a probe"):
        asyncio.run(session.command("data"))
    with pytest.raises(ValueError, match="not a command of a probe"):
        asyncio.run(session.command("NOOP\r\nDATA"))


def test_relay_forms_of_a_closed_and_of_an_open_server():
    tried = forms("a.univ.example", "gw1.univ.example", "198.18.0.25")
    assert len(tried) == len({(each.sender, each.recipient) for each in tried}) > 60
    closed = probe(SmtpServer(), relay="a.univ.example")["relay"]
    assert closed == {"tried": len(tried), "accepted": [], "unanswered": 0}
    opened = probe(SmtpServer(rcpt=lambda *_: "250 OK"), relay="a.univ.example")["relay"]
    assert len(opened["accepted"]) == len(tried)


def test_one_form_that_passes():
    def percent_hack(sender, recipient):
        return "250 OK" if "%" in recipient and recipient.endswith("@a.univ.example>") else strict(sender, recipient)

    (passed, *_) = probe(SmtpServer(rcpt=percent_hack), relay="a.univ.example")["relay"]["accepted"]
    assert (passed["name"], passed["local"]) == ("percent at our domain", True)


def test_a_server_that_closes_sessions_after_a_few_errors():
    answer = probe(SmtpServer(errors=5), relay="a.univ.example")
    # Each session answers five questions, and every question gets its answer in the next one.
    assert answer["relay"]["unanswered"] == 0
    assert answer["relay"]["accepted"] == []


def test_a_question_that_always_ends_the_session():
    def closing(sender, recipient):
        return "421 4.3.0 Goodbye" if "bad" in recipient else strict(sender, recipient)

    answer = probe(SmtpServer(rcpt=closing), domains=["a.univ.example", "bad.univ.example", "c.univ.example"])
    assert [each["code"] for each in answer["domains"]] == [250, 0, 250]
    assert answer["domains"][1]["text"] == "421 4.3.0 Goodbye"


def test_at_most_so_many_sessions_at_once():
    server = SmtpServer(pause=0.01)
    answer = probe(server, domains=[f"d{number}.univ.example" for number in range(168)])
    assert all(each["code"] == 250 for each in answer["domains"])
    assert server.most <= 4
    assert server.sessions <= 6  # the first look, the first domain, and four


def test_many_servers_at_once():
    async def run():
        server = SmtpServer(pause=0.01, at_once=50)
        async with server.running():
            servers = [Server(f"s{number}", "127.0.0.1", server.port) for number in range(200)]
            limits = replace(LIMITS, connections=50)
            return await Prober(limits, name="client.example").ask_all(servers), server.most

    answers, most = asyncio.run(run())
    assert {each["state"] for each in answers} == {"open"}
    assert most == 50


def test_refused_silent_and_rejecting():
    async def run():
        listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        await listener.wait_closed()
        refused = Server("a", "127.0.0.1", port)
        return await Prober(LIMITS, name="client.example").ask_all([refused])

    assert asyncio.run(run())[0]["state"] == "refused"
    rejecting = probe(SmtpServer(greeting="554 5.7.1 No"), domains=["a.univ.example"])
    assert (rejecting["state"], rejecting["error"]) == ("open", "the greeting rejects this client")
    other = probe(SmtpServer(greeting="SSH-2.0-OpenSSH"))
    assert other["error"].startswith("not a reply of SMTP: b'SSH-2.0-OpenSSH")
    endless = probe(SmtpServer(greeting="220 " + "x" * 20000))
    assert "longer than" in endless["error"]


def test_a_silent_server_costs_its_own_time_only():
    silent = probe(SmtpServer(pause=5), Limits(connect=1, reply=0.3, total=20), domains=["a.univ.example"])
    assert silent["error"] == "no reply within 0 seconds"
    cut = probe(SmtpServer(pause=5), Limits(connect=1, reply=10, total=0.5))
    assert cut["unfinished"]


def test_a_question_without_a_reply_is_not_repeated():
    server = SmtpServer(silent="bad.univ.example")
    answer = probe(
        server, Limits(connect=60, reply=1, total=120), domains=["a.univ.example", "bad.univ.example", "c.univ.example"]
    )
    assert [each["code"] for each in answer["domains"]] == [250, 0, 250]
    assert sum("bad" in each for each in server.commands) == 1


def test_connection_only():
    server = SmtpServer()
    answer = probe(server, session=False)
    assert (answer["state"], answer["source"]) == ("open", "127.0.0.1")
    assert server.commands == []


def test_certificate_by_starttls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    tls = probe(SmtpServer(extensions=("STARTTLS",), tls=context))["tls"]
    assert tls["error"] == ""
    assert tls["version"] == "TLSv1.3"
    assert tls["matches"]
    days = (tls["not_after"] - datetime.datetime.now(datetime.UTC).timestamp()) / 86400
    assert 29 < days <= 30


def test_certificate_names(certificate):
    found = read(ssl.PEM_cert_to_DER_cert(certificate[0].read_text()))
    assert found.names == ("gw1.univ.example", "*.lab.example", "198.18.0.25")
    assert found.issuer == "other"
    assert found.matches("GW1.univ.example.")
    assert found.matches("a.lab.example")
    assert not found.matches("a.b.lab.example")
    assert not found.matches("other")


@pytest.mark.parametrize(
    "data", [b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"not a certificate", b"\x30\x03\x02\x01\x05"]
)
def test_what_is_no_certificate(data):
    with pytest.raises(CertificateError):
        read(data)


def test_module(module_arguments, capsys):
    server = {"address": "127.0.0.1", "port": 1, "session": False}
    with module_arguments({"servers": [server]}), pytest.raises(SystemExit):
        smtp_probe.main()
    result = json.loads(capsys.readouterr().out)
    assert [(each["state"], each["source"]) for each in result["servers"]] == [("refused", "")]
    with module_arguments({"servers": [server], "sessions": 0, "timeout": -1}), pytest.raises(SystemExit):
        smtp_probe.main()
    assert json.loads(capsys.readouterr().out)["msg"] == "must be at least 1: timeout: -1, sessions: 0"
