# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store as the role sets it up: its script makes the secrets, and its settings start a server."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest
import yaml
from gateway_doubles import PATIENCE
from service_process import free_port
from shared_server import MISSING, program

from mailgate.limit_settings import SharedState
from mailgate.limits.remote import Remote, connect

ROLE = Path(__file__).resolve().parents[4] / "roles" / "gateway"


def render(text: str, directory: Path, port: int = 0, address: str = "127.0.0.1") -> str:
    template = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False).from_string(text)
    return template.render(
        __gateway_store_dir=str(directory), gateway_store_address=address, gateway_store_port=port,
        gateway_store_memory=64,
    )  # fmt: skip


def make_secrets(directory: Path, address: str = "127.0.0.1") -> None:
    tasks = yaml.safe_load((ROLE / "tasks" / "store.yml").read_text())
    block = next(task["block"] for task in tasks if task["name"] == "Get the secrets of the store")
    script = next(task["ansible.builtin.shell"] for task in block if "ansible.builtin.shell" in task)
    subprocess.run(["sh", "-c", render(script, directory, address=address)], check=True, capture_output=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SharedState]:
    """Run a store with the settings of the role, apart from the notification of systemd."""
    found = program()
    if not found:
        pytest.skip(MISSING)
    directory, port = tmp_path / "mailgate-store", free_port()
    make_secrets(directory)
    text = render((ROLE / "templates" / "store.conf.j2").read_text(), directory, port)
    (tmp_path / "store.conf").write_text(text.replace("supervised systemd", "supervised no"))
    process = subprocess.Popen(
        [found[1], str(tmp_path / "store.conf")], executable=found[0], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    yield SharedState(
        server=f"127.0.0.1:{port}",
        password_file=str(directory / "password"),
        ca_file=str(directory / "ca.pem"),
        timeout_ms=1000 * PATIENCE,
    )
    process.kill()
    process.wait()


async def available(remote: Remote) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not await remote.probe():
        remote._probe_at = 0
        if time.monotonic() > deadline:
            return False
    return True


async def test_gateways_can_use_it_and_others_cannot(store, tmp_path):
    failures: list[str] = []
    remote = Remote(store, failures.append)
    assert await available(remote), failures
    await remote.close()
    without = connect(SharedState(server=store.server, ca_file=store.ca_file))
    with pytest.raises(Exception, match="Authentication required"):
        await without.execute_command("GET", "x")
    await without.aclose(close_connection_pool=True)
    plain = connect(SharedState(server=store.server, password_file=store.password_file, tls=False))
    with pytest.raises(Exception, match=r"closed|reset|lost|Protocol"):
        await plain.execute_command("PING")
    await plain.aclose(close_connection_pool=True)


def test_secrets_are_private_and_the_key_of_the_authority_is_gone(tmp_path):
    directory = tmp_path / "mailgate-store"
    make_secrets(directory)
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert modes.pop("ca.pem") == modes.pop("cert.pem") == 0o644
    assert set(modes) == {"auth.conf", "key.pem", "password", "made_for_127.0.0.1"}
    assert set(modes.values()) == {0o600}
    assert len((directory / "password").read_text().strip()) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["mailgate-store"]


def test_the_certificate_has_what_python_3_13_requires(tmp_path):
    directory = tmp_path / "mailgate-store"
    make_secrets(directory)
    verified = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-verify_ip", "127.0.0.1", "-CAfile", "ca.pem", "cert.pem"],
        cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert verified.stdout == "cert.pem: OK\n", verified.stderr


def test_a_new_address_gets_new_secrets(tmp_path):
    directory = tmp_path / "mailgate-store"
    make_secrets(directory)
    first = (directory / "password").read_text()
    make_secrets(directory, "2001:db8::1")
    assert (directory / "password").read_text() != first
    shown = subprocess.run(
        ["openssl", "x509", "-in", directory / "cert.pem", "-noout", "-ext", "subjectAltName"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "2001:DB8" in shown.stdout
