# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations of the settings: what is generated from them, deprecated names, messages about invalid values."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from mailgate import config_file
from mailgate.cli import main
from mailgate.config import Config, ConfigError, Limits
from mailgate.config_file import FORMS, parse_config
from mailgate.process.supervisor import Service
from mailgate.setting import declarations

ROOT = Path(__file__).resolve().parents[3]
NEEDED = 'hostname = "g.example"\nroutes_file = "/r"\n'
OLD = "max_call_aheads_per_next_hop"
NEW = "max_verifications_per_next_hop"
SECTIONS = [
    item.default_factory for item, _setting in declarations(Config) if item.default_factory not in (dict, tuple)
]
SETTINGS = [
    pytest.param(item, setting, id=f"{kind.__name__}.{item.name}")
    for kind in (Config, *(kind for kind in SECTIONS if dataclasses.is_dataclass(kind)))
    for item, setting in declarations(kind)
]
LIMITS = [item.name for item in dataclasses.fields(Limits)]
# Forms of tables, which have readers of their own.
TABLES = ("domain_table", "faculty_tables", "key_tables", "list_tables", "rule_tables")
# Variables of the role with another name than the setting.
VARIABLES = {"scan.socket": "gateway_clamd_socket", "limits.max_message_bytes": "gateway_max_message_bytes"}


def role_options():
    path = Path(config_file.__file__).resolve().parents[2] / "meta" / "argument_specs.yml"
    return yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(NEEDED + text, "x")
    return caught.value.problems


def test_generated_files_are_up_to_date():
    command = [sys.executable, ROOT / "tests" / "sanity" / "settings", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(("item", "setting"), SETTINGS)
def test_declaration_is_complete(item, setting):
    assert setting.help.endswith(".")
    assert setting.help.count("`") % 2 == 0
    assert setting.form in FORMS or setting.form in TABLES
    if isinstance(item.default, int) and not isinstance(item.default, bool):
        assert setting.minimum <= item.default <= (setting.maximum or item.default)
    if setting.choices:
        assert item.default in setting.choices


def test_variables_of_the_role_outside_of_sections_agree():
    options = role_options()
    for item, setting in declarations(Config):
        option = options.get(f"gateway_{item.name}")
        if option is None or item.default is dataclasses.MISSING:
            continue
        value = [str(each) for each in item.default] if isinstance(item.default, tuple) else item.default
        assert option.get("default", value) in (value, str(value)), item.name
        assert tuple(option.get("choices", ())) == setting.choices, item.name
    assert set(VARIABLES.values()) <= set(options)


@pytest.mark.parametrize(("name", "deprecated"), [(OLD, 1), (NEW, 0)])
def test_deprecated_name_is_accepted_and_reported(name, deprecated):
    lines = []
    config = parse_config(f"{NEEDED}[limits]\n{name} = 3\n", "x", warn=lines.append)
    assert config.limits.max_verifications_per_next_hop == 3
    assert lines == [f"x: limits.{OLD}: deprecated name; use limits.{NEW}"] * deprecated


def test_both_names_are_refused():
    assert problems(f"[limits]\n{OLD} = 3\n{NEW} = 3\n") == [
        f"x: limits.{OLD}: deprecated name of limits.{NEW}, which is also set; remove one"
    ]


def test_check_reports_deprecated_names(tmp_path, capsys):
    (tmp_path / "routes").write_text("a.example\t198.18.1.1\n")
    path = tmp_path / "mailgate.toml"
    path.write_text(f'hostname = "g.example"\nroutes_file = "{tmp_path}/routes"\n[limits]\n{OLD} = 3\n')
    assert main(["check", "--config", str(path)]) == 0
    assert capsys.readouterr().err == f"{path}: limits.{OLD}: deprecated name; use limits.{NEW}\n"


def test_start_reports_deprecated_names(tmp_path, caplog):
    (tmp_path / "routes").write_text("a.example\t198.18.1.1\n")
    path = tmp_path / "mailgate.toml"
    path.write_text(
        f'hostname = "g.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n[limits]\n{OLD} = 3\n'
    )
    Service(path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: limits.{OLD}: deprecated name; use limits.{NEW}"
    ]


@pytest.mark.parametrize(
    ("limits", "errors"), [({OLD: 3}, 0), ({NEW: 3}, 0), ({"max_errors": 3}, 0), ({OLD: 3, NEW: 3}, 1)]
)
def test_role_accepts_either_name(limits, errors):
    validator = ArgumentSpecValidator({"gateway_limits": role_options()["gateway_limits"]})
    result = validator.validate({"gateway_limits": limits}, validate_role_argument_spec=True)
    assert len(result.error_messages) == errors


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('own_addresses = ["x"]', "own_addresses: 'x' is not a valid IP address"),
        ("own_addresses = [1]", "own_addresses: must be a list of strings"),
        ("language = 1", "language: 1 is not valid; must be a string"),
        ('language = "fr"', "language: 'fr' is not one of en, ja"),
        ('queue = "localhost:25"', "queue: 'localhost:25' is not a valid ADDRESS:PORT or [ADDRESS]:PORT"),
        ('relay_networks = ["198.18.1.1/16"]',
         "relay_networks: '198.18.1.1/16' is not a valid network ADDRESS/BITS (without host bits)"),
        ('[domains."a.example"]\nmacro = "x"',
         "domains.\"a.example\".macro: 'x' is not one of allow, strip, refuse, quarantine"),
        ('[limits]\n"" = 1', f"limits.: unknown setting; valid settings are {', '.join(LIMITS)}"),
        ("[domains]\na = 1", 'domains."a": must be a table'),
    ],
)  # fmt: skip
def test_messages_name_the_key_and_what_is_valid(text, problem):
    assert problems(text) == [f"x: {problem}"]
