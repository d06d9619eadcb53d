# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection with every release of ansible-core that it supports: unit tests of the plugins, plan, sanity tests.

The machine's Python runs the releases up to 2.19, Debian 13's Python runs a newer one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from lab.system import build_system, run_in

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".cache" / "ansible-releases"
# The newest of each minor release; make test itself runs with the one of requirements/lock.txt.
RELEASES = ("2.17.14", "2.18.19")
NEWER = "2.21.5"
DEBIAN13 = ("trixie", ["python3", "python3-venv", "git", "ca-certificates"])
TESTS = [
    "discover", "file_set", "keep", "mta", "plan", "postfix", "print", "sendmail", "survey", "verify", "zipapp",
    "zonefile",
]  # fmt: skip
PACKAGES = (
    "dnspython", "hypothesis", "Jinja2", "prometheus_client", "pytest", "pytest-asyncio", "pytest-xdist", "PyYAML",
)  # fmt: skip

# One after the other: they share directories and a twin.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("archive")]


def pinned(names: Sequence[str]) -> list[str]:
    """Return the lock file's requirements for these packages."""
    lines = (ROOT / "requirements" / "lock.txt").read_text().splitlines()
    found = [line for line in lines if line.partition("==")[0].lower() in {name.lower() for name in names}]
    assert len(found) == len(names), "each has a line"
    return found


def is_complete(directory: Path, packages: Sequence[str]) -> bool:
    """Return whether a directory has been filled with these packages."""
    marker = directory / "complete"
    return marker.exists() and marker.read_text() == "\n".join(packages)


def commands(python: str) -> list[list[str]]:
    """Return what has to work with a release, run in the repository."""
    return [
        [python, "-m", "pytest", "-q", "-n", "2", "-m", "not slow", "-p", "no:cacheprovider",
         *(f"tests/unit/{name}" for name in TESTS)],
        ["ansible-playbook", "-i", "inventories/demo", "playbooks/plan.yml"],
        ["tests/sanity/ansible_test"],
    ]  # fmt: skip


def test_lowest_release_is_the_declared_one() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    assert runtime["requires_ansible"] == f">={RELEASES[0].rpartition('.')[0]}.0"
    assert f"ansible-core>={RELEASES[0].rpartition('.')[0]}" in (ROOT / "requirements" / "controller.txt").read_text()


@pytest.mark.parametrize("release", RELEASES)
def test_release_under_the_machines_python(release: str) -> None:
    venv = WORK / release
    python = str(venv / "bin" / "python")
    packages = [f"ansible-core=={release}", *pinned(PACKAGES)]
    if not is_complete(venv, packages):
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        (venv / "complete").write_text("\n".join(packages))
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "PATH": f"{venv / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(venv / "home"),
    }
    for words in commands(python):
        arguments = [*words, str(venv / "sanity")] if words[0].endswith("ansible_test") else words
        done = subprocess.run(
            arguments, cwd=ROOT, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=1500,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{release}: {arguments}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"


def download(directory: Path, *requirements: str) -> None:
    """Put wheels for Debian 13's Python into the directory."""
    platforms = ["manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64", "any"]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--python-version", "3.13", "--only-binary", ":all:",
         *(f"--platform={platform}" for platform in platforms), "--dest", directory, *requirements],
        check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wheels() -> Path:
    """Return a directory of wheels for the newer release, the tests, and what ansible-test installs itself."""
    directory = WORK / f"wheels-{NEWER}"
    packages = [f"ansible-core=={NEWER}", *pinned(PACKAGES)]
    if not is_complete(directory, packages):
        directory.mkdir(parents=True, exist_ok=True)
        download(directory, *packages)
        core = next(directory.glob("ansible_core-*.whl"))
        with zipfile.ZipFile(core) as archive:
            for name in archive.namelist():
                if re.search(r"_data/requirements/sanity\.[^/]*\.txt$", name):
                    listed = directory / Path(name).name
                    listed.write_bytes(archive.read(name))
                    download(directory, "--requirement", str(listed))
            code = archive.read("ansible_test/_internal/python_requirements.py").decode()
        for name in ("pip", "setuptools", "wheel"):
            for version in set(re.findall(rf"\b{name}='([0-9.]+)'", code)):
                download(directory, f"{name}=={version}")
        (directory / "complete").write_text("\n".join(packages))
    return directory


@pytest.mark.skipif(os.geteuid() != 0, reason="a system of another suite needs root")
def test_newer_release_under_debian_13(wheels: Path) -> None:
    system = build_system(*DEBIAN13)
    home = WORK / f"home-{NEWER}"
    home.mkdir(parents=True, exist_ok=True)
    venv = home / "venv"
    env = {
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{venv / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(home / "ansible"),
    }
    (home / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n")
    (system / "etc" / "pip.conf").write_text((home / "pip.conf").read_text())
    needed = [f"ansible-core=={NEWER}", *pinned(PACKAGES)]
    setup = [["python3", "-m", "venv", "--clear", str(venv)], [f"{venv}/bin/pip", "install", "--quiet", *needed]]
    for words in [*setup, *commands(f"{venv}/bin/python")]:
        arguments = [*words, str(home / "sanity")] if words[0].endswith("ansible_test") else words
        done = run_in(system, arguments, binds=[ROOT, WORK], env=env, seconds=1500)
        assert done.returncode == 0, f"{NEWER}: {arguments}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
