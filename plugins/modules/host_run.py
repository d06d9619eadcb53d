#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module host_run: list what runs have changed on a host, and restore what was there before one of them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_run
short_description: List and take back what a run has changed on a host
version_added: 0.3.0
author:
  - mailgate contributors (!UNKNOWN)
description:
  - A run of C(site.yml), C(rollout.yml) or C(rollback.yml) keeps on each host the files as they were before it, in
    C(/var/backups/mailgate/runs). This module reads them, and restores them for the roles in O(by).
  - The MX records of zones are restored by M(campus.mailgate.bind_mx) with its option
    O(campus.mailgate.bind_mx#module:run).
extends_documentation_fragment:
  - campus.mailgate.attributes
options:
  state:
    description:
      - V(listed) returns the runs, with O(run) only that one, and its differences with C(--diff).
      - V(checked) returns one run, and why it cannot be taken back.
      - V(restored) restores the files that O(by) changed in the run, all or none, with mode and owner.
      - V(finished) records that the run was taken back by O(taken_back_by).
      - V(ended) records that the run is complete, and removes old runs.
    type: str
    choices: [listed, checked, restored, finished, ended]
    default: listed
  run:
    description: The run. Needed but for V(listed).
    type: str
    default: ''
  host:
    description: The name of the host in the inventory, which is returned.
    type: str
    default: ''
  by:
    description: The roles whose files are restored.
    type: list
    elements: str
    default: []
  validate:
    description: A command that must succeed with the restored files. Otherwise the present ones are put back.
    type: list
    elements: str
    default: []
  confirm_timeout:
    description: Seconds after which a router reverts restored rules unless C(mailgate-border confirm) was run before.
    type: int
    default: 60
  taken_back_by:
    description: The run that has taken O(run) back.
    type: str
    default: ''
  keep_runs:
    description: How many runs are kept at most.
    type: int
    default: 50
  keep_days:
    description: For how many days runs are kept at most. One that is not complete stays until a later one is.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: List what the last runs have changed
  campus.mailgate.host_run:
  register: runs

- name: Restore the files that the role gateway has changed in a run
  campus.mailgate.host_run:
    state: restored
    run: 20261130T101500Z-4711
    by: [gateway]
    validate: [/usr/local/sbin/mailgate, check]
"""

RETURN = r"""
host:
  description: The option O(host).
  returned: but for O(state=restored)
  type: str
runs:
  description: The runs, the latest first. Each has its name, times, files, MX records, and the roles that were new.
  returned: with O(state=listed)
  type: list
  elements: dict
found:
  description: The run, empty if nothing of it is kept here.
  returned: with O(state=checked), O(state=ended), and O(state=finished)
  type: dict
problems:
  description: Why the run cannot be taken back on this host.
  returned: with O(state=checked)
  type: list
  elements: str
  sample: [/etc/mailgate/routes was edited since, by hand, by another program, or by rollback or remove]
later:
  description: The later runs that must be taken back before.
  returned: with O(state=checked)
  type: list
  elements: str
present:
  description: The routes and blocked addresses before the run and now.
  returned: with O(state=checked)
  type: dict
pruned:
  description: The old runs that were removed.
  returned: with O(state=ended)
  type: list
  elements: str
files:
  description: The files that were restored, or would be in check mode.
  returned: with O(state=restored)
  type: list
  elements: str
confirm:
  description: Whether the rules of a router must be confirmed by C(mailgate-border confirm).
  returned: with O(state=restored)
  type: bool
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._bind.originals import Originals
from ..module_utils._iptables.kernel import ApplyError
from ..module_utils._iptables.router import DIRECTORY, Router
from ..module_utils._keep import runs, take_back
from ..module_utils._keep.kept import KeptError
from ..module_utils._keep.store import STORE
from ..module_utils._results import text_only
from ..module_utils._rollout.before import present_of

BORDER = "border_firewall"


def summary(run: runs.HostRun, *, with_diff: bool = False) -> dict[str, Any]:
    """Return one run as plain data."""
    files = []
    for each in take_back.changed(STORE, run.name):
        file: dict[str, Any] = {"path": each.path, "by": each.by, "change": each.change, "now": each.state.value}
        if with_diff:
            file["diff"] = take_back.difference(STORE, run.name, each.path)
        files.append(file)
    return {
        "name": run.name,
        "began": run.began,
        "ended": run.ended,
        "takes_back": run.takes_back,
        "taken_back": run.taken_back,
        "first": sorted(by for by, first in run.first.items() if first),
        "files": files,
        "zones": zones_of(run.name),
    }


def zones_of(name: str) -> list[dict[str, Any]]:
    """Return the MX records that a run has changed."""
    zones = Originals(runs.directory(STORE, name)).zones()
    return [
        {"zone": zone, "view": view, "owner": name.rstrip("."), "before": owner.mx, "after": owner.written[-1]}
        for (zone, view), each in sorted(zones.items())
        for name, owner in sorted(each.owners.items())
    ]


def checked(module: AnsibleModule, name: str) -> dict[str, Any]:
    """Return one run, and what is in its way."""
    run = runs.read(STORE, name)
    if run is None:
        return {"found": {}, "problems": [], "later": [], "present": {}}
    found = [] if run.taken_back else take_back.changed(STORE, name)

    def command(line: Sequence[str], data: str = "") -> tuple[int, str, str]:
        status, out, err = module.run_command(list(line), data=data, binary_data=True)
        return status, out, err

    # A role that is new on the host is removed by its own tasks, which keep what others have edited since.
    new = {by for by, first in run.first.items() if first}
    problems = [each.problem for each in found if each.problem and each.by not in new]
    of_roles = [] if run.taken_back else take_back.later_of_roles(STORE, name)
    later = sorted({*of_roles, *(other for each in found for other in each.later)}, reverse=True)
    present = present_of(STORE, run, command) if found else {}
    return {"found": summary(run), "problems": problems, "later": later, "present": present}


def restored(module: AnsibleModule, name: str) -> dict[str, Any]:
    """Restore the files of the roles."""
    given = module.params

    def manage(*words: str) -> None:
        if systemctl := module.get_bin_path("systemctl"):
            module.run_command([systemctl, *words])

    def stop(unit: str) -> None:
        manage("disable", "--now", unit)

    def validate() -> str:
        if not given["validate"]:
            return ""
        status, out, err = module.run_command(given["validate"])
        return (err or out).strip() or f"exit status {status}" if status else ""

    run = runs.read(STORE, name)
    if run is None or run.taken_back:
        return {"changed": False, "files": [], "confirm": False, "diff": []}
    router_too = BORDER in given["by"]
    outcome = take_back.restore(
        STORE,
        name,
        given["by"],
        stop=stop,
        validate=validate,
        without=DIRECTORY if router_too else None,
        check=module.check_mode,
    )
    if outcome.files and not module.check_mode:
        manage("daemon-reload")
        for role in given["by"]:
            # A later run must look at all of it again.
            (STORE / "applied" / f"{role}.json").unlink(missing_ok=True)
    files, diff, confirm = list(outcome.files), list(outcome.diff), False
    if router_too:
        router = Router(module.run_command, module.get_bin_path)
        change = router.former(name)
        if change.needed:
            files += [str(DIRECTORY / file) for file in sorted(change.files.keys() | change.old_files.keys())]
            diff += change.diff()
            confirm = given["confirm_timeout"] > 0
            if not module.check_mode:
                router.apply(change, given["confirm_timeout"])
    return {"changed": bool(files), "files": files, "confirm": confirm, "diff": diff}


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["listed", "checked", "restored", "finished", "ended"],
                "default": "listed",
            },
            "run": {"type": "str", "default": ""},
            "host": {"type": "str", "default": ""},
            "by": {"type": "list", "elements": "str", "default": []},
            "validate": {"type": "list", "elements": "str", "default": []},
            "confirm_timeout": {"type": "int", "default": 60},
            "taken_back_by": {"type": "str", "default": ""},
            "keep_runs": {"type": "int", "default": runs.KEPT_RUNS},
            "keep_days": {"type": "int", "default": runs.KEPT_DAYS},
        },
        supports_check_mode=True,
    )
    given = module.params
    name, state = given["run"], given["state"]
    if (name or state != "listed") and not runs.is_name(name):
        module.fail_json(msg=f"run: {name!r} is not the name of a run, such as 20261130T101500Z-4711")
    try:
        if state == "listed":
            found = [run for run in reversed(runs.kept(STORE)) if name in ("", run.name)]
            module.exit_json(
                changed=False, host=given["host"], runs=[summary(run, with_diff=bool(name)) for run in found]
            )
        if state == "checked":
            module.exit_json(changed=False, host=given["host"], **checked(module, name))
        if state == "restored":
            module.exit_json(**restored(module, name))
        run, pruned = runs.read(STORE, name), []
        if run and not module.check_mode:
            if state == "finished":
                take_back.finish(STORE, name, given["taken_back_by"])
            else:
                runs.write(STORE, replace(run, ended=int(time.time())))
                pruned = runs.prune(STORE, given["keep_runs"], given["keep_days"])
        module.exit_json(changed=False, host=given["host"], found=summary(run) if run else {}, pruned=pruned)
    except (ApplyError, KeptError, OSError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
