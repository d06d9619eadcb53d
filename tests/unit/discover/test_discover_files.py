# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zones and keys as they are read, the draft's YAML, and the writing of all files or none."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.discover import group_name, readable, sanitize
from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.draft import scalar
from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.write import write_all
from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.zone import (
    Key,
    ReadError,
    parse,
    read_file,
    read_key,
    transfer,
)

HEAD = "$TTL 3600\n@ SOA ns1 hostmaster 1 3600 600 86400 60\n NS ns1\n"
SECRET = "c2VjcmV0//8="  # has what looks like a comment


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "shift_jis", "euc_jp"])
def test_zone_file_in_any_encoding(tmp_path, encoding):
    note = ("caf\xe9" if encoding in {"latin-1", "utf-8"} else "\u8868\u30bd: \u30e1\u30fc\u30eb").encode(encoding)
    data = HEAD.encode() + b"; " + note + b'\r\nx TXT "' + note.replace(b"\\", b"") + b'"\r\nx MX 5 mail\r\n'
    (tmp_path / "z.zone").write_bytes(data)
    assert read_file(tmp_path / "z.zone", "univ.example").mx == {"x.univ.example": [(5, "mail.univ.example")]}


def test_records_are_in_one_spelling_whatever_the_file_has():
    text = HEAD + (
        "$ORIGIN UNIV.example.\n*.Lab MX 10 Mail.Univ.Example.\n MX 0 mail\nmail 60 IN A 198.18.0.9\n"
        "mail AAAA 2001:db8:18:0:0::9\nwww CNAME Mail\nsub NS ns1.sub\nnull MX 0 .\n"
    )
    zone = parse(text, "univ.example")
    assert zone.mx == {
        "*.lab.univ.example": [(0, "mail.univ.example"), (10, "mail.univ.example")],
        "null.univ.example": [(0, "")],
    }
    assert zone.addresses == {"mail.univ.example": ["198.18.0.9", "2001:db8:18::9"]}
    assert zone.aliases == {"www.univ.example": "mail.univ.example"}
    assert zone.cuts == {"sub.univ.example": ["ns1.sub.univ.example"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "$TTL 60\nwww A 198.18.0.9\n",
            "z.zone is not a valid zone file of univ.example: The DNS zone has no SOA RR at its origin.",
        ),
        (HEAD + "www A 198.18.0.999\n", r"z.zone cannot be read: .*z\.zone:5: Text input is malformed"),
        (HEAD + "$INCLUDE none.inc\n", "z.zone: .INCLUDE none.inc: No such file or directory"),
        ("", "z.zone is not a valid zone file of univ.example"),
    ],
)
def test_what_is_no_zone_file_is_reported_with_its_place(text, reason, tmp_path):
    (tmp_path / "z.zone").write_text(text)
    with pytest.raises(ReadError, match=reason):
        read_file(tmp_path / "z.zone", "univ.example")


def test_included_files_are_beside_the_zone_file_wherever_one_is(tmp_path, monkeypatch):
    (tmp_path / "z.zone").write_text(HEAD + "$INCLUDE hosts.inc eng\nlaw MX 0 mail.law\n")
    (tmp_path / "hosts.inc").write_text("@ MX 0 mail\n")
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    zone = read_file(tmp_path / "z.zone", "univ.example")
    assert set(zone.mx) == {"eng.univ.example", "law.univ.example"}


def test_a_missing_file_is_reported():
    with pytest.raises(ReadError, match=r"nowhere.zone cannot be read: No such file"):
        read_file(Path("/nowhere.zone"), "univ.example")


@pytest.mark.parametrize(
    "text",
    [
        f'key "campus" {{\n\talgorithm hmac-sha512;\n\tsecret "{SECRET}";\n}};\n',
        f"# not: key x {{ }};\n/* a */ key campus {{ secret {SECRET}; algorithm HMAC-SHA512; }};".replace(
            SECRET, f'"{SECRET}"'
        ),
    ],
)
def test_keys_are_read_as_tsig_keygen_and_people_write_them(text):
    assert read_key(text) == Key("campus", "hmac-sha512", SECRET)


@pytest.mark.parametrize("text", ["", f"{SECRET}\n", 'key a { secret "x"; };', "key a { };\nkey b { };\n"])
def test_a_file_without_one_whole_key_is_refused(text):
    with pytest.raises(ReadError, match="tsig-keygen"):
        read_key(text)


def test_a_key_never_shows_its_secret():
    assert SECRET not in repr(Key("campus", "hmac-sha256", SECRET))


def test_a_server_that_is_not_there_is_reported():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ReadError, match="refused"):
            transfer("univ.example", "127.0.0.1", unused.getsockname()[1], None, 2)


@pytest.mark.parametrize(
    ("talk", "seconds", "reason"),
    [
        (lambda connection, done: done.wait(60), 0.2, r"no answer within 0.2 s"),
        (lambda connection, _done: connection.recv(2), 60, "closed the connection"),
        (lambda connection, _done: connection.sendall(b"\0\3abc"), 60, "too short"),
    ],
    ids=["silent", "closing", "babbling"],
)
def test_a_server_that_misbehaves_is_reported(talk, seconds, reason):
    done = threading.Event()

    def serve(listener):
        connection, _peer = listener.accept()
        with connection:
            talk(connection, done)
            connection.shutdown(socket.SHUT_WR)
            while not done.is_set() and connection.recv(4096):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            with pytest.raises(ReadError, match=reason):
                transfer("univ.example", "127.0.0.1", listener.getsockname()[1], None, seconds)
        finally:
            done.set()
            thread.join(60)


def test_a_secret_that_is_none_is_reported_before_anything_is_sent():
    with pytest.raises(ReadError, match="key campus is not valid base64"):
        transfer("univ.example", "127.0.0.1", 9, Key("campus", "hmac-sha256", "!"), 1)


@settings(max_examples=300, deadline=None)
@example("-")
@example("? a")
@given(st.text() | st.text("-?:,[]{}#&*!|>'\"%@` a", max_size=6))
def test_yaml_reads_back_every_value(text):
    assert yaml.safe_load(f"key: [{scalar(text)}, 1]") == {"key": [text, 1]}
    assert yaml.safe_load(f"key:\n  {scalar(text)}: {scalar(text)}") == {"key": {text: text}}


@pytest.mark.parametrize("text", ["no", "1.5", "null", "2001:db8::1", "*.eng", "2027-03-31", "- a", "a #b", "{{ a }}"])
def test_values_that_yaml_would_change_are_quoted(text):
    assert scalar(text) == f'"{text}"'


def test_groups_are_names_that_ansible_takes():
    names = {label: group_name(label) for label in ("eng", "grad-school", "3d", "dns", "xn--wgv71a119e")}
    assert names == {
        "eng": "eng",
        "grad-school": "grad_school",
        "3d": "faculty_3d",
        "dns": "faculty_dns",
        "xn--wgv71a119e": "日本語",
    }


@given(st.text())
def test_a_name_made_readable_can_be_written_back(label):
    try:
        ascii_label = label.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return
    assert readable(ascii_label).encode("idna").decode("ascii").lower() == ascii_label


@given(st.text())
def test_nothing_from_dns_can_be_a_template(text):
    assert not set(sanitize(text)) & set("{}%#'\"\\\n&!|>")


def test_all_files_are_written_with_their_directories(tmp_path):
    write_all(tmp_path / "a" / "b", {"campus.yml": "日本語\n", "faculties/x.yml": "x\n"})
    assert (tmp_path / "a" / "b" / "campus.yml").read_text(encoding="utf-8") == "日本語\n"
    assert sorted(path.name for path in (tmp_path / "a" / "b").rglob("*")) == ["campus.yml", "faculties", "x.yml"]


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "campus.yml").write_text("mine\n")
    (tmp_path / "faculties" / "z.yml").mkdir(parents=True)  # can't be replaced by a file
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(OSError, match="directory"):
        write_all(tmp_path, {"campus.yml": "new\n", "faculties/a.yml": "a\n", "faculties/z.yml": "z\n"})
    assert (tmp_path / "campus.yml").read_text() == "mine\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_failure_leaves_no_new_directory(tmp_path):
    with pytest.raises(OSError, match="directory"):
        write_all(tmp_path / "new", {"campus.yml": "c\n", "a/b.yml": "b\n", "a": "a file where a directory is\n"})
    assert list(tmp_path.iterdir()) == []
