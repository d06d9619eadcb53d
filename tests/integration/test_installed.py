# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as users get it: built, installed into a fresh project with a fresh Python environment, and used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TWIN = "installed"
# Names at the top level of the archive, and below requirements/ and changelogs/.
ARCHIVE = {
    "CHANGELOG.md", "FILES.json", "LICENSE", "LICENSES", "MANIFEST.json", "README.md", "REUSE.toml", "SECURITY.md",
    "bindep.txt", "changelogs", "docs", "inventories", "meta", "playbooks", "plugins", "requirements", "roles",
}  # fmt: skip
INSIDE = {"requirements/controller.txt", "changelogs/changelog.yaml"}

# One after the other: they share directories and a twin.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("archive")]


@dataclass(frozen=True)
class Project:
    """A user's directory: `collections/` with the installed collection, and a Python environment beside it."""

    directory: Path
    archive: Path

    @property
    def collection(self) -> Path:
        """Return where the collection is installed."""
        return self.directory / "collections" / "ansible_collections" / "campus" / "mailgate"

    @property
    def environment(self) -> dict[str, str]:
        """Return an environment without anything of the checkout."""
        return {
            "HOME": str(self.directory),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{self.directory / 'venv' / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
            "ANSIBLE_COLLECTIONS_PATH": str(self.directory / "collections"),
            "ANSIBLE_NOCOLOR": "true",
        }

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the project."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Build the archive from a clean copy of the tracked files and install it as the README says."""
    directory = tmp_path_factory.mktemp("project")
    source = directory / "source"
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    galaxy = [str(Path(sys.executable).with_name("ansible-galaxy")), "collection"]
    # ansible.cfg of the checkout names the checkout itself as installed.
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    quiet |= {"HOME": str(directory), "ANSIBLE_HOME": str(directory / ".ansible")}
    subprocess.run([*galaxy, "build", "--output-path", directory], cwd=source, env=quiet, check=True)
    shutil.rmtree(source)
    archive = next(directory.glob("campus-mailgate-*.tar.gz"))
    made = Project(directory, archive)
    subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
    install = [*galaxy, "install", "--collections-path", directory / "collections", archive]
    subprocess.run(install, cwd=directory, env=quiet, check=True)
    pip = [str(directory / "venv" / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--constraint", ROOT / "requirements" / "lock.txt", "--requirement",
         made.collection / "requirements" / "controller.txt"],
        check=True,
    )  # fmt: skip
    return made


def test_archive_holds_what_users_need_and_nothing_else(project: Project) -> None:
    with tarfile.open(project.archive) as archive:
        names = [member.name for member in archive.getmembers() if member.isfile()]
    assert {name.partition("/")[0] for name in names} == ARCHIVE
    assert {name for name in names if name.startswith(("requirements/", "changelogs/"))} == INSIDE
    assert [name for name in names if "__pycache__" in name or "/tests/" in name or name.endswith(".pyc")] == []


def documented(project: Project, kind: str) -> list[str]:
    """Return the names of the collection's plugins of a kind, as ansible-doc lists them."""
    listed = project.run("ansible-doc", "--type", kind, "--list", "--json", "campus.mailgate").stdout
    return sorted(json.loads(listed))


@pytest.mark.parametrize("kind", ["module", "filter", "lookup", "role"])
def test_every_plugin_and_role_has_documentation(project: Project, kind: str) -> None:
    directory = {"module": "plugins/modules", "filter": "plugins/filter", "lookup": "plugins/lookup", "role": "roles"}
    suffix = {"filter": ".yml", "role": ""}.get(kind, ".py")
    files = (project.collection / directory[kind]).glob(f"*{suffix}")
    names = sorted(f"campus.mailgate.{path.stem}" for path in files if not path.name.startswith("_"))
    assert documented(project, kind) == names
    shown = project.run("ansible-doc", "--type", kind, *names)
    assert shown.stderr == ""
    for name in names:
        assert name.rpartition(".")[2] in shown.stdout


def test_every_playbook_is_found_by_its_full_name(project: Project) -> None:
    inventory = project.collection / "inventories" / "demo"
    for playbook in sorted((project.collection / "playbooks").glob("*.yml")):
        project.run("ansible-playbook", "-i", inventory, "--syntax-check", f"campus.mailgate.{playbook.stem}")


def test_plan_of_a_users_own_inventory(project: Project) -> None:
    own = project.directory / "inventory"
    shutil.copytree(project.collection / "inventories" / "demo", own, dirs_exist_ok=True)
    shown = project.run("ansible-playbook", "-i", own, "campus.mailgate.plan", "-e", "mailgate_plan_dir=reports")
    assert "mech.eng.univ.example" in shown.stdout
    assert (project.directory / "reports").is_dir()


def test_problems_of_an_inventory_are_reported_once(project: Project) -> None:
    own = project.directory / "bad"
    shutil.copytree(project.collection / "inventories" / "demo", own, dirs_exist_ok=True)
    faculty = own / "faculties" / "engineering.yml"
    faculty.write_text(faculty.read_text().replace("mailgate_domains: [mech.eng", "mailgate_domains: [mech..eng"))
    done = project.run("ansible-playbook", "-i", own, "campus.mailgate.plan", check=False)
    assert done.returncode != 0
    assert (done.stdout + done.stderr).count("mech..eng.univ.example") == 1


@pytest.fixture(scope="module")
def twin(project: Project) -> Iterator[list[str]]:
    """Boot the demo's campus; yields the command that runs another as its controller."""
    if os.geteuid() != 0:
        pytest.skip("the twin's hosts need root")
    lab = [sys.executable, "-m", "lab"]
    named = ["--inventory", str(ROOT / "inventories" / "demo"), "--name", TWIN]
    subprocess.run([*lab, "up", *named], cwd=ROOT, check=True)
    try:
        yield [*lab, "run", *named, "--"]
    finally:
        subprocess.run([*lab, "down", *named], cwd=ROOT, check=True)


def as_controller(project: Project, twin: Sequence[str], *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in the project as the twin's controller."""
    environment = [f"{name}={value}" for name, value in project.environment.items()]
    without = [f"--unset={name}" for name in ("ANSIBLE_CONFIG", "ANSIBLE_HOME", "ANSIBLE_INVENTORY")]
    return subprocess.run(
        [*twin, "env", f"--chdir={project.directory}", *without, *environment, *(str(word) for word in command)],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


def test_check_mode_on_fresh_hosts(project: Project, twin: Sequence[str]) -> None:
    wheels = project.directory / ".cache" / "mailgate" / "wheels"
    requirements = project.collection / "roles" / "gateway" / "files" / "requirements.txt"
    project.run("pip", "wheel", "--quiet", "-r", requirements, "-w", wheels)
    variables = yaml.safe_load((ROOT / "lab" / "twin-vars.yml").read_text())
    del variables["gateway_wheelhouse"]  # the default, as for a user
    signatures = [str(path) for path in sorted((ROOT / "lab" / "signatures").glob("mailgate-lab.*"))]
    extra = project.directory / "twin.yml"
    extra.write_text(json.dumps({**variables, "clamav_signature_files": signatures}))
    done = as_controller(
        project, twin, "ansible-playbook", "-i", project.collection / "inventories" / "demo", "campus.mailgate.site",
        "--check", "--diff", "-e", f"@{extra}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    assert "failed=0" in done.stdout
    assert "changed=" in done.stdout
