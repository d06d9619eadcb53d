# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An isolated machine for a bench: namespaces for network and mounts, CPU time counted per program.

Programs run in the bench's Debian system on a throw-away overlay; the network has a loopback interface only.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.front import RUN, SPOOL, rendered
from bench.inner_server import INNER, PROGRAM
from bench.rootfs import CACHE, prepare
from lab.repository import CONFINED
from lab.tools import CGROUPS, REPOSITORY

SINK, POSTFIX, GATEWAY, FRONT, QUEUE, MILTER = 2600, 2525, 2526, 2527, 10025, 7357
DOMAIN = "mech.eng.univ.example"
SIGNATURES = 100_000
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
# As in the gateway's unit. The peers need no such setting: their processes end with each message or hold small pieces.
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
def bench_machine(parser: argparse.ArgumentParser) -> Iterator[tuple[BenchMachine, argparse.Namespace]]:
    """Run a bench in its own namespaces; yield the machine and the parsed options.

    Prepares the system and starts the bench's module (`parser.prog`) again in new namespaces. That process gets the
    machine; this one exits with its status.
    """
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is None:
        command = [sys.executable, "-m", parser.prog, "--inside", str(prepare()), *sys.argv[1:]]
        sys.exit(subprocess.run([*CONFINED, "unshare", "--net", *command], check=False).returncode)
    machine = BenchMachine(options.inside)
    machine.enter()
    try:
        yield machine, options
    finally:
        machine.leave()


class BenchMachine:
    """The mounted system and its programs."""

    def __init__(self, lower: Path) -> None:
        self.root = CACHE / "run" / "root"
        self._lower = lower
        self.running: list[subprocess.Popen[bytes]] = []
        self._groups: dict[str, Path] = {}

    def enter(self) -> None:
        """Mount the system; to be called in new namespaces."""
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
            # The state directory is root's, as the gateway here: commands take the rights of its owner.
            if "clamav" in name:
                shutil.chown(self.root / name, self._id("clamav"))

    def _id(self, user: str) -> int:
        lines = (self.root / "etc/passwd").read_text().splitlines()
        return next(int(line.split(":")[2]) for line in lines if line.startswith(f"{user}:"))

    def group(self, name: str) -> Path:
        """Return the control group that counts a program's CPU time; create it if missing."""
        if name not in self._groups:
            top = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "unified"
            path = top / f"mailgate-bench-{os.getpid()}-{name}"
            path.mkdir(exist_ok=True)
            self._groups[name] = path
        return self._groups[name]

    def cpu(self, name: str) -> float:
        """Return the CPU time in seconds that all processes of a program have used."""
        return int((self.group(name) / "cpu.stat").read_text().split()[1]) / 1e6

    def memory(self, name: str) -> int:
        """Return the memory in bytes that a program's processes hold (PSS: shared pages count once)."""
        total = 0
        for process in (self.group(name) / "cgroup.procs").read_text().split():
            try:
                lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return total

    def processes(self, name: str) -> list[int]:
        """Return the process ids of a program."""
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
        """Start a program in the control group `name`."""
        out = (CACHE / "run" / f"{log or name}.log").open("ab")
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            env=GATEWAY_ENVIRONMENT if name in ("gateway", "service") else ENVIRONMENT,
            preexec_fn=self._inside(name),  # noqa: PLW1509
        )  # fmt: skip
        self.running.append(process)
        return process

    def run(self, name: str, command: Sequence[str], seconds: float = 600) -> str:
        """Run a program and return its output; exit if it fails."""
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=ENVIRONMENT, check=False,
            preexec_fn=self._inside(name),
        )  # fmt: skip
        text = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode:
            sys.exit(f"bench: {' '.join(command)}: exit status {done.returncode}\n{text[-2000:]}")
        return text

    def stop(self, name: str) -> None:
        """Kill all processes of a program and wait for their end."""
        for process in self.processes(name):
            os.kill(process, signal.SIGKILL)
        _wait_for(lambda: not self.processes(name), 10, f"{name} did not end")

    def leave(self) -> None:
        """Kill all programs and remove their control groups."""
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
        """Return a message of about `size` KiB; also write it to /message.SIZE."""
        whole = sample_message(size)
        (self.root / f"message.{size}").write_bytes(whole.replace(b"\r\n", b"\n"))
        return whole

    # Programs

    def start_clamd(self) -> None:
        """Start clamd with random signatures and EICAR's."""
        rng = random.Random(1)  # noqa: S311
        lines = [f"Bench.{n}:0:*:{rng.randbytes(24).hex()}\n" for n in range(SIGNATURES)]
        eicar = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
        lines.append(f"Eicar-Test:0:*:{eicar.hex()}\n")
        (self.root / "var/lib/clamav/bench.ndb").write_text("".join(lines))
        (self.root / "etc/clamav/clamd.conf").write_text(CLAMD)
        self.start("clamd", ["clamd", "--config-file=/etc/clamav/clamd.conf"])
        path = self.root / "run/clamav/clamd.ctl"
        _wait_for(lambda: _connects(str(path)), 120, "clamd did not start")

    def start_inner_servers(self) -> None:
        """Start a server that knows alice only, and as the queue one that accepts all recipients (`inner_server`)."""
        (self.root / "inner_server.py").write_text(PROGRAM)
        self.start("inner", ["python3", "/inner_server.py", str(INNER)])
        self.start("queue", ["python3", "/inner_server.py", str(QUEUE), "any"])

    def start_sink(self, port: int = SINK, name: str = "sink") -> None:
        """Start Postfix's smtp-sink, which accepts and discards all mail."""
        self.start(name, ["smtp-sink", "-u", "postfix", f"127.0.0.1:{port}", "1000"])
        _wait_for(lambda: _connects(port), 10, "smtp-sink did not start")

    def start_postfix(
        self, *, milter: bool = True, settings: Mapping[str, str] | None = None, postscreen: bool = False
    ) -> None:
        """Start the fastest peer that scans: Postfix with clamav-milter, a durable queue, delivery by address.

        Args:
            milter: Scan.
            settings: More settings of main.cf.
            postscreen: Have postscreen in front of smtpd.
        """
        chosen = {**POSTFIX_SETTINGS, **({} if milter else {"smtpd_milters": ""}), **(settings or {})}
        text = "".join(f"{name} = {value}\n" for name, value in chosen.items())
        (self.root / "etc/postfix/main.cf").write_text(text)
        master = self.root / "etc/postfix/master.cf"
        lines = [_service(line) for line in master.read_text().splitlines()]
        if postscreen:
            lines = [line for line in lines if not line.startswith(f"{POSTFIX} ")]
            lines += [f"{POSTFIX}  inet  n  -  n  -  1  postscreen", "smtpd  pass  -  -  n  -  -  smtpd"]
        master.write_text("\n".join(lines) + "\n")
        (self.root / "etc/clamav/clamav-milter.conf").write_text(MILTER_CONF)
        if milter:
            self.start("postfix", ["clamav-milter", "--config-file=/etc/clamav/clamav-milter.conf"], log="milter")
            _wait_for(lambda: _connects(MILTER), 20, "clamav-milter did not start")
        self.start("postfix", ["postfix", "start-fg"])
        _wait_for(lambda: _connects(POSTFIX), 30, "Postfix did not start")

    def postfix_queue(self) -> int:
        """Return the number of messages in Postfix's queue."""
        spool = self.root / "var/spool/postfix"
        return sum(len(files) for d in ("incoming", "active", "deferred") for _p, _d, files in os.walk(spool / d))

    def start_front(self) -> None:
        """Start sendmail in front of the gateway, as the role installs it; the gateway is started by itself."""
        files = rendered(
            __gateway_front_listen=[f"127.0.0.1:{FRONT}"], __gateway_front_hop=f"127.0.0.1:{GATEWAY}",
            gateway_queue=f"127.0.0.1:{QUEUE}", gateway_routes=[{"domain": DOMAIN}],
        )  # fmt: skip
        for name, text in files.items():
            (self.root / "etc" / name).write_text(text)
        for directory in (RUN, SPOOL):
            (self.root / directory[1:]).mkdir(mode=0o750, parents=True)
            shutil.chown(self.root / directory[1:], self._id("smmta"), self._id("smmta"))
        user = ["setpriv", "--reuid=smmta", "--regid=smmta", "--clear-groups"]
        self.run("front", [*user, "sh", "/etc/front-build", "/etc/front.mc", "/etc/front.domains", "/etc/front.access",
                           RUN])  # fmt: skip
        self.start("front", [*user, "sendmail-mta", f"-C{RUN}/sendmail.cf", "-bD", "-q10m"])
        _wait_for(lambda: _connects(FRONT), 20, "the front did not start")

    def start_gateway(
        self, more: str = "", *, workers: int = 0, next_hop: int = SINK, settings: str = SETTINGS
    ) -> None:
        """Start the gateway service as the role installs it."""
        app = self.root / "opt/mailgate"
        if not app.exists():
            app.mkdir(parents=True)
            for wheel in (REPOSITORY / ".cache/wheelhouse").glob("*.whl"):
                zipfile.ZipFile(wheel).extractall(app)
            shutil.copytree(REPOSITORY / "roles/gateway/files/mailgate", app / "mailgate")
            (app / "__main__.py").write_text("import sys\n\nfrom mailgate.cli import main\n\nsys.exit(main())\n")
        (self.root / "etc/mailgate.routes").write_text(f"{DOMAIN}\t[127.0.0.1]:{next_hop}\n")
        text = f"workers = {workers}\n" + settings + more
        (self.root / "etc/mailgate.toml").write_text(text)
        self.start("gateway", mailgate("serve"))
        _wait_for(lambda: _connects(GATEWAY), 20, "mailgate did not start")


def mailgate(command: str, *words: str) -> list[str]:
    """Return the command line of a command of the gateway that `start_gateway` starts."""
    return ["python3", "-I", "/opt/mailgate", command, "--config", "/etc/mailgate.toml", *words]


def sample_message(size: int) -> bytes:
    """Return a message of about `size` KiB with text and a random attachment."""
    rng = random.Random(size)  # noqa: S311
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(500)]
    text = "\r\n".join(" ".join(rng.choices(words, k=10)) for _ in range(30))
    head = (
        f"From: <a@sender.example>\r\nTo: <alice@{DOMAIN}>\r\nSubject: bench {size}\r\n"
        f"Message-ID: <bench.{size}@sender.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\n'
        f"{text}\r\n--b1\r\nContent-Type: application/octet-stream; name=data.bin\r\n"  # language: quoted
        "Content-Transfer-Encoding: base64\r\n\r\n"
    ).encode()
    room = max(0, size * 1024 - len(head) - 10)
    attachment = base64.encodebytes(rng.randbytes(room * 57 // 78)).replace(b"\n", b"\r\n")
    return head + attachment + b"--b1--\r\n"


def _service(line: str) -> str:
    """Return a line of master.cf with chroot off and smtpd on the bench's port."""
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


def _wait_for(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"bench: {problem} within {seconds:.0f} s; see the logs in {CACHE / 'run'}")
        time.sleep(0.05)
