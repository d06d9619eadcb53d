# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plant faults on the scenario's twin, some independent ones at a time; verify.yml must name them before what follows
from them, and nothing on the sound campus.

python3 molecule/verify/files/plant.py TWIN DIRECTORY [KIND...]    as root; only faults of these kinds, all without one
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
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
    sound = f"/root/sound.{Path(path).name}"
    plant = f"cp -p {path} {sound} && sed -i '{edit}' {path} && ! cmp -s {path} {sound} && {after}"
    on = "outside" if path == ROOT else ""
    return Planted(kind, host, plant, f"cp -p {sound} {path} && {after}", on=on)


def border_files(edit: str) -> str:
    """Return a script that edits the files of the port-25 rules and loads them; the guard sees no difference."""
    begin = "systemctl stop mailgate-border-guard; cd /etc/mailgate/border; rules='ipv4.rules ipv6.rules'"
    return f"{begin}; {edit} && systemctl restart mailgate-border && {GUARD}"


#: Faults that are planted together: no two of a group edit the same file, and none hides another.
GROUPS: tuple[tuple[Planted, ...], ...] = (
    (
        zone("mx", "eng.univ.example", "/^mech/,/^\\*/s/0 gw1.univ.example./0 mail/"),
        edited("route_missing", "mail.eng.univ.example", MAILERTABLE, "/^quake/d", MAP.format(MAILERTABLE)),
        Planted(
            "scanner",
            "gw1.univ.example",
            "systemctl stop clamav-daemon.socket clamav-daemon.service",
            "systemctl start clamav-daemon.socket clamav-daemon.service",
        ),
        Planted("outbound_closed", "mech.eng.univ.example", options=("-i", str(SCENARIO / "files/more_senders.yml"))),
    ),
    (
        zone("mx", "univ.example", "$a quake\\tIN MX 5 outside.example."),
        edited(
            "relay",
            "quake.univ.example",
            "/etc/mail/access",
            "$a Connect:198.18\\tRELAY",
            MAP.format("/etc/mail/access"),
        ),
        Planted(
            "signatures",
            "gw1.univ.example",
            "touch -d '30 days ago' /var/lib/clamav/*",
            "touch /var/lib/clamav/*",
        ),
        Planted(
            "guard",
            "border.univ.example",
            "systemctl stop mailgate-border-guard",
            GUARD,
        ),
    ),
    (
        zone("mx", "eng.univ.example", "/^mech/,/^\\*/{/MX.*gw2/d}"),
        edited("relay", "mech.eng.univ.example", "/etc/postfix/main.cf", "$a mynetworks = 0.0.0.0/0", "postfix reload"),
        edited("route_missing", "gw2.univ.example", "/etc/mailgate/routes", "/^quake/d", "systemctl reload mailgate"),
        Planted("lowered", "ns1.univ.example", "touch /var/lib/bind_mx_ttl.json", "rm /var/lib/bind_mx_ttl.json"),
    ),
    (
        zone("ttl", "univ.example", "s/IN\\tMX/60 IN MX/"),
        edited(
            "route",
            "mail.eng.univ.example",
            MAILERTABLE,
            "s/^\\(quake.*\\)3.40/\\13.41/",
            MAP.format(MAILERTABLE),
        ),
        Planted(
            "certificate",
            "gw1.univ.example",
            "sh /root/expired.sh gw1.univ.example" + RENEW,
            CERTIFICATE,
        ),
        Planted(
            "outbound_unknown",
            "-",
            "systemctl stop echo",
            "systemd-run --unit=echo --property=Restart=on-failure /usr/bin/python3 /opt/echo.py 25",
            on="outside",
        ),
    ),
    (
        zone("no_address", "univ.example", "/^gw2/d", host="gw2.univ.example"),
        edited(
            "loop",
            "mail.eng.univ.example",
            MAILERTABLE,
            "s/^\\(quake.*\\)3.40/\\11.30/",
            MAP.format(MAILERTABLE),
        ),
        Planted(
            "certificate",
            "gw1.univ.example",
            "sh /root/certificate.sh other.example 99" + RENEW,
            CERTIFICATE,
        ),
        Planted("permit", "mech.eng.univ.example", options=("-i", str(SCENARIO / "files/permit.yml"))),
    ),
    (
        zone("address", "univ.example", "s/^\\(gw2.*A\\t*\\)198.18.0.26/\\1198.18.0.27/", host="gw2.univ.example"),
        Planted(
            "second_mta",
            "quake.univ.example",
            "systemctl stop sendmail; systemd-run --unit=second -q python3 -m http.server 25",
            "systemctl stop second; systemctl start sendmail",
        ),
        Planted(
            "outbound_open",
            "mail.eng.univ.example",
            border_files("cp -p $rules /root/ && sed -i '/^-A MAILGATE-OUT/s/-j REJECT.*/-j RETURN/' $rules"),
            border_files("cp -p /root/ipv4.rules /root/ipv6.rules ."),
            on="border",
        ),
    ),
    (
        Planted(
            "stale",
            "ns2.univ.example",
            "sed -i s/198.18.0.53/198.18.0.99/ /etc/bind/named.conf.local && rndc reconfig",
            "sed -i s/198.18.0.99/198.18.0.53/ /etc/bind/named.conf.local && rndc reconfig",
        ),
        edited("drift", "gw1.univ.example", "/etc/clamav/clamd.conf", "$a # edited"),
        Planted(
            "certificate_ends",
            "gw1.univ.example",
            options=("-e", '{"mailgate_verify_limits": {"certificate_days": 400}}'),
        ),
    ),
    (
        Planted(
            "lame",
            "ns2.univ.example",
            "cd /etc/bind && cp named.conf.local /root/sound && sed -i /eng.univ/d named.conf.local && rndc reconfig",
            "cp /root/sound /etc/bind/named.conf.local && rndc reconfig",
        ),
        Planted("silent", "mail.eng.univ.example", "systemctl stop sendmail", "systemctl start sendmail"),
    ),
    (
        edited("glue", "ns2.univ.example", ROOT, "/^ns2.univ.example.*A/d", RELOAD_ROOT),
        Planted("silent", "mech.eng.univ.example", "systemctl stop postfix", "systemctl start postfix"),
    ),
    (
        edited("delegation", "ns1.univ.example", ROOT, "/NS ns2.univ.example/d", RELOAD_ROOT),
        Planted(
            "closed",
            "gw2.univ.example",
            "ip route add blackhole 198.19.255.10",
            "ip route del blackhole 198.19.255.10",
        ),
    ),
    (
        edited("ptr", "gw1.univ.example", ROOT, "s/^\\(25.0.18.*PTR\\) .*/\\1 old.univ.example./", RELOAD_ROOT),
        Planted("service", "gw2.univ.example", "systemctl stop mailgate", "systemctl start mailgate"),
    ),
    (
        Planted(
            "rules",
            "border.univ.example",
            "systemctl stop mailgate-border-guard; iptables -F FORWARD; nft flush ruleset",
            "systemctl restart mailgate-border; rm -f /var/lib/mailgate-border/guard.json; " + GUARD,
        ),
    ),
    (Planted("unreachable", "mech.eng.univ.example"),),
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

    def try_group(self, group: Sequence[Planted]) -> tuple[bool, str]:
        """Plant faults, verify, and remove them.

        Returns:
            Whether all were named, and before the last of them only what follows from them, after its cause: faults of
            the same kinds, or of a host that was named; and the names of these.
        """
        for fault in group:
            self.change(fault, "plant")
        if not any(fault.kind in {"stale", "lame"} for fault in group):
            self.settle()
        found = self.verify(*(option for fault in group for option in fault.options))
        for fault in group:
            self.change(fault, "remove")
        self.settle()
        left, kinds = {(fault.kind, fault.host) for fault in group}, {fault.kind for fault in group}
        names: list[str] = []
        hosts: set[str] = set()
        for each in found:
            if not left:
                break
            names.append(each["id"])
            if each["kind"] in kinds:
                hosts.add(each["host"])
                left.discard((each["kind"], each["host"]))
            elif each["host"] not in hosts:
                return False, ", ".join(each["id"] for each in found[:8])
        return not left, ", ".join(names or ["nothing"])

    def install(self) -> None:
        """Copy the scripts that plant faults to the hosts."""
        for host, names in (("ns1", ["zone.sh"]), ("gw1", ["expired.sh", "certificate.sh"])):
            for name in names:
                self.campus.sh(host, f"cat > /root/{name}", stdin=(FILES / name).read_bytes())
        self.campus.sh("gw1", "cp -p /etc/ssl/mailgate/gateway.pem /etc/ssl/mailgate/sound.pem")
        self.campus.sh("gw1", "cp -p /etc/ssl/mailgate/gateway.key /etc/ssl/mailgate/sound.key")


def main() -> int:
    """Run the scenario; the status is 0 if every fault was named before what follows from it."""
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
    for whole in GROUPS:
        group = [fault for fault in whole if not wanted or fault.kind in wanted]
        if not group:
            continue
        try:
            good, line = scenario.try_group(group)
        except RuntimeError as error:
            good, line = False, str(error)
        failed += not good
        planted = ", ".join(f"{fault.kind} at {fault.host}" for fault in group)
        print(f"{'ok    ' if good else 'FAILED'} {planted}: {line}", flush=True)
    after = scenario.verify()
    print(f"sound again: {len(after)} faults {[fault['id'] for fault in after]}", flush=True)
    return int(bool(failed or after))


if __name__ == "__main__":
    sys.exit(main())
