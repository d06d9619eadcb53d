# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left on a host of functions that it lost."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._postfix.trial import TRANSPORT
from ansible_collections.campus.mailgate.plugins.module_utils._probe.left import TRACES, left
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.adopt import MC, MC_STYLE
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.tables import HEADER

CONTENT = {
    "mailertable": HEADER,
    "sendmail.mc": f"OSTYPE(`debian')dnl\n{MC_STYLE.begin(MC)}\n{MC_STYLE.finish()}\nMAILER(`smtp')dnl\n",
    TRANSPORT: HEADER,
}
MAIL = ["mailertable", "sendmail.mc", TRANSPORT]


def install(root):
    """Write all files that are looked for, as roles write them."""
    for trace in TRACES:
        path = root / trace.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CONTENT.get(path.name, "[Unit]\n"))


@pytest.mark.parametrize(
    ("functions", "expected"),
    [
        ([], ["mailgate.service", "mailgate-border.service", "mailgate-outside.timer", *MAIL]),
        (["servers"], ["mailgate.service", "mailgate-border.service", "mailgate-outside.timer"]),
        (["gateways"], ["mailgate-border.service", "mailgate-outside.timer"]),
        (["gateways", "borders", "dns"], ["mailgate-outside.timer"]),
        (["gateways", "borders", "dns", "outside"], []),
    ],
)
def test_files_of_functions_that_a_host_lost(tmp_path, functions, expected):
    install(tmp_path)
    assert [trace.path.rpartition("/")[2] for trace in left(functions, tmp_path)] == expected


def test_an_admin_s_own_mailertable_is_none_of_ours(tmp_path):
    assert left([], tmp_path) == []
    (tmp_path / "etc" / "mail").mkdir(parents=True)
    (tmp_path / "etc" / "mail" / "mailertable").write_bytes(b"a.example\tesmtp:[198.18.0.1]\n# \xe9\n")
    assert left([], tmp_path) == []


def test_an_admin_s_own_sendmail_mc_and_postfix_are_none_of_ours(tmp_path):
    for path in ("mail/sendmail.mc", "postfix/main.cf"):
        (tmp_path / "etc" / path).parent.mkdir(parents=True)
        (tmp_path / "etc" / path).write_text("dnl # BEGIN of the campus\ndnl our own lines, see campus.mailgate\n")
    assert left([], tmp_path) == []
