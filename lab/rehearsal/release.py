# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as released: its archive, built from the history of the repository, and installed beside this one."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from lab.rehearsal.steps import Step
from lab.tools import REPOSITORY, LabError, command

#: Commit of each release.
COMMITS = {"0.1.0": "3575ebc"}


def source(version: str, directory: Path) -> Path:
    """Return where `install` puts the source of a release."""
    return directory / f"source-{version}"


def install(version: str, directory: Path) -> Path:
    """Build and install the archive of a release below a directory; return its root."""
    checkout, collections = source(version, directory), directory / f"collections-{version}"
    for place in (checkout, collections):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    archive = directory / f"source-{version}.tar"
    try:
        command(["git", "-C", REPOSITORY, "archive", "--output", archive, COMMITS[version]])
        with tarfile.open(archive) as opened:
            opened.extractall(checkout, filter="data")
        archive.unlink()
        galaxy = REPOSITORY / ".venv" / "bin" / "ansible-galaxy"
        command([galaxy, "collection", "build", "--force", "--output-path", directory, checkout])
        built = directory / f"campus-mailgate-{version}.tar.gz"
        command([galaxy, "collection", "install", "--offline", "--force", "--collections-path", collections, built])
    except (LabError, subprocess.SubprocessError) as error:
        raise LabError(f"release {version} cannot be built from the history of this repository: {error}") from None
    return collections / "ansible_collections" / "campus" / "mailgate"


def step(version: str, root: Path) -> Step:
    """Return the run of the release's `site.yml`."""
    # The twin's variables name files beside the roles, which an archive does not have.
    files = REPOSITORY / "lab" / "signatures"
    variables = {
        "gateway_wheelhouse": str(REPOSITORY / ".cache" / "wheelhouse"),
        "clamav_signature_files": [str(files / f"mailgate-lab.{kind}") for kind in ("ndb", "hdb")],
    }
    return Step(
        f"release {version}",
        str(root / "playbooks" / "site.yml"),
        ("-e", json.dumps(variables)),
        environment=(("ANSIBLE_COLLECTIONS_PATH", str(root.parents[2])),),
        early=True,
    )
