# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate queue-data`: who may not read the queue gets the list by its socket."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailgate.cli import main
from mailgate.commands import mail_queue
from mailgate.commands.mail_queue import QueuedMessage, QueueUnreadableError, ask, waiting
from mailgate.commands.queue_data import KEEP_SECONDS, Answers, serve
from mailgate.commands.status import queue_length_check

QUEUED = [
    QueuedMessage("5AUH6Vab012345", False, 812, 1.5, "a@sender.example", "Deferred: \udc80", ["b@univ.example"]),
    QueuedMessage("5AUH6Vab012346", True, None, 2.5, "", "", []),
]


@pytest.fixture
def served(tmp_path) -> Iterator[Callable[[Callable[[], list[QueuedMessage]]], str]]:
    """Serve a list at a path, which is returned; the server has ended when the test has."""
    threads = []
    path = str(tmp_path / "queue.sock")

    def start(read: Callable[[], list[QueuedMessage]]) -> str:
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()
        threads.append(threading.Thread(target=serve, args=(server, Answers(read), 0.2)))
        threads[0].start()
        return path

    yield start
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_the_list_arrives_as_it_is(served):
    path = served(lambda: QUEUED)
    assert ask(path) == QUEUED
    assert ask(path) == QUEUED


def test_a_client_that_leaves_disturbs_nobody(served):
    path = served(lambda: QUEUED)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    assert ask(path) == QUEUED


def test_a_queue_that_cannot_be_listed_is_said(served):
    def fail() -> list[QueuedMessage]:
        raise QueueUnreadableError("mailq: not permitted")

    path = served(fail)
    with pytest.raises(QueueUnreadableError, match="mailq: not permitted"):
        ask(path)


@pytest.mark.parametrize("sent", [b"", b"{\n", b"[]\n", b'{"messages": [{}]}\n', b'{"messages": 3}\n'])
def test_no_answer_is_said(tmp_path, sent):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "x"))
        server.listen()

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(QueueUnreadableError, match="not an answer"):
            ask(str(tmp_path / "x"))
        thread.join(30)
    with pytest.raises(QueueUnreadableError, match="see mailgate-queue-data"):
        ask(str(tmp_path / "missing"))


def test_the_queue_is_listed_once_for_many_clients():
    made = []
    clock = [100.0]
    answers = Answers(lambda: made.append(1) or [], lambda: clock[0])
    assert answers.line() == answers.line() == b'{"messages": []}\n'
    assert len(made) == 1
    clock[0] += KEEP_SECONDS
    answers.line()
    assert len(made) == 2


def test_root_lists_the_queue_and_others_ask(served, monkeypatch):
    monkeypatch.setattr(mail_queue, "listed", lambda _seconds: [])
    monkeypatch.setattr(mail_queue, "QUEUE_SOCKET", served(lambda: QUEUED))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert waiting() == []
    assert queue_length_check().detail == "0 messages"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert waiting() == QUEUED
    assert queue_length_check().detail == "2 messages (mailgate queue lists them)"
    monkeypatch.setattr(mail_queue, "QUEUE_SOCKET", "/nowhere")
    assert waiting() == []


def test_a_queue_that_cannot_be_listed_is_no_failure_of_the_gateway(monkeypatch):
    monkeypatch.setattr(mail_queue, "QUEUE_SOCKET", "/nowhere")
    monkeypatch.setattr(mail_queue, "_run", lambda *_: "You are not permitted to see the queue\n")
    check = queue_length_check()
    assert check.ok
    assert check.detail == "unknown: mailq: You are not permitted to see the queue; run as root"


def test_the_command_serves_the_socket_of_systemd(tmp_path, monkeypatch):
    path = tmp_path / "queue.sock"
    monkeypatch.setattr("mailgate.commands.queue_data.IDLE_SECONDS", 0.01)
    assert main(["queue-data", "--socket", str(path)]) == 0
    assert Path(path).is_socket()
