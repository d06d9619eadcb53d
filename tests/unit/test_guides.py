# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names in the guides must exist: variables, settings, commands, events, playbooks, files and links."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

import mailgate
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory import findings
from mailgate import cli
from mailgate.config import Config
from mailgate.metrics.series import COUNTED, READ, full_name

ROOT = Path(__file__).resolve().parents[2]
GUIDES = sorted((ROOT / "docs" / "docsite" / "rst").glob("*.rst"))
PAGES = [pytest.param(path, id=path.stem) for path in GUIDES]
TEXTS = [
    pytest.param(path, id=str(path.relative_to(ROOT)))
    for path in (*GUIDES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md")
]
GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text())
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
SOURCES = "".join(path.read_text() for path in sorted(Path(mailgate.__file__).parent.rglob("*.py")))
MODULES = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
SECTIONS = {
    item.name: {setting.name for setting in dataclasses.fields(item.default_factory)}
    for item in dataclasses.fields(Config)
    if dataclasses.is_dataclass(item.default_factory)
}
METRICS = {name + suffix for name in map(full_name, (*COUNTED, *READ)) for suffix in ("", "_bucket", "_sum", "_count")}
# A block is indented, after a paragraph's or a directive's two colons.
BLOCK = re.compile(r"::(?: yaml| console)?\n\n((?:(?: .*)?\n)+)")


def options(role: str) -> dict[str, Any]:
    spec = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())
    entries = spec["argument_specs"].values()
    return {name: option for entry in entries for name, option in entry["options"].items()}


VARIABLES = {name: option for role in ROLES for name, option in options(role).items()}


def literals(text: str) -> list[str]:
    return re.findall(r"``([^`]+)``", text)


@pytest.mark.parametrize("page", PAGES)
def test_variables_of_roles_exist(page):
    named = set(re.findall(rf"(?<![\w.])(?:{'|'.join(ROLES)})_[a-z0-9_]+", page.read_text()))
    assert named - set(VARIABLES) - MODULES == set()


@pytest.mark.parametrize("page", PAGES)
def test_settings_exist(page):
    named = re.findall(rf"``({'|'.join(SECTIONS)})\.(?!py`)([a-z_]+)", page.read_text())
    assert [f"{section}.{name}" for section, name in named if name not in SECTIONS[section]] == []


@pytest.mark.parametrize("page", PAGES)
def test_keys_in_examples_exist(page):
    examples = re.findall(r"``(\w+: \{.*?\})``", page.read_text())
    examples += [block for block in BLOCK.findall(page.read_text()) if re.match(r"\s+\w+:\s", block)]
    unknown = []
    for text in examples:
        for name, value in (yaml.safe_load(text) or {}).items():
            known = VARIABLES.get(name, {}).get("options")
            if known and isinstance(value, dict):
                unknown += [f"{name}.{key}" for key in value if key not in known]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_understood(page, capsys):
    text = page.read_text()
    whole = [line.strip(" #$") for block in BLOCK.findall(text) for line in block.splitlines()]
    lines = [re.sub(r"\s+[#>].*", "", line) for line in whole if re.match(r"mailgate [a-z]", line)]
    for line in lines:
        cli.argument_parser().parse_args(shlex.split(line)[1:])
    for line in (literal for literal in literals(text) if re.match(r"mailgate [a-z]", literal)):
        with pytest.raises(SystemExit) as left:
            cli.argument_parser().parse_args([*shlex.split(line)[1:], "--help"])
        printed = capsys.readouterr().out
        assert left.value.code == 0
        assert [word for word in line.split() if word.startswith("--") and word not in printed] == []


@pytest.mark.parametrize("page", TEXTS)
def test_variables_of_the_inventory_exist(page):
    groups = {f"mailgate_{kind}" for kind in (*findings.KINDS, *findings.OTHERS.values(), "outside")}
    named = set(re.findall(r"(?<![\w./-])mailgate_[a-z0-9_]*[a-z0-9]\b", page.read_text()))
    assert [name for name in named - groups - METRICS if findings.is_unknown(name)] == []


@pytest.mark.parametrize("page", TEXTS)
def test_playbooks_exist(page):
    named = re.findall(r"(?:playbook|console).*campus\.mailgate\.(\w+)", page.read_text())
    named += re.findall(r"playbooks/([\w/]+)\.yml", page.read_text())
    assert [name for name in named if not (ROOT / "playbooks" / f"{name}.yml").is_file()] == []


@pytest.mark.parametrize("page", TEXTS)
def test_files_exist(page):
    text = page.read_text()
    quoted = re.findall(r"`((?:inventories|roles|plugins|requirements|tests|lab|docs)/[\w./-]*)`", text)
    linked = re.findall(rf"{re.escape(GALAXY['repository'])}/([\w./-]+)", text)
    assert [path for path in (*quoted, *linked) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", TEXTS)
def test_links_to_guides_exist(page):
    linked = re.findall(rf"{re.escape(GALAXY['documentation'])}/docsite/(\w+)\.html", page.read_text())
    assert set(linked) <= {path.stem for path in GUIDES}


def test_every_guide_is_in_the_table_of_contents():
    sections = yaml.safe_load((ROOT / "docs" / "docsite" / "extra-docs.yml").read_text())["sections"]
    assert sorted(name for section in sections for name in section["toctree"]) == [path.stem for path in GUIDES]


@pytest.mark.parametrize("page", PAGES)
def test_guides_open_with_a_command(page):
    opening = page.read_text().partition("\n===")[2][:1600]
    assert re.search(r"^\.\. code-block:: console\n|::\n\n +mailgate ", opening, re.MULTILINE)


def test_replies_exist():
    page = (ROOT / "docs" / "docsite" / "rst" / "troubleshoot.rst").read_text()
    named = [found for text in literals(page) if (found := re.fullmatch(r"([245]\d\d) (\d\.\d+\.\d+ \D.*)", text))]
    assert len(named) > 20
    assert [found[0] for found in named if not re.search(rf'{found[1]}, f?"{re.escape(found[2])}', SOURCES)] == []
