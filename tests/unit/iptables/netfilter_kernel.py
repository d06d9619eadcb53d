# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's netfilter tables in a network namespace, and settings of the chains for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.campus.mailgate.plugins.module_utils._iptables import model, nft
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.bans_router import Bans
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.model import Guard, Permit
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.router import Change, Router
from bench.border import build_loader

ROOT = Path(__file__).resolve().parents[3]
LOADER = ROOT / ".cache" / "tests" / os.environ.get("PYTEST_XDIST_WORKER", "main") / "mailgate-border"
NEEDED = ("unshare", "nsenter", "iptables", "ip6tables", "iptables-legacy", "ipset", "nft")

GUARD = Guard(
    interfaces=("outside0",),
    networks=("198.18.0.0/16", "2001:db8:18::/48"),
    gateways=("198.18.0.25", "198.18.0.26", "2001:db8:18::25"),
    permits=(
        Permit("198.18.1.40", "research's: SMTP é; netlab; until 2027-03-31"),
        Permit("198.18.2.0/28"),
        Permit("2001:db8:18:1::40", "research"),
    ),
)
FOREIGN = """*filter
:OTHERS - [0:0]
[11:1100] -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
[12:1200] -A FORWARD -s %s -m comment --comment "it's \\"ours\\"" -j OTHERS
[13:1300] -A OTHERS -p tcp -m tcp --dport 25 -j ACCEPT
COMMIT
"""


# Run by the loader's own interpreter: adds to an archive what that would compile at each start.
COMPILE = """
import sys, zipfile
from importlib import _bootstrap_external as external
with zipfile.ZipFile(sys.argv[1], "a") as archive:
    for item in archive.infolist():
        if item.filename.endswith(".py"):
            code = compile(archive.read(item), f"{sys.argv[1]}/{item.filename}", "exec", dont_inherit=True)
            archive.writestr(item.filename + "c", external._code_to_hash_pyc(code, bytes(8), checked=False))
"""


def build(path: Path) -> None:
    """Build the loader as the role does; most tests start it several times."""
    build_loader(path)
    subprocess.run(["/usr/bin/python3", "-I", "-c", COMPILE, path], check=True)


class Kernel:
    """A namespace with netfilter tables of its own, and a directory for the files."""

    def __init__(self, pid: int, directory: Path, alternatives: Path) -> None:
        self.pid = pid
        self.alternatives = alternatives
        self.directory = directory
        self.bans_file = directory.with_name("bans")
        self.runtime = directory.with_name("run")
        # What other firewalls have saved on this router.
        self.root = directory.with_name("root")
        self.lock_file = directory.with_name("xtables.lock")

    def popen(self, *command: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "MAILGATE_BORDER_DIR": str(self.directory),
            "MAILGATE_BORDER_BANS": str(self.bans_file),
            "MAILGATE_BORDER_RUN": str(self.runtime),
            "XTABLES_LOCKFILE": str(self.lock_file),
        }
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["nsenter", "--target", str(self.pid), "--net", "--mount", *command],
            stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment,
        )  # fmt: skip

    def run(self, command: Sequence[str], text: str = "") -> tuple[int, str, str]:
        with self.popen(*command) as process:
            out, error = process.communicate(text, timeout=60)
            return process.returncode, out, error

    def must(self, *command: str, text: str = "") -> str:
        status, out, error = self.run(command, text)
        assert status == 0, (command, error)
        return out

    def loader(self, *arguments: str) -> int:
        return self.run([str(LOADER), *arguments])[0]

    def router(self) -> Router:
        return Router(self.run, shutil.which, self.directory, str(LOADER), runtime=self.runtime, root=self.root)

    def compare(self, guard: Guard | None, backend: str = "iptables") -> Change:
        if guard and backend == "nft":
            return self.router().compare([], nft.render(guard))
        return self.router().compare([model.render(guard, f) for f in model.FAMILIES] if guard else [])

    def save(self, name: str, text: str) -> Path:
        """Write a file as another firewall saves its rules."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def apply(self, guard: Guard | None, backend: str = "iptables") -> Change:
        change = self.compare(guard, backend)
        self.router().apply(change, 0)
        return change

    def switch(self, kind: str) -> None:
        """Use the nft or legacy variant of iptables in this namespace."""
        self.must("mount", "--bind", str(self.alternatives / kind), "/etc/alternatives")

    def bans(self) -> Bans:
        return Bans(self.run, self.run, shutil.which, self.bans_file, self.directory)

    def rules(self, family: str, counters: bool = True) -> list[str]:
        program = "iptables-save" if family == "ipv4" else "ip6tables-save"
        lines = self.must(program, *(["-c"] if counters else []), "-t", "filter").splitlines()
        return [line for line in lines if not line.startswith("#")]

    def others(self, family: str) -> list[str]:
        return [line for line in self.rules(family) if "MAILGATE" not in line]

    def count(self, family: str) -> None:
        """Make every counter of the managed chain nonzero."""
        tool = "iptables" if family == "ipv4" else "ip6tables"
        ours = [line for line in self.rules(family, counters=False) if line.startswith("-A MAILGATE")]
        text = "".join(f"[7:700] {line}\n" for line in ours)
        self.must(f"{tool}-restore", "--noflush", "--counters", text=f"*filter\n:MAILGATE - [0:0]\n{text}COMMIT\n")

    def flush(self) -> None:
        """Remove what a reboot removes: rules, sets and the runtime directory."""
        shutil.rmtree(self.runtime, ignore_errors=True)
        if self.run(["nft", "list", "table", "inet", "mailgate"])[0] == 0:
            self.must("nft", "delete", "table", "inet", "mailgate")
        for tool in ("iptables", "ip6tables"):
            self.must(tool, "-F")
            self.must(tool, "-X")
        self.must("ipset", "destroy")
