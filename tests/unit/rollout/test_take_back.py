# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which runs can be taken back as a whole, and in which steps."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.plugin_utils._rollout.runs import Run
from ansible_collections.campus.mailgate.plugins.plugin_utils._rollout.take_back import Refused, plan, require_run

ID = "20261130T100001Z-7"
HOSTS = ["gw2", "gw1", "border", "ns1", "mail", "mech"]
EMPTY = {"local": [], "relay": [], "routes": {}}
SERVES = {"local": ["mech.eng"], "relay": [], "routes": {"eng": ["198.18.1.25"]}}


def run(**values):
    return Run(**{"name": f"{ID}.json", "began": 1, "who": "root@c", "what": "site", "ended": 2} | values)


def answer(host, *by, first=(), zones=(), present=None, **values):
    files = [{"path": f"/etc/{each}", "by": each, "change": "changed", "now": "as it was written"} for each in by]
    found = {"first": list(first), "files": files, "zones": list(zones), "taken_back": ""} if by or zones else {}
    return {"host": host, "found": found, "problems": [], "later": [], "present": present or {}, **values}


def mx(before, after):
    return {"zone": "eng", "view": "", "owner": "eng", "before": [[0, before]], "after": [[0, after]]}


def decide(*answers, record=None, accept=()):
    given = {each["host"] for each in answers}
    rest = [answer(host) for host in HOSTS if host not in given]
    return plan(record or run(), [*answers, *rest], HOSTS, ["gw1.univ.example"], accept)


def test_the_steps_and_their_hosts():
    found = decide(
        answer("border", "border_firewall"),
        answer(
            "gw1",
            "gateway",
            "sendmail_routes",
            present={"gateway": {"before": {"routes": {}}, "now": {"routes": {"a": ["1"]}}}},
        ),
        answer("gw2", "clamav"),
        answer("ns1", zones=[mx("mail.eng.", "gw1.univ.example.")]),
        answer(
            "mail",
            "postfix_routes",
            present={"postfix_routes": {"before": EMPTY, "now": EMPTY | {"routes": {"a": ["1"]}}}},
        ),
        answer(
            "mech",
            "sendmail_routes",
            first=["sendmail_routes"],
            present={"sendmail_routes": {"before": EMPTY, "now": SERVES}},
        ),
    )
    assert found.steps == {
        "border": ["border"],
        "dns": ["ns1"],
        "gateways": ["gw2", "gw1"],
        "routes": ["gw1", "mail"],
        "accepting": ["mech"],
    }
    assert found.roles["gw1"] == ["gateway", "sendmail_routes"]
    assert (found.roles["mech"], found.new["mech"]) == ([], ["sendmail_routes"])
    assert found.leaving == ["a"]
    assert (found.roles["ns1"], found.new["ns1"]) == (["bind_mx"], [])


def test_zones_and_files_of_a_new_dns_server_are_one_role():
    ns1 = answer("ns1", "bind_mx", first=["bind_mx", "bind_mx zones"], zones=[mx("mail.", "gw1.univ.example.")])
    found = decide(ns1)
    assert (found.roles["ns1"], found.new["ns1"]) == ([], ["bind_mx"])
    ns1["found"]["first"] = ["bind_mx zones"]
    found = decide(ns1)
    assert (found.roles["ns1"], found.new["ns1"]) == (["bind_mx"], [])


def test_a_host_that_was_taken_back_before_an_interruption_is_left_out():
    done = answer("mail", "postfix_routes")
    done["found"]["taken_back"] = "20261130T110000Z-8"
    assert decide(done, answer("gw1", "gateway")).steps["routes"] == []


@pytest.mark.parametrize(
    ("answers", "record", "line"),
    [
        ([], {}, "No host keeps anything of run"),
        ([answer("gw1", "gateway", later=["R2", "R3"])], {}, "Take back first, in this order: R3, R2"),
        (
            [answer("gw1", "gateway", problems=["/etc/mailgate/routes was edited since, by hand"])],
            {},
            "nothing was changed: gw1: /etc/mailgate/routes was edited since",
        ),
        (
            [answer("ns1", zones=[mx("a.", "b.")], left=["zone eng: the MX records of eng were changed since to 0 c"])],
            {},
            "ns1: zone eng: the MX records of eng were changed since to 0 c",
        ),
        ([answer("ns1", zones=[mx("gw1.univ.example.", "mail.")])], {}, "ns1: eng had MX records of the gateways"),
        ([answer("ns1", "bind_mx external zones")], {}, "ns1: it changed external zones"),
        (
            [answer("border", "border_firewall", present={"border": {"before": ["198.18.1.25"], "now": []}})],
            {},
            "border: it opened port 25 of 198.18.1.25",
        ),
        (
            [answer("mail", "postfix_routes", present={"postfix_routes": {"before": SERVES, "now": EMPTY}})],
            {},
            "mail: mech.eng is not accepted any more; mail: the route of eng was removed",
        ),
        (
            [
                answer(
                    "gw1",
                    "gateway",
                    present={"gateway": {"before": {"routes": {"a": ["1"]}}, "now": {"routes": {"a": ["2"]}}}},
                )
            ],
            {},
            "gw1: the route of a was changed",
        ),
        (
            [answer("gw1", "gateway")],
            {"files": {"old.host": ["/etc/x"]}},
            "old.host could not be asked, and were changed by it",
        ),
    ],
)
def test_a_run_is_refused_with_one_line(answers, record, line):
    with pytest.raises(Refused) as refused:
        decide(*answers, record=run(**record))
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "othing was changed" in str(refused.value) or "nothing was changed" in str(refused.value)


def test_a_host_that_cannot_be_asked():
    answers = [answer(host, "gateway") if host == "gw1" else answer(host) for host in HOSTS if host != "mail"]
    assert plan(run(), answers, HOSTS, []).steps["gateways"] == ["gw1"]
    with pytest.raises(Refused, match="mail could not be asked, and may have been changed by it"):
        plan(run(ended=0), answers, HOSTS, [])
    assert plan(run(ended=0), answers, HOSTS, [], ["mail"]).steps["gateways"] == ["gw1"]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"taken_back": "R9"}, "is already taken back, by run R9"),
        ({"takes_back": "R1", "what": "rollback run=R1"}, "took something back"),
        ({"what": "rollback to=mx"}, "took something back"),
    ],
)
def test_runs_that_are_not_taken_back_at_all(values, line):
    with pytest.raises(Refused, match=line):
        require_run(run(**values))
