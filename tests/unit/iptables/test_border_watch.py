# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard as a process, in a real kernel whose rules others change."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from netfilter_kernel import GUARD, LOADER, Kernel

from ansible_collections.campus.mailgate.plugins.module_utils._border import guard as limits
from ansible_collections.campus.mailgate.plugins.module_utils._border.watch import STOPPED

IN_SETS = dataclasses.replace(GUARD, set_threshold=0)

pytestmark = pytest.mark.slow


class Guarded:
    """A kernel with the rules, and the guard."""

    def __init__(self, kernel: Kernel, backend: str = "iptables", loader: Path = LOADER) -> None:
        self.kernel = kernel
        kernel.apply(IN_SETS, backend)
        # Otherwise the guard takes the files for a change that is being written.
        for path in (kernel.directory, *kernel.directory.iterdir()):
            os.utime(path, (1, 1))
        self.process = kernel.popen(str(loader), "guard")
        assert self.process.stderr
        self.process.stderr.readline()
        time.sleep(0.5)

    def back_after(self, *command: str) -> float:
        """Run a command that changes something, and return the seconds until a repair after which all is in place."""
        before = self.repairs()
        began = time.monotonic()
        self.kernel.must(*command)
        while self.repairs() == before or self.kernel.loader("check") != 0:
            assert time.monotonic() - began < 60
            time.sleep(0.02)
        return time.monotonic() - began

    def repairs(self) -> int:
        found: int = self.count().get("repairs", 0)
        return found

    def count(self) -> dict[str, Any]:
        path = self.kernel.bans_file.with_name("guard.json")
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def stop(self) -> str:
        self.process.terminate()
        return self.process.communicate(timeout=60)[1]


@contextmanager
def ended(guarded: Guarded) -> Iterator[Guarded]:
    """End the guard at the end of the block."""
    try:
        yield guarded
    finally:
        guarded.process.kill()
        guarded.process.communicate()


@pytest.fixture
def guarded(kernel: Kernel) -> Iterator[Guarded]:
    with ended(Guarded(kernel)) as guarded:
        yield guarded


def legacy(kernel: Kernel) -> bool:
    return "legacy" in kernel.must("iptables", "--version")


CHANGES: dict[str, tuple[Callable[[Kernel], list[str]], str]] = {
    "flush": (
        lambda _kernel: ["sh", "-c", "iptables -F; iptables -X; ip6tables -F; ip6tables -X"],
        "chain MAILGATE is gone",
    ),
    "flush of one family": (lambda _kernel: ["ip6tables", "-F"], "ipv6: chain MAILGATE is empty"),
    "ACCEPT before our jump": (lambda _kernel: ["iptables", "-I", "FORWARD", "-j", "ACCEPT"], "is rule 2 of FORWARD"),
    "rule in our chain": (lambda _kernel: ["iptables", "-I", "MAILGATE", "-j", "ACCEPT"], "chain MAILGATE was changed"),
    "jump deleted": (lambda _kernel: ["iptables", "-D", "FORWARD", "1"], "the jump from FORWARD to MAILGATE is gone"),
    "restore of saved rules": (
        lambda _kernel: ["sh", "-c", "printf '*filter\\n:FORWARD ACCEPT [0:0]\\nCOMMIT\\n' | iptables-restore"],
        "chain MAILGATE is gone",
    ),
    "sets destroyed": (
        # The guard may be faster than the last step.
        lambda _kernel: [
            "sh",
            "-c",
            "for i in 1 2 3 4 5 6 7 8; do iptables -F; ip6tables -F; ipset destroy && exit; done",
        ],
        "set mailgate-permits is gone",
    ),
    "permits removed from a set": (
        lambda _kernel: ["ipset", "flush", "mailgate-permits"],
        "set mailgate-permits was changed",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_others_change_is_put_back(
    guarded: Guarded, change: str, record_property: Callable[[str, object], None]
) -> None:
    command, expected = CHANGES[change]
    seconds = guarded.back_after(*command(guarded.kernel))
    record_property("seconds", round(seconds, 2))
    print(f"\n{change}: in place again after {seconds:.2f} s")
    log = guarded.stop()
    assert expected in log
    assert "<3>mailgate-border: the port-25 rules were not in place and are back after" in log
    count = guarded.count()
    assert count["repairs"] in (1, 2)  # a command of several steps can be seen halfway
    if "set" not in change:
        assert ("unknown" in count["by"]) == legacy(guarded.kernel)


def with_times(path: Path, **times: float) -> Path:
    """Write a loader whose guard has other values of these constants."""
    name = "_border/guard.py"
    with path.open("wb") as file, zipfile.ZipFile(LOADER) as old:
        file.write(LOADER.read_bytes().partition(b"\n")[0] + b"\n")
        with zipfile.ZipFile(file, "w") as new:
            for item in old.infolist():
                content = old.read(item)
                if item.filename.endswith(name):
                    for constant, seconds in times.items():
                        line = rf"^{constant} = [0-9.]+$"
                        text, replaced = re.subn(line, f"{constant} = {seconds}", content.decode(), flags=re.MULTILINE)
                        assert replaced == 1
                        content = text.encode()
                if not item.filename.endswith(f"{name}c"):
                    new.writestr(item, content)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("kernel", ["nft"], indirect=True)
def test_the_guard_waits_for_events(kernel: Kernel, tmp_path: Path) -> None:
    guarded = Guarded(kernel, loader=with_times(tmp_path / "loader", POLL_SETTLING=3600.0))
    try:
        for _ in range(2):
            guarded.back_after("iptables", "-F")
    finally:
        guarded.stop()


@pytest.mark.parametrize("kernel", ["nft"], indirect=True)
@pytest.mark.parametrize(
    "command",
    [
        "nft flush ruleset",
        "nft delete table inet mailgate",
        "nft flush chain inet mailgate forward",
        "nft insert rule inet mailgate inbound accept",
        "nft flush set inet mailgate permits",
    ],
)
def test_the_table_of_nftables_is_put_back(kernel: Kernel, command: str) -> None:
    guarded = Guarded(kernel, "nft")
    try:
        seconds = guarded.back_after(*command.split())
        print(f"\n{command}: in place again after {seconds:.2f} s")
        assert not kernel.compare(IN_SETS, "nft").needed
        assert guarded.count()["by"] == {"nft": 1}
    finally:
        guarded.stop()


@pytest.mark.parametrize("kernel", ["nft"], indirect=True)
def test_a_change_of_the_backend_causes_no_repair(kernel: Kernel) -> None:
    guarded = Guarded(kernel)
    kernel.apply(IN_SETS, "nft")
    time.sleep(4)
    kernel.apply(IN_SETS)
    time.sleep(4)
    assert guarded.stop() == ""
    assert not kernel.compare(IN_SETS).needed


def test_other_rules_stay_and_cause_no_repair(guarded: Guarded) -> None:
    kernel = guarded.kernel
    kernel.must("iptables", "-A", "FORWARD", "-s", "203.0.113.0/24", "-j", "ACCEPT")
    kernel.must("iptables", "-A", "FORWARD", "-i", "wan2", "-p", "tcp", "-m", "tcp", "--dport", "25", "-j", "MAILGATE")
    before = kernel.others("ipv4")
    time.sleep(3)
    assert kernel.others("ipv4") == before
    guarded.back_after("iptables", "-I", "FORWARD", "-j", "ACCEPT")
    assert [line for line in kernel.others("ipv4") if line != "[0:0] -A FORWARD -j ACCEPT"] == before
    assert guarded.count()["repairs"] == 1


def test_changes_by_ansible_cause_no_repair_and_are_guarded(guarded: Guarded) -> None:
    kernel = guarded.kernel
    new = dataclasses.replace(IN_SETS, gateways=("198.18.0.99", "2001:db8:18::99"))
    for _ in range(3):
        kernel.apply(new)
        kernel.apply(IN_SETS)
    kernel.apply(None)
    time.sleep(3)
    kernel.apply(new)
    time.sleep(4)
    assert guarded.stop() == ""
    assert not kernel.compare(new).needed


def test_an_unconfirmed_change_is_guarded_and_not_rolled_back(guarded: Guarded) -> None:
    kernel = guarded.kernel
    new = dataclasses.replace(IN_SETS, gateways=("198.18.0.99", "2001:db8:18::99"))
    change = kernel.compare(new)
    kernel.router()._keep_old(change.old_files)
    for name, text in change.files.items():
        (kernel.directory / name).write_text(text)
    assert kernel.loader("load", "ipv4", "ipv6") == 0
    time.sleep(3)
    guarded.back_after("iptables", "-F")
    assert kernel.compare(new).unconfirmed
    assert kernel.compare(new).parts == []
    assert kernel.loader("undo") == 0
    time.sleep(3)
    assert not kernel.compare(IN_SETS).needed
    assert guarded.count()["repairs"] == 1


@pytest.mark.parametrize("kernel", ["legacy"], indirect=True)
def test_a_held_lock_is_waited_for(guarded: Guarded) -> None:
    kernel = guarded.kernel
    kernel.must("iptables", "-F")
    with kernel.lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        time.sleep(4)
    deadline = time.monotonic() + 60
    while kernel.loader("check") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert kernel.loader("check") == 0
    assert not kernel.compare(IN_SETS).needed


def test_somebody_who_does_not_give_in_makes_the_guard_stop(kernel: Kernel, tmp_path: Path) -> None:
    # Twenty repairs at the usual intervals take a minute.
    guarded = Guarded(kernel, loader=with_times(tmp_path / "loader", POLL_SETTLING=0.3, GAP=0.3))
    with ended(guarded):
        stopped_by_another(guarded)


def stopped_by_another(guarded: Guarded) -> None:
    kernel = guarded.kernel
    fighter = 'for round in $(seq 1000); do iptables -F; sleep 0.3; [ -e "$1" ] && exit; done'
    done = kernel.directory.with_name("done")
    with kernel.popen("sh", "-c", fighter, "fighter", str(done)) as process:
        deadline = time.monotonic() + 300
        while guarded.repairs() < limits.REPAIRS:
            if process.poll() is not None or guarded.process.poll() is not None or time.monotonic() > deadline:
                done.touch()
                pytest.fail(f"{guarded.count()} {guarded.process.poll()}")
            time.sleep(0.2)
        time.sleep(2)
        done.touch()
        process.wait(60)
    log = guarded.process.communicate(timeout=120)[1]
    assert guarded.process.returncode == STOPPED
    assert kernel.loader("check") == 0
    assert guarded.count()["repairs"] == limits.REPAIRS
    assert guarded.count()["stopped"]
    last = log.splitlines()[-1]
    assert last.startswith("<3>mailgate-border: the guard STOPS: 20 repairs in 10 minutes")
    assert "in place now" in last
    assert "systemctl restart mailgate-border.service mailgate-border-guard.service" in last


def test_rules_that_cannot_be_put_back_make_it_stop(kernel: Kernel, tmp_path: Path) -> None:
    # The usual pauses add up to nearly a minute.
    with ended(Guarded(kernel, loader=with_times(tmp_path / "loader", RETRY=0.5))) as guarded:
        stopped_without_success(guarded)


def stopped_without_success(guarded: Guarded) -> None:
    kernel = guarded.kernel
    rules = kernel.directory / "ipv4.rules"
    rules.write_text(rules.read_text().replace("-j RETURN", "-j NOWHERE"))
    kernel.must("iptables", "-F")
    for path in (kernel.directory, *kernel.directory.iterdir()):
        os.utime(path, (1, 1))
    log = guarded.process.communicate(timeout=120)[1]
    assert guarded.process.returncode == STOPPED
    assert log.count("CANNOT be put back") == limits.FAILURES
    assert "NOT in place, port 25 may be open" in log.splitlines()[-1]


def test_check_reports_what_it_cannot_determine(kernel: Kernel) -> None:
    kernel.apply(GUARD)
    assert kernel.run([str(LOADER), "check"]) == (0, "", "")
    kernel.must("ip6tables", "-F")
    assert kernel.run([str(LOADER), "check"])[1].splitlines()[0] == "ipv6: chain MAILGATE is empty"
    # With nothing in /usr/sbin there is no iptables-save.
    hidden = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs none /usr/sbin && exec "$@"',
        "sh",
        str(LOADER),
        "check",
    ]
    status, out, error = kernel.run(hidden)
    assert (status, out) == (2, "")
    assert "not installed" in error
