# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Which mail transfer agent a host runs and has installed. Reads files of the host only, and asks dpkg."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .programs import SEND_ONLY, SENDMAIL, SERVICE, UNITS, UNKNOWN, of_package, of_program, of_sendmail_command

PORT = 25
_LISTENING = "0A"  # the state of a socket in /proc/net/tcp
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_FORMAT = "${Package}\\t${Version}\\t${db:Status-Status}\\t${Provides}\\n"
_VIRTUAL = re.compile(r"(^|, )mail-transport-agent($|[, ])")

Run = Callable[[list[str]], tuple[int, str, str]]
"""Runs a command: status, standard output, standard error."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of an MTA, or one that listens on port 25. `kind` is `unknown` for another program there.

    `listens` are the sockets that it has, as ADDRESS:PORT. Without root, `path` is empty and `pid` is 0.
    """

    kind: str
    pid: int
    path: str
    listens: tuple[str, ...] = ()

    @property
    def on_port(self) -> bool:
        """Return whether it listens on port 25."""
        return any(each.endswith(f":{PORT}") for each in self.listens)


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package that is an MTA."""

    kind: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit or init script of an MTA that starts with the system."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Host:
    """What was seen on a host. `command` is the file that /usr/sbin/sendmail leads to, "" without one."""

    processes: tuple[Process, ...] = ()
    packages: tuple[Package, ...] = ()
    units: tuple[Unit, ...] = ()
    command: str = ""

    @property
    def listening(self) -> tuple[Process, ...]:
        """Return the processes on port 25."""
        return tuple(each for each in self.processes if each.on_port)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds that run or are installed: those on port 25 first, then running ones, then packages."""
        running = [each.kind for each in (*self.listening, *self.processes)]
        return tuple(dict.fromkeys([*running, *(each.kind for each in self.packages)]))

    def evidence(self, kind: str) -> list[str]:
        """Return where a kind was seen, as texts for a person."""
        seen = [_process_text(each) for each in self.processes if each.kind == kind]
        seen += [f"package {each.name} {each.version} is installed" for each in self.packages if each.kind == kind]
        seen += [f"{each.name} starts with the system" for each in self.units if each.kind == kind]
        if self.command and of_sendmail_command(self.command) == kind:
            seen.append(f"/usr/sbin/sendmail is {self.command}")
        return seen

    def as_dict(self) -> dict[str, object]:
        """Return plain data."""
        return {
            "processes": [
                {"kind": each.kind, "pid": each.pid, "path": each.path, "listens": list(each.listens)}
                for each in self.processes
            ],
            "packages": [
                {"kind": each.kind, "name": each.name, "version": each.version, "send_only": each.kind in SEND_ONLY}
                for each in self.packages
            ],
            "units": [{"kind": each.kind, "name": each.name} for each in self.units],
            "command": self.command,
        }


def _process_text(process: Process) -> str:
    where = f" on {', '.join(process.listens)}" if process.listens else ""
    if not process.pid:
        return f"a program listens{where}; only root can see which"
    return f"{process.path} runs{where} (process {process.pid})"


def look(run: Run, root: Path = Path("/")) -> Host:
    """Return what runs and is installed on this host.

    Args:
        run: How to run dpkg-query.
        root: The host's file system.
    """
    return Host(
        processes=tuple(processes(root)),
        packages=tuple(packages(run)),
        units=tuple(units(root)),
        command=sendmail_command(root),
    )


def processes(root: Path = Path("/")) -> list[Process]:
    """Return the processes of MTAs, and all that listen on port 25; of each program the first process."""
    sockets = dict(_sockets(root / "proc/net/tcp", 4)) | dict(_sockets(root / "proc/net/tcp6", 6))
    unseen = set(sockets)
    found: dict[str, Process] = {}
    network = _network(root / "proc/self")
    for directory in sorted((root / "proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with suppress(OSError):  # it has ended, or belongs to the kernel or to another user
            path = str((directory / "exe").readlink()).removesuffix(" (deleted)")
            if _network(directory) != network:
                continue  # in a container, with a port 25 of its own
            inodes = set(_inodes(directory / "fd")) & set(sockets)
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            unseen -= inodes
            listens = tuple(sorted({sockets[inode] for inode in inodes}))
            kind = of_program(path, command)
            if kind == SENDMAIL and not listens and not command.startswith("sendmail: "):
                continue  # the command of that name, which other MTAs have too
            on_port = any(each.endswith(f":{PORT}") for each in listens)
            if on_port:
                kind = kind or UNKNOWN
            elif kind == SERVICE:
                continue  # a command, or a service on a port of its own
            first = found.get(path)
            # Child processes inherit sockets, and a queue runner may start before the daemon.
            if kind and (first is None or (listens and not first.listens)):
                found[path] = Process(kind, int(directory.name), path, listens)
    nobody = {sockets[inode] for inode in unseen if sockets[inode].endswith(f":{PORT}")}
    hidden = [Process(UNKNOWN, 0, "", tuple(sorted(nobody)))] if nobody else []
    return _without_inherited([*found.values(), *hidden])


def _network(process: Path) -> str:
    """Return the network namespace of a process."""
    try:
        return str((process / "ns/net").readlink())
    except OSError:
        return ""


def _without_inherited(found: list[Process]) -> list[Process]:
    """Return the processes without unknown ones whose sockets an MTA has too, such as systemd and Postfix's smtpd."""
    known = {each for process in found if process.kind != UNKNOWN for each in process.listens}
    return [process for process in found if process.kind != UNKNOWN or not set(process.listens) <= known]


def _inodes(directory: Path) -> Iterator[int]:
    """Yield the inodes of a process's sockets."""
    for descriptor in directory.iterdir():
        with suppress(OSError):
            if match := _SOCKET.fullmatch(str(descriptor.readlink())):
                yield int(match[1])


def _sockets(table: Path, version: int) -> Iterator[tuple[int, str]]:
    """Yield the inode of each listening socket in /proc/net/tcp or tcp6, with its address and port."""
    try:
        lines = table.read_text("ascii").splitlines()[1:]
    except OSError:
        return  # no IPv6
    for line in lines:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTENING:
            address, _colon, port = fields[1].partition(":")
            yield int(fields[9]), f"{_address(address, version)}:{int(port, 16)}"


def _address(digits: str, version: int) -> str:
    """Return the text of an address whose 32-bit words are in the byte order of the host."""
    words = [bytes.fromhex(digits[place : place + 8])[::-1] for place in range(0, len(digits), 8)]
    text = str(ipaddress.ip_address(b"".join(words)))
    return f"[{text}]" if version == 6 else text


def packages(run: Run) -> list[Package]:
    """Return the installed packages that provide mail-transport-agent; a package manager replaces one by another."""
    _status, text, _errors = run(["dpkg-query", "-W", f"-f={_FORMAT}"])
    found = []
    for line in text.splitlines():
        name, _tab, rest = line.partition("\t")
        version, status, provides = (*rest.split("\t"), "", "", "")[:3]
        if status == "installed" and _VIRTUAL.search(provides):
            found.append(Package(of_package(name), name, version))
    return found


def units(root: Path = Path("/")) -> list[Unit]:
    """Return the units of MTAs that systemd starts, and the init scripts without a unit."""
    etc = root / "etc"
    names = {path.name for path in etc.glob("systemd/system/*.wants/*.s[eo][rc][vk]*")}
    found = {name: _unit_kind(name) for name in sorted(names)}
    scripts = {path.name[3:] for path in etc.glob("rc[2-5].d/S[0-9][0-9]*")}
    found |= {f"{name} (init script)": _unit_kind(name) for name in sorted(scripts) if f"{name}.service" not in found}
    return [Unit(kind, name) for name, kind in found.items() if kind]


def _unit_kind(name: str) -> str:
    stem = name.removesuffix(".service").removesuffix(".socket")
    template = re.sub(r"@.*", "@", stem)
    return UNITS.get(stem) or UNITS.get(template, "")


def sendmail_command(root: Path = Path("/")) -> str:
    """Return the file that /usr/sbin/sendmail leads to, through /etc/alternatives too; "" without one."""
    path = "/usr/sbin/sendmail"
    for _link in range(8):
        here = root / path.lstrip("/")
        if not here.is_symlink():
            return path if here.exists() else ""
        path = os.path.normpath(Path(path).parent / here.readlink())
    return ""
