# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of nginx before the page's server is written: by a real nginx, together with the sites that are there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[4] / "roles" / "gateway" / "files" / "nginx" / "nginx-check"
NGINX = next((path for path in (Path("/usr/sbin/nginx"), Path("/usr/bin/nginx")) if path.exists()), None)
MAIN = """
pid {path}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    map $uri $known {{ default x; }}
    include {include};
    include {path}/sites-enabled/*;
}}
"""
PAGE = "server {\n    listen 127.0.0.1:4444;\n    server_name page.univ.example;\n    return 200 $known;\n}\n"

pytestmark = pytest.mark.skipif(not NGINX, reason="nginx is not installed")


@pytest.fixture
def nginx(tmp_path) -> Path:
    """Return the directory of an nginx with a site of its admin."""
    for name in ("conf.d", "sites-enabled"):
        (tmp_path / name).mkdir()
    (tmp_path / "nginx.conf").write_text(MAIN.format(path=tmp_path, include=f"{tmp_path}/conf.d/*.conf"))
    (tmp_path / "sites-enabled" / "www").write_text("server { listen 127.0.0.1:4443; server_name www.univ.example; }\n")
    return tmp_path


def check(directory: Path, server: str) -> str:
    """Return what the check says, empty if the server may be written; nothing may be left of the check."""
    (directory / "new").write_text(server)
    (directory / "pid").touch()
    before = sorted(directory.rglob("*"))
    done = subprocess.run(
        ["sh", "-c", CHECK.read_text(), "nginx-check", str(NGINX), str(directory), str(directory / "new")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert sorted(directory.rglob("*")) == before
    assert (done.returncode == 0) == (done.stderr == ""), done
    return done.stderr


def test_a_valid_server_passes_with_what_the_admin_has_defined(nginx):
    assert check(nginx, PAGE) == ""


def test_the_present_version_is_replaced_and_not_there_twice(nginx):
    (nginx / "conf.d" / "mailgate-web.conf").write_text("an older version, which is not valid")
    assert check(nginx, PAGE) == ""


@pytest.mark.parametrize("include", ["conf.d/*.conf", '"{path}/conf.d/*.conf"'])
def test_other_forms_of_the_include_are_found(nginx, include):
    (nginx / "nginx.conf").write_text(MAIN.format(path=nginx, include=include.format(path=nginx)))
    assert check(nginx, PAGE) == ""
    assert "unknown directive" in check(nginx, "nonsense 1;\n")


def test_an_invalid_server_is_named_with_its_line(nginx):
    assert "mailgate-web.conf:3" in check(nginx, "server {\n    listen 127.0.0.1:4444;\n    listne 3;\n}\n")


def test_a_server_that_is_valid_only_without_the_others_is_refused(nginx):
    other = "server { listen 127.0.0.1:4443 default_server; }\n"
    (nginx / "sites-enabled" / "www").write_text(other)
    assert "duplicate default server" in check(nginx, other)


def test_a_server_that_nginx_would_not_read_is_refused(nginx):
    (nginx / "nginx.conf").write_text(MAIN.format(path=nginx, include=f"{nginx}/mime/*"))
    assert "does not include conf.d/*.conf" in check(nginx, PAGE)
