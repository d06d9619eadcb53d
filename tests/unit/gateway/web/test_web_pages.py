# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every page: who may see it, in both languages, and with hostile texts in every field that mail can fill."""

from __future__ import annotations

import re

import pytest
from web_site import KEPT, MAIL, Page, web_site

from mailgate.web import pages

PAGES = (
    "/",
    "/search",
    "/search?text=law.univ.example",
    "/search?text=nothing.example&since=x",
    f"/mail?id={MAIL}",
    "/live",
    "/live?refresh=1",
    "/queue",
    "/report",
    "/report?period=1d",
    "/report?since=2026-01-01&until=2026-01-31",
    "/routes",
    "/address",
    "/address?client=192.0.2.1&recipient=x@eng.univ.example",
    "/address?client=bad&recipient=x",
    "/quarantine",
    f"/quarantine?done=release&number={KEPT}",
    f"/quarantine?done=delete&number={KEPT}",
    f"/quarantine/{KEPT}",
)
ERRORS = {
    "/nothing": 404,
    "/mail": 400,
    "/mail?id=0000000000000": 404,
    "/quarantine/0123456789": 404,
    "/quarantine/x/release": 405,
    "/report?since=2026-02-01&until=2026-01-01": 400,
    "/language/xx": 404,
}
# Words that are the same in both languages.
NAMES = r"gw|univ|example|mailgate|SMTP|HELO|IP|Message-ID|ID|URL|DKIM|id|DNS|web-data|service|MB|log|Id"


def own_words(text: str) -> list[str]:
    """Return the English words that a Japanese page has written itself."""
    return [word for word in re.findall(r"[A-Za-z][A-Za-z-]+", text) if not re.fullmatch(NAMES, word)]


@pytest.mark.parametrize("path", PAGES)
async def test_markup_from_mail_is_text(web, path):
    for user in ("alice", "carol"):
        answer = await web.get(path, user)
        assert answer.status_code == 200, answer.text
        page = Page(answer.text)
        assert {tag for tag, _attributes in page.tags}.isdisjoint({"script", "img", "iframe", "object", "style"})
        for tag, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
            link = attributes.get("href") or attributes.get("action") or "/"
            assert link.startswith(("/", "#")) and not link.startswith("//"), link
        assert "1398311" not in answer.text
        assert not re.search("[\x00-\x08\x0b-\x1f\x1b\u202e]", answer.text)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_wholly_in_its_language(web, path):
    english, japanese = [Page((await web.get(path, language=each)).text) for each in ("en", "ja")]
    assert ("html", {"lang": "ja"}) in japanese.tags
    assert not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", " ".join(english.texts))
    assert own_words(" ".join(japanese.texts)) == []
    labels = " ".join(str(attributes.get("aria-label", "")) for _tag, attributes in japanese.tags)
    assert own_words(labels) == []
    assert len(english.tags) == len(japanese.tags)


@pytest.mark.parametrize(("path", "status"), ERRORS.items())
async def test_errors_have_the_right_status_and_language(web, path, status):
    for language in ("en", "ja"):
        answer = await web.get(path, language=language)
        assert answer.status_code == status
        page = Page(answer.text)
        assert any("\u3040" <= character <= "\u9fff" for character in " ".join(page.texts)) == (language == "ja")
        assert language == "en" or own_words(" ".join(page.texts)) == []
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")


async def test_all_pages_are_reached_from_the_first_and_have_safe_headers(web):
    answer = await web.get("/")
    links = {attributes["href"] for tag, attributes in Page(answer.text).tags if tag == "a"}
    assert {"/search", "/live", "/queue", "/report", "/quarantine", "/address", "/routes"} <= links
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    sheet = await web.get("/style.css")
    assert sheet.status_code == 200 and sheet.headers["content-type"].startswith("text/css")
    assert "refresh" not in (await web.get("/live")).headers
    assert (await web.get("/live?refresh=1")).headers["refresh"] == "10"


async def test_search_says_that_older_mail_is_not_shown(web, monkeypatch):
    more = "Older ones are not shown"
    assert more not in (await web.get("/search?text=law.univ.example")).text
    monkeypatch.setattr(pages, "SEARCH_ROWS", 1)
    found = (await web.get("/search?text=law.univ.example")).text
    assert more in found and "(1+)" in found


async def test_only_the_web_server_in_front_is_answered(tmp_path):
    async with web_site(tmp_path, peer="198.18.0.77") as web:
        for path in ("/", "/style.css", "/nothing"):
            answer = await web.get(path)
            assert answer.status_code == 403
            assert answer.text == "Forbidden: not a web server of this page\n"


async def test_a_listed_web_server_is_answered_and_loopback_is_not(tmp_path):
    more = '[web]\nproxies = ["198.18.0.77", "2001:db8::7"]\npostmasters = ["alice"]\n'
    async with web_site(tmp_path, more=more, peer="::ffff:198.18.0.77") as web:
        assert (await web.get("/routes")).status_code == 200
    async with web_site(tmp_path, more=more) as web:
        assert (await web.get("/routes")).status_code == 403


async def test_a_visitor_without_a_name_or_a_role_sees_nothing(web):
    for user, status in ((None, 401), ("", 401), ("mallory", 403), ("@law", 403)):
        for path in ("/", "/quarantine", "/nothing", "/routes"):
            answer = await web.get(path, user)
            assert answer.status_code == status
            assert "law.univ.example" not in answer.text
    twice = await web.client.get("/", headers=[("x-remote-user", "alice"), ("x-remote-user", "mallory")])
    assert twice.status_code == 401


async def test_groups_give_a_role(web):
    assert "eng.univ.example" in (await web.get("/routes", "erin", **{"x-groups": "staff; postmasters"})).text
    law = (await web.get("/routes", "erin", **{"x-groups": "staff,law"})).text
    assert "law.univ.example" in law and "eng.univ.example" not in law


@pytest.mark.parametrize("path", [page for page in PAGES if "law.univ" not in page])
async def test_a_faculty_sees_its_own_domains_only(web, path):
    page = (await web.get(path, "carol")).text
    assert "law.univ.example" not in page
    page = (await web.get(path, "dave")).text
    assert "@eng.univ.example" not in page or path.startswith("/address")


async def test_a_faculty_cannot_ask_for_others(web):
    assert (await web.get("/mail?id=19ab3f0c5d2e4f999", "carol")).status_code == 404
    assert (await web.get("/mail?id=19ab3f0c5d2e4f999", "dave")).status_code == 200
    found = await web.get("/search?text=law.univ.example", "carol")
    assert "bob@" not in found.text
    answer = await web.get("/address?client=192.0.2.1&recipient=x@law.univ.example", "carol")
    assert answer.status_code == 403


async def test_the_language_is_kept_and_leads_back(web):
    answer = await web.get("/language/ja?back=%2Freport%3Fperiod%3D1d")
    assert answer.status_code == 303 and answer.headers["location"] == "/report?period=1d"
    assert "mailgate_language=ja" in answer.headers["set-cookie"]
    for back in ("//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", "/a%0d%0aX: y"):
        answer = await web.get(f"/language/ja?back={back}")
        assert answer.headers["location"] == "/"
    assert 'lang="en"' in (await web.get("/", language="xx")).text[:300]
