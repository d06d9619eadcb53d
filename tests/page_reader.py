# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A strict reader of the pages that the collection writes."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order; keeps elements, and the text of each table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("th", "td"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def check_self_contained(self, text: str, language: str) -> None:
        """Require what every page has: language, unique ids, tables and charts with names, nothing from elsewhere."""
        assert text.startswith("<!DOCTYPE html>\n")
        assert self.all("html") == [{"lang": language}]
        names = {name for name, _attributes in self.elements}
        assert not names & {"script", "link", "img", "iframe", "object", "image", "use"}
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\((?!#)", text)
        assert not [
            a for _, attributes in self.elements for a in attributes if a.startswith("on") or a in ("src", "style")
        ]
        assert [each for each in self.all("meta") if (each.get("content") or "").startswith("default-src 'none'")]
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        assert len(set(ids)) == len(ids)
        assert {link["href"] for link in self.all("a")} <= {f"#{each}" for each in ids}
        assert {attributes.get("scope") for attributes in self.all("th")} <= {"col", "row"}
        assert all(
            each.get("aria-label") or each.get("aria-labelledby") for each in self.all("table") + self.all("svg")
        )
        labels = {each for _, attributes in self.elements for each in (attributes.get("aria-labelledby") or "").split()}
        assert labels <= set(ids)
