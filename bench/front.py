# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the sendmail in front of the gateway, from the role's templates, without Ansible."""

from __future__ import annotations

import re
from typing import Any

import jinja2

from lab.tools import REPOSITORY

ROLE = REPOSITORY / "roles" / "gateway"
RUN, SPOOL = "/run/mailgate-front", "/var/lib/mailgate-front"
# The defaults of the role, with ports that need no privilege.
VARIABLES: dict[str, Any] = {
    "__gateway_front_listen": ["127.0.0.1:2527"], "__gateway_front_hop": "127.0.0.1:2526",
    "__gateway_front_queue": SPOOL, "__gateway_front_run": RUN, "__gateway_front_user": "smmta",
    "__gateway_tls_files": [], "gateway_queue": "127.0.0.1:10025", "gateway_hostname": "gw1.univ.example",
    "gateway_max_message_bytes": 26_214_400, "gateway_front_max_daemon_children": 20,
    "gateway_front_connection_rate": 50, "gateway_front_double_bounce_address": "nobody",
    "gateway_front_greet_pause": 0, "gateway_front_extra": [], "gateway_front_client_connections": 10,
    "gateway_front_client_rate": 120, "gateway_front_access": [], "gateway_routes": [], "gateway_external": [],
}  # fmt: skip


def rendered(**changed: object) -> dict[str, str]:
    """Return the files by name; `changed` are variables that are not as in VARIABLES."""
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    environment.filters["regex_replace"] = lambda text, pattern, new: re.sub(pattern, new, text)
    templates = ROLE / "templates" / "front"
    files = {
        name: environment.from_string((templates / f"{name}.j2").read_text()).render(VARIABLES | changed)
        for name in ("front.mc", "front.domains", "front.access")
    }
    return files | {"front-build": (ROLE / "files/front/front-build").read_text()}
