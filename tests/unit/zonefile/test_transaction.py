# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of several zones, their rollback, and noted TTLs, with real files and a fake BIND."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import dns.zone
import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._bind.authority import Authority, ZoneRequest
from ansible_collections.campus.mailgate.plugins.module_utils._bind.change import RESTORED, commit_all
from ansible_collections.campus.mailgate.plugins.module_utils._bind.client import DnsClient, MxSet
from ansible_collections.campus.mailgate.plugins.module_utils._bind.external import ExternalRequest, refresh
from ansible_collections.campus.mailgate.plugins.module_utils._bind.named_conf import zone_list
from ansible_collections.campus.mailgate.plugins.module_utils._bind.server import Bind
from ansible_collections.campus.mailgate.plugins.module_utils._bind.transaction import Request, update
from ansible_collections.campus.mailgate.plugins.module_utils._zone.exchanges import Target
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import ZoneError
from ansible_collections.campus.mailgate.plugins.modules import bind_mx

ZONE = """\
$TTL 3600
@ SOA ns h 7 1 1 1 1
@ NS ns
ns A 198.18.0.53
mech MX 0 mech
     A 198.18.1.30
old 900 MX 0 mech
"""


@dataclass
class FakeBind:
    """BIND's programs: files in `directory`, loaded on `rndc reload` unless the zone is in `broken`.

    Zones in `signed` are signed by BIND, which loads no serial that is earlier than the loaded one then.
    """

    directory: Path
    broken: set[str] = field(default_factory=set)
    signed: set[str] = field(default_factory=set)
    dynamic: str = ""
    views: str = ""
    serials: dict[str, int] = field(default_factory=dict)
    reloads: list[str] = field(default_factory=list)

    def path(self, name: str) -> Path:
        return self.directory / name

    def load(self, name: str) -> None:
        zone = dns.zone.from_text(self.path(name).read_text(), origin=f"{name}.", relativize=False, allow_include=True)
        serial = zone.get_soa().serial
        if name not in self.signed or serial >= self.serials[name]:
            self.serials[name] = serial

    def run(self, command: Sequence[str], data: bytes | None) -> tuple[int, str, str]:
        match command:
            case ["named-checkconf", *_]:
                zones = "".join(
                    f'zone "{path.name}" {{ type primary; file "{path}";'
                    f"{' inline-signing yes;' if path.name in self.signed else ''} }};"
                    for path in sorted(self.directory.iterdir())
                    if path.suffix == ".example"
                )
                text = f'view "in" {{ {zones} {self.dynamic} }}; {self.views}'
                if "-l" in command:
                    return 0, "".join(f"{line} primary\n" for line in zone_list(text)), ""
                return 0, text if "-p" in command else "", ""
            case ["rndc", "zonestatus", name, *_]:
                return (0, f"serial: {self.serials[name]}\n", "") if name in self.serials else (1, "", "not loaded")
            case ["rndc", "reload", name, *_]:
                self.reloads.append(name)
                if name not in self.broken:
                    self.load(name)
                return 0, "", ""
            case ["named-checkzone", *_, "-D", name, file]:
                zone = dns.zone.from_text(
                    Path(file).read_text(), origin=f"{name}.", relativize=False, allow_include=True
                )
                return 0, zone.to_text(relativize=False), ""
            case ["named-checkzone", *_]:
                return 0, "", ""
        raise AssertionError(command)


@pytest.fixture
def bind(tmp_path: Path) -> FakeBind:
    fake = FakeBind(tmp_path / "zones")
    fake.directory.mkdir()
    for name in ("a.example", "b.example"):
        fake.path(name).write_text(ZONE)
        fake.load(name)
    return fake


def request(*names: str, check_only: bool = False) -> Request:
    zones = [ZoneRequest(name, "", [(f"mech.{name}", [(0, "gw1.univ.example")], None)]) for name in names]
    return Request(zones, True, 0, check_only, date(2026, 4, 1), check_exchanges=False)


class FakeClient(DnsClient):
    """A server with one dynamic zone, which accepts updates or not."""

    def __init__(self, accepts: bool = True) -> None:
        super().__init__("127.0.0.1", 53, 0.1)
        self.accepts = accepts
        self.records = MxSet(frozenset({(0, (b"own", b"d", b"example"))}), 60)
        self.updates = 0

    def soa(self, zone, key):
        return 5 + self.updates, 60

    def mx(self, zone, owner, key):
        return self.records

    def update(self, zone, changes, key):
        if not self.accepts:
            raise ZoneError(f"zone {zone}: rejected")
        self.updates += 1
        self.records = changes[0][2]


def run(bind: FakeBind, what: Request, client: DnsClient | None = None, **arguments):
    return update(Bind(bind.run, "named.conf"), client or FakeClient(), what, **arguments)


def contents(bind: FakeBind) -> dict[str, str]:
    return {path.name: path.read_text() for path in bind.directory.iterdir()}


def test_all_zones_change_and_are_loaded(bind):
    result = run(bind, request("a.example", "b.example"))
    assert [(zone.method, zone.changed, zone.needs_reload, zone.serial_after) for zone in result.zones] == [
        ("file", True, True, 8)
    ] * 2
    assert bind.serials == {"a.example": 8, "b.example": 8}
    assert all("mech MX 0 gw1.univ.example.\n" in text for text in contents(bind).values())
    assert not any(zone.needs_reload for zone in run(bind, request("a.example", "b.example")).zones)


def test_check_mode_changes_nothing(bind):
    before = contents(bind)
    assert run(bind, request("a.example", check_only=True)).zones[0].changed
    assert (contents(bind), bind.reloads) == (before, [])


def test_a_zone_that_bind_does_not_load_restores_all(bind):
    before = contents(bind)
    bind.broken.add("b.example")
    with pytest.raises(ZoneError) as caught:
        run(bind, request("a.example", "b.example"))
    assert caught.value.problems == [
        "zone b.example: BIND does not load the new file (serial 8); see its log",
        RESTORED,
    ]
    assert contents(bind) == before
    assert bind.serials == {"a.example": 7, "b.example": 7}


@pytest.mark.parametrize("soa_included", [False, True])
def test_a_zone_that_bind_signs_is_restored_with_a_later_serial(bind, soa_included):
    """BIND 9.20 refuses an earlier one: "new serial out of range"."""
    if soa_included:
        text = bind.path("a.example").read_text()
        soa, rest = text.split("\n")[1], text.split("\n")[2:]
        bind.path("soa").write_text(f"{soa}\n")
        bind.path("a.example").write_text("\n".join(["$TTL 3600", f"$INCLUDE {bind.path('soa')}", *rest]))
    before = contents(bind)
    bind.signed = {"a.example"}
    bind.broken.add("b.example")
    with pytest.raises(ZoneError) as caught:
        run(bind, request("a.example", "b.example"))
    assert caught.value.problems == [
        "zone b.example: BIND does not load the new file (serial 8); see its log",
        RESTORED,
    ]
    assert bind.serials == {"a.example": 9, "b.example": 7}
    with_soa = "soa" if soa_included else "a.example"
    assert contents(bind) == {**before, with_soa: before[with_soa].replace("h 7 ", "h 9 ")}


@pytest.mark.parametrize("accepts", [True, False])
def test_a_rejected_update_restores_the_files(bind, accepts):
    before = contents(bind)
    bind.dynamic = 'zone "d.example" { type primary; file "/d"; allow-update { 127.0.0.1; }; };'
    client = FakeClient(accepts)
    if accepts:
        zones = run(bind, request("a.example", "d.example"), client).zones
        assert [(zone.method, zone.needs_reload, zone.serial_after) for zone in zones] == [
            ("file", True, 8),
            ("update", False, 6),
        ]
        assert zones[1].texts() == [
            (
                "d.example, by update",
                "mech.d.example.\t60\tIN\tMX\t0 own.d.example.\n",
                "mech.d.example.\t60\tIN\tMX\t0 gw1.univ.example.\n",
            )
        ]
    else:
        with pytest.raises(ZoneError) as caught:
            run(bind, request("a.example", "d.example"), client)
        assert caught.value.problems == ["zone d.example: rejected", RESTORED]
        assert contents(bind) == before


class FakeChange:
    """A change that can fail, and whose rollback can fail."""

    def __init__(self, name: str, log: list[str], problem: str = "", remaining: str = "") -> None:
        self.name, self.log, self.problem, self.remaining = name, log, problem, remaining
        self.changed, self.needs_reload = True, False

    def commit(self) -> None:
        self.log.append(f"commit {self.name}")
        if self.problem:
            raise ZoneError(self.problem)

    def rollback(self) -> list[str]:
        self.log.append(f"rollback {self.name}")
        return [self.remaining] if self.remaining else []


def test_a_failed_rollback_is_not_called_a_restored_state():
    log: list[str] = []
    changes = [FakeChange("a", log, remaining="a remains"), FakeChange("b", log, "b fails"), FakeChange("c", log)]
    with pytest.raises(ZoneError) as caught:
        commit_all(changes)
    assert caught.value.problems == ["b fails", "a remains"]
    assert log == ["commit a", "commit b", "rollback b", "rollback a"]


# -- TTLs -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def module(bind, tmp_path, capsys, monkeypatch, module_arguments):
    """Run the module bind_mx with these options; return its result."""
    monkeypatch.setattr(bind_mx, "runner", lambda _module: bind.run)
    monkeypatch.setattr(bind_mx, "STORE", tmp_path / "store")
    zones = [
        {"zone": name, "owners": [{"owner": f"{label}.{name}"} for label in ("mech", "old", "none")]}
        for name in ("a.example", "b.example")
    ]

    def module(*, check=False, **options):
        args = {
            "zones": zones,
            "ttl_file": str(tmp_path / "note.json"),
            "reload_timeout": 0,
            "_ansible_check_mode": check,
            "_ansible_remote_tmp": str(tmp_path / "tmp"),
            **options,
        }
        given = {key: value for key, value in args.items() if value is not None}
        with module_arguments(given), pytest.raises(SystemExit):
            bind_mx.main()
        return json.loads(capsys.readouterr().out)

    return module


def test_ttls_are_lowered_twice_and_restored(bind, module, tmp_path):
    note = tmp_path / "note.json"
    before = contents(bind)
    lowered = module(ttl_state="lower", ttl=300)
    assert (lowered["changed"], lowered["max_ttl"]) == (True, 3600)
    assert "mech 300 MX 0 mech\n" in bind.path("a.example").read_text()
    noted = note.read_text()
    assert [zone["ttls"] for zone in json.loads(noted)] == [
        {"mech.a.example": 3600, "old.a.example": 900},
        {"mech.b.example": 3600, "old.b.example": 900},
    ]
    again = module(ttl_state="lower", ttl=60)
    assert (again["changed"], again["max_ttl"]) == (True, 300)
    assert note.read_text() == noted
    assert not module(ttl_state="lower", ttl=60)["changed"]
    assert module(ttl_state="restore", zones=None)["changed"]
    assert not note.exists()
    assert {name: text.replace(" 10 1", " 7 1") for name, text in contents(bind).items()} == before
    assert module(ttl_state="restore")["problems"][0].startswith("no TTLs are noted in ")


def test_ttls_of_further_names_are_noted(bind, module, tmp_path):
    before = contents(bind)
    module(ttl_state="lower", ttl=300, zones=[{"zone": "a.example", "owners": [{"owner": "mech.a.example"}]}])
    module(ttl_state="lower", ttl=60)
    assert [zone["ttls"] for zone in json.loads((tmp_path / "note.json").read_text())] == [
        {"mech.a.example": 3600, "old.a.example": 900},
        {"mech.b.example": 3600, "old.b.example": 900},
    ]
    module(ttl_state="restore", zones=None)
    texts = {name: re.sub(r"\b(8|9|10) 1\b", "7 1", text) for name, text in contents(bind).items()}
    assert texts == before


def test_ttls_in_check_mode(bind, module, tmp_path):
    before = contents(bind)
    assert module(check=True, ttl_state="lower", ttl=300)["changed"]
    assert not (tmp_path / "note.json").exists()
    module(ttl_state="lower", ttl=300)
    lowered = contents(bind)
    assert lowered != before
    assert module(check=True, ttl_state="restore")["changed"]
    assert (tmp_path / "note.json").exists()
    assert contents(bind) == lowered


def test_without_a_note_nothing_is_lowered(bind, module, tmp_path):
    before = contents(bind)
    result = module(ttl_state="lower", ttl=300, ttl_file=str(tmp_path / "missing" / "note.json"))
    assert result["problems"][0].startswith("nothing was changed: ")
    assert contents(bind) == before


def test_the_note_is_written_before_the_change(bind, module, tmp_path):
    bind.broken.add("a.example")
    assert module(ttl_state="lower", ttl=300)["failed"]
    assert json.loads((tmp_path / "note.json").read_text())[0]["ttls"]["mech.a.example"] == 3600


def test_records_stay_while_ttls_change(bind, module):
    owners = [{"owner": "mech.a.example", "mx": [], "ttl": 5}]
    module(ttl_state="lower", ttl=300, zones=[{"zone": "a.example", "owners": owners}])
    assert "mech 300 MX 0 mech\n" in bind.path("a.example").read_text()


@pytest.mark.parametrize("options", [{"ttl_state": "lower"}, {"zones": None}, {"ttl_state": "lower", "zones": None}])
def test_options_that_belong_together(module, options):
    assert module(**options)["failed"]


# -- external zones -------------------------------------------------------------------------------------------------


def test_an_external_zone_of_version_0_1_0_is_replaced_once(bind):
    bind.views = f'view "out" {{ zone "a.example" {{ type primary; file "{bind.directory}/out"; }}; }};'
    external = bind.directory / "out"
    owners = [("mech.a.example", [(0, "gw1.univ.example")])]
    request = ExternalRequest([("a.example", owners)], "out", "in", None, None, False, 0, False, date(2026, 4, 1))
    server = Bind(bind.run, "named.conf")
    old = "; The outside copy of a.example., made by mailgate from serial 7 of view in.\n"  # language: quoted
    assert refresh(server, request)[0].changed
    head, rest = external.read_text().split("\n", 1)
    assert head.startswith("; External zone a.example., generated by mailgate from serial 7 of view in.")
    assert not refresh(server, request)[0].changed
    external.write_text(old + rest)
    assert refresh(server, request)[0].changed
    assert external.read_text().startswith(head)
    external.write_text("$TTL 60\n")
    with pytest.raises(ZoneError, match="was not generated by mailgate"):
        refresh(server, request)


class Lookups(FakeClient):
    """A server that has the address records of some names, and counts the questions."""

    def __init__(self, *known: str) -> None:
        super().__init__()
        self.known = known
        self.asked: list[str] = []

    def target(self, name):
        text = b".".join(name).decode()
        self.asked.append(text)
        return Target.ADDRESS if text in self.known else Target.UNKNOWN


@pytest.mark.parametrize(
    ("known", "asked", "warnings"),
    [
        (["gw1.univ.example", "gw2.univ.example"], {"gw1.univ.example", "gw2.univ.example"}, 0),
        ([], None, 1),  # one question only: a server that is down must not be waited for again
    ],
)
def test_targets_are_looked_up_at_the_other_dns_servers_of_the_campus(bind, known, asked, warnings):
    owners = [("mech.a.example", [(0, "gw1.univ.example"), (10, "gw2.univ.example")], None)]
    university, other = Lookups(*known), Lookups()
    what = Request(
        [ZoneRequest("a.example", "", owners)],
        True,
        0,
        True,
        date(2026, 4, 1),
        authorities=[Authority(other, [(b"other", b"example")]), Authority(university, [(b"univ", b"example")])],
    )
    result = run(bind, what, Lookups())
    assert len(result.warnings) == warnings
    assert set(university.asked) == asked if asked else len(university.asked) == 1
    assert other.asked == []
