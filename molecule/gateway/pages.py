# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the pages of the gateway's web page on the gateway itself; exit status 1 if one is not as expected."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lab.campus import Campus
from lab.checks import check, finish
from lab.twin import Twin

# On the host: each argument is USER LANGUAGE PATH; prints the status and the language of each page.
READ = r"""
import json, re, sys, urllib.error, urllib.request
found = []
for line in sys.argv[1:]:
    user, language, path = line.split()
    headers = {"X-Remote-User": user, "Cookie": "mailgate_language=" + language}
    request = urllib.request.Request("http://127.0.0.1:8025" + path, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    found.append([answer.status, re.findall('<html lang="(.*?)"', answer.read().decode())])
print(json.dumps(found))
"""
PAGES = ["/", "/search", "/live", "/queue", "/report", "/quarantine", "/address", "/routes"]

campus = Campus(Twin(Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "inventory", os.environ["MAILGATE_TWIN"]))


def read(*requests: str) -> list[list[object]]:
    """Return status and language of each page."""
    words = " ".join(f"'{request}'" for request in requests)
    answer: list[list[object]] = json.loads(campus.sh("gw1", f"python3 - {words}", READ.encode()))
    return answer


for each in ("en", "ja"):
    pages = read(*(f"postmaster {each} {path}" for path in PAGES))
    check(f"all pages in {each}", [[200, [each]]] * len(PAGES), pages)
check("a user without a role", 403, read("eve en /")[0][0])
listening = campus.sh("gw1", "ss -Hltn 'sport = :8025' | awk '{print $4}'").split()
check("it listens on loopback only", ["127.0.0.1:8025"], listening)
owner = campus.sh("gw1", "stat -c %U /proc/$(systemctl show -p MainPID --value mailgate-web.service)").strip()
check("its user", "mailgate-web", owner)
readable = campus.sh("gw1", "runuser -u mailgate-web -- ls /var/lib/mailgate/event_index 2>&1 || echo refused").split()
check("it cannot read the events", "refused", readable[-1])
listed = json.loads(campus.sh("gw1", "runuser -u mailgate -- mailgate queue --json"))
check("the gateway's user gets the list of the queue", True, isinstance(listed, list))
refused = campus.sh("gw1", "runuser -u mailgate-web -- mailgate queue 2>&1 || echo refused").split()
check("the page's user does not", "refused", refused[-1])
finish()
