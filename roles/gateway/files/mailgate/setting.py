# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a setting is declared: a dataclass field whose metadata says what is valid and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class Setting:
    """Declaration of a setting or section apart from its name and default.

    Attributes:
        help: Meaning, in whole sentences.
        minimum: Smallest valid number.
        maximum: Largest valid number; None for no bound.
        choices: Valid values; empty if `form` decides.
        form: Syntax of a string, or of each string of a list; a key of `config_file.FORMS`.
        unit: Unit of a number.
        formerly: Deprecated name that is still accepted.
        example: Value for example.toml where the default is unsuitable.
        per_domain: Whether a table in `[domains]` may override it.
    """

    help: str
    minimum: int = 1
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    form: str = "text"
    unit: str = ""
    formerly: str = ""
    example: object = None
    per_domain: bool = False


def describe(help: str, **declared: Any) -> Mapping[str, Setting]:
    """Return the metadata of a field; the arguments are those of `Setting`."""
    return {"setting": Setting(help, **declared)}


def setting(default: _T, help: str, **declared: Any) -> _T:
    """Declare an optional setting; the arguments are those of `Setting`."""
    return field(default=default, metadata=describe(help, **declared))  # pylint: disable=invalid-field-call


def section(kind: type[_T], help: str) -> _T:
    """Declare a section of the file, whose settings are the fields of the dataclass `kind`."""
    return field(default_factory=kind, metadata=describe(help))  # pylint: disable=invalid-field-call


def declarations(kind: type) -> Iterator[tuple[Field[Any], Setting]]:
    """Yield the fields of a dataclass of settings with their declarations."""
    for item in fields(kind):
        yield item, item.metadata["setting"]
