# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Build the gateway's archive on the controller; documented in plugins/modules/zipapp.py."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.file import S_IRWXU_RXG_RXO
from ansible.plugins.action import ActionBase

from ..plugin_utils.wheelhouse import Wheel, parse_requirements, select_wheels
from ..plugin_utils.zipapp import BuildError, build_zipapp, keep

ARGUMENTS = {
    "dest": {"type": "path", "required": True},
    "entry_point": {"type": "str", "required": True},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "interpreter": {"type": "str", "default": "/usr/bin/python3 -I"},
    "packages": {"type": "list", "elements": "path", "required": True},
    "parent": {"type": "str"},
    "python_version": {"type": "str", "default": "3.11"},
    "requirements": {"type": "path"},
    "wheelhouse": {"type": "path"},
}


class ActionModule(ActionBase):
    """The action of zipapp: it writes the archive if its content differs."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return `changed`, `dest`, `sha256`, `size` in bytes and the wheels' file names."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(ARGUMENTS, required_together=[("requirements", "wheelhouse")])
        dest = Path(args["dest"])
        try:
            data, wheels = build(args)
            changed = not dest.is_file() or dest.read_bytes() != data
            if changed:
                write(dest, data)
        except (BuildError, OSError) as error:
            raise AnsibleActionFail(f"{dest.name} cannot be built:\n{error}") from error
        return result | {
            "changed": changed,
            "dest": str(dest),
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            "wheels": wheels,
        }


def build(args: dict[str, Any]) -> tuple[bytes, list[str]]:
    """Read the files that the arguments name and return the archive and the file names of the wheels in it."""
    wheels = read_wheels(args) if args["wheelhouse"] else []
    sources = {wheel.filename: keep(wheel.files, args["exclude"]) for wheel in wheels}
    for package in map(Path, args["packages"]):
        sources[str(package)] = keep(read_package(package, args.get("parent")), args["exclude"])
    return build_zipapp(sources, args["entry_point"], args["interpreter"]), [wheel.filename for wheel in wheels]


def read_wheels(args: dict[str, Any]) -> list[Wheel]:
    """Return the wheels that the requirements need."""
    wheelhouse = Path(args["wheelhouse"])
    names = [path.name for path in wheelhouse.glob("*.whl")]
    try:
        requirements = parse_requirements(Path(args["requirements"]).read_text(encoding="utf-8"))
        return select_wheels(requirements, names, lambda name: (wheelhouse / name).read_bytes(), args["python_version"])
    except BuildError as error:
        fill = f"pip wheel -r {args['requirements']} -w {wheelhouse}"
        raise BuildError([*error.problems, f"The wheelhouse is {wheelhouse}; fill it with: {fill}"]) from error


def read_package(package: Path, parent: str | None = None) -> dict[str, bytes]:
    """Return the files of a package, or the file of a module, by archive path, without compiled files.

    Below a `parent` package each directory gets an `__init__.py` if it has none: zipimport finds no others.
    """
    files = {
        path.relative_to(package.parent).as_posix(): path.read_bytes()
        for path in ([package] if package.is_file() else package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    if not parent:
        return files
    files = {f"{parent}/{path}": data for path, data in files.items()}
    directories = {directory for path in files for directory in PurePosixPath(path).parents if directory.name}
    return {f"{directory}/__init__.py": b"" for directory in directories} | files


def write(dest: Path, data: bytes) -> None:
    """Replace `dest` atomically, so that a concurrent run reads either the old archive or the new one."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    part = dest.with_name(f".{dest.name}.{hashlib.sha256(data).hexdigest()[:16]}")
    part.write_bytes(data)
    part.chmod(S_IRWXU_RXG_RXO)
    part.replace(dest)
