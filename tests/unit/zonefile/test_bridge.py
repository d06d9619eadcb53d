# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A zone in several files is the old or the new one, wherever its replacement is interrupted."""

from __future__ import annotations

import os
import signal
import sys
from datetime import date
from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._bind.server import included_files
from ansible_collections.campus.mailgate.plugins.module_utils._zone import bridge as under_test
from ansible_collections.campus.mailgate.plugins.module_utils._zone.edit import edit_zone, files_of, plan_names
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import read_zone

APEX = (b"univ", b"example")
FILES = {
    "zone": b'$TTL 1h\n@ SOA ns1 root 7 1h 15m 4w 5m\n@ MX 0 a\n$include "sub/mid" eng ; theirs\r\nx A 198.18.0.1\n'
    b"$INCLUDE sub/other\n",
    "sub/mid": b"; caf\xe9\n@\tMX 0 b\n$INCLUDE sub/leaf.txt",
    "sub/leaf.txt": b"mech MX 0 c\n",
    "sub/other": b"y A 198.18.0.2\n",
}
ENDS = {"replace", "rename", "unlink"}


def records(directory: Path) -> list[tuple[object, ...]]:
    """Return the records that a server reads."""
    zone = read_zone((directory / "zone").read_bytes(), APEX, "zone", lambda name: (directory / name).read_bytes())
    return [(e.owner, e.rtype, e.ttl, f.text[e.lead_end : e.end]) for f in files_of(zone) for e in f.entries if e.rtype]


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


class Work:
    """A zone of four files, and how to replace it: `old` and `new` as for replace_all, and the bridge."""

    def __init__(self, directory: Path, owners: list[str]) -> None:
        self.directory = directory
        for name, data in FILES.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(data)
        plan = plan_names("univ.example", [(owner, [(0, "gw.univ.example")]) for owner in owners])[1]
        path = directory / "zone"
        edit = edit_zone(FILES["zone"], APEX, plan, path="zone", include=FILES.__getitem__, today=date(2026, 1, 1))
        zone = read_zone(FILES["zone"], APEX, "zone", FILES.__getitem__)
        text, copies = under_test.bridge_over(zone, edit.included.keys())
        self.old = {path: FILES["zone"], **{directory / name: FILES[name] for name in edit.included}}
        self.new = {path: edit.data, **{directory / name: data for name, data in edit.included.items()}}
        self.bridge = {directory / name: (None, data, None) for name, data in copies.items()}
        self.bridge[path] = (FILES["zone"], text, edit.data)

    def do(self) -> None:
        under_test.replace_over(self.old, self.new, self.bridge)

    def recover(self) -> None:
        path = self.directory / "zone"
        under_test.recover(path, included_files(path, str(self.directory)), str(self.directory))

    def killed_at(self, n: int, work: str) -> bool:
        """Run `work` in a child that is killed before its n-th rename or removal; return whether it was killed."""
        child = os.fork()
        if not child:
            left = [n]

            def count(frame, event, arg):
                if event == "c_call" and arg.__name__ in ENDS and getattr(arg, "__module__", "") == "posix":
                    left[0] -= 1
                    if left[0] < 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.setprofile(count)
            try:
                getattr(self, work)()
            finally:
                os._exit(0)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])


OWNERS = [
    ["univ.example", "eng.univ.example", "mech.eng.univ.example"],
    ["mech.eng.univ.example"],
    ["eng.univ.example"],
]


@pytest.mark.parametrize("owners", OWNERS)
def test_the_bridge_is_the_old_zone(tmp_path, owners):
    work = Work(tmp_path, owners)
    old = records(tmp_path)
    for path, (_before, during, _after) in work.bridge.items():
        path.write_bytes(during)
    for path in work.old.keys() - work.bridge.keys():
        path.write_bytes(b"not read")
    assert records(tmp_path) == old
    assert under_test.is_bridge((tmp_path / "zone").read_bytes())


@pytest.mark.parametrize("owners", OWNERS)
def test_killed_anywhere_it_is_old_or_new_and_can_be_recovered(tmp_path, owners):
    whole = Work(tmp_path / "whole", owners) if (tmp_path / "whole").mkdir() is None else None
    old, old_contents = records(whole.directory), contents(whole.directory)
    whole.do()
    new, new_contents = records(whole.directory), contents(whole.directory)
    assert new != old
    assert new_contents.keys() == old_contents.keys()
    n, seen = 0, []
    while True:
        directory = tmp_path / str(n)
        directory.mkdir()
        work = Work(directory, owners)
        killed = work.killed_at(n, "do")
        found = records(directory)
        assert found in (old, new), n
        m = 0
        while work.killed_at(m, "recover"):
            assert records(directory) == found, (n, m)
            m += 1
        left = {name: data for name, data in contents(directory).items() if ".mailgate-" not in name}
        assert left == (old_contents if found == old else new_contents), n
        assert not under_test.is_bridge((directory / "zone").read_bytes())
        seen.append(found == new)
        if not killed:
            break
        n += 1
    assert n >= 6
    assert seen[0] is False
    assert seen == sorted(seen)


def test_a_failure_puts_all_back(tmp_path, monkeypatch):
    work = Work(tmp_path, OWNERS[0])
    before = contents(tmp_path)
    real = Path.replace
    failed = []

    def failing(self: Path, target: Path) -> Path:
        if target.name == "leaf.txt" and not failed:
            failed.append(target)
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="Input/output error"):
        work.do()
    assert failed
    assert contents(tmp_path) == before


def test_copies_have_the_mode_of_what_they_stand_for(tmp_path):
    work = Work(tmp_path, OWNERS[0])
    (tmp_path / "sub/mid").chmod(0o640)
    n = 0
    while work.killed_at(n, "do") and not (tmp_path / "sub/.mid.before-mailgate").exists():
        work.recover()
        n += 1
    assert (tmp_path / "sub/.mid.before-mailgate").stat().st_mode & 0o777 == 0o640
