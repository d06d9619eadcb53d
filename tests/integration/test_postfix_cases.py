# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated configurations of Postfix: its resolver answers as before but for the plan, and every byte comes back."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils import _replace
from ansible_collections.campus.mailgate.plugins.module_utils._postfix import resolver, tables
from ansible_collections.campus.mailgate.plugins.module_utils._postfix.host import Host, PostfixError, Wanted
from ansible_collections.campus.mailgate.plugins.module_utils._postfix.resolver import FINAL, Answer
from ansible_collections.campus.mailgate.plugins.module_utils._postfix.settings import Settings, covers, normalize
from ansible_collections.campus.mailgate.plugins.module_utils._routes.table import Route

CASES = 80
ROOT = Path(__file__).resolve().parents[2]
PLANNED = ("a.u.example", "b.u.example", "c.u.example", "*.w.u.example", "x.w.u.example", "y.x.w.u.example")
NAMES = (
    "a.u.example", "b.u.example", "c.u.example", "p.w.u.example", "x.w.u.example", "q.x.w.u.example", "w.u.example",
    "y.x.w.u.example", "old.u.example", "v.example", "m.example", "partner.example", "mail.u.example", "r.example",
    "sub.r.example", "nobody.example", "old.w.u.example",
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="Postfix's programs need root")]


@pytest.fixture(scope="module")
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the files of Debian's package, which is not installed on this machine."""
    cache = ROOT / ".cache" / "postfix"
    if not (cache / "usr/sbin/postconf").exists():
        download = tmp_path_factory.mktemp("download")
        subprocess.run(["apt-get", "-qq", "download", "postfix"], cwd=download, check=True)
        subprocess.run(["dpkg", "-x", next(download.glob("*.deb")), cache], check=True)
    return cache


@pytest.fixture
def place(postfix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty configuration directory for the programs of the package."""
    monkeypatch.setenv("PATH", f"{postfix}/usr/sbin:{os.environ['PATH']}")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{postfix}/usr/lib/postfix")
    (tmp_path / "postfix").mkdir()
    (tmp_path / "queue").mkdir()
    return tmp_path / "postfix"


def run(command: list[str], stdin: str, variables: Mapping[str, str]) -> tuple[int, str, str]:
    """Run a program of Postfix."""
    done = subprocess.run(
        command, input=stdin.encode(), capture_output=True, env={**os.environ, **variables}, check=False
    )
    return done.returncode, done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode("utf-8", "replace")


def write(place: Path, postfix: Path, chance: random.Random) -> None:
    """Write the files of an admin."""
    end = chance.choice(["\n", "\n", "\n", "\r\n"])
    routes = {
        "partner.example": "smtp:[198.18.9.1]",
        "boss@a.u.example": "smtp:[198.18.9.2]",
        "*": "smtp:[198.18.9.3]",
        ".w.u.example": "smtp:[198.18.9.4]",
        "a.u.example": chance.choice(["smtp:[198.18.9.5]", "smtp:[198.18.1.1]", "lmtp:unix:/x"]),
        ".u.example": ":",
        "r.example": "smtp:[198.18.9.6]:2525",
    }
    chosen = {key: value for key, value in routes.items() if chance.random() < 0.3}
    text = "".join(f"{key}{chance.choice([' ', chr(9)])}{value}\n" for key, value in chosen.items())
    (place / "transport").write_bytes(("# Stra\udcdfe\n" + text).encode("utf-8", "surrogateescape"))
    (place / "virtual").write_text("info@v.example alice\nv.example anything\n@old.w.u.example bob@mail.u.example\n")
    (place / "recipients").write_text("alice@r.example OK\n")
    (place / "senders").write_text("alice@mail.u.example [198.18.9.9]\n@v.example [198.18.9.8]\n")
    (place / "names").write_text("localhost\nold.u.example\n")
    (place / "pattern").write_text("/@r\\.example$/ smtp:[198.18.9.7]\n")
    transports = chance.choice(
        ["", "", "hash:$config_directory/transport", f"hash:{place}/transport regexp:{place}/pattern"]
    )
    lists = {
        "mydestination": chance.choice(
            [
                None,
                "$myhostname, localhost",
                f"$myhostname,{end}    {place}/names",
                f"{end}# inside{end}  old.u.example",
            ]
        ),
        "transport_maps": transports or None,
        "relay_domains": chance.choice([None, "", "r.example", f"$mydestination{end}    r.example", "c.u.example"]),
        "relay_recipient_maps": chance.choice([None, None, f"hash:{place}/recipients"]),
        "virtual_alias_domains": chance.choice([None, "v.example, old.w.u.example"]),
        "virtual_alias_maps": chance.choice([None, f"hash:{place}/virtual"]),
        "virtual_mailbox_domains": chance.choice([None, "m.example", "m.example b.u.example"]),
        "sender_dependent_relayhost_maps": chance.choice([None, f"hash:{place}/senders"]),
        "relayhost": chance.choice([None, "", "[198.18.9.10]"]),
        "parent_domain_matches_subdomains": chance.choice([None, None, ""]),
        "compatibility_level": chance.choice(["3.6", "3.6", "0"]),
        "smtpd_banner": chance.choice([None, "$myhostname f\udcfcr alle"]),
    }
    lines = [f"{name} = {value}" for name, value in lists.items() if value is not None]
    if chance.random() < 0.2:
        lines.append("relay_domains = r.example")
    lines += chance.choices(["# comment", "", "   # indented", "#transport_maps = hash:/old"], k=4)
    chance.shuffle(lines)
    fixed = [
        "myhostname = mail.u.example", "mydomain = u.example", "alias_maps =",
        f"queue_directory = {place.parent}/queue",
        f"daemon_directory = {postfix}/usr/lib/postfix/sbin", f"command_directory = {postfix}/usr/sbin",
        f"data_directory = {place.parent}/queue", "mail_owner = daemon", "setgid_group = mail",
    ]  # fmt: skip
    text = end.join([*fixed, *lines]) + chance.choice([end, ""])
    (place / "main.cf").write_bytes(text.encode("utf-8", "surrogateescape"))
    shutil.copy(postfix / "usr/share/postfix/master.cf.dist", place / "master.cf")
    os.utime(place / "main.cf", (0, 0))
    for name in ("transport", "virtual", "recipients", "senders"):
        subprocess.run(["postmap", "-c", place, f"hash:{place / name}"], check=True)


def plan(chance: random.Random) -> Settings:
    """Return a plan for some of the domains."""
    parts: dict[str, list[str]] = {"local": [], "relay": [], "external": [], "routes": [], "": []}
    for domain in PLANNED:
        parts[chance.choice(list(parts))].append(domain)
    hops = [("198.18.1.1",), ("198.18.1.2", "2001:db8::2"), ("2001:db8::3",)]
    routes = [(domain, chance.choice(hops)) for domain in parts["routes"]]
    relay = parts["relay"] + [domain for domain, _hops in routes if chance.random() < 0.5]
    return normalize(
        Settings(
            tuple(parts["local"]),
            tuple(relay),
            tuple(Route(domain, each[0], "", each if len(each) > 1 else ()) for domain, each in routes),
            tuple(parts["external"]),
        )
    )


def content(place: Path) -> dict[str, bytes]:
    """Return all files of a directory."""
    return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


def answers(place: Path, postfix: Path) -> dict[str, Answer]:
    """Return what the configuration does with mail to each name."""
    for path in place.iterdir():
        os.utime(path, (0, 0))  # Postfix waits before it reads a file that has just changed
    program = postfix / "usr/lib/postfix/sbin/trivial-rewrite"
    wanted = [f"{user}@{name}" for name in NAMES for user in ("someone",)] + ["boss@a.u.example", "alice@r.example"]
    return {address: resolver.ask(run, program, place, address) for address in wanted}


def most_specific(domains: list[str], name: str) -> str:
    """Return the domain or `*.suffix` that decides about a name; "" without any."""
    found = [domain for domain in domains if covers(domain, name)]
    return max(found, key=lambda domain: (domain.count("."), domain == name), default="")


@pytest.mark.parametrize("number", range(CASES))
def test_mail_goes_as_before_but_for_the_plan(number: int, place: Path, postfix: Path, tmp_path: Path) -> None:
    chance = random.Random(number)
    write(place, postfix, chance)
    wanted = plan(chance)
    before, old = content(place), answers(place, postfix)
    host = Host(run, place, tmp_path / "store", tmp_path / "reload")
    try:
        host.apply(Wanted(wanted), check=False)
    except PostfixError as error:
        assert "contradict the plan" in str(error)
        assert content(place) == before
        return
    new = answers(place, postfix)
    routes = {route.domain: tables.hop(route) for route in wanted.routes}
    for address, was in old.items():
        name, now = address.partition("@")[2], new[address]
        domain = most_specific(wanted.domains, name)
        exact = domain == name
        if address == "boss@a.u.example" and was.nexthop == "[198.18.9.2]":
            assert (now.transport, now.nexthop) == (was.transport, was.nexthop)
        elif domain in routes and (exact or was.kind not in FINAL):
            assert now.nexthop == routes[domain], (address, was, now)
            assert now.kind not in FINAL
        elif domain in wanted.local and was.kind not in FINAL:
            assert now.kind == "local" or now == was
            assert exact is False or now.kind == "local" or (was.kind == "relay" and now == was)
        elif domain in wanted.relay:
            assert now.nexthop in (was.nexthop, *routes.values())
            assert now.kind in (was.kind, "relay")
        else:
            assert now == was, address
        if not domain:
            assert now == was
    assert not host.apply(Wanted(wanted), check=True).files
    host.remove(check=False)
    assert content(place) == before
    assert not (tmp_path / "store").exists()


def test_enough_cases_are_applied(place: Path, postfix: Path, tmp_path: Path) -> None:
    """Contradictions must not hide the rest."""
    applied = 0
    for number in range(8):
        chance = random.Random(number)
        write(place, postfix, chance)
        try:
            Host(run, place, tmp_path / "store", tmp_path / "reload").apply(Wanted(plan(chance)), check=True)
            applied += 1
        except PostfixError:
            continue
    assert applied >= 3


@pytest.mark.parametrize("writes", range(7))
def test_a_killed_run_is_completed_or_taken_back(writes: int, place: Path, postfix: Path, tmp_path: Path) -> None:
    """The process ends at its n-th replacement of a file; mail never has half of a configuration."""
    write(place, postfix, random.Random(3))
    wanted = Wanted(
        Settings(
            ("b.u.example",), ("c.u.example",), (Route("a.u.example", "198.18.1.1"), Route("c.u.example", "198.18.1.1"))
        )
    )
    (place / "main.cf").write_bytes((place / "main.cf").read_bytes().replace(b"b.u.example", b"d.example"))
    before = content(place)
    for state in ("present", "absent"):
        child = os.fork()
        if child == 0:
            killed(writes)
            host = Host(run, place, tmp_path / "store", tmp_path / "reload")
            host.apply(wanted, check=False) if state == "present" else host.remove(check=False)
            os._exit(0)
        _pid, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in (0, 9)
        assert answers(place, postfix)
        if state == "present":
            host = Host(run, place, tmp_path / "store", tmp_path / "reload")
            host.apply(wanted, check=False)
            assert answers(place, postfix)["someone@a.u.example"].nexthop == "[198.18.1.1]"
    Host(run, place, tmp_path / "store", tmp_path / "reload").remove(check=False)
    assert {name: data for name, data in content(place).items() if not name.startswith(".")} == before


def killed(writes: int) -> None:
    """Make this process end at the replacement of a file of the configuration with this number."""
    put, count = _replace._put, iter(range(99))

    def counted(path: Path, staged: Path | None) -> None:
        if path.parent.name == "postfix" and next(count) == writes:
            os._exit(9)
        put(path, staged)

    _replace._put = counted
