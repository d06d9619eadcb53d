# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a DNS server on loopback, and the action that runs it on a host."""

from __future__ import annotations

import json
import shutil
import socketserver
import sys
import threading

import dns.flags
import dns.message
import dns.rrset
import pytest
from playbook_run import run_playbook

from ansible_collections.campus.mailgate.plugins.modules import mail_probe

RECORDS = {
    "a.example.": ["10 GW2.Example.", "0 gw1.example."],
    "*.lab.example.": ["0 gw1.example."],
    "null.example.": ["0 ."],
    "old.example.": ["0 old.example."],
}
PLANNED = ["0 gw1.example", "10 gw2.example"]


class Dns(socketserver.BaseRequestHandler):
    """An authoritative server for `RECORDS`; it refuses names below lame.example."""

    def handle(self):
        data, socket = self.request
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        name = query.question[0].name.to_text()
        if not name.endswith("lame.example."):
            answer.flags |= dns.flags.AA
        if name in RECORDS:
            answer.answer.append(dns.rrset.from_text(name, 300, "IN", "MX", *RECORDS[name]))
        socket.sendto(answer.to_wire(), self.client_address)


@pytest.fixture
def port():
    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Dns) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def probe(module_arguments, capsys, port, *names, allowed=(PLANNED,), **more):
    owners = [{"owner": name, "allowed": list(allowed)} for name in names]
    arguments = {"zones": [{"zone": "example", "owners": owners}], "dns_port": port, **more}
    with module_arguments(arguments), pytest.raises(SystemExit):
        mail_probe.main()
    return json.loads(capsys.readouterr().out)["problems"]


def test_records_as_planned(module_arguments, capsys, port):
    assert probe(module_arguments, capsys, port, "a.example", "null.example") == []
    wild = [["0 other.example"], ["0 gw1.example"]]
    assert probe(module_arguments, capsys, port, "*.lab.example", allowed=wild) == []


def test_other_records(module_arguments, capsys, port):
    (problem,) = probe(module_arguments, capsys, port, "a.example", "old.example", "none.example")
    assert problem.startswith("zone example: old.example (and 1 more) is served with MX 0 old.example; planned: 0 gw1")


@pytest.mark.parametrize(
    ("outside", "other_views", "found"), [("0 old", [], True), ("0 old", ["out"], False), ("0 gw1", [], False)]
)
def test_a_view_that_no_query_from_here_reaches(module_arguments, capsys, port, tmp_path, outside, other_views, found):
    if not shutil.which("named-checkzone"):
        pytest.skip("named-checkzone is not installed")
    conf = ""
    for view, mx in {"in": "0 gw1", "out": outside}.items():
        file = tmp_path / view
        file.write_text(f"$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 127.0.0.1\na MX {mx}\na MX 10 GW2\n")
        conf += f'view "{view}" {{ zone "example" {{ type primary; file "{file}"; }}; }};\n'
    (tmp_path / "named.conf").write_text(conf)
    more = {"named_conf": str(tmp_path / "named.conf"), "other_views": other_views}
    problems = probe(module_arguments, capsys, port, "a.example", **more)
    text = "zone example (view out): a.example is served with MX 0 old.example, 10 gw2.example; planned: 0 gw1.example"
    assert [problem.startswith(text) for problem in problems] == [True] * found


def test_a_server_without_authority(module_arguments, capsys, port):
    (problem,) = probe(module_arguments, capsys, port, "lame.example")
    assert problem.startswith("zone example: 127.0.0.1 does not answer authoritatively for lame.example. MX")


@pytest.mark.slow
def test_the_action_runs_it_on_the_host(tmp_path):
    hosts = {
        "gw1": {"address": "127.9.9.9", "address6": "", "hub": "", "kinds": ["gateways"]},
        "inner": {"address": "127.9.9.8", "address6": "", "hub": "", "kinds": ["servers"]},
    }
    route = {"domain": "a.example", "home": "inner", "next_hops": ["127.9.9.8"]}
    plan = {"gateways": [{"host": "gw1"}], "hosts": hosts, "routes": [route], "mx": {}, "mx_outside": {}}
    ask = {"name": "Ask", "campus.mailgate.mail_check": {"plan": plan, "ask": "gw1"}, "delegate_to": "gw1"}
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "other", "gather_facts": False, "tasks": [ask]}]))
    inventory = {"all": {"hosts": {"gw1": {}, "other": {}}, "vars": {"ansible_connection": "local"}}}
    inventory["all"]["vars"]["ansible_python_interpreter"] = sys.executable
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory))
    status, output = run_playbook(tmp_path, "-i", "hosts.yml", "play.yml", "-v")
    assert status == 0, output
    assert '"problems": ["gw1 (127.9.9.9 port 25) ' in output
