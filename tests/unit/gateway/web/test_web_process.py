# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page as the role runs it: two processes, and nginx in front, where a visitor signs in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import jinja2
import pytest
import yaml
from service_process import free_port
from web_site import KEPT, SETTINGS, write_settings, write_state

import mailgate

ROLE = Path(mailgate.__file__).resolve().parents[2]
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
SECONDS = 60
pytestmark = pytest.mark.slow


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}; exit status {process.poll()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(SECONDS)


@dataclass
class Running:
    """The processes of the page."""

    path: Path
    port: int
    page: subprocess.Popen[bytes]
    data: subprocess.Popen[bytes]


@pytest.fixture
def running(tmp_path) -> Iterator[Running]:
    port = free_port()
    settings = write_settings(tmp_path, SETTINGS.replace("[web]\n", f'[web]\nlisten = "127.0.0.1:{port}"\n'))
    write_state(tmp_path, time.time())
    common = ["--config", str(settings), "--socket", str(tmp_path / "s")]
    environment = {**os.environ, "PYTHONPATH": str(ROLE / "files")}
    with ExitStack() as stack:
        found = []
        for command in ("web-data", "web"):
            process = subprocess.Popen([sys.executable, "-m", "mailgate", command, *common], env=environment)
            stack.callback(stop, process)
            found.append(process)
        wait_for(port, found[1])
        deadline = time.monotonic() + SECONDS
        while not (tmp_path / "s").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield Running(tmp_path, port, found[1], found[0])


def test_the_processes_serve_pages_and_end_cleanly(running):
    base = f"http://127.0.0.1:{running.port}"
    with httpx.Client(base_url=base, headers={"x-remote-user": "alice"}, trust_env=False) as client:
        for path in ("/", "/search?text=eng.univ.example", "/report", f"/quarantine/{KEPT}"):
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert "server" not in answer.headers
        assert client.head("/").status_code == 200
        assert client.get("/", headers={"x-remote-user": "mallory"}).status_code == 403
        # What a proxy says about the client's address has no effect.
        assert client.get("/", headers={"x-forwarded-for": "198.18.0.9"}).status_code == 200
    with socket.create_connection(("127.0.0.1", running.port), SECONDS) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Remote-User: alice\r\nX-Remote-User : alice\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    running.page.terminate()
    running.data.terminate()
    assert (running.page.wait(SECONDS), running.data.wait(SECONDS)) in ((0, 0), (-15, 0))


def nginx_settings(path: Path, running: Running, port: int) -> str:
    """Return the server that the role writes, in a whole configuration for an ordinary user."""
    certificate = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=page", "-keyout", str(path / "key.pem"), "-out", str(path / "cert.pem")]
    subprocess.run([*certificate, *names], check=True, capture_output=True)
    (path / "users").write_text("carol:{PLAIN}secret\n")
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["regex_replace"] = lambda text, _pattern, _new: text
    server = environment.from_string((ROLE / "templates" / "nginx.conf.j2").read_text()).render(
        gateway_web={"groups_header": "X-Groups"},
        gateway_web_nginx_listen=[f"127.0.0.1:{port}"],
        gateway_web_nginx_name="page.univ.example",
        gateway_web_nginx_certificate=path / "cert.pem",
        gateway_web_nginx_key=path / "key.pem",
        gateway_web_nginx_sign_in=["auth_basic mailgate;", f"auth_basic_user_file {path}/users;"],
        gateway_web_nginx_user=defaults["gateway_web_nginx_user"],
        gateway_web_nginx_groups=defaults["gateway_web_nginx_groups"],
        __gateway_web_listen=f"127.0.0.1:{running.port}",
    )
    places = "".join(f"{name}_temp_path {path}/tmp;" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return (
        f"daemon off; master_process off; pid {path}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {places}\n{server}}}\n"
    )


@pytest.mark.skipif(not NGINX, reason="nginx is not installed")
def test_nginx_says_who_a_visitor_is_whatever_the_visitor_sends(running):
    path, port = running.path, free_port()
    (path / "nginx.conf").write_text(nginx_settings(path, running, port))
    process = subprocess.Popen([str(NGINX), "-e", "stderr", "-c", str(path / "nginx.conf")])
    try:
        wait_for(port, process)
        forged = {"x-remote-user": "alice", "x-groups": "postmasters", "x_remote_user": "alice"}
        with httpx.Client(
            base_url=f"https://127.0.0.1:{port}", verify=False, headers=forged, trust_env=False
        ) as client:
            assert client.get("/").status_code == 401
            assert client.get("/", auth=("carol", "wrong")).status_code == 401
            answer = client.get("/routes", auth=("carol", "secret"))
            assert answer.status_code == 200
            assert "eng.univ.example" in answer.text and "law.univ.example" not in answer.text
            assert "carol" in answer.text and "alice" not in answer.text
            assert answer.headers["strict-transport-security"] and answer.headers["content-security-policy"]
            assert client.post(f"/quarantine/{KEPT}/delete", auth=("carol", "secret")).status_code == 403
            assert client.post("/", auth=("carol", "secret"), content=b"x" * 20_000).status_code == 413
    finally:
        stop(process)
