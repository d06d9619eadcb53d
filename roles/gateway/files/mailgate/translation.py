# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Translation of texts by the gettext catalogs in `locale`; the texts in the code are English and serve as msgids.

`make catalogs` extracts the marked texts and compiles the catalogs.
"""

from __future__ import annotations

import gettext
import io
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import NewType

DOMAIN = "mailgate"
SOURCE_LANGUAGE = "en"

Text = NewType("Text", str)
"""A text marked for translation."""
Translator = Callable[[Text], str]


def N_(text: str) -> Text:
    """Mark a text for translation; `pybabel extract` finds it by the name of this function."""
    return Text(text)


@cache
def translator(language: str) -> Translator:
    """Return the function that translates marked texts into `language`.

    The catalog is read from the package, which may be inside a zipapp, once in a process.
    Raises FileNotFoundError or OSError if the package has no catalog of that language.
    """
    if language == SOURCE_LANGUAGE:
        return gettext.NullTranslations().gettext
    # The collection's filters import this module by another name.
    catalog = pkgutil.get_data(__name__.rpartition(".")[0], f"locale/{language}/LC_MESSAGES/{DOMAIN}.mo")
    if catalog is None:
        raise FileNotFoundError(f"no catalog for {language}")
    return gettext.GNUTranslations(io.BytesIO(catalog)).gettext
