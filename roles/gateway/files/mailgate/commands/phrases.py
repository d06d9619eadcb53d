# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts with values that are made in one place and translated in another: English strings that know their parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mailgate.translation import N_, Text, Translator

# Of several checks.
ANSWERS = N_("answers")
MESSAGES = N_("messages in {hours} hours: {counts}")
NONE = N_("none")


class Phrase(str):
    """An English text; `translated` returns it in another language.

    A value is a phrase too, or is shown as it is: a name, a number, what a server or the system says.
    """

    __slots__ = ("_separator", "_text", "_values")

    _text: Text | None
    _values: Mapping[str, object]
    _separator: str

    def translated(self, translate: Translator) -> str:
        """Return it in a language."""
        values = {name: _translated(value, translate) for name, value in self._values.items()}
        if self._text is None:
            return self._separator.join(str(value) for value in values.values())
        return translate(self._text).format(**values)


def phrase(text: Text, /, **values: object) -> Phrase:
    """Return a text with its values filled in."""
    return _made(text.format(**values), text, values)


def quoted(text: object) -> Phrase:
    """Return what a server or the system says, which is not translated."""
    return joined([str(text)])


def joined(parts: Iterable[str], separator: str = "; ") -> Phrase:
    """Return several texts one after the other."""
    every = list(parts)
    values = {str(number): part for number, part in enumerate(every)}
    return _made(separator.join(every), None, values, separator)


def _made(english: str, text: Text | None, values: Mapping[str, object], separator: str = "") -> Phrase:
    made = Phrase(english)
    made._text, made._values, made._separator = text, values, separator
    return made


def _translated(value: object, translate: Translator) -> object:
    return value.translated(translate) if isinstance(value, Phrase) else value
