# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which MTA a host runs and has installed, from its files."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from mta_host import TCP6_25, TCP_25, TCP_10025, Machine

from ansible_collections.campus.mailgate.plugins.module_utils._mta.programs import of_program, of_sendmail_command
from ansible_collections.campus.mailgate.plugins.module_utils._mta.system import Host, look, processes


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/usr/libexec/sendmail/sendmail", "sendmail"),
        ("/usr/lib/sm.bin/sendmail", "sendmail"),
        ("/usr/lib/postfix/sbin/master", "postfix"),
        ("/usr/libexec/postfix/master", "postfix"),
        ("/usr/lib/postfix/sbin/smtpd", ""),  # has the sockets of master, which is what runs
        ("/usr/sbin/exim4", "exim"),
        ("/usr/exim/bin/exim-4.97-1", "exim"),
        ("/usr/sbin/smtpd", "opensmtpd"),
        ("/var/qmail/bin/qmail-send", "qmail"),
        ("/opt/zimbra/common/libexec/master", "zimbra"),
        ("/usr/sbin/sshd", ""),
    ],
)
def test_programs(path, kind):
    assert of_program(path) == kind


def test_the_service_of_a_gateway_is_told_from_other_python_programs():
    assert of_program("/usr/bin/python3.11", "/usr/bin/python3 /opt/mailgate/bin/mailgate serve") == "mailgate"
    assert of_program("/usr/bin/python3.11", "/usr/bin/python3 /srv/listener.py") == ""


def test_debian_s_exim_on_loopback(tmp_path):
    host = Machine(tmp_path)
    host.process(812, "/usr/sbin/exim4", sockets=[1001])
    host.listen([TCP_25.format(address="0100007F", inode=1001)], [TCP6_25.format(inode=1002)])
    host.package("exim4-daemon-light", "4.96-15", "default-mta, exim4-localscanapi-6.0, mail-transport-agent")
    host.package("exim4-base", "4.96-15", "")
    host.link("etc/systemd/system/multi-user.target.wants/exim4.service")
    host.link("usr/sbin/sendmail", "exim4")
    found = look(host.run, tmp_path)
    assert found.kinds == ("exim", "unknown")  # the second socket's process is not to be seen
    assert found.evidence("exim") == [
        "/usr/sbin/exim4 runs on 127.0.0.1:25 (process 812)",
        "package exim4-daemon-light 4.96-15 is installed",
        "exim4.service starts with the system",
        "/usr/sbin/sendmail is /usr/sbin/exim4",
    ]


def test_postfix_is_its_master_and_not_the_children_that_inherit_its_socket(tmp_path):
    host = Machine(tmp_path)
    host.process(1, "/usr/lib/systemd/systemd")
    host.process(700, "/usr/lib/postfix/sbin/master", sockets=[5])
    host.process(650, "/usr/lib/postfix/sbin/smtpd", sockets=[5])
    host.listen([TCP_25.format(address="00000000", inode=5)])
    found = processes(tmp_path)
    assert [(each.kind, each.pid, each.listens) for each in found] == [("postfix", 700, ("0.0.0.0:25",))]


def test_the_command_sendmail_of_another_mta_is_no_sendmail(tmp_path):
    host = Machine(tmp_path)
    host.process(700, "/usr/lib/postfix/sbin/master", sockets=[5])
    host.process(900, "/usr/sbin/sendmail", command="/usr/sbin/sendmail\0-t\0")
    host.process(901, "/usr/libexec/sendmail/sendmail", command="sendmail: Queue runner@00:10:00\0")
    host.listen([TCP_25.format(address="00000000", inode=5)])
    assert {each.pid for each in processes(tmp_path)} == {700, 901}


def test_a_container_s_mta_is_not_the_host_s(tmp_path):
    host = Machine(tmp_path)
    host.process(700, "/usr/lib/postfix/sbin/master", sockets=[5], network="net:[2]")
    host.process(800, "/usr/bin/docker-proxy", sockets=[6])
    host.listen([TCP_25.format(address="00000000", inode=6)])
    found = Host(tuple(processes(tmp_path)))
    assert found.kinds == ("unknown",)
    assert found.evidence("unknown") == ["/usr/bin/docker-proxy runs on 0.0.0.0:25 (process 800)"]


def test_only_installed_packages_that_provide_an_mta(tmp_path):
    host = Machine(tmp_path)
    host.package("postfix", "3.7.11", "mail-transport-agent", "config-files")
    host.package("nullmailer", "1:2.2-4", "mail-transport-agent")
    host.package("strange-mta", "1.0", "foo, mail-transport-agent (= 1)")
    host.package("mailutils", "1", "mailx")
    assert [(each.kind, each.name) for each in look(host.run, tmp_path).packages] == [
        ("nullmailer", "nullmailer"),
        ("strange-mta", "strange-mta"),
    ]


def test_what_the_command_sendmail_leads_to(tmp_path):
    host = Machine(tmp_path)
    host.link("usr/sbin/sendmail", "/etc/alternatives/sendmail-mta")
    host.link("etc/alternatives/sendmail-mta", "/usr/lib/sm.bin/sendmail")
    host.file("usr/lib/sm.bin/sendmail")
    found = look(host.run, tmp_path)
    assert found.command == "/usr/lib/sm.bin/sendmail"
    assert of_sendmail_command(found.command) == "sendmail"


def test_init_scripts_without_a_unit(tmp_path):
    host = Machine(tmp_path)
    host.link("etc/rc3.d/S01sendmail")
    host.link("etc/rc2.d/S01sendmail")
    assert [each.name for each in look(host.run, tmp_path).units] == ["sendmail (init script)"]


def test_a_gateway_s_queue_beside_its_service(tmp_path):
    host = Machine(tmp_path)
    host.process(10, "/usr/bin/python3.11", sockets=[1], command="python3\0/usr/local/bin/mailgate\0serve\0")
    host.process(11, "/usr/libexec/sendmail/sendmail", sockets=[2], command="sendmail: accepting connections\0")
    host.listen([TCP_25.format(address="00000000", inode=1), TCP_10025.format(inode=2)])
    found = processes(tmp_path)
    assert [(each.kind, each.listens) for each in found] == [
        ("mailgate", ("0.0.0.0:25",)),
        ("sendmail", ("127.0.0.1:10025",)),
    ]


def test_a_real_listener_on_this_machine():
    """The tables of a running kernel, in a network namespace of its own."""
    program = (
        "import socket, sys, time\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from ansible_collections.campus.mailgate.plugins.module_utils._mta.system import processes\n"
        "one = socket.create_server(('127.0.0.1', 25))\n"
        "two = socket.create_server(('::1', 25), family=socket.AF_INET6)\n"
        "print([(p.kind, p.listens) for p in processes() if p.on_port])\n"
    )
    script = f"ip link set lo up && exec {sys.executable} -c {_quoted(program)}"
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode and re.search("unshare|RTNETLINK|ip: not found", done.stderr):
        pytest.skip("needs network namespaces and iproute2")
    assert done.stdout.strip() == "[('unknown', ('127.0.0.1:25', '[::1]:25'))]", done.stderr


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
