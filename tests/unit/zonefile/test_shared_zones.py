# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file for several zones, and one zone on several servers, with real files and a fake BIND."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._bind.authority import Authority, ZoneRequest
from ansible_collections.campus.mailgate.plugins.module_utils._bind.client import DnsClient, MxSet
from ansible_collections.campus.mailgate.plugins.module_utils._bind.named_conf import served_zones, zone_list
from ansible_collections.campus.mailgate.plugins.module_utils._bind.server import Bind
from ansible_collections.campus.mailgate.plugins.module_utils._bind.transaction import Request, update
from ansible_collections.campus.mailgate.plugins.module_utils._bind.transferred import wait
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import ZoneError, to_name

HOSTED = """\
$TTL 3600
@\tSOA\tns h 7 1 1 1 1
@\tNS\tns
\tMX\t5 mail
ns\tA\t198.18.0.53
mail\tA\t198.18.1.30
"""
GATEWAY = (0, "gw1.univ.example")


@dataclass
class FakeBind:
    """BIND's programs with this configuration; it loads the zones of files named by `file`."""

    conf: str
    serials: dict[str, int] = field(default_factory=dict)
    reloads: list[str] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)

    def run(self, command: Sequence[str], data: bytes | None) -> tuple[int, str, str]:
        match command:
            case ["named-checkconf", *_]:
                if "-l" in command:
                    return 0, "".join(f"{line} primary\n" for line in zone_list(self.conf)), ""
                return 0, self.conf if "-p" in command else "", ""
            case ["rndc", "zonestatus", name, *_]:
                return (0, f"serial: {self.serials[name]}\n", "") if name in self.serials else (1, "", "not loaded")
            case ["rndc", "reload", name, *_]:
                self.reloads.append(name)
                file = next(zone.file for zone in served_zones(self.conf) if zone.name == name)
                self.serials[name] = int(Path(file).read_text().split("SOA\tns h ")[1].split()[0])
                return 0, "", ""
            case ["rndc", "refresh", name, *_]:
                self.refreshed.append(name)
                return 0, "", ""
            case ["named-checkzone", *_]:
                return 0, "", ""
        raise AssertionError(command)


class FakeClient(DnsClient):
    """A server with these MX records; `answers` are used one after the other, the last one for ever."""

    def __init__(self, *answers: dict[str, set[str]], serial: int = 7) -> None:
        super().__init__("127.0.0.1", 53, 0.1)
        self.answers = list(answers) or [{}]
        self.serial = serial

    def served_mx(self, zone, owner):
        now = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        return frozenset(now.get(owner, ()))

    def served(self, zone):
        return self.serial

    def mx(self, zone, owner, key):
        return MxSet()


def primary(name: str, file: Path) -> str:
    return f'zone "{name}" {{ type primary; file "{file}"; }};\n'


def hosts(tmp_path: Path, *names: str, text: str = HOSTED) -> FakeBind:
    """Return a server on which one file has all of these zones."""
    file = tmp_path / "hosted"
    file.write_text(text)
    bind = FakeBind("".join(primary(name, file) for name in names))
    bind.serials = dict.fromkeys(names, 7)
    return bind


def own(zone: str, owner: str = "", exchange: str = "mail") -> ZoneRequest:
    name = f"{owner}.{zone}" if owner else zone
    return ZoneRequest(zone, "", [(name, [GATEWAY, (20, f"{exchange}.{zone}")], None)])


def run(bind: FakeBind, *zones: ZoneRequest, client: DnsClient | None = None, **options):
    request = Request(zones, True, 0, False, date(2026, 4, 1), check_exchanges=False, **options)
    return update(Bind(bind.run, "named.conf"), client or FakeClient(), request)


def refused(bind: FakeBind, *zones: ZoneRequest, **options) -> list[str]:
    with pytest.raises(ZoneError) as caught:
        run(bind, *zones, **options)
    return caught.value.problems


# -- one file for several zones -------------------------------------------------------------------------------------


def test_a_file_of_several_zones_is_edited_once(tmp_path):
    bind = hosts(tmp_path, "a.example", "b.example")
    result = run(bind, own("a.example"), own("b.example"))
    text = (tmp_path / "hosted").read_text()
    assert text.count("MX\t0 gw1.univ.example.\n") == 1
    assert "MX\t20 mail\n" in text
    assert [zone.serial_after for zone in result.zones] == [8, 8]
    assert bind.reloads == ["a.example", "b.example"]
    assert not any(zone.changed for zone in run(bind, own("a.example"), own("b.example")).zones)


def test_new_names_are_relative_to_each_zone(tmp_path):
    bind = hosts(tmp_path, "a.example", "b.example")
    run(bind, *(own(zone, exchange="relay") for zone in ("a.example", "b.example")))
    assert "MX\t20 relay\n" in (tmp_path / "hosted").read_text()


def test_a_name_of_all_zones_stays_absolute(tmp_path):
    bind = hosts(tmp_path, "a.example", "b.example")
    mx = [GATEWAY, (20, "relay.a.example")]
    run(bind, *(ZoneRequest(zone, "", [(zone, mx, None)]) for zone in ("a.example", "b.example")))
    assert "MX\t20 relay.a.example.\n" in (tmp_path / "hosted").read_text()


def test_a_zone_that_is_not_planned_shares_the_file(tmp_path):
    bind = hosts(tmp_path, "a.example", "b.example", "c.example")
    problems = refused(bind, own("a.example"), own("b.example"))
    assert len(problems) == 2
    assert problems[0].startswith("zone a.example: it shares its file ")
    assert "with c.example, whose MX records are not planned" in problems[0]
    assert (tmp_path / "hosted").read_text() == HOSTED


def test_zones_of_one_file_with_different_plans(tmp_path):
    bind = hosts(tmp_path, "a.example", "b.example")
    problems = refused(bind, own("a.example"), own("b.example", "mail"))
    assert [problem.split(": ")[0] for problem in problems] == ["zone a.example"]
    assert "with b.example, but the planned MX records differ" in problems[0]
    assert "@, mail" in problems[0]
    assert (tmp_path / "hosted").read_text() == HOSTED


def test_an_absolute_origin_prevents_a_common_result(tmp_path):
    bind = hosts(tmp_path, "a.example", "b.example", text=HOSTED + "$ORIGIN a.example.\nwww A 198.18.1.1\n")
    problems = refused(bind, own("a.example", "new"), own("b.example", "new"))
    assert any("no single text of the file is right for both" in problem for problem in problems)
    assert bind.reloads == []


def test_zones_that_need_no_change_may_share_a_file(tmp_path):
    bind = hosts(tmp_path, "a.example", "b.example")
    result = run(bind, ZoneRequest("a.example", "", [("a.example", [(5, "mail.a.example")], None)]))
    assert not result.zones[0].changed


def test_an_included_file_of_several_zones(tmp_path):
    (tmp_path / "mx").write_text("@ 3600 MX 5 mail.univ.example.\n")
    head, _mx, tail = HOSTED.partition("\tMX\t5 mail\n")
    names = ("a.example", "b.example")
    for name in names:
        (tmp_path / name).write_text(f'{head}$INCLUDE "{tmp_path}/mx"\n{tail}')
    bind = FakeBind("".join(primary(name, tmp_path / name) for name in names), dict.fromkeys(names, 7))
    requests = [ZoneRequest(name, "", [(name, [GATEWAY], None)]) for name in names]
    assert "which zone b.example includes too" in refused(bind, requests[0])[0]
    run(bind, *requests)
    assert (tmp_path / "mx").read_text() == "@ 3600 MX 0 gw1.univ.example.\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.example", "b.example", "mx"]
    assert bind.serials == {"a.example": 8, "b.example": 8}


# -- one zone on several servers ------------------------------------------------------------------------------------


def ns1(*zones: str, client: DnsClient | None = None) -> Authority:
    return Authority(
        client or FakeClient(),
        [to_name(zone, ()) for zone in zones],
        host="ns1.univ.example",
        addresses=("198.18.0.53", "2001:db8::53"),
    )


@pytest.mark.parametrize(
    "statement",
    [
        'zone "a.example" { type secondary; file "a"; primaries { 198.18.0.53; }; };',
        'zone "a.example" { type slave; masters port 53 { 203.0.113.9; 2001:DB8:0::53 key "k"; }; };',
        'primaries "ours" { "more"; };\nmasters more { 198.18.0.53 port 53; };\n'
        'zone "a.example" { type secondary; primaries { ours; }; };',
        'view "v" { zone "a.example" { type secondary; primaries { 198.18.0.53; }; }; };',
    ],
)
def test_a_secondary_of_a_server_in_the_plan(statement):
    bind = FakeBind(statement, {"a.example": 7})
    zone = run(bind, own("a.example"), authorities=[ns1("a.example")]).zones[0]
    assert (zone.method, zone.changed, zone.primary, zone.serial_before) == (
        "transfer",
        False,
        "ns1.univ.example",
        7,
    )


@pytest.mark.parametrize("zones", [[], ["b.example"]])
def test_a_secondary_of_another_server(zones):
    bind = FakeBind('zone "a.example" { type secondary; primaries { 198.18.0.53; }; };')
    problem = refused(bind, own("a.example"), authorities=[ns1(*zones)])[0]
    assert problem.startswith("zone a.example: this server has it as secondary of 198.18.0.53, ")
    assert "mailgate_dns.zones" in problem


def test_a_secondary_without_planned_records_needs_no_primary():
    bind = FakeBind('zone "a.example" { type secondary; primaries { 203.0.113.9; }; };')
    assert run(bind, ZoneRequest("a.example", "", [])).zones[0].method == "transfer"


def test_a_primary_copy_that_this_server_does_not_list(tmp_path):
    bind = hosts(tmp_path, "univ.example", "eng.univ.example")
    (tmp_path / "eng").write_text(HOSTED)
    bind.conf = primary("univ.example", tmp_path / "hosted") + primary("eng.univ.example", tmp_path / "eng")
    problems = refused(bind, own("univ.example"), zones_elsewhere=["univ.example", "ENG.univ.example."])
    assert problems == [
        "zone eng.univ.example: named.conf has it as primary, but it is not in this server's mailgate_dns.zones, so "
        "this copy would keep its MX records. Add it there, or remove the zone from named.conf"
    ]


def test_an_owner_that_lies_in_a_deeper_zone_of_this_server(tmp_path):
    bind = hosts(tmp_path, "univ.example")
    (tmp_path / "eng").write_text(HOSTED)
    bind.conf += primary("eng.univ.example", tmp_path / "eng")
    problem = refused(bind, own("univ.example", "mech.eng"))[0]
    assert "mech.eng.univ.example lies in the zone eng.univ.example" in problem


def test_an_owner_that_is_delegated(tmp_path):
    bind = hosts(tmp_path, "univ.example", text=HOSTED + "eng NS ns.eng\n")
    problem = refused(bind, own("univ.example", "mech.eng"))[0]
    assert "line 7: eng.univ.example. is delegated" in problem
    assert "mech.eng.univ.example." in problem


@pytest.mark.parametrize(("there", "problems"), [({"0 ."}, 0), ({"0 mail.a.example"}, 1), (set(), 0)])
def test_a_null_mx_on_one_of_two_primaries(tmp_path, there, problems):
    bind = hosts(tmp_path, "a.example", text=HOSTED.replace("MX\t5 mail", "MX\t0 ."))
    other = ns1("a.example", client=FakeClient({"a.example": there}))
    if problems:
        found = refused(bind, own("a.example"), authorities=[other])
        assert "has a null MX record here, but other MX records on ns1.univ.example" in found[0]
    else:
        assert not run(bind, own("a.example"), authorities=[other]).zones[0].changed


PLANNED = {"0 gw1.univ.example", "20 mail.a.example"}


@pytest.mark.parametrize("first", [[], [{"a.example": {"5 mail.a.example"}}]])
def test_waiting_for_a_transfer(first):
    bind = FakeBind("")
    client = FakeClient(*first, {"a.example": PLANNED})
    assert wait(Bind(bind.run, "named.conf"), client, [own("a.example")], {}, timeout=5) == []
    assert bind.refreshed == ["a.example"]


def test_a_null_mx_that_is_transferred():
    assert wait(Bind(FakeBind("").run, ""), FakeClient({"a.example": {"0 ."}}), [own("a.example")], {}, timeout=0) == []


def test_a_transfer_that_does_not_arrive():
    client = FakeClient({"a.example": {"5 mail.a.example"}})
    problem = wait(
        Bind(FakeBind("").run, ""), client, [own("a.example")], {"a.example": "ns1.univ.example"}, timeout=0
    )[0]
    assert problem.startswith("zone a.example: this server does not serve the planned MX records of a.example")
    assert "ns1.univ.example" in problem


@pytest.mark.parametrize(("here", "problems"), [(6, 1), (7, 0), (8, 0)])
def test_a_transfer_into_a_view(here, problems):
    bind = FakeBind("", {"a.example": here})
    zone = ZoneRequest("a.example", "v", own("a.example").owners)
    authorities = {"a.example": FakeClient(serial=7)}
    found = wait(Bind(bind.run, ""), FakeClient(), [zone], {"a.example": "ns1"}, timeout=0, servers=authorities)
    assert len(found) == problems
