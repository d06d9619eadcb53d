# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings that the role writes for an rspamd: what the real rspamd reads from them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core 2.18 trusts all

    def trust_as_template(value: str) -> str:
        return value


from real_rspamd import MISSING

ROOT = Path(__file__).resolve().parents[4]
ROLE = ROOT / "roles" / "gateway"
PACKAGE = Path("/etc/rspamd")
RSPAMADM = shutil.which("rspamadm")


def trusted(value: object) -> object:
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def files(**given: object) -> dict[str, str]:
    """Return the content of each file that the role writes, by its name."""
    variables: dict[str, object] = {}
    for path in ("defaults/main.yml", "vars/main/main.yml", "vars/main/debian.yml", "vars/main/rspamd.yml"):
        variables |= yaml.safe_load((ROLE / path).read_text())
    variables = {**variables, **given, "__gateway_system": variables["__gateway_debian"]}
    templar = Templar(loader=DataLoader(), variables=trusted(variables))
    tasks = yaml.safe_load((ROLE / "tasks" / "rspamd.yml").read_text())
    (written,) = (task["campus.mailgate.file_set"]["files"] for task in tasks if "campus.mailgate.file_set" in task)
    return {Path(each["path"]).name: templar.template(trusted(each["content"])) for each in written}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., str]:
    """Return what rspamd reads: settings of the package and of the role."""
    if not RSPAMADM or not PACKAGE.is_dir():
        pytest.skip(MISSING)

    def run(section: str, **given: object) -> str:
        directory = tmp_path / "rspamd"
        shutil.copytree(PACKAGE, directory, dirs_exist_ok=True)
        for name, content in files(**given).items():
            (directory / "local.d" / name).write_text(content)
        command = [RSPAMADM, f"--var=CONFDIR={directory}", f"--var=LOCAL_CONFDIR={directory}", "configdump", "--json",
                   f"--config={directory}/rspamd.conf", section]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run


def test_files():
    found = files()
    assert set(found) == {
        "asn.conf", "fuzzy_check.conf", "greylist.conf", "options.inc", "rbl.conf", "redis.conf", "surbl.conf",
        "worker-controller.inc", "worker-normal.inc", "worker-proxy.inc",
    }  # fmt: skip
    for content in found.values():
        assert "Managed by the Ansible role campus.mailgate.gateway" in content
        assert content.endswith("\n")
    assert found["fuzzy_check.conf"].splitlines()[-1] == "enabled = false;"
    assert found["rbl.conf"].splitlines()[-1] == "enabled = true;"


def test_choices():
    found = files(
        gateway_rspamd_fuzzy=True, gateway_rspamd_dns_lists=False, gateway_rspamd_redis="127.0.0.1:6379",
        gateway_rspamd={"soft_reject": "defer"}, gateway_refusal={"dns_servers": ["198.18.0.53", "[2001:db8::53]:53"]},
    )  # fmt: skip
    assert [found[name].splitlines()[-1] for name in ("fuzzy_check.conf", "rbl.conf", "surbl.conf", "asn.conf")] == [
        "enabled = true;", "enabled = false;", "enabled = false;", "enabled = false;",
    ]  # fmt: skip
    assert found["redis.conf"].endswith('\nservers = "127.0.0.1:6379";\n')
    assert found["greylist.conf"].endswith("\nenabled = true;\n")
    assert found["options.inc"].endswith('dns { nameserver = ["198.18.0.53", "[2001:db8::53]:53"]; }\n')


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("fuzzy_check", ['"enabled": false']),
        ("rbl", ['"enabled": true']),
        ("worker", ['"bind_socket": "127.0.0.1:11333"', '"bind_socket": "127.0.0.1:11334"', '"enabled": false']),
    ],
)
def test_what_rspamd_reads(read, section, expected):
    text = read(section)
    assert [each for each in expected if each not in text] == []
