# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role's argument spec says must be what its defaults are: the READMEs and the docs are made from the spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted(path for path in (Path(__file__).resolve().parents[2] / "roles").iterdir() if path.is_dir())


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {}


def options(role: Path) -> dict[str, Any]:
    return load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]


def undescribed(name: str, option: dict[str, Any]) -> list[str]:
    """Return the dotted names of this option and those nested in it that lack a type or a description."""
    missing = [] if option.get("type") and option.get("description") else [name]
    if option.get("type") == "list" and "elements" not in option:
        missing.append(f"{name} (elements)")
    for key, nested in option.get("options", {}).items():
        missing += undescribed(f"{name}.{key}", nested)
    return missing


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_is_in_the_spec_and_the_other_way_round(role: Path) -> None:
    described = options(role)
    defaults = load(role / "defaults" / "main.yml")
    optional = {name for name, option in described.items() if not option.get("required")}
    assert set(defaults) <= set(described)
    assert {name for name in optional if "default" in described[name]} <= set(defaults)
    for name, value in defaults.items():
        if "{{" not in str(value):
            assert described[name].get("default") == value, name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_has_a_type_and_a_description(role: Path) -> None:
    assert [name for key, option in options(role).items() for name in undescribed(key, option)] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_carry_the_roles_name(role: Path) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []
