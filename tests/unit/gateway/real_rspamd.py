# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real rspamd on loopback with its own directory and rules, without DNS and other hosts."""

from __future__ import annotations

import getpass
import grp
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

RSPAMD = shutil.which("rspamd") or shutil.which("rspamd", path="/usr/sbin:/usr/bin")
MISSING = "rspamd is not installed here (apt-get install rspamd)"
# The text for which every spam engine rejects a message.
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

_CONFIG = """
options {
  pidfile = "$DBDIR/rspamd.pid"; control_socket = "$DBDIR/control.sock mode=0600"; tempdir = "$DBDIR";
  cache_file = "$DBDIR/symbols.cache"; hs_cache_dir = "$DBDIR/"; dynamic_conf = "$DBDIR/dynamic"; rrd = "";
  stats_file = "$DBDIR/stats"; history_file = ""; url_tld = "$DBDIR/suffixes"; disable_hyperscan = true; filters = "";
  dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }
}
logging { type = "console"; level = "warning"; }
actions { reject = 15; add_header = 6; greylist = 4; }
lua = "$DBDIR/rules.lua";
worker "normal" { bind_socket = "127.0.0.1:PORT"; bind_socket = "$DBDIR/normal.sock mode=0666"; count = 1; }
"""
# A rule for the subject, and one for each fact that the gateway gives.
_RULES = """
local function rule(name, score, holds)
  rspamd_config:register_symbol({name = name, score = score, group = 'test', callback = function(task)
    if holds(task) then return true, 1.0 end
  end})
end
rule('SUBJECT_OFFER', 7.5, function(task) return (task:get_header('Subject') or ''):find('offer') end)
rule('NO_HOSTNAME', 0.1, function(task) return not task:get_hostname() end)
rule('CLIENT_198_18_9_9', 0.1, function(task) return tostring(task:get_from_ip()) == '198.18.9.9' end)
rule('HELO_MAIL_SENDER_EXAMPLE', 0.1, function(task) return task:get_helo() == 'mail.sender.example' end)
rule('NULL_SENDER', 0.1, function(task) return (task:get_from('smtp') or {{}})[1].addr == '' end)
rule('FROM_SENDER_EXAMPLE', 0.1, function(task)
  return ((task:get_from('smtp') or {})[1] or {}).addr == 'a@sender.example'
end)
rule('TWO_RECIPIENTS', 0.1, function(task) return #(task:get_recipients('smtp') or {}) == 2 end)
rule('RELAYED', 0.1, function(task) return task:get_user() end)
"""


class RealRspamd:
    """The process; `directory` must be short, since the length of socket paths is limited."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.directory = directory
        self.socket = directory / "normal.sock"
        (directory / "rspamd.conf").write_text(_CONFIG.replace("PORT", str(self.port)))
        (directory / "rules.lua").write_text(_RULES)
        (directory / "suffixes").write_text("example\n")
        group = grp.getgrgid(os.getgid()).gr_name
        with (directory / "log").open("ab") as out:
            self.process = subprocess.Popen(
                [str(RSPAMD), "--no-fork", "--insecure", f"--user={getpass.getuser()}", f"--group={group}",
                 f"--config={directory}/rspamd.conf", f"--var=DBDIR={directory}", f"--var=RUNDIR={directory}"],
                stdout=out, stderr=out,
            )  # fmt: skip
        deadline = time.monotonic() + 120
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError((directory / "log").read_text()[-2000:])
            time.sleep(0.02)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        # The main process listens before a worker answers.
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
                return b"200 OK" in connection.recv(1000)
        except OSError:
            return False

    def stop(self) -> None:
        # Its workers end with it.
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
