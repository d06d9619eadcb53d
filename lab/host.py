# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host: its disk (an overlay over the images), its power switch, and what changed on it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.network import Wiring
from lab.tools import CGROUPS, RUN, STATE, LabError

BOOT = Path(__file__).with_name("boot.sh")

#: What a running host writes by itself; no configuration lives there.
VOLATILE = {
    "/etc/.pwd.lock",
    "/etc/machine-id",
    "/root/.ansible",
    "/run",
    "/tmp",  # noqa: S108
    "/var/cache",
    "/var/lib/apt/lists",
    "/var/lib/systemd",
    "/var/log",
    "/var/tmp",  # noqa: S108
}


@dataclass(frozen=True)
class Machine:
    """What it takes to switch one host of a twin on and off; kept in the twin's state as JSON."""

    twin: str
    short: str
    name: str
    address: str
    ansible_host: str
    management: str
    lower: tuple[str, ...]
    repository: str

    @property
    def directory(self) -> Path:
        """Batches, console log and readiness socket."""
        return RUN / self.twin / "hosts" / self.short

    @property
    def disk(self) -> Path:
        """Overlay directories."""
        return STATE / self.twin / self.short

    @property
    def netns(self) -> str:
        """Name of the host's network namespace."""
        return f"lab.{self.twin}.{self.short}"

    @property
    def console(self) -> Path:
        """What the host printed while booting."""
        return self.directory / "console.log"

    def wire(self, wiring: Wiring) -> None:
        """Leave the network's batches where boot.sh finds them."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "plug").write_text(wiring.plug_batch(self.netns))
        (self.directory / "unplug").write_text(wiring.unplug_batch())
        (self.directory / "wires").write_text(wiring.host_batch())
        (self.directory / "sysctl").write_text("".join(f"{setting}\n" for setting in wiring.sysctl()))

    def furnish(self, files: Mapping[str, str], modes: Mapping[str, int]) -> None:
        """Make the disk and write files on it, with the owners and modes the images give to these places."""
        for name in ("up", "work", "root"):
            (self.disk / name).mkdir(parents=True)
        lower = [Path(directory) for directory in self.lower]
        (self.disk / "up").chmod(0o755)
        for path, text in files.items():
            _write(self.disk / "up", lower, path, text, modes.get(path))

    def power_on(self) -> subprocess.Popen[bytes]:
        """Boot the host in the background; it outlives this process."""
        Path("/run/systemd/nspawn").mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LAB_HOST": self.short,
            "LAB_NETNS": self.netns,
            "LAB_SWITCH": f"lab.{self.twin}._switch",
            "LAB_CGROUPS": " ".join(str(directory) for directory in cgroups(self.twin, self.short)),
            "LAB_DIRECTORY": str(self.directory),
            "LAB_DISK": str(self.disk),
            "LAB_LOWER": ":".join(self.lower),
            "LAB_REPOSITORY": self.repository,
            "NOTIFY_SOCKET": str(self.directory / "ready"),
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
        }
        with self.console.open("ab") as console:
            return subprocess.Popen(
                ["sh", BOOT],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def power_off(self) -> None:
        """End every process of the host at once and pull its plugs, as a power failure would."""
        batch = self.directory / "unplug"
        subprocess.run(
            ["ip", "-n", f"lab.{self.twin}._switch", "-force", "-batch", str(batch)], capture_output=True, check=False
        )
        kill(self.twin, self.short)
        subprocess.run(["ip", "netns", "delete", self.netns], capture_output=True, check=False)

    def is_on(self) -> bool:
        """Whether any process of the host lives."""
        return populated(self.twin, self.short)

    def console_tail(self, lines: int = 15) -> str:
        """Return the last lines of the console, indented."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (the console is empty)"

    def snapshot(self) -> dict[str, str]:
        """Every path that differs from the images, and a word for what it is there; volatile places left out."""
        return dict(_differences(self.disk / "up", [Path(directory) for directory in self.lower]))


def cgroups(twin: str, short: str = "") -> list[Path]:
    """A host's (or, without one, the twin's) control groups: one hierarchy, or two on a hybrid machine."""
    unified = [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else [CGROUPS / "unified", CGROUPS / "systemd"]
    return [top / "lab" / twin / short for top in unified]


def populated(twin: str, short: str = "") -> bool:
    """Whether a process lives in the control group."""
    with contextlib.suppress(FileNotFoundError):
        return "populated 1" in (cgroups(twin, short)[0] / "cgroup.events").read_text()
    return False


def kill(twin: str, short: str = "", patience: float = 20) -> None:
    """End all processes of a host, or of a whole twin, and remove their control groups."""
    groups = cgroups(twin, short)
    deadline = time.monotonic() + patience
    with contextlib.suppress(FileNotFoundError):
        (groups[0] / "cgroup.kill").write_text("1")
    while populated(twin, short):
        if time.monotonic() > deadline:
            raise LabError(f"processes in {groups[0]} do not end")
        time.sleep(0.01)
    for group in groups:
        for directory, _, _ in os.walk(group, topdown=False):
            # A hierarchy that learns of the deaths a little later keeps its group for a moment.
            while Path(directory).exists() and time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()
                    break
                time.sleep(0.01)


@contextlib.contextmanager
def readiness(machines: Sequence[Machine]) -> Iterator[Mapping[str, socket.socket]]:
    """Sockets on which booting hosts say that they are up."""
    sockets: dict[str, socket.socket] = {}
    try:
        for machine in machines:
            path = machine.directory / "ready"
            path.unlink(missing_ok=True)
            sockets[machine.short] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sockets[machine.short].bind(str(path))
        yield sockets
    finally:
        for machine in machines:
            (machine.directory / "ready").unlink(missing_ok=True)
        for opened in sockets.values():
            opened.close()


def await_ready(
    machines: Sequence[Machine],
    sockets: Mapping[str, socket.socket],
    processes: Mapping[str, subprocess.Popen[bytes]],
    patience: float,
) -> None:
    """Wait until every host has booted; LabError naming those that ended or took longer than `patience` seconds."""
    waiting = {machine.short: machine for machine in machines}
    deadline = time.monotonic() + patience
    with selectors.DefaultSelector() as selector:
        for short, opened in sockets.items():
            selector.register(opened, selectors.EVENT_READ, short)
        while waiting:
            for event, _ in selector.select(0.2):
                message = sockets[event.data].recv(4096)
                if b"READY=1" in message.split(b"\n"):
                    waiting.pop(event.data, None)
            ended = [m for s, m in waiting.items() if s in processes and processes[s].poll() is not None]
            if ended or (waiting and time.monotonic() > deadline):
                failed = ended or list(waiting.values())
                why = "ended while booting" if ended else f"did not boot within {patience:.0f} s"
                raise LabError(
                    "\n".join(f"host {m.name} {why}; the end of its console:\n{m.console_tail()}" for m in failed)
                )


def _write(upper: Path, lower: Sequence[Path], path: str, text: str, mode: int | None) -> None:
    target = upper / path.lstrip("/")
    for parent in reversed(target.relative_to(upper).parents[:-1]):
        if not (upper / parent).exists():
            (upper / parent).mkdir()
            _dress(upper / parent, _beneath(lower, parent), 0o755)
    target.write_text(text)
    original = _beneath(lower, target.relative_to(upper))
    _dress(target, None if original is None or original.is_symlink() else original, 0o644)
    if mode is not None:
        target.chmod(mode)


def _beneath(lower: Sequence[Path], path: Path) -> Path | None:
    return next((directory / path for directory in lower if os.path.lexists(directory / path)), None)


def _dress(target: Path, like: Path | None, mode: int) -> None:
    if like is None:
        target.chmod(mode)
        return
    original = like.lstat()
    os.chown(target, original.st_uid, original.st_gid)
    target.chmod(stat.S_IMODE(original.st_mode))


def _differences(upper: Path, lower: Sequence[Path]) -> Iterator[tuple[str, str]]:
    for directory, names, files in os.walk(upper):
        here = Path(directory)
        inside = "/" / here.relative_to(upper)
        names[:] = sorted(n for n in names if str(inside / n) not in VOLATILE and n != "__pycache__")
        for name in [*names, *sorted(files)]:
            path = str(inside / name)
            if path in VOLATILE:
                continue
            described = _describe(here / name)
            original = _beneath(lower, Path(path.lstrip("/")))
            if original is None or _describe(original) != described:
                yield path, described


def _describe(path: Path) -> str:
    """Kind, mode, owner and content of a file, in a word that changes when they do."""
    status = path.lstat()
    kind = stat.S_IFMT(status.st_mode)
    who = f"{stat.S_IMODE(status.st_mode):04o} {status.st_uid}:{status.st_gid}"
    if kind == stat.S_IFREG:
        return f"file {who} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    if kind == stat.S_IFLNK:
        return f"link {path.readlink()}"
    if kind == stat.S_IFDIR:
        return f"directory {who}"
    if kind == stat.S_IFCHR and status.st_rdev == 0:
        return "deleted"
    return f"special {kind:o} {who}"


def remove_disk(twin: str) -> None:
    """Delete the disks of a twin that is down."""
    shutil.rmtree(STATE / twin, ignore_errors=True)
