# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the documentation site from guides, argument specs and plugin documentation, without network access.

Usage: python -m docs.sphinx.build      (`make docs`)

Pages are written to .cache/docs/html. The exit status is 1 if Sphinx reports a warning or a link has no target.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docs.sphinx import screens

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / ".cache" / "docs"
COLLECTIONS = ROOT / ".cache" / "collections"
# Labels of docs.ansible.com that antsibull-docs writes into the pages of plugins: label, page and anchor.
ANSIBLE_LABELS = {
    "action_plugins": "plugins/action.html#action-plugins",
    "ansible_collections.ansible.builtin.add_host_module": "collections/ansible/builtin/add_host_module.html",
    "ansible_configuration_settings": "reference_appendices/config.html#ansible-configuration-settings",
    "common_return_values": "reference_appendices/common_return_values.html#common-return-values",
}


def write_inventory(path: Path) -> None:
    """Write ANSIBLE_LABELS as a Sphinx inventory, version 2."""
    head = "# Sphinx inventory version 2\n# Project: Ansible\n# Version: latest\n# Compressed with zlib.\n"
    rows = [f"{label} std:label -1 {uri} {label}\n" for label, uri in sorted(ANSIBLE_LABELS.items())]
    path.write_bytes(head.encode() + zlib.compress("".join(rows).encode()))


def write_plugin_pages(destination: Path) -> None:
    """Have antsibull-docs write the pages of plugins and roles, and copy the guides."""
    destination.mkdir(mode=0o755, parents=True)
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    command = ["antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error"]
    subprocess.run([*command, "--dest-dir", str(destination), "campus.mailgate"], env=environment, check=True)


class _Page(HTMLParser):
    """The anchors and links of one HTML page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors.update(filter(None, (values.get("id"), values.get("name"))))
        self.links.extend(filter(None, (values.get("href"), values.get("src"))))


def broken_links(site: Path) -> list[str]:
    """Return "PAGE: LINK" for each link within the site whose file or anchor does not exist."""
    pages = {path: _Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            if not target.is_file() or (parts.fragment and known and unquote(parts.fragment) not in known.anchors):
                found.append(f"{path.relative_to(site)}: {link}")
    return found


def main() -> int:
    """Build the site and check its links."""
    shutil.rmtree(BUILD, ignore_errors=True)
    pages, site = BUILD / "rst", BUILD / "html"
    write_plugin_pages(pages)
    write_inventory(BUILD / "ansible.inv")
    screens.write(pages / "docsite" / "generated", BUILD / "extra")
    arguments = ["-W", "--keep-going", "-n", "-q", "-b", "html", "-c", str(HERE), "-d", str(BUILD / "doctrees")]
    status = subprocess.run(["sphinx-build", *arguments, str(pages), str(site)], check=False).returncode
    if status:
        return status
    broken = broken_links(site)
    for link in broken:
        print(f"no such target: {link}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
