# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._zone.edit import files_of
from ansible_collections.campus.mailgate.plugins.module_utils._zone.exchanges import Target, targets_in
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import read_zone, to_name

ZONE = """\
@ 60 SOA ns1 h 7 1 1 1 1
  NS ns1
host A 198.18.1.1
six AAAA 2001:db8::6
alias CNAME host
text TXT x
a.b.empty TXT x
*.wild A 198.18.1.2
del NS ns.del
ns.del A 198.18.1.3
tree DNAME else.example.
$INCLUDE more
"""
MORE = b"inc A 198.18.1.4\n"


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("host", Target.ADDRESS),
        ("six", Target.ADDRESS),
        ("inc", Target.ADDRESS),
        ("alias", Target.ALIAS),
        ("text", Target.MISSING),
        ("empty", Target.MISSING),
        ("nowhere", Target.MISSING),
        ("x.wild", None),
        ("del", None),
        ("ns.del", None),
        ("x.tree", None),
        ("host.other.example.", None),
    ],
)
def test_targets(name, target):
    apex = to_name("u.example.", ())
    files = list(files_of(read_zone(ZONE.encode(), apex, "db", lambda file: MORE)))
    wanted = to_name(name, apex)
    assert targets_in(files, apex, [wanted]).get(wanted) == target


def test_generated_addresses_leave_it_open():
    apex = to_name("u.example.", ())
    files = [read_zone(b"@ 60 SOA ns1 h 7 1 1 1 1\n$GENERATE 1-2 pc$ A 198.18.1.$\n", apex, "db", lambda file: b"")]
    assert targets_in(files, apex, [to_name("pc1", apex)]) == {}
