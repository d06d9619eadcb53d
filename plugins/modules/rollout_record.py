#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of rollout_record; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_record
short_description: Keep records of the runs of a rollout on the controller
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - Keeps a record of each run, with the time, the user, the variables, and the hosts that have changed. Records are for
    people. No phase reads them, so nothing depends on them.
  - A record also has what the hosts had before the run.
extends_documentation_fragment:
  - campus.mailgate.attributes
attributes:
  diff_mode:
    support: none
  action:
    description: Runs on the controller only.
    support: full
options:
  state:
    description:
      - V(begin) begins a record and removes old ones, V(end) writes what has changed, V(list) returns the records.
      - In check mode nothing is written.
    type: str
    choices: [begin, end, list]
    required: true
  directory:
    description: The directory of the records on the controller. Each campus has a directory in it.
    type: path
    required: true
  campus:
    description: The name of the campus.
    type: str
    required: true
  what:
    description: The playbook and the variables of the run.
    type: str
    default: ''
  name:
    description: The name of the record that V(end) writes.
    type: str
    default: ''
  answers:
    description: The results of M(campus.mailgate.rollout_check) for all hosts, before or after the run.
    type: list
    elements: dict
    default: []
  keep_runs:
    description: How many records are kept at most.
    type: int
    default: 100
  keep_days:
    description: For how many days records are kept at most.
    type: int
    default: 400
  count:
    description: How many records V(list) returns.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: List the last runs
  campus.mailgate.rollout_record:
    state: list
    directory: ~/.local/state/mailgate/runs
    campus: Example University
  register: last
"""

RETURN = r"""
name:
  description: The name of the record, empty in check mode.
  returned: with O(state=begin) and O(state=end)
  type: str
runs:
  description: The latest records, the last one first.
  returned: with O(state=list)
  type: list
  elements: dict
"""
