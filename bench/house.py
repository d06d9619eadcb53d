# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine of its own for a bench: network, mounts and processes, each program's CPU time counted apart.

Programs run in the bench's Debian system over a layer that is thrown away, with a network of loopback alone.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.rootfs import CACHE, prepare
from lab.image import CONFINED
from lab.tools import CGROUPS, REPOSITORY

SINK, POSTFIX, GATEWAY, QUEUE, MILTER = 2600, 2525, 2526, 10025, 7357
DOMAIN = "mech.eng.univ.example"
SIGNATURES = 100_000
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
# As in the gateway's unit; it violations no peer, whose processes end with each message or hold small pieces.
GATEWAY_ENVIRONMENT = {**ENVIRONMENT, "MALLOC_MMAP_THRESHOLD_": "4194304", "MALLOC_TRIM_THRESHOLD_": "8388608"}

CLAMD = """\
LocalSocket /run/clamav/clamd.ctl
Foreground yes
User clamav
DatabaseDirectory /var/lib/clamav
MaxThreads 12
StreamMaxLength 50M
MaxScanSize 100M
MaxFileSize 50M
AlertExceedsMax yes
AlertEncrypted yes
SelfCheck 0
DisableCache yes
"""
MILTER_CONF = f"""\
MilterSocket inet:{MILTER}@127.0.0.1
Foreground yes
User clamav
ClamdSocket unix:/run/clamav/clamd.ctl
OnInfected Reject
OnFail Defer
MaxFileSize 50M
"""
POSTFIX_SETTINGS = {
    "compatibility_level": "3.6",
    "myhostname": "peer.univ.example",
    "mydestination": "",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "relay_domains": DOMAIN,
    "relay_transport": f"smtp:[127.0.0.1]:{SINK}",
    "smtpd_milters": f"inet:127.0.0.1:{MILTER}",
    "milter_default_action": "tempfail",
    "smtpd_relay_restrictions": "reject_unauth_destination",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_recipient_restrictions": "",
    "mynetworks": "198.18.255.255/32",
    "message_size_limit": "52428800",
    "mailbox_size_limit": "0",
    "maillog_file": "/var/log/postfix.log",
    "local_recipient_maps": "",
    "alias_maps": "",
    "smtp_dns_support_level": "disabled",
    "smtpd_peername_lookup": "no",
}
SETTINGS = f"""\
hostname = "gw1.univ.example"
listen = ["127.0.0.1:{GATEWAY}"]
routes_file = "/etc/mailgate.routes"
state_dir = "/var/lib/mailgate"
queue = "127.0.0.1:{QUEUE}"
[scan]
concurrency = 10
remembered = 0
[limits]
max_connections = 1200
max_connections_per_client = 1200
"""


@contextlib.contextmanager
def own_house(parser: argparse.ArgumentParser) -> Iterator[tuple[House, argparse.Namespace]]:
    """A house and the options that `parser`, named as the bench's module, reads.

    Prepares the system and runs the module anew in namespaces of its own; that run gets the house, this one's end is
    that one's.
    """
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is None:
        here = [sys.executable, "-m", parser.prog, "--inside", str(prepare()), *sys.argv[1:]]
        sys.exit(subprocess.run([*CONFINED, "unshare", "--net", *here], check=False).returncode)
    house = House(options.inside)
    house.enter()
    try:
        yield house, options
    finally:
        house.leave()


class House:
    """The mounted system and the programs in it."""

    def __init__(self, lower: Path) -> None:
        self.root = CACHE / "run" / "root"
        self._lower = lower
        self.running: list[subprocess.Popen[bytes]] = []
        self._groups: dict[str, Path] = {}

    def enter(self) -> None:
        """Mount; call in namespaces of one's own."""
        run = CACHE / "run"
        shutil.rmtree(run, ignore_errors=True)
        for name in ("up", "work", "root"):
            (run / name).mkdir(parents=True)
        layers = f"lowerdir={self._lower},upperdir={run / 'up'},workdir={run / 'work'}"
        for command in (
            ["mount", "-t", "overlay", "bench", "-o", layers, str(self.root)],
            ["mount", "-t", "proc", "proc", str(self.root / "proc")],
            ["mount", "--bind", "/dev", str(self.root / "dev")],
            ["mount", "-t", "tmpfs", "tmpfs", str(self.root / "run")],
            ["ip", "link", "set", "lo", "up"],
        ):
            subprocess.run(command, check=True)
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost peer.univ.example gw1.univ.example\n")
        (self.root / "etc/resolv.conf").write_text("")
        for name in ("run/clamav", "var/lib/mailgate", "var/lib/clamav"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
            shutil.chown(self.root / name, self._id("clamav"))

    def _id(self, user: str) -> int:
        lines = (self.root / "etc/passwd").read_text().splitlines()
        return next(int(line.split(":")[2]) for line in lines if line.startswith(f"{user}:"))

    def group(self, name: str) -> Path:
        """The control group that counts a program's CPU time."""
        if name not in self._groups:
            top = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "unified"
            path = top / f"mailgate-bench-{os.getpid()}-{name}"
            path.mkdir(exist_ok=True)
            self._groups[name] = path
        return self._groups[name]

    def cpu(self, name: str) -> float:
        """Seconds of CPU time that a program has used, with all its processes."""
        return int((self.group(name) / "cpu.stat").read_text().split()[1]) / 1e6

    def memory(self, name: str) -> int:
        """Octets of memory that a program's processes hold (PSS, so that shared pages count once)."""
        total = 0
        for process in (self.group(name) / "cgroup.procs").read_text().split():
            try:
                lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return total

    def processes(self, name: str) -> list[int]:
        """Its processes."""
        return [int(word) for word in (self.group(name) / "cgroup.procs").read_text().split()]

    def _inside(self, name: str) -> Callable[[], None]:
        procs = self.group(name) / "cgroup.procs"

        def enter() -> None:
            procs.write_text("0")
            os.chroot(self.root)
            os.chdir("/")
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)

        return enter

    def start(self, name: str, command: Sequence[str], *, log: str = "") -> subprocess.Popen[bytes]:
        """Start a program in the group `name`."""
        out = (CACHE / "run" / f"{log or name}.log").open("ab")
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            env=GATEWAY_ENVIRONMENT if name in ("gateway", "service") else ENVIRONMENT,
            preexec_fn=self._inside(name),  # noqa: PLW1509
        )  # fmt: skip
        self.running.append(process)
        return process

    def run(self, name: str, command: Sequence[str], seconds: float = 600) -> str:
        """Run a program to its end; what it printed."""
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=ENVIRONMENT, check=False,
            preexec_fn=self._inside(name),
        )  # fmt: skip
        text = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode:
            sys.exit(f"bench: {' '.join(command)}: exit status {done.returncode}\n{text[-2000:]}")
        return text

    def stop(self, name: str) -> None:
        """End a program and wait for it."""
        for process in self.processes(name):
            os.kill(process, signal.SIGKILL)
        _until(lambda: not self.processes(name), 10, f"the end of {name}")

    def leave(self) -> None:
        """End all programs."""
        for process in self.running:
            process.kill()
            process.wait()
        for path in self._groups.values():
            for word in (path / "cgroup.procs").read_text().split():
                os.kill(int(word), signal.SIGKILL)
            for _ in range(100):
                try:
                    path.rmdir()
                    break
                except OSError:
                    time.sleep(0.05)

    def message(self, size: int) -> bytes:
        """A message of about `size` KiB, text and an attachment that is none of anybody's; also in /message.SIZE."""
        chance = random.Random(size)  # noqa: S311
        words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(500)]
        text = "\r\n".join(" ".join(chance.choices(words, k=10)) for _ in range(30))
        head = (
            f"From: <a@sender.example>\r\nTo: <alice@{DOMAIN}>\r\nSubject: bench {size}\r\n"
            f"Message-ID: <bench.{size}@sender.example>\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\n'
            f"{text}\r\n--b1\r\nContent-Type: application/octet-stream; name=data.bin\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n"
        ).encode()
        room = max(0, size * 1024 - len(head) - 10)
        attachment = base64.encodebytes(chance.randbytes(room * 57 // 78)).replace(b"\n", b"\r\n")
        whole = head + attachment + b"--b1--\r\n"
        (self.root / f"message.{size}").write_bytes(whole.replace(b"\r\n", b"\n"))
        return whole

    # The programs

    def start_clamd(self) -> None:
        """The scanner, with signatures that are made up, and EICAR's."""
        chance = random.Random(1)  # noqa: S311
        lines = [f"Bench.{n}:0:*:{chance.randbytes(24).hex()}\n" for n in range(SIGNATURES)]
        eicar = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
        lines.append(f"Eicar-Test:0:*:{eicar.hex()}\n")
        (self.root / "var/lib/clamav/bench.ndb").write_text("".join(lines))
        (self.root / "etc/clamav/clamd.conf").write_text(CLAMD)
        self.start("clamd", ["clamd", "--config-file=/etc/clamav/clamd.conf"])
        path = self.root / "run/clamav/clamd.ctl"
        _until(lambda: _connects(str(path)), 120, "clamd")

    def start_sink(self, port: int = SINK, name: str = "sink") -> None:
        """Postfix's smtp-sink: takes all mail and keeps none."""
        self.start(name, ["smtp-sink", "-u", "postfix", f"127.0.0.1:{port}", "1000"])
        _until(lambda: _connects(port), 10, "smtp-sink")

    def start_postfix(self, *, milter: bool = True) -> None:
        """The fastest peer that scans: Postfix with clamav-milter, a durable queue, delivery by address."""
        chosen = {**POSTFIX_SETTINGS, **({} if milter else {"smtpd_milters": ""})}
        settings = "".join(f"{name} = {value}\n" for name, value in chosen.items())
        (self.root / "etc/postfix/main.cf").write_text(settings)
        master = self.root / "etc/postfix/master.cf"
        lines = [_service(line) for line in master.read_text().splitlines()]
        master.write_text("\n".join(lines) + "\n")
        (self.root / "etc/clamav/clamav-milter.conf").write_text(MILTER_CONF)
        if milter:
            self.start("postfix", ["clamav-milter", "--config-file=/etc/clamav/clamav-milter.conf"], log="milter")
            _until(lambda: _connects(MILTER), 20, "clamav-milter")
        self.start("postfix", ["postfix", "start-fg"])
        _until(lambda: _connects(POSTFIX), 30, "Postfix")

    def postfix_queue(self) -> int:
        """Messages in Postfix's queue."""
        spool = self.root / "var/spool/postfix"
        return sum(len(files) for d in ("incoming", "active", "deferred") for _p, _d, files in os.walk(spool / d))

    def start_gateway(self, more: str = "", *, workers: int = 0, next_hop: int = SINK) -> None:
        """Our service, as the role installs it."""
        app = self.root / "opt/mailgate"
        if not app.exists():
            app.mkdir(parents=True)
            for wheel in (REPOSITORY / ".cache/wheelhouse").glob("*.whl"):
                zipfile.ZipFile(wheel).extractall(app)
            shutil.copytree(REPOSITORY / "roles/gateway/files/mailgate", app / "mailgate")
            (app / "__main__.py").write_text("import sys\n\nfrom mailgate.cli import main\n\nsys.exit(main())\n")
        (self.root / "etc/mailgate.routes").write_text(f"{DOMAIN}\t[127.0.0.1]:{next_hop}\n")
        text = f"workers = {workers}\n" + SETTINGS + more
        (self.root / "etc/mailgate.toml").write_text(text)
        self.start("gateway", ["python3", "-I", "/opt/mailgate", "serve", "--config", "/etc/mailgate.toml"])
        _until(lambda: _connects(GATEWAY), 20, "mailgate")


def _service(line: str) -> str:
    """A line of master.cf for our port, without a chroot."""
    words = line.split()
    if len(words) >= 8 and words[1] in ("inet", "unix", "fifo") and not line.startswith("#"):
        words[4] = "n"
        words[0] = str(POSTFIX) if words[:2] == ["smtp", "inet"] else words[0]
        return "  ".join(words)
    return line


def _connects(target: int | str) -> bool:
    family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.connect(target if isinstance(target, str) else ("127.0.0.1", target))
        except OSError:
            return False
    return True


def _until(there: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not there():
        if time.monotonic() > end:
            sys.exit(f"bench: {what} did not start; see {CACHE / 'run'}")
        time.sleep(0.05)
