# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An admin's files in any encoding and with any line ends: their bytes stay, and only planned lines change."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._keep import kept
from ansible_collections.campus.mailgate.plugins.module_utils._routes.table import Route
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail import (
    host,
    removal,
    system,
    tables,
    trial,
)
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.block import Wish
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.settings import Listener, Settings, normalize

SETTINGS = normalize(
    Settings(
        "a.univ.example",
        (Listener("0.0.0.0", 25),),
        ("a.univ.example",),
        ("b.univ.example",),
        (Route("b.univ.example", "198.18.1.2"),),
    )
)

# The second byte of the first three characters is a backslash in Shift_JIS; \x85 and \xa0 are space to Python.
NOTES = {
    "shift_jis": "表ソ能: メールサーバの設定".encode("shift_jis"),
    "euc_jp": "メールサーバの設定、表ソ能".encode("euc_jp"),
    "latin_1": "Müller, Straße: ¼ £ \x85 \xa0".encode("latin-1"),
    "utf_8": "メール ü \u2028 \x85".encode(),
    "binary": b"\xff\xfe\x80\x00\x1c\x0c",
}
ENDS = {"unix": b"\n", "dos": b"\r\n"}


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "mail"
    directory.mkdir()
    monkeypatch.setattr(system, "ETC_MAIL", directory)
    monkeypatch.setattr(kept, "STORE", tmp_path / "store")
    monkeypatch.setattr(system, "PID_FILE", tmp_path / "sendmail.pid")
    for name in ("SENDMAIL", "MAKEMAP"):
        program = tmp_path / name
        program.touch()
        monkeypatch.setattr(system, name, str(program))
    monkeypatch.setattr(system, "CF_M4", program)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return directory


def run(command: list[str], stdin: str) -> tuple[int, str, str]:
    """Do what sendmail's programs do; as AnsibleModule.run_command, with undecodable bytes escaped."""
    if command[0] == "env":
        return 0, "Cwlocalhost\n", ""
    if command[:2] == [system.MAKEMAP, "-u"]:
        return 0, Path(command[3]).read_bytes().decode("utf-8", "surrogateescape"), ""
    if command[0] == system.MAKEMAP:
        keys = [line.split()[0].lower() for line in stdin.split("\n") if line.strip() and not line.startswith("#")]
        if len(set(keys)) < len(keys):
            return 65, "", "makemap: line 3: key to:b.univ.example: duplicate key"
        source = Path(command[2])
        source.with_name(f"{source.name}.db").write_bytes(stdin.encode("utf-8", "surrogateescape"))
    if "-bi" in command:
        Path(f"{command[-1].removeprefix('-oA')}.db").touch()
    if "-bt" in command:
        tests = trial.address_tests(SETTINGS)
        return 0, "".join(f"> {test.ruleset} returns: {test.expected}\n" for test in tests), ""
    return 0, "", ""


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
def test_bytes_of_an_admin_stay(etc: Path, note: bytes, end: bytes) -> None:
    lines = {
        "access": b"# " + note + end + b"Connect:198.19.66\tREJECT" + end,
        "aliases": b"# " + note + end + b"root: admin" + end + b"staff: a,\\root" + end,
        "sendmail.conf": b"# " + note + end + b'QUEUE_INTERVAL="1h";' + end + b'DAEMON_PARMS="";' + end,
    }
    generated = ("mailertable", "local-host-names", "sendmail.mc", "submit.mc", "static-route", "sendmail.cf")
    for name, data in lines.items():
        (etc / name).write_bytes(data)
    for name in generated:
        (etc / name).write_bytes(b"# " + note + end)
    outcome = host.apply(SETTINGS, run, check=False, wish=Wish("generate"))
    assert set(outcome.files) >= {str(etc / name) for name in (*lines, *generated)}
    json.dumps(outcome.diff, ensure_ascii=False).encode()
    block = f"{tables.ACCESS_BEGIN}\nTo:b.univ.example\tRELAY\n{tables.ACCESS_END}\n".encode()
    assert (etc / "access").read_bytes() == lines["access"] + block
    added = (
        b"# BEGIN campus.mailgate: required aliases\npostmaster: root\nmailer-daemon: postmaster\nnobody: /dev/null\n"
        b"# END campus.mailgate\n"
    )
    assert (etc / "aliases").read_bytes() == lines["aliases"] + added
    assert (etc / "sendmail.conf").read_bytes() == lines["sendmail.conf"].replace(b'"1h"', b'"10m"')
    # The next run changes nothing.
    assert host.apply(SETTINGS, run, check=False).files == []


def test_block_with_dos_line_ends_is_replaced(etc: Path) -> None:
    begin, end = tables.ACCESS_BEGIN.encode(), tables.ACCESS_END.encode()
    (etc / "access").write_bytes(b"x REJECT\r\n" + begin + b"\r\nTo:old.example RELAY\r\n" + end + b"\r\ny REJECT\r\n")
    host.apply(SETTINGS, run, check=False)
    assert (etc / "access").read_bytes() == (
        b"x REJECT\r\n" + begin + b"\nTo:b.univ.example\tRELAY\n" + end + b"\ny REJECT\r\n"
    )


@pytest.mark.parametrize(
    "line", ["To:b.univ.example RELAY", "TO:B.univ.example\t relay ", "to:b.univ.example\tRELAY\r"]
)
def test_line_that_the_admin_has_already(etc: Path, line: str) -> None:
    (etc / "access").write_text(f"{line}\n", newline="")
    host.apply(SETTINGS, run, check=False)
    assert (etc / "access").read_bytes().decode() == f"{line}\n{tables.ACCESS_BEGIN}\n{tables.ACCESS_END}\n"
    # Without the line, the block has it again.
    (etc / "access").write_text(f"{tables.ACCESS_BEGIN}\n{tables.ACCESS_END}\n")
    host.apply(SETTINGS, run, check=False)
    assert "To:b.univ.example\tRELAY\n" in (etc / "access").read_text()


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("value", ["REJECT", "ERROR:5.7.1:550 no", "RELAY # ours"])
def test_line_that_contradicts_the_plan(etc: Path, value: str, check: bool) -> None:
    text = (
        f"{tables.ACCESS_BEGIN}\nTo:b.univ.example\tRELAY\n{tables.ACCESS_END}\n# caf\xe9\nTo:B.univ.example {value}\n"
    )
    (etc / "access").write_bytes(text.encode("latin-1"))
    with pytest.raises(host.SendmailError) as caught:
        host.apply(SETTINGS, run, check=check)
    assert f"access, line 5: 'To:B.univ.example {value}' contradicts" in str(caught.value)
    assert "the planned line 'To:b.univ.example RELAY'" in str(caught.value)
    assert [path.name for path in etc.iterdir()] == ["access"]


def test_dos_line_ends_that_makemap_rejects(etc: Path) -> None:
    (etc / "access").write_bytes(b"x REJECT\r\n\r\n")

    def rejecting(command: list[str], stdin: str) -> tuple[int, str, str]:
        if command[0] == system.MAKEMAP and "\n\r\n" in stdin:
            return 65, "", "makemap: line 2: syntax error (leading space)"
        return run(command, stdin)

    with pytest.raises(host.SendmailError, match=r"DOS line ends.*\n.*line 2: syntax error"):
        host.apply(SETTINGS, rejecting, check=False)


def test_entries_of_a_map_in_any_encoding() -> None:
    text = "".join(f"k{n}\t\udc83\\{chr(space)}v\n" for n, space in enumerate((0x85, 0xA0, 0x2028, 0x1C)))
    assert tables.map_entries(text) == {f"k{n}": f"\udc83\\{chr(s)}v" for n, s in enumerate((0x85, 0xA0, 0x2028, 0x1C))}


def test_extra_lines_stay_comments_in_the_copy_of_the_source(etc: Path) -> None:
    host.apply(replace(SETTINGS, extra=("dnl caf\xe9 \u2028 \x85 x",)), run, check=False)
    copied = (etc / "sendmail.cf").read_bytes().decode().split("### /etc/mail/sendmail.mc ###\n")[1]
    assert "# dnl caf\xe9 \u2028 \x85 x\n" in copied


@pytest.mark.parametrize("edited", [False, True])
def test_what_debian_writes_of_sendmail_mc_comes_back_with_it(
    etc: Path, monkeypatch: pytest.MonkeyPatch, *, edited: bool
) -> None:
    monkeypatch.setattr(removal, "_prove", lambda *arguments: None)
    (etc / "sendmail.mc").write_text("MAILER(`smtp')dnl\n")
    for name in system.REWRITTEN:
        (etc / name).write_text("# before\n")
    host.apply(SETTINGS, run, check=False, wish=Wish("generate"))
    for name in system.REWRITTEN:
        (etc / name).write_text("# mailertable too\n")
    if edited:
        (etc / "sendmail.mc").write_text("MAILER(`local')dnl\n")
    removal.remove(run, check=False)
    assert {(etc / name).read_text() for name in system.REWRITTEN} == {
        "# mailertable too\n" if edited else "# before\n"
    }
    if not edited:
        order = ["sendmail.mc", *system.REWRITTEN, "sendmail.cf"]
        found = [name for name in order if (etc / name).exists()]
        assert found == sorted(found, key=lambda name: (etc / name).stat().st_mtime_ns)
    assert not any(record.path.endswith(system.REWRITTEN) for record in kept.records(kept.STORE))
