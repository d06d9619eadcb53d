# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings stand in three places that agree: the service's defaults, the checks of its file, the role's description."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from mailgate import config_file
from mailgate.config import Config, ConfigError
from mailgate.config_file import parse_config

ROLE = Path(config_file.__file__).resolve().parents[2]
SETTINGS = {item.name: item for item in dataclasses.fields(Config)}
SECTIONS = {
    name: {setting.name: setting for setting in dataclasses.fields(item.default_factory)}
    for name, item in SETTINGS.items()
    if dataclasses.is_dataclass(item.default_factory)
}
# Known to the role by variables of their own.
ELSEWHERE = {"scan.socket", "limits.max_message_bytes"}
NEEDED = 'hostname = "g.example"\nroutes_file = "/r"\n'


def described():
    spec = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
    return spec["argument_specs"]["main"]["options"]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_role_describes_every_setting(section):
    options = described()[f"gateway_{section}"]["options"]
    former = {setting.metadata["setting"].formerly for setting in SECTIONS[section].values()}
    options = {name: option for name, option in options.items() if name not in former}
    assert {f"{section}.{name}" for name in options} == {f"{section}.{name}" for name in SECTIONS[section]} - ELSEWHERE
    for name, option in options.items():
        default = SECTIONS[section][name].default
        kind = "int" if isinstance(default, int) else "list" if isinstance(default, tuple) else "str"
        assert (name, option["type"].replace("path", "str")) == (name, kind)


@pytest.mark.parametrize(
    ("section", "name", "choices"),
    [
        (section, name, option["choices"])
        for section in SECTIONS
        for name, option in described()[f"gateway_{section}"]["options"].items()
        if "choices" in option
    ],
)
def test_the_role_offers_what_the_service_takes(section, name, choices):
    for choice in choices:
        parse_config(f'{NEEDED}[{section}]\n{name} = "{choice}"\n')
    with pytest.raises(ConfigError) as caught:
        parse_config(f'{NEEDED}[{section}]\n{name} = "else"\n')
    (problem,) = caught.value.problems
    assert sorted(problem.partition("is not one of ")[2].split(", ")) == sorted(choices)


def test_the_file_and_its_sections_are_read_alike():
    with pytest.raises(ConfigError) as caught:
        parse_config(
            f"{NEEDED}workers = 65\ntls = 1\nlisten = [1]\nspeed = 1\n[scan]\nspeed = 1\nconcurrency = 0\n", "x"
        )
    assert [problem.split(", ")[0] for problem in caught.value.problems] == [
        "x: speed: unknown setting; valid settings are hostname",
        "x: listen: must be a list of strings",
        "x: workers: 65 is not valid; must be an integer from 0 to 64",
        "x: scan.speed: unknown setting; valid settings are socket",
        "x: scan.concurrency: 0 is not valid; must be an integer of at least 1",
        "x: tls: must be a table",
    ]
