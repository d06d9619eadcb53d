# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plant faults one by one on the scenario's twin; verify.yml must name each first, and nothing on the sound campus.

python3 molecule/verify/files/plant.py TWIN DIRECTORY [KIND...]    as root; all faults without a kind
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.campus import Campus
from lab.twin import Twin

SCENARIO = Path(__file__).resolve().parents[1]
FILES = SCENARIO / "files"
ZONES = ("univ.example", "eng.univ.example")
SETTLE_SECONDS = 20
RENEW = "; systemctl reload mailgate"
CERTIFICATE = "cd /etc/ssl/mailgate; cp -p sound.pem gateway.pem; cp -p sound.key gateway.key" + RENEW
ROOT = "/etc/bind/zones/root.zone"
GUARD = "systemctl start mailgate-border-guard"
RELOAD_ROOT = "systemctl restart named"
MAILERTABLE = "/etc/mail/mailertable"
MAP = "makemap hash {0} < {0}"


@dataclass(frozen=True)
class Planted:
    """A fault: its kind and the host that the report must name first, and how to plant and remove it there.

    `options` are further options of the playbook; `on` is the host of the commands if it is another one.
    """

    kind: str
    host: str
    plant: str = ""
    remove: str = ""
    options: tuple[str, ...] = ()
    on: str = ""

    @property
    def place(self) -> str:
        """Return the short name of the host of the commands."""
        return self.on or self.host.partition(".")[0]


def zone(kind: str, name: str, edit: str, host: str = "ns1.univ.example") -> Planted:
    """Return a fault in a zone file."""
    return Planted(kind, host, f"sh /root/zone.sh {name} '{edit}'", f"sh /root/zone.sh {name}", on="ns1")


def edited(kind: str, host: str, path: str, edit: str, after: str = "true") -> Planted:
    """Return a fault by an edit of a file, after which a command runs."""
    plant = f"cp -p {path} /root/sound && sed -i '{edit}' {path} && ! cmp -s {path} /root/sound && {after}"
    on = "outside" if path == ROOT else ""
    return Planted(kind, host, plant, f"cp -p /root/sound {path} && {after}", on=on)


def border_files(edit: str) -> str:
    """Return a script that edits the files of the port-25 rules and loads them; the guard sees no difference."""
    begin = "systemctl stop mailgate-border-guard; cd /etc/mailgate/border; rules='ipv4.rules ipv6.rules'"
    return f"{begin}; {edit} && systemctl restart mailgate-border && {GUARD}"


FAULTS = (
    zone("mx", "eng.univ.example", "/^mech/,/^\\*/s/0 gw1.univ.example./0 mail/"),
    zone("mx", "univ.example", "$a quake\\tIN MX 5 outside.example."),
    zone("mx", "eng.univ.example", "/^mech/,/^\\*/{/MX.*gw2/d}"),
    zone("ttl", "univ.example", "s/IN\\tMX/60 IN MX/"),
    zone("no_address", "univ.example", "/^gw2/d", host="gw2.univ.example"),
    zone("address", "univ.example", "s/^\\(gw2.*A\\t*\\)198.18.0.26/\\1198.18.0.27/", host="gw2.univ.example"),
    Planted(
        "stale",
        "ns2.univ.example",
        "sed -i s/198.18.0.53/198.18.0.99/ /etc/bind/named.conf.local && rndc reconfig",
        "sed -i s/198.18.0.99/198.18.0.53/ /etc/bind/named.conf.local && rndc reconfig",
    ),
    Planted(
        "lame",
        "ns2.univ.example",
        "cp /etc/bind/named.conf.local /root/sound && sed -i /eng.univ/d /etc/bind/named.conf.local && rndc reconfig",
        "cp /root/sound /etc/bind/named.conf.local && rndc reconfig",
    ),
    edited("glue", "ns2.univ.example", ROOT, "/^ns2.univ.example.*A/d", RELOAD_ROOT),
    edited("delegation", "ns1.univ.example", ROOT, "/NS ns2.univ.example/d", RELOAD_ROOT),
    edited("ptr", "gw1.univ.example", ROOT, "s/^\\(25.0.18.*PTR\\) .*/\\1 old.univ.example./", RELOAD_ROOT),
    Planted("permit", "mech.eng.univ.example", options=("-i", str(SCENARIO / "files/permit.yml"))),
    Planted(
        "outbound_open",
        "mail.eng.univ.example",
        border_files("cp -p $rules /root/ && sed -i '/^-A MAILGATE-OUT/s/-j REJECT.*/-j RETURN/' $rules"),
        border_files("cp -p /root/ipv4.rules /root/ipv6.rules ."),
        on="border",
    ),
    Planted("outbound_closed", "mech.eng.univ.example", options=("-i", str(SCENARIO / "files/more_senders.yml"))),
    Planted(
        "outbound_unknown",
        "-",
        "systemctl stop echo",
        "systemd-run --unit=echo --property=Restart=on-failure /usr/bin/python3 /opt/echo.py 25",
        on="outside",
    ),
    edited(
        "route",
        "mail.eng.univ.example",
        MAILERTABLE,
        "s/^\\(quake.*\\)3.40/\\13.41/",
        MAP.format(MAILERTABLE),
    ),
    edited(
        "loop",
        "mail.eng.univ.example",
        MAILERTABLE,
        "s/^\\(quake.*\\)3.40/\\11.30/",
        MAP.format(MAILERTABLE),
    ),
    edited("route_missing", "mail.eng.univ.example", MAILERTABLE, "/^quake/d", MAP.format(MAILERTABLE)),
    edited(
        "relay", "quake.univ.example", "/etc/mail/access", "$a Connect:198.18\\tRELAY", MAP.format("/etc/mail/access")
    ),
    edited("relay", "mech.eng.univ.example", "/etc/postfix/main.cf", "$a mynetworks = 0.0.0.0/0", "postfix reload"),
    Planted(
        "scanner",
        "gw1.univ.example",
        "systemctl stop clamav-daemon.socket clamav-daemon.service",
        "systemctl start clamav-daemon.socket clamav-daemon.service",
    ),
    Planted(
        "signatures",
        "gw1.univ.example",
        "touch -d '30 days ago' /var/lib/clamav/*",
        "touch /var/lib/clamav/*",
    ),
    edited("route_missing", "gw2.univ.example", "/etc/mailgate/routes", "/^quake/d", "systemctl reload mailgate"),
    Planted(
        "certificate",
        "gw1.univ.example",
        "sh /root/expired.sh gw1.univ.example" + RENEW,
        CERTIFICATE,
    ),
    Planted(
        "certificate",
        "gw1.univ.example",
        "sh /root/certificate.sh other.example 99" + RENEW,
        CERTIFICATE,
    ),
    Planted(
        "certificate_ends", "gw1.univ.example", options=("-e", '{"mailgate_verify_limits": {"certificate_days": 400}}')
    ),
    edited("drift", "gw1.univ.example", "/etc/clamav/clamd.conf", "$a # edited"),
    Planted(
        "second_mta",
        "quake.univ.example",
        "systemctl stop sendmail; systemd-run --unit=second -q python3 -m http.server 25",
        "systemctl stop second; systemctl start sendmail",
    ),
    Planted("silent", "mail.eng.univ.example", "systemctl stop sendmail", "systemctl start sendmail"),
    Planted("silent", "mech.eng.univ.example", "systemctl stop postfix", "systemctl start postfix"),
    Planted(
        "closed",
        "gw2.univ.example",
        "ip route add blackhole 198.19.255.10",
        "ip route del blackhole 198.19.255.10",
    ),
    Planted("service", "gw2.univ.example", "systemctl stop mailgate", "systemctl start mailgate"),
    Planted(
        "rules",
        "border.univ.example",
        "systemctl stop mailgate-border-guard; iptables -F FORWARD; nft flush ruleset",
        "systemctl restart mailgate-border; rm -f /var/lib/mailgate-border/guard.json; " + GUARD,
    ),
    Planted(
        "guard",
        "border.univ.example",
        "systemctl stop mailgate-border-guard",
        GUARD,
    ),
    Planted("unreachable", "mech.eng.univ.example"),
    Planted("lowered", "ns1.univ.example", "touch /var/lib/bind_mx_ttl.json", "rm /var/lib/bind_mx_ttl.json"),
)


class Scenario:
    """The twin, and the playbook on it."""

    def __init__(self, twin: Twin, report: Path) -> None:
        self.twin, self.report = twin, report
        self.campus = Campus(twin)

    def verify(self, *options: str) -> list[dict[str, Any]]:
        """Run verify.yml and return its faults; its exit status must say whether there are any."""
        (self.report / "verify.json").unlink(missing_ok=True)
        given = ["-i", str(SCENARIO / "vantage"), "-e", f"mailgate_verify_dir={self.report}"]
        given += ["-e", "mailgate_verify_inside=ns2.univ.example", *options]
        done = self.twin.playbook("playbooks/verify.yml", given)
        try:
            faults: list[dict[str, Any]] = json.loads((self.report / "verify.json").read_text())["faults"]
        except OSError:
            sys.exit(f"no report: {done.stdout.decode()[-3000:]}{done.stderr.decode()[-1000:]}")
        if bool(faults) != bool(done.returncode):
            sys.exit(f"status {done.returncode} with {len(faults)} faults")
        return faults

    def change(self, fault: Planted, command: str) -> None:
        """Plant or remove a fault."""
        if fault.kind == "unreachable":
            arguments = ["start" if command == "remove" else "stop", "--name", self.twin.name]
            arguments += ["--inventory", str(SCENARIO / "inventory"), fault.place]
            subprocess.run([sys.executable, "-m", "lab", *arguments], check=True, capture_output=True)
        elif script := getattr(fault, command):
            self.campus.sh(fault.place, script)
        if fault.kind == "stale" and command == "plant":
            self.campus.sh("ns1", "sh /root/zone.sh univ.example '$a ; counted'")
        elif fault.kind == "stale":
            self.campus.sh("ns1", "sh /root/zone.sh univ.example")

    def settle(self) -> None:
        """Wait until the secondary server has the zones of the primary one, and ports answer."""
        deadline = time.monotonic() + SETTLE_SECONDS
        ask = "import dns.resolver,sys\nr=dns.resolver.Resolver(configure=False)\nr.nameservers=[sys.argv[1]]\n"
        ask += "print([r.resolve(z,'SOA')[0].serial for z in sys.argv[2:]])"
        while time.monotonic() < deadline:
            serials = {
                self.campus.sh("outside", f'python3 -c "{ask}" {address} {" ".join(ZONES)} 2>/dev/null || echo failed')
                for address in ("198.18.0.53", "198.18.0.54")
            }
            if len(serials) == 1:
                return
            time.sleep(0.3)

    def try_one(self, fault: Planted) -> tuple[bool, str]:
        """Plant a fault, verify and remove it; return whether it was named first, and the names of the first faults."""
        self.change(fault, "plant")
        if fault.kind not in {"stale", "lame"}:
            self.settle()
        found = self.verify(*fault.options)
        good = bool(found) and (found[0]["kind"], found[0]["host"]) == (fault.kind, fault.host)
        self.change(fault, "remove")
        self.settle()
        return good, ", ".join(each["id"] for each in found[: 3 if good else 8])

    def install(self) -> None:
        """Copy the scripts that plant faults to the hosts."""
        for host, names in (("ns1", ["zone.sh"]), ("gw1", ["expired.sh", "certificate.sh"])):
            for name in names:
                self.campus.sh(host, f"cat > /root/{name}", stdin=(FILES / name).read_bytes())
        self.campus.sh("gw1", "cp -p /etc/ssl/mailgate/gateway.pem /etc/ssl/mailgate/sound.pem")
        self.campus.sh("gw1", "cp -p /etc/ssl/mailgate/gateway.key /etc/ssl/mailgate/sound.key")


def main() -> int:
    """Run the scenario; the status is 0 if every fault was named first."""
    twin = Twin(SCENARIO / "inventory", sys.argv[1])
    report = Path(sys.argv[2])
    wanted = set(sys.argv[3:])
    report.mkdir(parents=True, exist_ok=True)
    scenario = Scenario(twin, report)
    scenario.install()
    failed = 0
    sound = scenario.verify()
    print(f"sound campus: {len(sound)} faults {[fault['id'] for fault in sound]}", flush=True)
    failed += bool(sound)
    for fault in FAULTS:
        if wanted and fault.kind not in wanted:
            continue
        try:
            good, line = scenario.try_one(fault)
        except RuntimeError as error:
            good, line = False, str(error)
        failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {fault.kind} at {fault.host}: {line}", flush=True)
    after = scenario.verify()
    print(f"sound again: {len(after)} faults {[fault['id'] for fault in after]}", flush=True)
    return int(bool(failed or after))


if __name__ == "__main__":
    sys.exit(main())
