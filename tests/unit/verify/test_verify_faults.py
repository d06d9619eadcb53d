# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults planted one by one in the answers of a sound campus: each is named first, with its host."""

from __future__ import annotations

import datetime

import pytest
from verify_campus import BORDER, CIVIL, DAY, GW1, GW2, MAIL, MECH, NOW, NS1, NS2, QUAKE, Sound, plan_of

from ansible_collections.campus.mailgate.plugins.plugin_utils._report.translations import translations
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.fault import KINDS
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.limits import Limits
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.verdict import (
    BaselineError,
    judge,
    read_baseline,
)

ENGLISH = translations("en")
DOMAIN = "mech.eng.univ.example"
ENG = "eng.univ.example"


def both_servers(campus, change):
    """Change the MX records of DOMAIN on both servers and in the resolver, as an edit of the zone does."""
    for side in ("outside", "inside"):
        for server in (NS1, NS2):
            change(campus.zone(ENG, server, side)["mx"][DOMAIN])
        change(campus.dns(side)["mx"][DOMAIN])


def wrong_mx(campus):
    both_servers(campus, lambda answer: answer.update(records=["0 quake.univ.example"]))


def extra_mx(campus):
    both_servers(campus, lambda answer: answer["records"].append("5 old.univ.example"))


def no_mx(campus):
    both_servers(campus, lambda answer: answer.update(records=[]))


def wrong_on_one(campus):
    campus.zone(ENG, NS2)["mx"][DOMAIN]["records"] = ["0 old.univ.example"]


def stale(campus):
    server = campus.zone(ENG, NS2)
    server["serial"] = 6
    server["mx"][DOMAIN]["records"] = ["0 mech.eng.univ.example"]


def ahead(campus):
    campus.zone(ENG, NS2)["serial"] = 8


def lame(campus):
    campus.zone(ENG, NS2).update(authoritative=False, error="REFUSED", serial=0, ns=[], mx={})


def glue(campus):
    campus.whole_zone("univ.example")["delegation"][0]["glue"][NS2] = []


def no_name_server_address(campus):
    campus.whole_zone("univ.example")["ns"]["ns3.elsewhere.example"] = []


def delegation(campus):
    each = campus.whole_zone("univ.example")["delegation"][0]
    each["ns"].append("ns3.elsewhere.example")
    each["glue"]["ns3.elsewhere.example"] = []


def ttl(campus):
    both_servers(campus, lambda answer: answer.update(ttl=60))


def other_ttl(campus):
    both_servers(campus, lambda answer: answer.update(ttl=7200))


def no_address(campus):
    campus.dns()["names"][GW2]["addresses"] = []


def one_address_missing(campus):
    campus.dns()["names"][GW1]["addresses"] = ["198.18.0.25"]


def alias(campus):
    campus.dns()["names"][GW1]["alias"] = "www.univ.example"


def resolver(campus):
    campus.dns()["mx"][DOMAIN]["records"] = ["0 old.univ.example"]


def dead_resolver(campus):
    for answer in campus.dns()["mx"].values():
        answer.update(records=[], error="no answer in time")


def dnssec(campus):
    campus.whole_zone(ENG)["dnssec"] = {"errors": ["eng.univ.example MX: the signature expired on 2026-03-01"]}


def dnssec_ends(campus):
    campus.whole_zone(ENG)["dnssec"] = {"errors": [], "expires": NOW + DAY}


def ptr(campus):
    campus.dns()["ptr"]["198.18.0.25"]["names"] = ["old.univ.example"]


def no_ptr(campus):
    campus.dns()["ptr"]["198.18.0.26"]["names"] = []


def gateway_closed(campus):
    campus.smtp("2001:db8:18::25").update(state="silent", error="no answer in time", greeting="")


def open_on_v6(campus):
    campus.smtp("2001:db8:18:1::25").update(state="open", error="")


def no_permit(campus):
    campus.smtp("198.18.3.40").update(state="refused", error="Connection refused")


def relay_gateway(campus):
    form = {"name": "plain address", "sender": "<>", "recipient": "<u@example.com>", "local": False, "code": 250}
    campus.smtp("198.18.0.25")["relay"]["accepted"] = [form]


def relay_percent(campus):
    form = {"name": "percent", "sender": "<>", "recipient": "<u%example.com@d>", "local": True, "code": 250}
    campus.smtp("198.18.1.31", "inside")["relay"]["accepted"] = [form]


def gateway_refuses(campus):
    entry = next(each for each in campus.smtp("198.18.0.26")["domains"] if each["domain"] == DOMAIN)
    entry.update(code=550, text="5.7.1 Relaying denied")


def gateway_without_domain(campus):
    service = campus.facts(GW2)["service"]
    service["routes"] = [each for each in service["routes"] if each["domain"] != DOMAIN]
    gateway_refuses(campus)


def gateway_extra_domain(campus):
    campus.facts(GW2)["service"]["routes"].append({"domain": "old.example", "next_hops": ["198.18.1.30"]})


def gateway_wrong_hop(campus):
    campus.facts(GW2)["service"]["routes"][0]["next_hops"] = ["198.18.1.99"]


def server_down(campus):
    campus.smtp("198.18.1.31", "inside").update(state="refused", error="refused", greeting="")
    for address in ("198.18.0.25", "198.18.0.26"):
        for entry in campus.smtp(address)["domains"]:
            if entry["domain"] == "civil.eng.univ.example":
                entry.update(code=450, text="4.4.1 Recipient cannot be verified: destination server unreachable")


def deferred(campus):
    campus.smtp("198.18.0.25")["domains"][0].update(code=450, text="4.4.1 Recipient cannot be verified")


def wrong_route(campus):
    facts = campus.facts(MAIL)
    facts["mail"]["routes"]["quake.univ.example"] = "relay:[198.18.3.99]"
    facts["changes"]["routes_added"] = ["quake.univ.example"]


def loop(campus):
    for host, hop in ((MAIL, "198.18.1.30"), (MECH, "198.18.1.25")):
        facts = campus.facts(host)
        facts["mail"]["routes"]["quake.univ.example"] = f"relay:[{hop}]"
        facts["changes"]["routes_added"] = ["quake.univ.example"]


def loop_by_gateway(campus):
    facts = campus.facts(MECH)
    facts["mail"]["routes"][DOMAIN] = "relay:[198.18.0.25]"


def no_route(campus):
    facts = campus.facts(MAIL)
    del facts["mail"]["routes"]["quake.univ.example"]
    facts["changes"]["routes_added"] = ["quake.univ.example"]


def not_local(campus):
    campus.facts(MECH)["changes"]["local_added"] = [DOMAIN]


def scanner(campus):
    campus.facts(GW1)["service"]["failed"] = ["clamd /run/clamav/clamd.ctl: [Errno 2] No such file or directory"]


def service(campus):
    campus.facts(GW1)["service"]["failed"] = ["queue 127.0.0.1:10025: Connection refused"]


def signatures(campus):
    campus.facts(GW1)["service"]["clamd"] = "ClamAV 1.4.3/27400/Sun Mar  1 10:00:00 2026"


def signature_files(campus):
    campus.facts(GW1)["service"]["clamd"] = "ClamAV 1.4.3"
    campus.facts(GW1)["signatures"] = NOW - 9 * DAY


def expired(campus):
    campus.smtp("198.18.0.25")["tls"]["not_after"] = NOW - DAY


def other_name(campus):
    campus.smtp("198.18.0.25")["tls"].update(matches=False, names=["www.univ.example"])


def expires(campus):
    campus.smtp("198.18.0.25")["tls"]["not_after"] = NOW + 5 * DAY


def broken_tls(campus):
    campus.smtp("198.18.0.25")["tls"] = {"error": "TLS: handshake failure"}


def no_tls(campus):
    campus.smtp("198.18.0.26").update(extensions={}, tls={})


def banner(campus):
    campus.smtp("198.18.0.25")["greeting"] = "220 localhost ESMTP"


def size(campus):
    campus.smtp("198.18.0.25")["size"].update(code=250, text="OK")


def drift(campus):
    campus.facts(GW1)["kept"] = [{"path": "/etc/clamav/clamd.conf", "state": "edited", "own": False, "by": "clamav"}]


def second_mta(campus):
    campus.facts(QUAKE)["mta"]["problems"] = ["mailgate_mta is sendmail, but exim is on this host"]


def unreachable(campus):
    campus.hosts[GW2].update(facts={}, unreachable_reason="Connection timed out")
    campus.smtp("198.18.0.26").update(state="silent", error="no answer in time", greeting="", domains=[], tls={})


def queue(campus):
    campus.facts(GW1)["queue"] = {"messages": 3, "oldest": 2 * DAY}


def clock(campus):
    campus.facts(MECH)["clock"] = NOW - 400


def rules(campus):
    campus.facts(BORDER)["guard"].update(status=1, problems=["ipv4: the jump is missing"])
    open_on_v6(campus)


def guard(campus):
    campus.facts(BORDER)["guard"]["active"] = "failed"


def repairs(campus):
    campus.facts(BORDER)["guard"].update(repairs=3, last=NOW - 60, by=["firewalld"])


def blocked(campus):
    campus.facts(BORDER)["router"]["ways"][0].update(fate="blocked", rules=["policy DROP of chain FORWARD"])


def versions(campus):
    campus.facts(GW2)["service"]["version"] = "0.2.0"


def lowered(campus):
    campus.facts(NS1)["lowered"] = True


def unverified(campus):
    entry = next(each for each in campus.smtp("198.18.0.25")["unknown"] if each["domain"] == "civil.eng.univ.example")
    entry.update(code=250, text="OK")


def unread(campus):
    campus.facts(MECH)["notes"] = ["mail cannot be read: ValueError: x"]


def vantage(campus):
    campus.outside.update(smtp={"servers": []}, dns={}, unreachable_reason="Connection refused")


def no_network(campus):
    for answer in campus.inside["smtp"]["servers"]:
        answer.update(state="no_route", error="Network is unreachable", greeting="")
    for answer in campus.inside["dns"]["mx"].values():
        answer.update(records=[], error="Network is unreachable")


def no_ipv6(campus):
    for side in ("outside", "inside"):
        for address in ("2001:db8:18::25", "2001:db8:18:1::25"):
            campus.smtp(address, side).update(state="no_route", error="Network is unreachable", greeting="")


def gets_out(campus):
    campus.outbound(MECH).update(state="open", source="198.18.1.30")


def cannot_send(campus):
    campus.outbound(GW2).update(state="silent", source="")


def nobody_gets_out(campus):
    for host in (GW1, GW2, QUAKE):
        campus.outbound(host).update(state="silent", source="")


FAULTS = [
    (wrong_mx, "mx", NS1),
    (extra_mx, "mx", NS1),
    (no_mx, "mx", NS1),
    (wrong_on_one, "mx", NS2),
    (stale, "stale", NS2),
    (ahead, "stale", NS2),
    (lame, "lame", NS2),
    (glue, "glue", NS2),
    (no_name_server_address, "glue", "ns3.elsewhere.example"),
    (delegation, "delegation", NS1),
    (ttl, "ttl", NS1),
    (other_ttl, "ttl", NS1),
    (no_address, "no_address", GW2),
    (one_address_missing, "address", GW1),
    (alias, "alias", GW1),
    (resolver, "resolver", "192.0.2.53"),
    (dead_resolver, "no_resolver", "192.0.2.53"),
    (dnssec, "dnssec", NS1),
    (dnssec_ends, "signatures_end", NS1),
    (ptr, "ptr", GW1),
    (no_ptr, "ptr", GW2),
    (gateway_closed, "closed", GW1),
    (open_on_v6, "open", MAIL),
    (no_permit, "permit", QUAKE),
    (relay_gateway, "relay", GW1),
    (relay_percent, "relay", CIVIL),
    (gateway_refuses, "refused", GW2),
    (gateway_without_domain, "route_missing", GW2),
    (gateway_extra_domain, "route_extra", GW2),
    (gateway_wrong_hop, "route", GW2),
    (server_down, "silent", CIVIL),
    (deferred, "deferred", GW1),
    (wrong_route, "route", MAIL),
    (loop, "loop", MAIL),
    (loop_by_gateway, "loop", MECH),
    (no_route, "route_missing", MAIL),
    (not_local, "not_local", MECH),
    (scanner, "scanner", GW1),
    (service, "service", GW1),
    (signatures, "signatures", GW1),
    (signature_files, "signatures", GW1),
    (expired, "certificate", GW1),
    (other_name, "certificate", GW1),
    (expires, "certificate_ends", GW1),
    (broken_tls, "tls", GW1),
    (no_tls, "no_tls", GW2),
    (banner, "banner", GW1),
    (size, "size", GW1),
    (drift, "drift", GW1),
    (second_mta, "second_mta", QUAKE),
    (unreachable, "unreachable", GW2),
    (queue, "queue", GW1),
    (clock, "clock", MECH),
    (rules, "rules", BORDER),
    (guard, "guard", BORDER),
    (repairs, "repairs", BORDER),
    (blocked, "blocked", BORDER),
    (versions, "versions", GW2),
    (lowered, "lowered", NS1),
    (unverified, "unverified", GW1),
    (unread, "unread", MECH),
    (vantage, "vantage", "outside.example"),
    (no_network, "vantage", "localhost"),
    (no_ipv6, "unread", "outside.example, localhost"),
    (gets_out, "outbound_open", MECH),
    (cannot_send, "outbound_closed", GW2),
    (nobody_gets_out, "outbound_unknown", "-"),
]


@pytest.mark.parametrize("method", ["gateway", "split", "fallback"])
@pytest.mark.parametrize("delivery", ["direct", "tiered"])
def test_a_sound_campus_has_no_faults(method, delivery):
    verdict = Sound(plan_of(mailgate_method=method, mailgate_delivery=delivery)).verdict()
    assert [fault.id for fault in verdict.faults] == []
    assert verdict.checks > 300


@pytest.mark.parametrize(("plant", "kind", "host"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_each_planted_fault_is_named_first(plant, kind, host):
    campus = Sound()
    plant(campus)
    assert campus.first() == (kind, host)
    fault = campus.verdict().faults[0]
    for text in (fault.what(ENGLISH), fault.why(ENGLISH), fault.fix(ENGLISH)):
        assert text
        assert "{" not in text


def test_every_kind_is_planted_somewhere():
    planted = {kind for _plant, kind, _host in FAULTS}
    others = {"session", "unanswered", "permit_ends", "expired_baseline", "message_refused", "message_missing"}
    assert set(KINDS) == planted | others


def test_a_front_accepts_unknown_users_but_must_not_relay():
    campus = Sound()
    for each in campus.smtp("198.18.0.25")["unknown"]:
        each.update(code=250, text="OK")
    campus.smtp("198.18.0.25")["relay"]["accepted"] = [{"name": "form", "recipient": "a!b@c.example", "local": True}]
    campus.facts(GW1)["service"]["front"] = True
    assert [fault.id for fault in campus.verdict().faults] == []
    campus.facts(GW2)["service"]["front"] = campus.facts(GW1)["service"].pop("front")
    assert "unverified" in [fault.kind for fault in campus.verdict().faults]
    campus.facts(GW1)["service"]["front"] = True
    campus.smtp("198.18.0.25")["relay"]["accepted"][0]["local"] = False
    assert campus.first() == ("relay", GW1)


def test_a_run_without_vantage_points():
    campus = Sound()
    (fault,) = judge(campus.plan, list(campus.hosts.values()), [], limits=Limits(), now=NOW).faults
    assert fault.kind == "vantage"


def test_a_fault_that_several_places_see_is_one():
    campus = Sound()
    wrong_mx(campus)
    faults = campus.verdict().faults
    assert [fault.id for fault in faults] == [f"mx {NS1} {DOMAIN}", f"mx {NS2} {DOMAIN}"]
    assert faults[0].seen == ("outside.example", "localhost")


def test_names_that_differ_alike_are_one_fault():
    campus = Sound()
    for domain in (DOMAIN, "*.lab.mech.eng.univ.example"):  # with the same planned records
        campus.zone(ENG)["mx"][domain]["records"] = ["0 old.univ.example"]
    (fault,) = campus.verdict().faults
    assert fault.values["domains"] == f"*.lab.mech.eng.univ.example, {DOMAIN}"


def test_a_null_mx_is_left_to_its_admin():
    campus = Sound()
    both_servers(campus, lambda answer: answer.update(records=["0 ."]))
    assert campus.verdict().faults == []


def test_servers_that_accept_any_user_do_not_relay_by_local_forms():
    campus = Sound()
    relay_percent(campus)
    answer = campus.smtp("198.18.1.31", "inside")
    for each in answer["unknown"]:
        each.update(code=250, text="OK")
    assert campus.verdict().faults == []


def test_a_permit_that_ends_soon():
    plan = plan_of({QUAKE: {"mailgate_permit": {"reason": "x", "owner": "y", "until": "2026-04-08"}}})
    assert Sound(plan).first() == ("permit_ends", QUAKE)
    assert Sound(plan).verdict(Limits(permit_days=3)).faults == []


def test_a_host_of_others_is_not_read():
    campus = Sound(plan_of({CIVIL: {"mailgate_mta": "none"}}))
    assert campus.verdict().faults == []
    assert campus.smtp("198.18.1.31", "inside")["relay"] == {}


def entry(fault, until):
    return {"fault": fault, "reason": "waits for the vendor", "until": until}


def test_an_acknowledged_fault_does_not_count_until_its_last_day():
    campus = Sound()
    drift(campus)
    accepted = read_baseline([entry("drift gw1.univ.example /etc/clamav/*", datetime.date(2026, 4, 1))], "b.yml")
    verdict = campus.verdict(baseline=accepted)
    assert verdict.faults == []
    assert [fault.kind for fault, _entry in verdict.acknowledged] == ["drift"]
    ended = read_baseline([entry("drift *", "2026-03-31")], "b.yml")
    assert [fault.kind for fault in campus.verdict(baseline=ended).faults] == ["drift", "expired_baseline"]


def test_a_baseline_with_problems_lists_them_all():
    entries = [
        entry("drift x", "soon"),
        {"fault": "x"},
        entry("*", "2027-01-01"),
        entry("mx", "2027-01-01") | {"reason": " "},
    ]
    with pytest.raises(BaselineError) as caught:
        read_baseline(entries, "b.yml")
    assert str(caught.value).splitlines() == [
        "b.yml: entry 1: until: 'soon' is not a valid date. Write for example 2027-03-31",
        "b.yml: entry 2: must have fault, reason and until, and nothing else",
        "b.yml: entry 3: fault is empty or acknowledges everything. Copy the name from the report",
        "b.yml: entry 4: reason is empty. Say why the fault stays",
    ]
    with pytest.raises(BaselineError, match="not a list"):
        read_baseline({"a": 1}, "b.yml")
    assert read_baseline(None, "b.yml") == []
