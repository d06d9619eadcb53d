# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of notices and commands in each language."""

from __future__ import annotations

import io
import re
import string
import subprocess
import sys
import zipfile
from collections import Counter
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po

import mailgate
from mailgate.commands.report import render
from mailgate.commands.report_data import Period, Report
from mailgate.config import LANGUAGES
from mailgate.content.notices import Notice, Removal
from mailgate.translation import DOMAIN, N_, SOURCE_LANGUAGE, translator

PACKAGE = Path(mailgate.__file__).parent


LOCALE = PACKAGE / "locale"


TRANSLATED = [language for language in LANGUAGES if language != SOURCE_LANGUAGE]


JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")


KINDS = ("infected", "encrypted", "attachment")


# A full stop or comma of English in a Japanese sentence, and the other spelling of words in `er`.
NOT_JAPANESE = re.compile(r"[.,](?=\s|$)|サーバ(?!ー)|ユーザ(?!ー)")
REPORTS = Path(__file__).parents[4] / "plugins/plugin_utils/_report/locale/ja/LC_MESSAGES/mailgate_report.po"


def msgids() -> set[str]:
    """Texts that code and templates mark for translation."""
    found = extract_from_dir(PACKAGE, method_map=[("**.py", "python"), ("**.j2", "jinja2")])
    return {message for _file, _line, message, _comments, _context in found}


def po(language: str) -> Catalog:
    return read_po((LOCALE / language / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb"))


def texts(catalog: Catalog) -> dict[str, str]:
    return {message.id: message.string for message in catalog if message.id}


def fields(text: str) -> list[str]:
    return sorted(name for _literal, name, _form, _conversion in string.Formatter().parse(text) if name is not None)


class TestCatalogs:
    def test_each_language_has_a_catalog_and_each_catalog_a_language(self):
        assert sorted(path.name for path in LOCALE.iterdir() if path.is_dir()) == sorted(TRANSLATED)

    def test_the_template_has_the_texts_of_the_code(self):
        assert set(texts(read_po((LOCALE / f"{DOMAIN}.pot").open("rb")))) == msgids()

    @pytest.mark.parametrize("language", TRANSLATED)
    def test_catalog_is_complete(self, language):
        catalog = po(language)
        assert set(texts(catalog)) == msgids()
        assert not catalog.obsolete
        assert [message.id for message in catalog if message.id and (message.fuzzy or not message.string)] == []
        assert [text for text, translated in texts(catalog).items() if fields(text) != fields(translated)] == []

    @pytest.mark.parametrize("language", TRANSLATED)
    def test_compiled_catalog_is_up_to_date(self, language):
        compiled = io.BytesIO()
        write_mo(compiled, po(language))
        compiled.seek(0)
        with (LOCALE / language / "LC_MESSAGES" / f"{DOMAIN}.mo").open("rb") as committed:
            assert texts(read_mo(committed)) == texts(read_mo(compiled)), "run `make catalogs`"

    def test_translator(self):
        text = N_("Viruses found")
        assert [translator(language)(text) for language in ("en", "ja")] == ["Viruses found", "ウイルス発見数"]
        with pytest.raises(FileNotFoundError):
            translator("xx")

    def test_catalogs_are_read_from_a_zip_file(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "app", "w") as archive:
            for path in PACKAGE.rglob("*"):
                archive.write(path, path.relative_to(PACKAGE.parent))
        program = "from mailgate.translation import N_, translator; print(translator('ja')(N_('Period')))"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(tmp_path / "app"), "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode() == "期間\n"


class TestTexts:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_notices_in_each_language(self, language, kind):
        notice = Notice(language, "gw1.univ.example")
        removal = Removal(kind, "Eicar")
        paragraphs = notice.text(removal, "a.zip", "1f").split("\n\n")
        assert [bool(JAPANESE.search(text)) for text in paragraphs] == [language == "ja", language != "ja"]
        for text in paragraphs:
            assert all(value in text for value in ("a.zip", "Eicar", "gw1.univ.example", "1f")), text
        assert not JAPANESE.search(notice.text(removal, "a.zip", ascii_only=True))
        assert all(name in notice.text(removal, "") for name in ("(without a name)", "(名前なし)"))
        mail = message_from_bytes(
            notice.mail(removal, "a@univ.example", "1f", {"sender": "s@b.example", "subject": "Hello"}), policy=default
        )
        body = mail.get_content()
        assert mail["Subject"] == "Message not delivered / メールを配信しませんでした"
        assert bool(JAPANESE.search(body.splitlines()[0])) is (language == "ja")
        assert body.count("Eicar") == body.count("s@b.example") == body.count("Hello") == len(LANGUAGES)
        assert "{" not in "".join([body, *paragraphs])

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_a_site_has_the_reason_in_its_language(self, language, kind):
        text = Notice(language, "gw1", "{file} {reason}").text(Removal(kind, "Eicar"), "a.zip")
        assert bool(JAPANESE.search(text)) is (language == "ja")
        assert text.startswith("a.zip ")
        assert "(Eicar)" in text

    @pytest.mark.parametrize("style", ["table", "csv", "json"])
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_reports_in_each_language(self, language, style):
        moment = datetime(2026, 7, 1, tzinfo=UTC)
        period = Period(moment, moment, {"processed": 5, "relay_refused": 0, "virus_found": 0})
        one = Counter({"accepted": 1})
        data = Report(period, period, {"2026-07-01": one}, {"a.example": one}, {"viruses": one}, Counter({5: 1}))
        report = render(data, style=style, language=language, top=5)
        assert bool(JAPANESE.search(report)) is (language == "ja" and style != "json")


@pytest.mark.parametrize("path", [LOCALE / "ja/LC_MESSAGES" / f"{DOMAIN}.po", REPORTS], ids=["gateway", "reports"])
def test_japanese_texts_have_one_punctuation_and_spelling(path):
    found = read_po(path.open("rb"))
    # Those with a number have a form for each, of which Japanese has one.
    texts = ["".join(message.string) for message in found if message.id]
    japanese = [text for text in texts if JAPANESE.search(text)]
    assert len(japanese) > 100
    assert [text for text in japanese if NOT_JAPANESE.search(text)] == []
