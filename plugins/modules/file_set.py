# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Write files that belong together, all or none, after one check of them all."""

from __future__ import annotations

DOCUMENTATION = r"""
module: file_set
short_description: Write files that belong together, after one check of them all
version_added: 0.1.0
description:
  - Writes several files of one program, whose check only makes sense for all of them at once; for example settings, and
    a table that the settings name.
  - If the check refuses the new contents, no file is changed.
  - Each file is replaced in one step, in the order given. Missing directories are made.
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
        description: Absolute path. The last parts of all paths must differ.
        type: path
        required: true
      content:
        description: The whole text.
        type: str
        required: true
      mode:
        description: Permissions.
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
      - The program that checks the files, and its arguments. It runs, if a content differs, before any is replaced.
      - An argument V({NAME}) stands for the new file whose path ends in V(NAME). Others are passed as they are.
      - In check mode it does not run, as it may not be installed yet.
    type: list
    elements: str
    default: []
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
  description: The files whose content or permissions were changed, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [/etc/mailgate/routes]
"""

import os

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Compare, stage, check, replace."""
    module = AnsibleModule(
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
        },
        supports_check_mode=True,
    )
    files = module.params["files"]
    names = [os.path.basename(file["path"]) for file in files]
    if len(set(names)) < len(names):
        module.fail_json(msg=f"files: the last parts of the paths must differ: {', '.join(sorted(names))}")

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
                "before": old or "",
                "after": file["content"],
                "before_header": file["path"],
                "after_header": file["path"],
            }
            for file, old in zip(files, before, strict=True)
            if file in new
        ],
    )


def read(path: str) -> str | None:
    """Return a file's text, None if there is none. Bytes that are no UTF-8 are kept apart from all text."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def replace(module: AnsibleModule, files: list[dict[str, str]], names: list[str], new: list[dict[str, str]]) -> None:
    """Write the new contents aside, have them checked, and move those that differ to their places."""
    staged = {}
    for name, file in zip(names, files, strict=True):
        staged[name] = os.path.join(module.tmpdir, name)
        with open(staged[name], "w", encoding="utf-8", newline="") as stage:
            stage.write(file["content"])
    places = {f"{{{name}}}": path for name, path in staged.items()}
    line = [places.get(argument, argument) for argument in module.params["validate"]]
    status, output, errors = module.run_command(line) if line else (0, "", "")
    if status:
        said = (errors.strip() or output.strip() or f"exit status {status}").replace(module.tmpdir, "new")
        module.fail_json(msg=f"{line[0]} refuses the new files, so the old ones stay:\n{said}", rc=status)
    for file in new:
        os.makedirs(os.path.dirname(file["path"]), mode=0o755, exist_ok=True)
        module.atomic_move(staged[os.path.basename(file["path"])], file["path"])
        set_mode(module, file)


def set_mode(module: AnsibleModule, file: dict[str, str]) -> bool:
    """Set a file's permissions, owner and group; return whether they differed."""
    changed: bool = module.set_mode_if_different(file["path"], file["mode"], False)
    changed = module.set_owner_if_different(file["path"], file["owner"], changed)
    return bool(module.set_group_if_different(file["path"], file["group"], changed))


if __name__ == "__main__":
    main()
