# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogs: complete, compiled, and used by every report."""

from __future__ import annotations

import gettext
import io
import string
from pathlib import Path

import pytest
from print_campus import hosts, plan_of

from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.inventory import LANGUAGES
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.model import DELIVERIES, METHODS
from ansible_collections.campus.mailgate.plugins.plugin_utils._report import difference as differences
from ansible_collections.campus.mailgate.plugins.plugin_utils._report import translations as report
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.files import report_files

SOURCES = Path(report.__file__).parent
CATALOGS = sorted(SOURCES.glob(f"locale/*/LC_MESSAGES/{report.DOMAIN}.po"))
METHOD_MAP = [("**.py", "python"), ("**.j2", "jinja2")]


def message_key(message):
    return message.context, message.id


def texts(value):
    return list(value) if isinstance(value, list | tuple) else [value]


def fields(text):
    return {name for _literal, name, _spec, _conversion in string.Formatter().parse(text) if name is not None}


@pytest.fixture(scope="module")
def used():
    """Return the texts of the sources, with context, as the extraction tool finds them."""
    extract = pytest.importorskip("babel.messages.extract")
    found = extract.extract_from_dir(str(SOURCES), METHOD_MAP)
    return {(context, message) for _file, _line, message, _comments, context in found}


def read(path):
    pofile = pytest.importorskip("babel.messages.pofile")
    with path.open("rb") as file:
        return pofile.read_po(file)


def test_every_language_but_english_has_a_catalog():
    assert {path.parents[1].name for path in CATALOGS} == set(LANGUAGES) - {"en"}


def test_the_template_has_every_text(used):
    template = read(SOURCES / "locale" / f"{report.DOMAIN}.pot")
    assert {message_key(message) for message in template if message.id} == used


@pytest.mark.parametrize("path", CATALOGS, ids=lambda path: path.parents[1].name)
class TestCatalog:
    def test_it_has_every_text_and_no_other(self, path, used):
        catalog = read(path)
        assert {message_key(message) for message in catalog if message.id} == used
        assert not catalog.obsolete

    def test_every_text_is_translated_with_the_same_fields(self, path):
        for message in read(path):
            translated = texts(message.string)
            assert all(translated), message.id
            assert not message.id or not message.fuzzy, message.id
            if message.id:
                assert {frozenset(fields(text)) for text in translated} == {frozenset(fields(texts(message.id)[-1]))}

    def test_the_compiled_catalog_is_current(self, path):
        mofile = pytest.importorskip("babel.messages.mofile")
        compiled = io.BytesIO()
        mofile.write_mo(compiled, read(path))
        assert path.with_suffix(".mo").read_bytes() == compiled.getvalue()


class Missing(gettext.NullTranslations):
    """Fails for a text that the catalog before it does not have."""

    def gettext(self, message):
        raise AssertionError(f"not translated: {message!r}")

    def ngettext(self, msgid1, msgid2, n):
        raise AssertionError(f"not translated: {msgid1!r}")

    def pgettext(self, context, message):
        raise AssertionError(f"not translated: {context} {message!r}")


@pytest.fixture
def strict():
    for language in set(LANGUAGES) - {"en"}:
        report.translations(language).add_fallback(Missing())
    yield
    report.translations.cache_clear()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_report_is_rendered_in_every_language(strict, language, delivery, method):
    campus = {"mailgate_language": language, "mailgate_delivery": delivery, "mailgate_method": method}
    before, facts = hosts(), hosts()
    del facts["border.univ.example"], facts["quake.univ.example"]
    facts["bio.sci.univ.example"]["ansible_host"] = "198.18.2.99"
    old, new = plan_of(before, **campus), plan_of(facts, **campus | {"mailgate_campus": "Other"})
    for plan, difference in ((old, None), (new, differences.compare(old, new)), (new, differences.compare(new, new))):
        files = report_files(plan, difference)
        assert all(files.values())
        assert "{" not in files["plan.txt"]


def test_an_unknown_language_is_english():
    assert report.translations("../../xx").gettext("Mail plan") == "Mail plan"


def test_plurals():
    english, japanese = (report.translations(language) for language in ("en", "ja"))
    for count, expected in ((1, "1 other faculty"), (2, "2 other faculties")):
        assert (
            english.ngettext("{count} other faculty", "{count} other faculties", count).format(count=count) == expected
        )
    assert japanese.ngettext("{count} other faculty", "{count} other faculties", 2).format(count=2) == "その他の2部局"
