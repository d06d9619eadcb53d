# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Select from a directory of wheels those that a list of requirements needs, including dependencies.

Pure: file names and bytes in, wheels out. Nothing is installed and no index is queried, so that missing wheels are
reported before a host is changed. Wheel file names and contents: the PyPA "Binary distribution format" specification.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.parser import HeaderParser

from .zipapp import BuildError

# Always there with ansible-core, but not in the import check of ansible-test.
with suppress(ImportError):
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
    from packaging.version import Version

_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True)
class Wheel:
    """One unpacked pure Python wheel.

    `requires` are its dependencies, markers included; `files` maps archive paths, as they are imported, to their bytes.
    """

    filename: str
    requires: tuple[Requirement, ...]
    requires_python: SpecifierSet
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class _Candidate:
    filename: str
    version: Version
    pure: bool


def marker_environment(python_version: str) -> dict[str, str]:
    """Return the environment in which the target, CPython `python_version` ("3.11") on Linux, evaluates markers."""
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python_version}.0",
        "python_version": python_version,
        "sys_platform": "linux",
    }


def parse_requirements(text: str) -> list[Requirement]:
    """Read the lines of a requirements file: names with versions and markers, comments, pip's `--hash` options.

    Hashes are left to pip, which checks them when it fills the wheelhouse. Other options of pip raise BuildError.
    """
    requirements: list[Requirement] = []
    problems: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        spec = _COMMENT.sub("", line).split(" --hash")[0].strip()
        if not spec:
            continue
        try:
            requirements.append(Requirement(spec))
        except InvalidRequirement as error:
            problems.append(f"requirement {spec!r} is not of the form NAME==VERSION: {str(error).splitlines()[0]}")
    if problems:
        raise BuildError(problems)
    return requirements


def read_wheel(filename: str, data: bytes) -> Wheel:
    """Unpack a wheel in memory, without the files that only installers need (scripts, headers, RECORD)."""
    files: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                path = _import_path(info.filename)
                if path and not info.is_dir():
                    files[path] = archive.read(info)
        metadata = next(files[path] for path in files if path.endswith(".dist-info/METADATA"))
    except (zipfile.BadZipFile, zipfile.LargeZipFile, StopIteration, EOFError, NotImplementedError) as error:
        raise BuildError([f"{filename} is not a wheel: {error or 'it has no METADATA'}"]) from error
    headers = HeaderParser().parsestr(metadata.decode("utf-8", "replace"))
    try:
        requires = tuple(Requirement(line) for line in headers.get_all("Requires-Dist", []))
        requires_python = SpecifierSet(headers.get("Requires-Python", ""))
    except (InvalidRequirement, InvalidSpecifier) as error:
        raise BuildError([f"{filename} has invalid metadata: {error}"]) from error
    return Wheel(filename, requires, requires_python, files)


def select_wheels(
    requirements: Iterable[Requirement], filenames: Iterable[str], read: Callable[[str], bytes], python_version: str
) -> list[Wheel]:
    """Return the wheels, sorted by file name, that satisfy the requirements and their dependencies.

    Of several versions that satisfy a requirement the newest is taken. `read` returns the bytes of a wheel by its file
    name; `python_version` is the target's, "3.11". Raises BuildError with all missing or unsuitable wheels.
    """
    candidates = _catalogue(filenames, python_version)
    environment = marker_environment(python_version)
    chosen: dict[str, Wheel] = {}
    problems: list[str] = []
    seen: set[tuple[str, str, frozenset[str]]] = set()
    todo = [
        (requirement, "the requirements") for requirement in requirements if _applies(requirement, {""}, environment)
    ]
    while todo:
        requirement, wanted_by = todo.pop(0)
        key = (requirement.name, str(requirement.specifier), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        name = canonicalize_name(requirement.name)
        spec = f"{name}{requirement.specifier}"
        suitable = [
            item for item in candidates.get(name, []) if requirement.specifier.contains(item.version, prereleases=True)
        ]
        if not suitable:
            have = ", ".join(str(item.version) for item in candidates.get(name, []))
            problems.append(f"{spec} is missing, required by {wanted_by}" + (f"; available: {have}" if have else ""))
            continue
        best = max(suitable, key=lambda item: (item.pure, item.version, item.filename))
        if not best.pure:
            problems.append(f"{best.filename} is not pure Python (py3-none-any), so it cannot run from an archive")
            continue
        if name in chosen and chosen[name].filename != best.filename:
            problems.append(f"{spec}, required by {wanted_by}, conflicts with {chosen[name].filename}")
            continue
        wheel = chosen[name] = chosen.get(name) or read_wheel(best.filename, read(best.filename))
        if not wheel.requires_python.contains(python_version, prereleases=True):
            problems.append(
                f"{wheel.filename} needs Python {wheel.requires_python}; the gateways have {python_version}"
            )
        extras = {"", *requirement.extras}
        todo += [(need, wheel.filename) for need in wheel.requires if _applies(need, extras, environment)]
    if problems:
        raise BuildError(problems)
    return sorted(chosen.values(), key=lambda wheel: wheel.filename)


def _catalogue(filenames: Iterable[str], python_version: str) -> dict[str, list[_Candidate]]:
    interpreters = {"py3", "py" + python_version.replace(".", "")}
    candidates: dict[str, list[_Candidate]] = {}
    problems: list[str] = []
    for filename in sorted(filenames):
        try:
            name, version, _build, tags = parse_wheel_filename(filename)
        except InvalidWheelFilename as error:
            problems.append(str(error))
            continue
        pure = any(tag.interpreter in interpreters and tag.abi == "none" and tag.platform == "any" for tag in tags)
        candidates.setdefault(name, []).append(_Candidate(filename, version, pure))
    if problems:
        raise BuildError(problems)
    return candidates


def _import_path(name: str) -> str:
    """Return the archive path of a member of a wheel; "" for one that is omitted."""
    top, _slash, rest = name.partition("/")
    if top.endswith(".data"):
        scheme, _slash, path = rest.partition("/")
        return path if scheme in ("purelib", "platlib") else ""
    return "" if name.endswith(".dist-info/RECORD") else name


def _applies(requirement: Requirement, extras: set[str], environment: dict[str, str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in extras)
