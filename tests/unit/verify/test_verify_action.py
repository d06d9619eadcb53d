# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugins: which modules they call for connections to servers outside, and what they read of the routers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from ansible.errors import AnsibleError
from verify_campus import BORDER, CIVIL, GW1, MECH, NS1, SERVER, SERVER6, inventory, plan_of

from ansible_collections.campus.mailgate.plugins.action import mail_verify, mail_verify_print
from ansible_collections.campus.mailgate.plugins.plugin_utils._verify import questions

PROBE = "campus.mailgate.smtp_probe"


class Host:
    """A host on which modules run; it keeps their names and arguments, and `refused` is why none does."""

    def __init__(self) -> None:
        self.called: list[tuple[str, dict]] = []
        self.refused: dict[str, str] = {}

    def call(self, _action, module, arguments, _variables):
        self.called.append((module, arguments))
        if module in self.refused:
            return {}, self.refused[module]
        servers = [{"address": each["address"], "state": "open"} for each in arguments.get("servers", ())]
        return {"facts": {"clock": 1}, "servers": servers}, ""


@pytest.fixture
def host(monkeypatch):
    found = Host()
    monkeypatch.setattr(mail_verify, "call", found.call)
    return found


def run(name, plan=None, side=None, outbound=(SERVER, SERVER6)):
    """Return the result on a host of the campus, or on one at a vantage point."""
    action = mail_verify.ActionModule.__new__(mail_verify.ActionModule)
    args = {key: value.get("default") for key, value in mail_verify.ARGUMENTS.items()}
    args |= {"plan": plan or plan_of(), "side": side, "outbound": list(outbound)}
    variables = {"inventory_hostname": name, "hostvars": inventory()}
    return action._probe(args, variables) if side else action._read(args, variables)


@pytest.mark.parametrize("name", [GW1, MECH])
def test_gateways_and_inner_servers_connect_and_say_nothing(host, name):
    assert [each["address"] for each in run(name)["outbound"]] == [SERVER, SERVER6]
    (asked,) = [arguments["servers"] for module, arguments in host.called if module == PROBE]
    assert asked == [{"address": SERVER, "session": False}, {"address": SERVER6, "session": False}]


@pytest.mark.parametrize("name", [NS1, BORDER])
def test_other_hosts_do_not_connect(host, name):
    assert run(name)["outbound"] == []
    assert PROBE not in dict(host.called)


@pytest.mark.parametrize("outbound", [(), ("mx.provider.example",)])
def test_without_a_server_to_try_nothing_more_is_called(host, outbound):
    assert run(MECH, outbound=outbound)["outbound"] == []
    assert len(host.called) == 1


def test_a_server_of_others_is_not_logged_in_to(host):
    plan = plan_of({CIVIL: {"mailgate_mta": "none"}})
    assert run(CIVIL, plan)["outbound"] == []
    assert host.called == []


def test_a_host_that_cannot_be_read_is_not_asked_again(host):
    host.refused["campus.mailgate.mail_verify"] = "no connection"
    assert run(MECH)["outbound_reason"] == ""
    assert len(host.called) == 1


def test_a_host_whose_python_is_too_old(host):
    host.refused[PROBE] = "no attribute timeout"
    found = run(MECH)
    assert (found["outbound"], found["outbound_reason"]) == ([], "no attribute timeout")
    assert found["facts"]


def test_a_vantage_point_outside_connects_too(host):
    plan = plan_of()
    found = run("outside.example", plan, questions.OUTSIDE)
    assert [each["address"] for each in found["outbound"]] == [SERVER, SERVER6]
    assert len(found["smtp"]["servers"]) == len(questions.smtp(plan, questions.OUTSIDE))
    assert sum(module == PROBE for module, _arguments in host.called) == 1


def test_a_vantage_point_inside_does_not(host):
    assert run("localhost", side=questions.INSIDE)["outbound"] == []


class Failing(Mapping):
    """Variables of a host with a template that fails."""

    def __getitem__(self, name: str) -> object:
        raise AnsibleError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(["border_firewall_outbound"])

    def __len__(self) -> int:
        return 1


def test_the_settings_of_the_routers():
    settings = {"border_firewall_outbound": {"mode": "enforce"}}
    hostvars = {"a": settings | {"border_firewall_action": "drop"}, "b": {}, "c": Failing(), "d": settings}
    found = mail_verify_print._routers({"border": dict.fromkeys("abc")}, {"hostvars": hostvars})
    assert found == {"a": settings, "b": {}}
