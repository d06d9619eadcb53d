# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What replies to RCPT and MX records say about a server; the dialogue with a server on loopback."""

from __future__ import annotations

import socket
import socketserver
import threading

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._probe.answers import (
    Answer,
    Outcome,
    ask_all,
    ask_domain,
    judge,
    mx_problems,
    open_problems,
    smtp_problems,
)

R, L, X, S = Outcome.ROUTED, Outcome.LATER, Outcome.REFUSED, Outcome.SILENT


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("250 2.1.5 OK", R),
        ("550 5.1.1 <postmaster@a.example>... User unknown", R),
        ("550 5.1.1 <postmaster@a.example>: Recipient address rejected", R),
        ("550 5.7.1 Relaying denied", X),
        ("550 5.7.1 <postmaster@a.example>... Relaying denied. Proper authentication required.", X),
        ("554 5.7.1 <postmaster@a.example>: Relay access denied", X),
        ("550 relay not permitted", X),
        ("450 4.4.1 Recipient cannot be verified: destination server unreachable", L),
        ("451 4.7.1 Greylisted", L),
        ("421 4.3.2 Too many connections", S),
        ("354 Go ahead", S),
    ],
)
def test_replies(reply, outcome):
    assert judge(int(reply[:3]), reply) == outcome


def test_servers_that_must_not_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        servers = [("open", "127.0.0.1"), ("closed", "127.0.0.2")]
        found = open_problems(servers, 2, port)
    assert found == [f"open (127.0.0.1 port {port}) can be reached; the border must block this"]
    assert open_problems(servers, 2, port) == []


def test_a_server_that_does_not_answer_is_asked_once():
    asked = []

    def ask(domain):
        asked.append(domain)
        return Answer(domain, S, "Connection refused")

    (problem,) = smtp_problems("gw1", ask_all(["a", "b", "c"], ask), verifies=True)
    assert problem == "gw1 does not answer a recipient of a: Connection refused"
    assert asked == ["a"]
    assert ask_all([], ask) == []


class Busy:
    """A server with so many places for connections of one client; a clock that goes on while somebody waits."""

    def __init__(self, places: int, others: int = 0) -> None:
        self.places = places
        self.open = others
        self.others = others
        self.refused = 0
        self.now = 0.0
        self.lock = threading.Lock()

    def ask(self, domain: str) -> Answer:
        with self.lock:
            if self.open >= self.places:
                self.refused += 1
                return Answer(domain, S, "421 4.7.0 Too many connections from your address; try again later")
            self.open += 1
        with self.lock:
            self.open -= 1
        return Answer(domain, R, "250 OK")

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.now += seconds
            self.open -= min(1, self.others)
            self.others -= min(1, self.others)


def test_a_server_with_too_many_connections_is_asked_again():
    # Each DNS server of the campus has a gateway asked about all domains, at the same time and from the same address.
    server = Busy(places=2, others=4)
    answers = ask_all([f"{number}.example" for number in range(30)], server.ask, lambda: server.now, server.sleep)
    assert [answer.outcome for answer in answers] == [R] * 30
    assert server.refused


def test_a_server_that_keeps_having_too_many_connections_is_a_problem_after_a_time():
    server = Busy(places=0)
    (answer,) = ask_all(["a.example", "b.example"], server.ask, lambda: server.now, server.sleep)
    assert answer.outcome == S
    assert 0 < server.now <= 60


def test_waiting_is_bounded_for_all_domains_together():
    server = Busy(places=1)

    def ask(domain: str) -> Answer:
        return Answer(domain, R, "250") if domain == "0.example" else Busy(places=0).ask(domain)

    answers = ask_all([f"{number}.example" for number in range(100)], ask, lambda: server.now, server.sleep)
    assert [answer.outcome for answer in answers] == [R] + [S] * 99
    assert server.now <= 61


def test_each_kind_of_problem_names_the_first_domains():
    answers = [Answer(f"{name}.example", X, "550 5.7.1 Relaying denied") for name in "abcde"]
    assert smtp_problems("gw1", [Answer("ok.example", R, "250 OK"), *answers], verifies=True) == [
        "gw1 rejects mail for a.example, b.example, c.example and 2 more domains: 550 5.7.1 Relaying denied"
    ]


def test_a_gateway_must_reach_at_least_one_final_server():
    later = [Answer(name, L, "450 4.4.1 unreachable") for name in "ab"]
    assert smtp_problems("gw1", later, verifies=True) == [
        "gw1 can verify no recipient at present: 450 4.4.1 unreachable"
    ]
    assert smtp_problems("hub", later, verifies=False) == []
    assert smtp_problems("gw1", [*later, Answer("c", R, "250 OK")], verifies=True) == []


def test_mx_records():
    planned, external = frozenset({"0 gw1.example", "10 gw2.example"}), frozenset({"0 gw1.example"})
    served = {
        "a.example": planned,
        "b.example": external,
        "null.example": frozenset({"0 ."}),
        "old.example": frozenset({"0 old.example"}),
        "none.example": frozenset(),
    }
    owners = [(owner, [planned, external]) for owner in served]
    assert mx_problems("example", owners[:3], served.__getitem__) == []
    assert mx_problems("example", owners, served.__getitem__) == [
        "zone example: old.example (and 1 more) is served with MX 0 old.example; planned: 0 gw1.example, 10 gw2.example"
    ]
    assert "is served with MX none" in mx_problems("example", owners[4:], served.__getitem__)[0]


class Server(socketserver.StreamRequestHandler):
    """A mail server that knows two domains, keeps what it was sent, and drops the connection at QUIT."""

    def handle(self):
        self.wfile.write(b"220 test\r\n")
        for line in self.rfile:
            text = line.decode().strip()
            self.server.lines.append(text)
            if text.upper() == "QUIT":
                return
            unknown = text.upper().startswith("RCPT") and "known.example" not in text
            self.wfile.write(b"550 5.7.1 Relaying denied\r\n" if unknown else b"250 OK\r\n")


@pytest.fixture
def server():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        server.lines = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_dialogue_ends_before_data(server):
    port = server.server_address[1]
    assert ask_domain("127.0.0.1", port, 10, "known.example") == Answer("known.example", R, "250 OK")
    assert ask_domain("127.0.0.1", port, 10, "*.known.example").outcome == R
    assert ask_domain("127.0.0.1", port, 10, "other.example").text == "550 5.7.1 Relaying denied"
    assert [line for line in server.lines if line.upper().startswith(("MAIL", "RCPT"))][:2] == [
        "mail FROM:<>",
        "rcpt TO:<postmaster@known.example>",
    ]
    assert "rcpt TO:<postmaster@mailgate-check.known.example>" in server.lines
    assert not any(line.upper().startswith("DATA") for line in server.lines)


def test_a_closed_port_is_silent():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    answer = ask_domain("127.0.0.1", port, 10, "known.example")
    assert answer.outcome == S
    assert "refused" in answer.text
