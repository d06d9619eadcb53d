# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Package repositories of the images: the machine's apt sources, and an offline repository made from them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.packages import SUITE, SUITES
from lab.tools import LabError, command

#: Prefix of a long build step: its mounts and processes end with it, and it ends with this process.
CONFINED = (
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--mount", "--propagation", "private", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
    "--mount-proc",
)  # fmt: skip


def suite_sources(sources: Sequence[str], suite: str) -> str:
    """Return the entries of apt sources for `suite`, its updates and security fixes, as deb822 text.

    Args:
        sources: texts of source files, one-line or deb822 style.
        suite: Debian suite.
    """
    suites = {suite, f"{suite}-updates", f"{suite}-security"}
    kept = []
    for text in sources:
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        for paragraph in "\n".join(lines).split("\n\n"):
            fields = dict(line.split(":", 1) for line in paragraph.splitlines() if ":" in line and line[:1].isalpha())
            fields = {name.strip().lower(): value.strip() for name, value in fields.items()}
            if "deb" in fields.get("types", "").split() and set(fields.get("suites", "").split()) & suites:
                here = " ".join(s for s in fields["suites"].split() if s in suites)
                signed = f"Signed-By: {fields['signed-by']}\n" if fields.get("signed-by") else ""
                kept.append(f"Types: deb\nURIs: {fields['uris']}\nSuites: {here}\nComponents: main\n{signed}")
        for line in lines:
            words = line.split()
            options = ""
            if len(words) > 1 and words[0] == "deb" and words[1].startswith("["):
                end = next((i for i, word in enumerate(words) if word.endswith("]")), 0)
                options = " ".join(words[1 : end + 1]).strip("[]")
                words = [words[0], *words[end + 1 :]]
            if len(words) > 3 and words[0] == "deb" and words[2] in suites:
                keys = [option.split("=", 1)[1] for option in options.split() if option.startswith("signed-by=")]
                signed = f"Signed-By: {keys[0]}\n" if keys else ""
                kept.append(f"Types: deb\nURIs: {words[1]}\nSuites: {words[2]}\nComponents: main\n{signed}")
    return "\n".join(kept)


def machine_sources(suite: str = SUITE) -> str:
    """Return apt sources of a suite as deb822 text: the machine's, or with the mirror that it uses for another suite.

    Raises:
        LabError: the machine has no source of any suite in SUITES.
    """
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    texts = [f.read_text() for f in files if f.suffix in (".list", ".sources") and f.is_file()]
    for known in (suite, *SUITES):
        if found := suite_sources(texts, known):
            return found.replace(known, suite)
    raise LabError(f"no apt source for Debian {suite}; add one to /etc/apt/sources.list.d")


def fresh(path: Path) -> Path:
    """Create an empty build directory next to the path of the result."""
    building = path.with_name(path.name + ".building")
    if building.exists():
        shutil.rmtree(building)
    building.mkdir(parents=True)
    return building


def build_repository(
    target: Path, cache: Path, suite: str, groups: Iterable[Sequence[str]], without: Path | None = None
) -> None:
    """Build a flat repository of groups of packages with all that they need, each group as installed alone.

    Files that are in the directory `without` are left out.
    """
    building, scratch = fresh(target), fresh(cache / "apt")
    pool = cache / "pool"
    for directory in (pool / "partial", scratch / "lists" / "partial"):
        directory.mkdir(parents=True, exist_ok=True)
    (scratch / "debian.sources").write_text(machine_sources(suite))
    (scratch / "status").touch()
    (scratch / "empty").mkdir()
    options = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": scratch,
        "Dir::Etc::PreferencesParts": scratch / "empty",
        "Dir::State::Lists": scratch / "lists",
        "Dir::State::Status": scratch / "status",
        "Dir::Cache": scratch,
        "Dir::Cache::Archives": pool,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "APT::Get::List-Cleanup": "false",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    command([*CONFINED, *apt, "update"])
    (scratch / "no-pool" / "partial").mkdir(parents=True)
    names = set()
    for packages in groups:
        wanted = ["?essential", "?priority(required)", *packages]
        command([*CONFINED, *apt, "install", "--download-only", "--yes", *wanted])
        # --print-uris leaves out what is in the pool already: ask with an empty one.
        listed = command([*apt, f"-oDir::Cache::Archives={scratch / 'no-pool'}", "install", "--print-uris", *wanted])
        names |= {line.split()[1] for line in listed.splitlines() if line.startswith("'")}  # 'URI' FILE SIZE HASH
    for name in sorted(names):
        if not (without and (without / name).exists()):
            os.link(pool / name, building / name)
    _index(building, suite)
    shutil.rmtree(scratch)
    building.rename(target)


def _index(directory: Path, suite: str) -> None:
    """Write the index files of a flat repository."""
    packages = subprocess.run(["apt-ftparchive", "packages", "."], cwd=directory, check=True, capture_output=True)
    (directory / "Packages").write_bytes(packages.stdout)
    release = [f"-oAPT::FTPArchive::Release::{name}={suite}" for name in ("Suite", "Codename")]
    text = subprocess.run(
        ["apt-ftparchive", *release, "release", "."], cwd=directory, check=True, stdout=subprocess.PIPE
    )
    (directory / "Release").write_bytes(text.stdout)
