#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of rollout_wait; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_wait
short_description: Wait in a rollout for caches, or until direct connections have ended
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Waits at most O(limit) seconds, and prints regularly how long is left. It changes nothing and may be interrupted.
  - With O(plan), runs on a border router. It reads the counters there until no server of the plan has had a direct
    connection for O(quiet) seconds.
  - In check mode it does not wait.
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
  action:
    description: Runs on the controller; with O(plan) also on the host.
    support: full
options:
  seconds:
    description: How long to wait. If it is more than O(limit), the module does not wait at all.
    type: int
  plan:
    description: The plan, or the part of it that RV(campus.mailgate.rollout_select#module:faculties) selects.
    type: dict
  quiet:
    description: For how many seconds no direct connection may come.
    type: int
    default: 86400
  log_prefix:
    description: The prefix of the lines in the router's log, which shows who connects.
    type: str
    default: 'mailgate-25: '
  limit:
    description: How many seconds to wait at most.
    type: int
    default: 10800
  interval:
    description: After how many seconds the progress is printed.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Wait for caches
  campus.mailgate.rollout_wait:
    seconds: 300
  run_once: true
"""

RETURN = r"""
over:
  description: Whether there is nothing to wait for any more.
  returned: always
  type: bool
missing:
  description: What there was to wait for at the end.
  returned: always
  type: str
"""
