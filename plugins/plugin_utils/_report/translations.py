# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Translations of the reports, from the gettext catalogs below locale/. English texts are the message ids."""

from __future__ import annotations

import functools
import gettext
from pathlib import Path

from .._inventory.inventory import LANGUAGES

DOMAIN = "mailgate_report"

Translations = gettext.NullTranslations


@functools.cache
def translations(language: str) -> Translations:
    """Return the catalog of a language; English for one without a catalog."""
    if language not in LANGUAGES:  # a saved plan may hold any text here
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, Path(__file__).with_name("locale"), [language], fallback=language == "en")


def N_(text: str) -> str:  # the name that extraction tools know
    """Mark a text for extraction; it is translated where it is used."""
    return text


def choice(value: str, catalog: Translations) -> str:
    """Return a value of mailgate_method or mailgate_delivery as reports show it."""
    known = {
        "gateway": catalog.pgettext("MX method", "gateway"),
        "split": catalog.pgettext("MX method", "split"),
        "fallback": catalog.pgettext("MX method", "fallback"),
        "direct": catalog.pgettext("delivery", "direct"),
        "tiered": catalog.pgettext("delivery", "tiered"),
        "mixed": catalog.pgettext("delivery", "mixed"),
    }
    return known.get(value, value)


def view_name(view: str, catalog: Translations) -> str:
    """Return the name of a DNS view as reports show it; empty for a zone without views."""
    names = {"inside": catalog.pgettext("DNS view", "internal"), "outside": catalog.pgettext("DNS view", "external")}
    return names.get(view, view)
