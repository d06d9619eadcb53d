# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings file: defaults, problems, and the role's argument spec."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import pytest
import yaml

import mailgate
from mailgate import config_file
from mailgate.config import Config, ConfigError
from mailgate.config_file import load_config, parse_config

ROLE = Path(config_file.__file__).resolve().parents[2]


SETTINGS = {item.name: item for item in dataclasses.fields(Config)}


SECTIONS = {
    name: {setting.name: setting for setting in dataclasses.fields(item.default_factory)}
    for name, item in SETTINGS.items()
    if dataclasses.is_dataclass(item.default_factory)
}


# Settings with separate variables in the role.
ELSEWHERE = {"scan.socket", "limits.max_message_bytes"}


NEEDED = 'hostname = "g.example"\nroutes_file = "/r"\n'


# What other settings of a section require, outside of it and in it.
OUTSIDE = {"bounces": 'own_names = ["g.example"]\nrelay_networks = ["198.18.0.0/24"]\n'}
ALSO = {"authentication": "evaluate = true\n", "bounces": 'domains = ["a.example"]\n'}


@functools.cache
def described():
    spec = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
    return spec["argument_specs"]["main"]["options"]


EXAMPLE = Path(mailgate.__file__).parent / "example.toml"


class TestRole:
    @pytest.mark.parametrize("section", SECTIONS)
    def test_the_role_describes_every_setting(self, section):
        options = described()[f"gateway_{section}"]["options"]
        former = {setting.metadata["setting"].formerly for setting in SECTIONS[section].values()}
        options = {name: option for name, option in options.items() if name not in former}
        assert {f"{section}.{name}" for name in options} == {
            f"{section}.{name}" for name in SECTIONS[section]
        } - ELSEWHERE
        for name, option in options.items():
            default = SECTIONS[section][name].default
            kinds = {bool: "bool", int: "int", tuple: "list"}
            kind = kinds.get(type(default), "str")
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
    def test_the_role_offers_the_values_that_the_service_accepts(self, section, name, choices):
        table = f"{NEEDED}{OUTSIDE.get(section, '')}[{section}]\n{ALSO.get(section, '')}"
        for choice in choices:
            parse_config(f'{table}{name} = "{choice}"\n')
        with pytest.raises(ConfigError) as caught:
            parse_config(f'{table}{name} = "else"\n')
        (problem,) = caught.value.problems
        assert sorted(problem.partition("is not one of ")[2].split(", ")) == sorted(choices)

    def test_the_file_and_its_sections_are_read_alike(self):
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


class TestSettings:
    def test_the_example_has_every_setting_with_its_default(self):
        config = load_config(EXAMPLE)
        default = Config("gw1.univ.example", Path("/etc/mailgate/routes"))
        assert config == Config(**{**vars(default), "own_addresses": ("198.18.0.10", "2001:db8::10")})
        import tomllib

        given = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
        # Rules, lists, keys and faculties are comments.
        assert {*given, "rules", "lists", "dkim", "web_faculties"} == set(vars(default))
        for section in ("scan", "content", "limits", "timeouts", "cache", "attachments", "quarantine", "notices"):
            assert set(given[section]) == set(vars(getattr(default, section)))

    def test_keys_of_dkim_by_domain(self):
        config = parse_config(f'{NEEDED}[dkim."Univ.Example"]\nselector = "gw1.s_2-b"\nkey_file = "/k"\n')
        assert [(domain, str(key.key_file)) for domain, key in config.dkim.items()] == [("univ.example", "/k")]
        with pytest.raises(ConfigError) as caught:
            parse_config(
                f'{NEEDED}[dkim."*.a.example"]\nselector = "-x"\nkey_file = "k"\n[dkim."b.example"]\nkey = 1\n', "x"
            )
        assert [problem.split(", ")[0] for problem in caught.value.problems] == [
            "x: dkim.\"*.a.example\": '*.a.example' is not a valid domain",
            "x: dkim.\"*.a.example\".selector: '-x' is not a valid selector of letters",
            "x: dkim.\"*.a.example\".key_file: 'k' is not a valid absolute path",
            'x: dkim."b.example".key: unknown setting; valid settings are selector',
            'x: dkim."b.example".selector: required setting is missing',
            'x: dkim."b.example".key_file: required setting is missing',
        ]
        key = f'{NEEDED}[dkim."a.example"]\nselector = "s"\nkey_file = "/k"\nprevious_selector = "s"\n'
        for more, problem in (("", '"a.example": previous_selector and'), ('previous_key_file = "/p"', "must differ")):
            with pytest.raises(ConfigError, match=problem):
                parse_config(key + more)

    def test_all_problems_of_the_settings_are_named(self):
        text = """
hostname = "not a name"
listen = ["25", "[::]:25"]
state_dir = "relative"
own_addresses = ["198.18.0.300"]
relay_networks = ["198.18.1.1/16"]
queue = "localhost:10025"
language = "fr"
postmaster = "nobody"
colour = "blue"
[scan]
infected = "keep"
concurrency = true
[limits]
max_connections = 0
max_bytes_in_flight = 10
speed = 3
[timeouts]
scan = 200
[content]
max_line_bytes = 50
"""
        with pytest.raises(ConfigError) as caught:
            parse_config(text, "x.toml")
        keys = {problem.split(": ")[1] for problem in caught.value.problems}
        assert keys == {
            "colour", "routes_file", "hostname", "listen", "state_dir", "own_addresses", "relay_networks", "queue",
            "language", "postmaster", "scan.infected", "scan.concurrency", "limits.max_connections", "limits.speed",
            "limits.max_bytes_in_flight", "timeouts", "content.max_line_bytes",
        }  # fmt: skip

    @pytest.mark.parametrize("listen", ["127.0.0.1:25", "0.0.0.0:25", "127.0.0.1:10025", "0.0.0.0:10025", "[::1]:25"])
    def test_metrics_at_an_address_of_mail_are_rejected(self, listen):
        with pytest.raises(ConfigError, match=r"metrics.listen: .* is used for mail"):
            parse_config(f'hostname = "g.example"\nroutes_file = "/r"\n[metrics]\nlisten = ["{listen}"]\n')

    def test_metrics_at_addresses_of_their_own(self):
        listen = ["127.0.0.1:9812", "[2001:db8::1]:9812", "198.18.0.1:9812"]
        text = f'hostname = "g.example"\nroutes_file = "/r"\n[metrics]\nlisten = {json.dumps(listen)}\n'
        assert [str(each) for each in parse_config(text).metrics.listen] == listen
        assert parse_config('hostname = "g.example"\nroutes_file = "/r"\n').metrics.listen == ()

    def test_a_queue_that_is_the_service_itself_is_rejected(self):
        with pytest.raises(ConfigError, match="loop"):
            parse_config('hostname = "g.example"\nroutes_file = "/r"\nqueue = "127.0.0.1:25"\n')

    def test_settings_that_are_not_toml_are_rejected(self, tmp_path):
        with pytest.raises(ConfigError, match="not valid TOML"):
            parse_config("hostname = ")
        with pytest.raises(ConfigError, match="cannot be read"):
            load_config(tmp_path / "none.toml")
