# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Ansible module file_set."""

from __future__ import annotations

DOCUMENTATION = r"""
module: file_set
short_description: Write several files after one validation of all of them
version_added: 0.1.0
description:
  - Writes several files that must be validated together, for example settings and a table that they refer to.
  - If the validation fails, no file is changed.
  - Each file is replaced atomically, in the given order. Missing directories are created. A symbolic link stays, and
    the file that it leads to is replaced.
author:
  - mailgate contributors (!UNKNOWN)
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The absolute path. The base names of all paths must differ.
        type: path
        required: true
      content:
        description: The content.
        type: str
        required: true
      mode:
        description: The permissions.
        type: str
        default: "0644"
      owner:
        description: Name of the owner. By default a new file belongs to the user who runs the module.
        type: str
      group:
        description: Name of the group. By default a new file belongs to the group of that user.
        type: str
  validate:
    description:
      - The validation command. It runs before any file is replaced, if a content differs.
      - An argument V({NAME}) is replaced by the path of the new file with the base name V(NAME).
      - It does not run in check mode, as it may not be installed yet.
    type: list
    elements: str
    default: []
  by:
    description:
      - The name of a role. Then each file is recorded under it, with a copy of what it was before its first change, and
        M(campus.mailgate.host_record) can restore it.
    type: str
    version_added: 0.3.0
extends_documentation_fragment:
  - campus.mailgate.attributes
"""

EXAMPLES = r"""
- name: Write routes and settings
  campus.mailgate.file_set:
    files:
      - path: /etc/mailgate/routes
        content: "{{ lookup('ansible.builtin.template', 'routes.j2') }}"
      - path: /etc/mailgate/mailgate.toml
        content: "{{ lookup('ansible.builtin.template', 'mailgate.toml.j2') }}"
    validate: [/usr/local/bin/mailgate, check, --config, "{mailgate.toml}", --routes, "{routes}"]
"""

RETURN = r"""
paths:
  description: The files whose content or permissions changed, or would change in check mode.
  type: list
  elements: str
  returned: success
  sample: [/etc/mailgate/routes]
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._keep.kept import KeptError, keep
from ..module_utils._replace import make_directory
from ..module_utils._results import text_only


def main() -> None:
    """Run the module."""
    module = text_only(AnsibleModule)(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                    "owner": {"type": "str"},
                    "group": {"type": "str"},
                },
            },
            "validate": {"type": "list", "elements": "str", "default": []},
            "by": {"type": "str"},
        },
        supports_check_mode=True,
    )
    files = [{**file, "path": os.path.realpath(file["path"])} for file in module.params["files"]]
    names = [os.path.basename(file["path"]) for file in files]
    if len(set(names)) < len(names):
        module.fail_json(msg=f"files: the base names must differ: {', '.join(sorted(names))}")

    before = [read(file["path"]) for file in files]
    new = [file for file, old in zip(files, before, strict=True) if old != file["content"]]
    if new and not module.check_mode:
        replace(module, files, names, new)
    changed = [file["path"] for file in files if file in new or set_mode(module, file)]
    module.exit_json(
        changed=bool(changed),
        paths=changed,
        diff=[
            {
                "before": (old or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
                "after": file["content"],
                "before_header": file["path"],
                "after_header": file["path"],
            }
            for file, old in zip(files, before, strict=True)
            if file in new and module._diff  # Ansible has no public name for it
        ],
    )


def read(path: str) -> str | None:
    """Return a file's text, None without a file; bytes that are not UTF-8 equal no text."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def replace(module: AnsibleModule, files: list[dict[str, str]], names: list[str], new: list[dict[str, str]]) -> None:
    """Stage the new contents, validate them, and move those that differ to their paths."""
    staged = {}
    for name, file in zip(names, files, strict=True):
        staged[name] = os.path.join(module.tmpdir, name)
        with open(staged[name], "w", encoding="utf-8", newline="") as stage:
            os.fchmod(stage.fileno(), 0o600)
            stage.write(file["content"])
    line = list(module.params["validate"])
    for name, path in staged.items():
        line = [argument.replace(f"{{{name}}}", path) for argument in line]
    status, output, errors = module.run_command(line) if line else (0, "", "")
    if status:
        reported = (errors.strip() or output.strip() or f"exit status {status}").replace(module.tmpdir, "new")
        module.fail_json(msg=f"{line[0]} rejects the new files, so no file was changed:\n{reported}", rc=status)
    if module.params["by"]:
        try:
            keep(
                {Path(file["path"]): file["content"].encode("utf-8", "surrogateescape") for file in new},
                module.params["by"],
            )
        except (KeptError, OSError) as error:
            module.fail_json(msg=f"no file was changed, as the present ones cannot be kept: {error}")
    for file in new:
        make_directory(Path(file["path"]).parent)
        module.atomic_move(staged[os.path.basename(file["path"])], file["path"])
        set_mode(module, file)


def set_mode(module: AnsibleModule, file: dict[str, str]) -> bool:
    """Set a file's permissions, owner and group; return whether they differed."""
    changed: bool = module.set_mode_if_different(file["path"], file["mode"], False)
    changed = module.set_owner_if_different(file["path"], file["owner"], changed)
    return bool(module.set_group_if_different(file["path"], file["group"], changed))


if __name__ == "__main__":
    main()
