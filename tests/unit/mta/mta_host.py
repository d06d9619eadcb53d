# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a host that tell which MTA it runs."""

from __future__ import annotations

from pathlib import Path

# Lines of /proc/net/tcp and tcp6: number, local address, remote address, state (0A: listens), ..., inode.
_LINE = "   0: {local} {remote} 0A 00000000:00000000 00:00000000 00000000     0        0 {{inode}} 1 0000 100 0 0 10 0"
TCP_25 = _LINE.format(local="{address}:0019", remote="00000000:0000")
TCP_10025 = _LINE.format(local="0100007F:2729", remote="00000000:0000")
TCP6_25 = _LINE.format(local=f"{'0' * 32}:0019", remote=f"{'0' * 32}:0000")
NET = "net:[1]"


class Machine:
    """Writes files below a directory as a host has them below its root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packages: list[str] = []
        self.link("proc/self/ns/net", NET)

    def run(self, command: list[str]) -> tuple[int, str, str]:
        """Answer as dpkg-query does."""
        assert command[0] == "dpkg-query"
        return 0, "".join(f"{line}\n" for line in self.packages), ""

    def package(self, name: str, version: str, provides: str, status: str = "installed") -> None:
        self.packages.append(f"{name}\t{version}\t{status}\t{provides}")

    def file(self, path: str, text: str = "") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def link(self, path: str, target: str = "/nowhere") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).symlink_to(target)

    def process(self, pid: int, path: str, sockets=(), command: str = "", network: str = NET) -> None:
        directory = f"proc/{pid}"
        self.link(f"{directory}/exe", path)
        self.link(f"{directory}/ns/net", network)
        self.file(f"{directory}/cmdline", command or f"{path}\0")
        self.link(f"{directory}/fd/0", "/dev/null")
        for number, inode in enumerate(sockets, 3):
            self.link(f"{directory}/fd/{number}", f"socket:[{inode}]")
        if path.startswith("/usr/") and not (self.root / path[1:]).exists():
            self.file(path[1:])

    def listen(self, tcp=(), tcp6=()) -> None:
        self.file("proc/net/tcp", "".join(f"{line}\n" for line in ("  sl  local_address ...", *tcp)))
        self.file("proc/net/tcp6", "".join(f"{line}\n" for line in ("  sl  local_address ...", *tcp6)))
