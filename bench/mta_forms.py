# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record the replies of sendmail, Postfix, Exim and OpenSMTPD to forms of EHLO, MAIL and RCPT.

python3 bench/mta_forms.py       updates tests/unit/gateway/smtp/mta_replies.json; needs root, apt-get and unshare.

Nothing is installed: packages are downloaded and unpacked, and each server runs in its own namespaces, on an overlay
that ends with it, with an isolated network. The servers have the syntax settings of their makers. They relay for
RECIPIENT_DOMAIN, accept senders whose domain has no DNS records, and no message is sent.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

TABLE = Path(__file__).resolve().parents[1] / "tests/unit/gateway/smtp/mta_replies.json"
RECIPIENT_DOMAIN = "a.univ.example"
SERVER, CLIENT = "198.18.0.1", "198.18.9.9"
SECONDS = 30
START_ATTEMPTS = 150
# The packages that depend on a mail transport agent's package conflict with those of the others.
PACKAGES = {
    "sendmail": ("sendmail-bin", "sendmail-base", "sendmail-cf", "m4", "libwrap0", "libldap-2.5-0", "liblockfile1"),
    "postfix": ("postfix",),
    "exim": ("exim4-daemon-light", "exim4-base", "libidn12"),
    "opensmtpd": ("opensmtpd",),
}
USERS = ("postfix", "postdrop", "Debian-exim", "smmta", "smmsp", "opensmtpd", "opensmtpq")

SENDMAIL = f"""\
divert(0)dnl
OSTYPE(`debian')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch')dnl
define(`confTO_IDENT', `0')dnl
define(`SMART_HOST', `relay:[127.0.0.1]')dnl
FEATURE(`accept_unresolvable_domains')dnl
RELAY_DOMAIN(`{RECIPIENT_DOMAIN}')dnl
DAEMON_OPTIONS(`Name=MTA, Addr={SERVER}, Port=smtp')dnl
MAILER_DEFINITIONS
MAILER(`local')dnl
MAILER(`smtp')dnl
"""
POSTFIX = f"""\
compatibility_level = 3.6
myhostname = mta.example
mydestination =
relay_domains = {RECIPIENT_DOMAIN}
relay_transport = smtp:[127.0.0.1]:9
maillog_file = /var/log/postfix.log
smtpd_peername_lookup = no
"""
EXIM = f"""\
primary_hostname = mta.example
local_interfaces = {SERVER}
rfc1413_query_timeout = 0s
tls_advertise_hosts =
dsn_advertise_hosts = *
log_file_path = /var/log/exim4/%slog
keep_environment =
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  accept domains = {RECIPIENT_DOMAIN}
  deny message = relay not permitted
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  transport = smtp
begin transports
smtp:
  driver = smtp
"""
OPENSMTPD = f"""\
listen on {SERVER} port 25 hostname mta.example
action "relay" relay host smtp://127.0.0.1:9
match from any for domain "{RECIPIENT_DOMAIN}" action "relay"
"""


def run(*command: str, **options: object) -> None:
    """Run a command; raise an exception if it fails."""
    subprocess.run(command, check=True, timeout=300, **options)  # type: ignore[call-overload]


def unpack(work: Path, mta: str) -> dict[str, str]:
    """Download and unpack the packages of one server into `work`/root; return the version of the first one."""
    root = work / "root"
    root.mkdir()
    run("apt-get", "-qq", "download", *PACKAGES[mta], cwd=work, stderr=subprocess.DEVNULL)
    for package in sorted(work.glob("*.deb")):
        run("dpkg-deb", "-x", str(package), str(root))
    # On the system below, these are links into /usr.
    for name in ("bin", "sbin", "lib"):
        if (root / name).is_dir():
            shutil.copytree(root / name, root / "usr" / name, dirs_exist_ok=True, symlinks=True)
            shutil.rmtree(root / name)
    [first] = work.glob(f"{PACKAGES[mta][0]}_*.deb")
    return {mta: first.name.split("_")[1].replace("%3a", ":")}


def enter(root: Path) -> None:
    """Make the system with the unpacked packages the root directory; the caller is in a mount namespace of its own."""
    top = root.parent / "overlay"
    top.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", str(top))
    merged, upper, under = (top / name for name in ("merged", "upper", "work"))
    for directory in (merged, under):
        directory.mkdir()
    shutil.copytree(root, upper, symlinks=True)
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={under}", str(merged))
    run("mount", "--rbind", "/dev", str(merged / "dev"))
    run("mount", "-t", "proc", "proc", str(merged / "proc"))
    run("ip", "link", "set", "lo", "up")
    for address in (SERVER, CLIENT):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    os.chroot(merged)
    os.chdir("/")
    socket.sethostname("mta")
    write("/etc/hosts", f"127.0.0.1 localhost\n{SERVER} mta.example mta\n{CLIENT} client.example\n")
    write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
    for file, line in (("/etc/passwd", "{0}:x:{1}:{1}::/var/empty:/bin/false\n"), ("/etc/group", "{0}:x:{1}:\n")):
        text = Path(file).read_text()
        kept = [entry for entry in text.splitlines(keepends=True) if entry.split(":")[0] not in USERS]
        write(file, "".join([*kept, *(line.format(user, 900 + number) for number, user in enumerate(USERS))]))
    for directory in ("/var/empty", "/var/log", "/run"):
        Path(directory).mkdir(parents=True, exist_ok=True)


def write(path: str, text: str) -> None:
    """Write a file of the overlay."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def make(path: str, owner: str, mode: int = 0o755) -> None:
    """Make a directory that belongs to `owner`."""
    Path(path).mkdir(parents=True, exist_ok=True)
    Path(path).chmod(mode)
    shutil.chown(path, owner, owner if owner != "root" else None)


def start(mta: str) -> None:
    """Write the configuration of one server and start it."""
    if mta == "sendmail":
        write("/etc/mail/service.switch", "hosts files\naliases files\n")
        write("/etc/mail/local-host-names", "")
        write("/etc/mail/sendmail.mc", SENDMAIL)
        cf = "/usr/share/sendmail/cf/"
        with Path("/etc/mail/sendmail.cf").open("w") as output:
            run("m4", f"-D_CF_DIR_={cf}", f"{cf}m4/cf.m4", "/etc/mail/sendmail.mc", stdout=output)
        make("/var/spool/mqueue", "root", 0o700)
        make("/run/sendmail/mta", "root")
        run("/usr/libexec/sendmail/sendmail", "-bd", "-C/etc/mail/sendmail.cf")
    elif mta == "postfix":
        write("/etc/postfix/main.cf", POSTFIX)
        master = Path("/usr/share/postfix/master.cf.dist").read_text()
        lines = (line.split() for line in master.splitlines() if line[:1].isalnum())
        write("/etc/postfix/master.cf", "".join(" ".join((*f[:4], "n", *f[5:])) + "\n" for f in lines))
        make("/var/lib/postfix", "postfix")
        make("/var/spool/postfix", "root")
        run("postfix", "start")
    elif mta == "exim":
        write("/etc/exim4/exim4.conf", EXIM)
        for directory in ("/var/spool/exim4", "/var/log/exim4"):
            make(directory, "Debian-exim", 0o750)
        # In the foreground: it does not fork if its parent has process ID 1.
        subprocess.Popen(("exim4", "-C", "/etc/exim4/exim4.conf", "-bdf"), stdin=subprocess.DEVNULL)
    else:
        write("/etc/smtpd.conf", OPENSMTPD)
        write("/etc/mailname", "mta.example\n")
        write("/etc/aliases", "")
        make("/var/lib/opensmtpd/empty", "root")
        run("smtpd")


def connect() -> socket.socket:
    """Connect as a host that may not relay."""
    return socket.create_connection((SERVER, 25), SECONDS, source_address=(CLIENT, 0))


def wait_for_server() -> None:
    """Wait until the server listens."""
    for _ in range(START_ATTEMPTS):
        with contextlib.suppress(OSError):
            connect().close()
            return
        time.sleep(0.1)
    sys.exit("the server does not listen")


def replies(stream: Iterator[bytes]) -> Iterator[int]:
    """Yield the code of each reply; 0 if the connection ends."""
    for line in stream:
        if line[3:4] != b"-":
            yield int(line[:3])
    yield 0


def reply_to(say: Sequence[str]) -> int:
    """Send commands; return the first refusal, else the reply to the last one."""
    with connect() as connection, connection.makefile("rb") as stream:
        codes = replies(stream)
        code = next(codes)
        for command in say:
            connection.sendall(command.encode("utf-8", "surrogateescape") + b"\r\n")
            code = next(codes)
            if code // 100 != 2:
                break
        return code


def record(mta: str, root: Path) -> None:
    """Print the replies of one server as JSON; runs in namespaces of its own."""
    forms = json.loads(TABLE.read_text())["forms"]
    enter(root)
    start(mta)
    wait_for_server()
    print(json.dumps({name: reply_to(form["say"]) for name, form in forms.items()}))


def main() -> None:
    """Record all servers, or one within its namespaces."""
    if len(sys.argv) == 3:
        record(sys.argv[1], Path(sys.argv[2]))
        return
    table = json.loads(TABLE.read_text())
    for mta in PACKAGES:
        with tempfile.TemporaryDirectory(prefix="mta-forms-") as directory:
            table["versions"].update(unpack(Path(directory), mta))
            isolated = ("unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child")
            command = (*isolated, sys.executable, __file__, mta, f"{directory}/root")
            result = subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE)
            for name, code in json.loads(result.stdout.splitlines()[-1]).items():
                table["forms"][name].setdefault("replies", {})[mta] = code
        TABLE.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
