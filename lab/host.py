# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host: its disk (an overlay on the images), power on and off, and the files that differ from the images."""

from __future__ import annotations

import contextlib
import hashlib
import json
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
from lab.packages import SUITE
from lab.tools import CGROUPS, RUN, STATE, LabError, compiled_directory

BOOT = Path(__file__).with_name("boot.sh")
#: What hosts have in place of Debian's sitecustomize.
COMPILED = Path(__file__).with_name("compiled.py")

#: Paths that a running host writes itself; they hold no configuration.
VOLATILE = {
    "/etc/.pwd.lock",
    "/etc/machine-id",
    "/root/.ansible",
    "/run",
    "/tmp",  # noqa: S108
    "/var/cache",
    "/var/lib/apt/lists",
    "/var/lib/mailgate/event_index",
    "/var/lib/postfix",
    "/var/lib/systemd",
    "/var/log",
    "/var/tmp",  # noqa: S108
}


@dataclass(frozen=True)
class Machine:
    """One host of a twin, as stored in the twin's state (JSON)."""

    twin: str
    short: str
    name: str
    address: str
    ansible_host: str
    management: str
    lower: tuple[str, ...]
    repository: str
    suite: str = SUITE
    seed: str = ""

    @property
    def directory(self) -> Path:
        """Directory of batches, console log and readiness socket."""
        return RUN / self.twin / "hosts" / self.short

    @property
    def disk(self) -> Path:
        """Directory of the overlay."""
        return STATE / self.twin / self.short

    @property
    def netns(self) -> str:
        """Name of the host's network namespace."""
        return f"lab.{self.twin}.{self.short}"

    @property
    def console(self) -> Path:
        """The host's console log."""
        return self.directory / "console.log"

    def write_batches(self, wiring: Wiring) -> None:
        """Write the network batches that boot.sh runs."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "plug").write_text(wiring.plug_batch(self.netns))
        (self.directory / "unplug").write_text(wiring.unplug_batch())
        (self.directory / "wires").write_text(wiring.host_batch())
        (self.directory / "sysctl").write_text("".join(f"{setting}\n" for setting in wiring.sysctl()))

    def prepare_disk(self, files: Mapping[str, str], modes: Mapping[str, int]) -> None:
        """Make the disk and write files to it, with the owners and modes that these paths have in the images."""
        for name in ("up", "work", "root"):
            (self.disk / name).mkdir(parents=True)
        lower = [Path(directory) for directory in self.lower]
        (self.disk / "up").chmod(0o755)
        for path, text in files.items():
            _write(self.disk / "up", lower, path, text, modes.get(path))

    def write_seed(self, files: Mapping[str, str]) -> None:
        """Keep the initial files of the disk for a reset."""
        seed = self.directory / "seed.json"
        seed.touch(mode=0o600)
        seed.write_text(json.dumps(dict(files)))

    def read_seed(self) -> dict[str, str]:
        """Return the initial files of the disk by path."""
        files: dict[str, str] = json.loads((self.directory / "seed.json").read_text())
        return files

    def power_on(self) -> subprocess.Popen[bytes]:
        """Boot the host in the background; it keeps running when this process ends."""
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
            "LAB_SITECUSTOMIZE": f"{COMPILED}:{self.sitecustomize()}",
            "LAB_COMPILED": str(compiled_directory()),
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

    def sitecustomize(self) -> str:
        """Return the path of the module that each Python process of the host reads at its start."""
        paths = (path for lower in self.lower for path in Path(lower).glob("etc/python3.*/sitecustomize.py"))
        if not (path := next(paths, None)):
            raise LabError(f"no etc/python3.*/sitecustomize.py in the images of {self.name}: {', '.join(self.lower)}")
        return "/" + "/".join(path.parts[-3:])

    def power_off(self) -> None:
        """Kill all processes of the host and remove its interfaces, as a power failure does."""
        batch = self.directory / "unplug"
        subprocess.run(
            ["ip", "-n", f"lab.{self.twin}._switch", "-force", "-batch", str(batch)], capture_output=True, check=False
        )
        kill(self.twin, self.short)
        subprocess.run(["ip", "netns", "delete", self.netns], capture_output=True, check=False)

    def is_on(self) -> bool:
        """Whether any process of the host is running."""
        return populated(self.twin, self.short)

    def console_tail(self, lines: int = 15) -> str:
        """Return the last lines of the console, indented."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (the console is empty)"

    def snapshot(self) -> dict[str, str]:
        """Return the paths that differ from the images, with a description of each; volatile paths are left out."""
        return dict(_differences(self.disk / "up", [Path(directory) for directory in self.lower]))


def cgroups(twin: str, short: str = "") -> list[Path]:
    """Return the control groups of a host, or of the whole twin: one hierarchy, or two on a hybrid machine."""
    unified = [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else [CGROUPS / "unified", CGROUPS / "systemd"]
    return [top / "lab" / twin / short for top in unified]


def populated(twin: str, short: str = "") -> bool:
    """Whether the control group has processes."""
    with contextlib.suppress(FileNotFoundError):
        return "populated 1" in (cgroups(twin, short)[0] / "cgroup.events").read_text()
    return False


def kill(twin: str, short: str = "", timeout: float = 20) -> None:
    """Kill all processes of a host, or of a whole twin, and remove their control groups."""
    groups = cgroups(twin, short)
    deadline = time.monotonic() + timeout
    with contextlib.suppress(FileNotFoundError):
        (groups[0] / "cgroup.kill").write_text("1")
    while populated(twin, short):
        if time.monotonic() > deadline:
            raise LabError(f"processes in {groups[0]} did not end within {timeout:.0f} s")
        time.sleep(0.01)
    for group in groups:
        for directory, _, _ in os.walk(group, topdown=False):
            # The other hierarchy may notice the end of the processes a little later.
            while Path(directory).exists() and time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()
                    break
                time.sleep(0.01)


@contextlib.contextmanager
def readiness(machines: Sequence[Machine]) -> Iterator[Mapping[str, socket.socket]]:
    """Open sockets on which booting hosts report readiness."""
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
    timeout: float,
) -> None:
    """Wait until every host has booted; raise LabError naming those that ended or exceeded `timeout` seconds."""
    waiting = {machine.short: machine for machine in machines}
    deadline = time.monotonic() + timeout
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
                why = "ended while booting" if ended else f"did not boot within {timeout:.0f} s"
                raise LabError(
                    "\n".join(f"host {m.name} {why}; the end of its console:\n{m.console_tail()}" for m in failed)
                )


def _write(upper: Path, lower: Sequence[Path], path: str, text: str, mode: int | None) -> None:
    target = upper / path.lstrip("/")
    for parent in reversed(target.relative_to(upper).parents[:-1]):
        if not (upper / parent).exists():
            (upper / parent).mkdir()
            _set_mode(upper / parent, _in_images(lower, parent), 0o755)
    target.write_text(text)
    original = _in_images(lower, target.relative_to(upper))
    _set_mode(target, None if original is None or original.is_symlink() else original, 0o644)
    if mode is not None:
        target.chmod(mode)


def _in_images(lower: Sequence[Path], path: Path) -> Path | None:
    return next((directory / path for directory in lower if os.path.lexists(directory / path)), None)


def _set_mode(target: Path, like: Path | None, mode: int) -> None:
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
            original = _in_images(lower, Path(path.lstrip("/")))
            if original is None or _describe(original) != described:
                yield path, described


def _describe(path: Path) -> str:
    """Return a text that changes with the file's kind, mode, owner or content."""
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
    """Delete the disks of a stopped twin."""
    shutil.rmtree(STATE / twin, ignore_errors=True)
