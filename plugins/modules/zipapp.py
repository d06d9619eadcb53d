# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Documentation of the action plugin of this name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: zipapp
short_description: Build an executable zip archive of a Python package and its wheels
version_added: 0.1.0
description:
  - Builds one executable zip archive of a Python package, and of the wheels that a requirements file lists, on the
    controller.
  - The same input gives the same bytes on every machine, so that copying the file to hosts is a change only if the
    code changed.
  - Hosts need neither pip nor internet access.
author:
  - mailgate contributors (!UNKNOWN)
options:
  packages:
    description: Directories of packages, and files of modules, to include, each importable by its base name.
    type: list
    elements: path
    required: true
  parent:
    description:
      - A package to create around O(packages), so that they can import each other relatively.
      - Their directories become packages even without a file C(__init__.py).
    type: str
    version_added: 0.2.0
  requirements:
    description:
      - File with one requirement per line, for example V(aiosmtpd==1.4.6).
      - Their dependencies are read from the metadata of the wheels.
      - Required together with O(wheelhouse). Without them no wheels are included.
    type: path
  wheelhouse:
    description:
      - Directory with the wheels, filled by C(pip wheel -r REQUIREMENTS -w WHEELHOUSE).
      - They must be pure Python. Wheels that are not required are omitted.
    type: path
  dest:
    description: Path of the archive. Missing directories are created.
    type: path
    required: true
  entry_point:
    description: Entry point, as V(package.module:function). The result of the function is the exit status.
    type: str
    required: true
  exclude:
    description: Shell patterns of archive paths to exclude, for example V(aiosmtpd/tests/*).
    type: list
    elements: str
    default: []
  interpreter:
    description: The interpreter of the archive, with at most one option.
    type: str
    default: /usr/bin/python3 -I
  python_version:
    description: Python version of the hosts, used to evaluate environment markers.
    type: str
    default: "3.11"
extends_documentation_fragment:
  - campus.mailgate.attributes
  - campus.mailgate.attributes.controller
attributes:
  check_mode:
    details:
      - The archive is written on the controller in check mode too, so that later tasks can compare it with the file
        on the hosts.
  diff_mode:
    support: none
notes:
  - Use it with C(run_once), because the result is the same for all hosts.
"""

EXAMPLES = r"""
- name: Build the gateway's archive
  campus.mailgate.zipapp:
    packages: [files/mailgate]
    requirements: files/requirements.txt
    wheelhouse: ~/wheels
    dest: ~/.cache/mailgate/mailgate.pyz
    entry_point: mailgate.cli:main
  run_once: true
  register: archive

- name: Install the archive
  ansible.builtin.copy:
    src: "{{ archive.dest }}"
    dest: /opt/mailgate/mailgate.pyz
    mode: "0755"
"""

RETURN = r"""
dest:
  description: Path of the archive on the controller.
  type: str
  returned: success
  sample: /home/admin/.cache/mailgate/mailgate.pyz
sha256:
  description: Checksum of the archive.
  type: str
  returned: success
  sample: 9f2feb0f1ef425b292f2f94bc8482494df6a8f1a4c5d1f3f5ad0a2a1e6e0b6b1
size:
  description: Size of the archive in bytes.
  type: int
  returned: success
  sample: 412345
wheels:
  description: File names of the included wheels.
  type: list
  elements: str
  returned: success
  sample: [aiosmtpd-1.4.6-py3-none-any.whl, attrs-26.1.0-py3-none-any.whl]
"""
