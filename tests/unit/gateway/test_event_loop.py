# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event loop: uvloop where it loads, and asyncio's in all other cases, since mail must not depend on it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ansible.plugins.filter.core import ternary, to_bool
from gateway_doubles import PATIENCE, LateTransport
from jinja2.nativetypes import NativeEnvironment

from mailgate.admission import TIMEOUT
from mailgate.commands.status import event_loop_check
from mailgate.config import Config
from mailgate.event_loop import find_loop
from mailgate.setting import declarations
from mailgate.smtp import tcp

ROLE = Path(__file__).resolve().parents[3] / "roles" / "gateway"


@pytest.fixture(params=["missing", "broken", "other"])
def no_uvloop(request, monkeypatch, tmp_path):
    """Hide uvloop, have it fail to load, or put another package in its place."""
    found = {"missing": None, "broken": None, "other": SimpleNamespace()}[request.param]
    if request.param == "broken":
        (tmp_path / "uvloop.py").write_text("raise ImportError('libuv.so.1: cannot open shared object file')\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "uvloop", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "uvloop", found)
    return request.param


@pytest.mark.parametrize("wanted", ["auto", "uvloop"])
def test_without_uvloop_the_loop_is_asyncios(no_uvloop, wanted):
    factory, name = find_loop(wanted)
    assert factory is None
    assert name.startswith("asyncio; uvloop ")
    assert ("not installed" in name) == (no_uvloop == "missing")


@pytest.mark.parametrize("wanted", ["auto", "uvloop"])
def test_uvloop_is_used_if_it_loads(wanted):
    uvloop = pytest.importorskip("uvloop")
    factory, name = find_loop(wanted)
    assert name == f"uvloop {uvloop.__version__}"
    assert factory is uvloop.new_event_loop


def test_uvloop_is_not_loaded_for_asyncio(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", SimpleNamespace(new_event_loop=asyncio.new_event_loop, __version__="1"))
    assert find_loop("asyncio") == (None, "asyncio")
    assert find_loop("auto")[1] == "uvloop 1"


def test_status_reports_the_loop(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop_check("auto").ok
    assert event_loop_check("asyncio").detail == "asyncio"
    missing = event_loop_check("uvloop")
    assert not missing.ok
    assert missing.detail == "asyncio; uvloop is not installed"


@pytest.mark.parametrize(("loop", "installed"), [("auto", True), ("uvloop", True), ("asyncio", False)])
def test_the_role_installs_uvloop_if_it_is_to_be_used(loop, installed):
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    system = yaml.safe_load((ROLE / "vars/main/debian.yml").read_text())["__gateway_debian"]
    environment = NativeEnvironment()
    environment.filters |= {"ternary": ternary, "bool": to_bool}
    template = environment.from_string(defaults["gateway_packages"])
    packages = template.render(gateway_event_loop=loop, gateway_fail2ban=False, __gateway_system=system)
    assert ("python3-uvloop" in packages) == installed
    assert packages[:2] == system["packages"]


def test_the_role_has_the_choices_of_the_service():
    spec = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    declared = next(setting for field, setting in declarations(Config) if field.name == "event_loop")
    assert tuple(spec["gateway_event_loop"]["choices"]) == declared.choices


class TestTransportThatSendsLater:
    async def test_a_client_whose_place_is_needed_gets_the_reply(self, campus):
        client = await campus.connect()
        [session] = campus.gateway.sessions
        session.transport = LateTransport(session.transport)
        session._close_early(TIMEOUT)
        assert (await client.reply()) == str(TIMEOUT)
        assert await asyncio.wait_for(client.reader.read(), PATIENCE) == b""

    async def test_the_position_of_what_is_not_sent_yet(self, campus):
        client = await campus.connect()
        [session] = campus.gateway.sessions
        before = tcp.sent_position(session.transport)
        late = LateTransport(session.transport)
        late.write(b"220 ok\r\n")
        assert tcp.sent_position(late) == before + 8
        await client.reply()
        assert tcp.sent_position(session.transport) == before + 8
