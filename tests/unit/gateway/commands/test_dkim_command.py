# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate dkim`, and what `mailgate status` says of keys."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from dns_server import serving_dns
from signed_mail import key, txt

from mailgate.cli import main
from mailgate.commands.dkim import signing_checks
from mailgate.config_file import load_config

NAME = "gw1._domainkey.univ.example"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Return settings with a key that can be read, and one that cannot."""
    (tmp_path / "key.pem").write_bytes(key()[0])
    path = tmp_path / "mailgate.toml"
    path.write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n'
        '[refusal]\ndns_servers = ["DNS"]\n'
        f'[dkim."univ.example"]\nselector = "gw1"\nkey_file = "{tmp_path}/key.pem"\n'
        f'[dkim."b.example"]\nselector = "gw1"\nkey_file = "{tmp_path}/none"\n'
    )
    return path


def ask(settings: Path, address: str) -> None:
    """Set the DNS server."""
    settings.write_text(settings.read_text().replace("DNS", address))


async def run(settings: Path, *options: str, published: bool = True) -> int:
    """Return the exit status of the command, with the first key in DNS or not."""
    async with serving_dns() as dns:
        if published:
            dns.add(NAME, "TXT", txt(key()[1]))
        ask(settings, dns.address)
        return await asyncio.to_thread(main, ["dkim", "--config", str(settings), *options])


async def test_records_and_whether_dns_has_them(settings, tmp_path, capsys):
    assert await run(settings) == 1
    first, record, second, problem = capsys.readouterr().out.splitlines()
    assert first == "univ.example: signed"
    assert record == f"{NAME}. IN TXT ( {txt(key()[1])} )"
    assert second == f"b.example: not signed by gw1: {tmp_path}/none: No such file or directory"
    assert problem == f"; b.example: {tmp_path}/none: No such file or directory"


async def test_json(settings, capsys):
    assert await run(settings, "--json", published=False) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert first == {
        "domain": "univ.example", "selector": "gw1", "name": NAME, "text": key()[1], "previous": False, "signed": False,
        "problem": f"{NAME} has no key record",
    }  # fmt: skip
    assert second["text"] is None


async def test_a_zone_file_without_dns(settings, capsys):
    settings.write_text(settings.read_text().partition('[dkim."b.example"]')[0].replace("DNS", "127.0.0.1:9"))
    assert main(["dkim", "--config", str(settings), "--zone"]) == 0
    assert capsys.readouterr().out == f"{NAME}. IN TXT ( {txt(key()[1])} )\n"


async def test_a_previous_key_is_used_until_dns_has_the_new_one(settings, tmp_path, capsys):
    (tmp_path / "new.pem").write_bytes(key(2048)[0])
    settings.write_text(
        settings.read_text().partition('[dkim."b.example"]')[0].replace("key.pem", "new.pem").replace('"gw1"', '"gw2"')
        + f'previous_selector = "gw1"\nprevious_key_file = "{tmp_path}/key.pem"\n'
    )
    assert await run(settings) == 1
    first, _new, second, _old = capsys.readouterr().out.splitlines()
    assert first == "univ.example: not signed by gw2: gw2._domainkey.univ.example has no key record"
    assert second == "univ.example: signed"


def test_in_the_program_as_it_is_installed(pyz, settings):
    settings.write_text(settings.read_text().partition('[dkim."b.example"]')[0].replace("DNS", "127.0.0.1:9"))
    command = [sys.executable, "-I", str(pyz), "dkim", "--zone", "--config", str(settings)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == f"{NAME}. IN TXT ( {txt(key()[1])} )\n"


async def test_status(settings):
    async with serving_dns() as dns:
        dns.add(NAME, "TXT", txt(key()[1]))
        ask(settings, dns.address)
        checks = await asyncio.to_thread(lambda: list(signing_checks(load_config(settings))))
    assert [check[:2] for check in checks] == [("DKIM of univ.example", True), ("DKIM of b.example", False)]
    assert checks[0][2] == f"{NAME}; messages in 24 hours: 0 signed, 0 not signed"
