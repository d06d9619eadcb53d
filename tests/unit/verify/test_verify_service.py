# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of a host: which managed files have changed, the queue, and the commands of a gateway and a router."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._keep import kept
from ansible_collections.campus.mailgate.plugins.module_utils._survey.host import Question
from ansible_collections.campus.mailgate.plugins.module_utils._survey.reader import Reader
from ansible_collections.campus.mailgate.plugins.module_utils._verify.service import changed_files, facts


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def changed(store):
    return {each["path"].rpartition("/")[2]: each["state"] for each in changed_files(store)}


def test_files_as_written_edited_removed_and_taken_back(tmp_path, store):
    paths = {name: tmp_path / name for name in ("same", "edited", "removed", "former", "table.db", "zone", "any")}
    for path in paths.values():
        path.write_bytes(b"before")
    for name, path in paths.items():
        kept.write_kept({path: b"ours"}, "bind_mx zones" if name == "zone" else "role", store)
    kept.keep_hashes({paths["any"]: kept.ANY}, "role", store)
    for name in ("edited", "table.db", "zone", "any"):
        paths[name].write_bytes(b"somebody else")
    paths["removed"].unlink()
    paths["former"].write_bytes(b"before")
    assert changed(store) == {"edited": "edited", "removed": "removed", "former": "original"}


def test_without_a_store(store):
    assert changed(store) == {}


@pytest.fixture
def host(tmp_path):
    """Return a host with the programs of a gateway and a router, which print what a test has written."""
    root, programs = tmp_path / "root", tmp_path / "bin"
    (root / "etc").mkdir(parents=True)
    programs.mkdir()

    def program(name, text):
        path = programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    program("mailgate", 'case "$1" in status) cat "$0.status"; exit 1;; --version) echo 0.3.0;; *) echo "[]";; esac')
    status = "ok    queue 127.0.0.1:10025: 220 ready\nok    front 0.0.0.0:25: 220\nFAIL  clamd /run/clamd: refused\n"
    (programs / "mailgate.status").write_text(status)
    program("mailgate-border", "echo 'ipv4: the jump is missing'; exit 1")
    program("systemctl", "echo failed; exit 3")
    return Reader(10, 5, root, f"{programs}:{os.environ['PATH']}")


def test_gateway_and_router(host, store):
    signatures = host.root / "var/lib/clamav"
    signatures.mkdir(parents=True)
    (signatures / "daily.cld").write_bytes(b"")
    os.utime(signatures / "daily.cld", (1000, 1000))
    found = facts(Question(["gateways", "borders"]), host, store)
    service = found["service"]
    assert service["failed"] == ["clamd /run/clamd: refused"]
    assert service["front"]
    assert (service["version"], service["routes"], service["error"]) == ("0.3.0", [], "")
    assert found["signatures"] == 1000
    guard = found["guard"]
    assert (guard["status"], guard["problems"], guard["active"]) == (1, ["ipv4: the jump is missing"], "failed")
    assert abs(found["clock"] - time.time()) < 60


def test_a_damaged_record_is_a_note(host, store):
    (store / "records").mkdir(parents=True)
    (store / "records/x.json").write_text("{")
    found = facts(Question(["servers"]), host, store)
    assert found["kept"] is None
    assert any(note.startswith("kept cannot be read: ") for note in found["notes"])
