# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx settings of the documentation site that `docs/sphinx/build.py` builds."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".cache" / "docs"

project = "campus.mailgate"
author = "mailgate contributors"
copyright = "2026 mailgate contributors"
title = html_short_title = "campus.mailgate"
version = release = str(yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"])

extensions = ["sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
nitpicky = True
default_role = "any"
# The few labels of docs.ansible.com that generated pages refer to. build.py writes the file, so nothing is downloaded.
intersphinx_mapping = {"ansible": ("https://docs.ansible.com/projects/ansible/latest/", str(BUILD / "ansible.inv"))}

highlight_language = "text"
pygments_style = "ansible"
html_theme = "sphinx_ansible_theme"
html_theme_options = {"show_extranav": False, "show_rtd_ethical_ads": False, "titles_only": True}
templates_path = ["templates"]
html_extra_path = [str(BUILD / "extra")]
html_show_sphinx = html_copy_source = html_use_index = html_use_modindex = False
