# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules from the inventory to the settings file: examples of the guide pass the spec, the template and the service."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jinja2
import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from mailgate.config_file import parse_config

ROOT = Path(__file__).resolve().parents[4]
ROLE = ROOT / "roles" / "gateway"
PAGES = ("rules", "authentication", "events", "limits", "outgoing", "spam")
GUIDES = [(ROOT / "docs" / "docsite" / "rst" / f"{page}.rst").read_text() for page in PAGES]
BLOCK = re.compile(r"block:: yaml\n\n((?:(?: +.*)?\n)+)")
BLOCKS = [yaml.safe_load(block) for guide in GUIDES for block in BLOCK.findall(guide)]
# Others are variables of the inventory.
EXAMPLES = [block for block in BLOCKS if next(iter(block)).startswith("gateway_")]
SECTIONS = (
    "refusal", "authentication", "bans", "rates", "limits", "greylist", "shared_state", "rspamd", "signing", "bounces",
    "event_database",
)  # fmt: skip
TABLES = (
    "gateway_relay_networks",
    "gateway_dkim",
    "gateway_lists",
    "gateway_rules",
    "gateway_domains",
    "gateway_event_database_password",
    "gateway_never_ban",
    "gateway_rspamd_install",
    "gateway_shared_state_password",
)
NAMES = (*TABLES, *(f"gateway_{s}" for s in SECTIONS))


def render(variables: dict) -> str:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters["to_json"] = json.dumps
    template = environment.from_string((ROLE / "templates" / "mailgate.toml.j2").read_text())
    settings = {
        "hostname": "gw1.univ.example", "routes_file": "/etc/mailgate/routes", "own_names": ["gw1.univ.example"],
        "relay_networks": variables.get("gateway_relay_networks", []),
    }  # fmt: skip
    empty = {"gateway_lists": {}, "gateway_rules": [], "gateway_domains": {}, "gateway_web_faculties": {}}
    given = {**empty, **variables}
    sections = {name: given.get(f"gateway_{name}", {}) for name in SECTIONS}
    sections["bans"] = {**sections["bans"], "never": given.get("gateway_never_ban", [])}
    if given.get("gateway_rspamd_install"):
        sections["rspamd"] = {"socket": "127.0.0.1:11333", **sections["rspamd"]}
    keys = [
        {"selector": "gw1", "previous": "", "previous_path": "/p" * ("previous" in each), **each, "path": "/etc/k.pem"}
        for each in given.get("gateway_dkim", [])
    ]
    return template.render(__gateway_settings=settings, __gateway_sections=sections, __gateway_dkim_keys=keys, **given)


def messages(variables: dict) -> list[str]:
    spec = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    validator = ArgumentSpecValidator({name: spec[name] for name in NAMES})
    return validator.validate(variables, validate_role_argument_spec=True).error_messages


def test_the_guides_have_examples():
    assert len(EXAMPLES) == 16


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: next(iter(example)))
def test_examples_of_the_guides_are_valid(example):
    assert messages(example) == []
    if "dmarc" in str(example.get("gateway_domains")):
        example = {"gateway_authentication": {"evaluate": True}, **example}
    # Lists in files are on the gateway only, and are not read here.
    config = parse_config(render(example))
    assert [rule.name for rule in config.rules] == [rule["name"] for rule in example.get("gateway_rules", [])]
    assert set(config.lists) == set(example.get("gateway_lists", {}))
    assert config.domains == example.get("gateway_domains", {})
    assert list(config.dkim) == [each["domain"] for each in example.get("gateway_dkim", [])]


def test_every_kind_of_value_reaches_the_service():
    rule = {
        "name": "r", "action": "refuse", "log_only": True, "on_dns_failure": "defer", "codes": ["127.0.0.2"],
        "reply": '5.7.1 "{client}" \\ refused', "reply_ja": "拒否",
        "when": {"dns_list": "bl.example", "more_recipients_than": 2, "helo_is": ["own", "bare"]},
        "unless": {"client": ["198.18.0.0/16"], "sender": ["user@", "*.example"]},
    }  # fmt: skip
    assert messages({"gateway_rules": [rule]}) == []
    (read,) = parse_config(render({"gateway_rules": [rule]})).rules
    assert {
        name: getattr(read, name) for name in ("name", "action", "log_only", "on_dns_failure", "reply", "reply_ja")
    } == {name: rule[name] for name in ("name", "action", "log_only", "on_dns_failure", "reply", "reply_ja")}
    assert (read.codes, read.when.helo_is, read.when.more_recipients_than) == (("127.0.0.2",), ("own", "bare"), 2)
    assert (read.unless.client, read.unless.sender) == (("198.18.0.0/16",), ("user@", "*.example"))


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ({"name": "r"}, "missing required arguments: action"),
        ({"name": "r", "action": "drop"}, "value of action must be one of"),
        ({"name": "r", "action": "tag", "when": {"helo_is": ["odd"]}}, "value of helo_is must be one or more of"),
        ({"name": "r", "action": "tag", "whne": {}}, "gateway_rules.whne. Supported parameters include"),
    ],
)
def test_the_role_refuses_what_is_not_valid(rule, word):
    (message,) = messages({"gateway_rules": [rule]})
    assert word in message
