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
    people, and name the run that M(campus.mailgate.rollout_back) takes back. No phase reads them.
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
      - V(begin) begins a record and removes old ones, V(update) writes what has changed so far, V(end) does so too and
        marks the run complete, V(list) returns the records. V(show) prints them with what the hosts have kept.
      - In check mode nothing is written.
    type: str
    choices: [begin, update, end, list, show]
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
    description: The name of the record that V(update) and V(end) write; nothing is written without it.
    type: str
    default: ''
  answers:
    description:
      - The results of M(campus.mailgate.rollout_check) for all hosts, before or after the run.
      - With V(show) those of M(campus.mailgate.host_run).
    type: list
    elements: dict
    default: []
  run:
    description: With V(show), the only run that is shown, in full.
    type: str
    default: ''
  hosts:
    description: With V(show), the hosts that should have answered.
    type: list
    elements: str
    default: []
  dest:
    description: With V(show), a file on the controller for the runs as JSON.
    type: path
  keep_runs:
    description: How many records are kept at most.
    type: int
    default: 50
  keep_days:
    description: For how many days records are kept at most. A run that is not complete stays until a later one is.
    type: int
    default: 90
  count:
    description: How many records V(list) returns, V(0) for all.
    type: int
    default: 5
  takes_back:
    description: The run that this one takes back.
    type: str
    default: ''
  changed:
    description: Results of M(campus.mailgate.host_run), each with its C(host).
    type: list
    elements: dict
    default: []
  required:
    description: Whether a record that cannot be written is an error. Otherwise it is a warning.
    type: bool
    default: true
  keep_empty:
    description: Whether V(end) keeps the record of a run that has changed nothing.
    type: bool
    default: true
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
run:
  description: The run, which is its name without the suffix; empty in check mode.
  returned: with O(state=begin) and O(state=end)
  type: str
environment:
  description: The environment of the tasks that change hosts, so that these keep what was there before the run.
  returned: with O(state=begin) and O(state=end)
  type: dict
  sample: {MAILGATE_RUN: 20261130T101500Z-4711}
runs:
  description: The latest records, the last one first.
  returned: with O(state=list) and O(state=show)
  type: list
  elements: dict
"""
