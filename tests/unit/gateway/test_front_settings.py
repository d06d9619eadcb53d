# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a gateway with a front: what has no effect behind it is refused, all at once."""

from __future__ import annotations

import socket

import pytest

from mailgate.commands import status
from mailgate.config import ConfigError
from mailgate.config_file import parse_config
from mailgate.routes import Routes

NEEDED = 'hostname = "g.example"\nroutes_file = "/r"\n'
FRONT = NEEDED + 'front_listen = ["0.0.0.0:25"]\n'
BEHIND = FRONT + 'listen = ["127.0.0.1:10026"]\n'
RULE = '[[rules]]\nname = "list"\naction = "refuse"\n[rules.when]\nsender = ["a.example"]\n'


def keys(text: str) -> list[str]:
    """Return the settings that are refused."""
    with pytest.raises(ConfigError) as error:
        parse_config(text)
    return [problem.split(": ")[1] for problem in error.value.problems]


def test_what_does_not_depend_on_clients_is_allowed():
    more = 'postmaster = "p@a.example"\n[attachments]\nmacro = "strip"\n[bans]\nnever = ["192.0.2.1"]\n'
    config = parse_config(BEHIND + more)
    assert [str(endpoint) for endpoint in config.front_listen] == ["0.0.0.0:25"]


def test_without_a_front_nothing_is_refused():
    parse_config(NEEDED + 'relay_networks = ["198.18.0.0/16"]\n[rates]\nrecipients_per_client = 5\n' + RULE)


def test_the_gateway_itself_must_not_be_reached_by_others():
    assert keys(FRONT + 'listen = ["198.18.0.25:10026", "[::1]:10026"]\n') == ["listen"]
    assert keys(NEEDED + 'front_listen = ["127.0.0.1:25"]\nlisten = ["127.0.0.1:25"]\n') == ["front_listen"]


def test_everything_without_effect_is_reported_at_once():
    text = (
        BEHIND + 'relay_networks = ["198.18.0.0/16"]\nproxy_protocol_from = ["192.0.2.0/24"]\n'
        'own_names = ["g.example"]\n'
        "[limits]\ngreet_delay = 2\n[bans]\nunknown_recipients = 100\n[rates]\nrecipients_per_sender = 5\n"
        "relay_alarm = 5\n[greylist]\ndelay = 60\n[authentication]\nevaluate = true\n"
        '[bounces]\nunsent = "log"\ndomains = ["a.example"]\n[refusal]\nseparate_choices = true\n'
        '[rspamd]\nsocket = "127.0.0.1:11333"\n[dkim."a.example"]\nselector = "s"\nkey_file = "/k"\n' + RULE
    )  # fmt: skip
    assert sorted(keys(text)) == sorted([
        "relay_networks", "proxy_protocol_from", "limits.greet_delay", "bans.unknown_recipients",
        "rates.recipients_per_sender", "rates.relay_alarm", "greylist.delay", "authentication.evaluate",
        "rules[1] (list)", "bounces.unsent", "refusal.separate_choices", "rspamd.socket", "dkim",
    ])  # fmt: skip


def test_status_has_the_front_and_its_queue(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "FRONT_QUEUE", tmp_path)
    for name in ("qf1", "df1", "qf2"):
        (tmp_path / name).touch()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    settings = f'front_listen = ["127.0.0.1:{port}"]\nlisten = ["127.0.0.1:1"]\nstate_dir = "{tmp_path}"\n'
    checks = {check.name: check for check in status.run_checks(parse_config(NEEDED + settings), Routes({}))}
    assert not checks[f"front 127.0.0.1:{port}"].ok
    assert checks["mail in the queue of the front"].detail == "2 messages"
    assert not [name for name in status.run_checks(parse_config(NEEDED), Routes({})) if "front" in name.name]
