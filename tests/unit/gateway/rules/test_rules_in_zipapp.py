# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service as one file: it has what rules need, and loads a changed list while it runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from gateway_doubles import Client
from rule_clients import rule
from service_process import serving
from signed_mail import key, sign, txt

pytestmark = pytest.mark.slow
RULES = rule("r", "refuse", 'sender = ["@l"]') + rule("bl", "refuse", 'dns_list = "bl.example"')


async def reply_of(port: int) -> str:
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    await client.say("PROXY TCP4 198.18.9.9 198.18.9.9 4000 25")
    await client.hello()
    (reply,) = await client.start("bob@a.example", sender="a@new.example")
    client.writer.close()
    return reply


async def test_changed_list_is_loaded_without_a_restart(pyz, tmp_path, dns):
    (tmp_path / "list").write_text("old.example\n")
    lists = f'[lists.l]\nkind = "address"\nfile = "{tmp_path}/list"\n'
    more = f'[refusal]\ndns_servers = ["{dns.address}"]\n{RULES}{lists}'
    first = 'proxy_protocol_from = ["127.0.0.0/8"]\n'
    async with serving(pyz, tmp_path, more, first) as (service, _hop, port):
        await service.until("READY=1")
        workers = service.workers()
        assert (await reply_of(port)).startswith("250")
        (tmp_path / "list.new").write_text("new.example\n")
        (tmp_path / "list.new").rename(tmp_path / "list")
        for _time in range(300):
            if (reply := await reply_of(port)).startswith("550"):
                break
            await asyncio.sleep(0.2)
        assert reply == "550 5.7.1 Sender address <a@new.example> refused"
        assert service.workers() == workers
        command = [
            sys.executable,
            "-I",
            "-S",
            str(pyz),
            "explain",
            "--config",
            str(tmp_path / "mailgate.toml"),
            "--client",
            "198.18.9.9",
        ]
        more = ["--helo", "x.example", "--from", "a@new.example", "--to", "bob@a.example", "--json"]
        explained = await asyncio.to_thread(subprocess.run, [*command, *more], capture_output=True, check=True)
        assert json.loads(explained.stdout)["decided_by"] == "r"


async def test_mail_authentication(pyz, tmp_path, dns):
    (tmp_path / "routes").write_text("a.example\t198.18.1.1\n")
    (tmp_path / "message").write_bytes(sign())
    settings = tmp_path / "mailgate.toml"
    settings.write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n'
        f'[refusal]\ndns_servers = ["{dns.address}"]\n[authentication]\nevaluate = true\n'
    )
    dns.add("s1._domainkey.sender.example", "TXT", txt(key()[1]))
    dns.add("_dmarc.sender.example", "TXT", txt("v=DMARC1; p=reject"))
    dns.add("mail.sender.example", "TXT", txt("v=spf1 ip4:198.18.9.0/24 -all"))
    command = [sys.executable, "-I", "-S", str(pyz), "explain", "--config", str(settings), "--client", "198.18.9.9"]
    more = ["--helo", "h", "--from", "a@mail.sender.example", "--to", "b@a.example", "--message", f"{tmp_path}/message"]
    found = await asyncio.to_thread(subprocess.run, [*command, *more, "--json"], capture_output=True, check=True)
    assert found.stderr == b""
    assert json.loads(found.stdout)["authentication_results"] == (
        "spf=pass smtp.mailfrom=mail.sender.example; dkim=pass header.d=sender.example header.s=s1;"
        " dmarc=pass header.from=sender.example; arc=none"
    )
