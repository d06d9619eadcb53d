# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of the hosts: an offline package repository, a base system, and layers with services on top.

Each is built once and cached under a name with a hash of its inputs. A build runs in a temporary directory, which is
renamed when it is complete, so an interrupted build leaves no partial image.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.tools import CGROUPS, RUN, LabError, cache_directory, command, locked, log, step

#: Debian suites the hosts can run; the first is the default.
SUITES = ("bookworm", "trixie")
SUITE = SUITES[0]
#: Mount point of the repository on hosts.
REPOSITORY_MOUNT = "/srv/lab-apt"
#: Mount point of the extra repository while a layer is built.
EXTRA_MOUNT = "/srv/lab-apt-extra"

#: Images of other versions are kept for a week after their last use.
KEEP_SECONDS = 7 * 24 * 3600

#: Debian packages the machine needs, with a command of each.
MACHINE_PACKAGES = {
    "systemd-container": "systemd-nspawn",
    "mmdebstrap": "mmdebstrap",
    "apt-utils": "apt-ftparchive",
    "iproute2": "ip",
    "openssh-client": "ssh",
    "procps": "sysctl",
    "util-linux": "setpriv",
}

BASE_PACKAGES = (
    "apt", "ca-certificates", "dbus", "iproute2", "iputils-ping", "libpam-systemd", "netbase", "netcat-openbsd",
    "openssh-server", "procps", "python3", "python3-apt", "python3-dnspython", "systemd", "systemd-sysv", "tzdata",
)  # fmt: skip

#: Services a campus has before it uses this collection: DNS, and sendmail on its mail servers.
LAYER_PACKAGES = {
    "dns": ("bind9", "bind9-dnsutils", "bind9-utils"),
    "mail": ("m4", "make", "procmail", "sendmail-base", "sendmail-bin", "sendmail-cf", "sensible-mda"),
}

#: Packages that roles install on the hosts, in addition to the layers.
ROLE_PACKAGES = (
    "7zip", "clamav", "clamav-daemon", "clamav-freshclam", "clamdscan", "conntrack", "ipset", "ipset-persistent",
    "iptables", "iptables-persistent", "libarchive-tools", "logrotate", "netfilter-persistent", "nftables", "tcpdump",
    "ulogd2",
)  # fmt: skip

#: Services that only some tests need; some cannot be installed together. They come from a repository of their own,
#: which is built with the first such layer.
EXTRA_LAYER_PACKAGES = {
    "docker": ("docker.io", "iptables-persistent"),
    "fail2ban": ("fail2ban", "iptables-persistent", "python3-systemd"),
    "ferm": ("ferm",),
    "firewalld": ("firewalld",),
    "ipset-persistent": ("iptables-persistent", "ipset-persistent"),
    "iptables": ("iptables",),
    "iptables-persistent": ("iptables-persistent",),
    "nftables": ("nftables",),
    "shorewall": ("shorewall", "shorewall6"),
    "ufw": ("ufw",),
}
#: Those that break others of them.
APART = ("ufw",)

CUSTOMIZE = r"""
set -eu
echo "deb [trusted=yes] file:/srv/lab-apt ./" > /etc/apt/sources.list
rm -f /etc/apt/sources.list.d/*
# Rehearsals need no fsync; recommended packages are not in the repository.
echo 'APT::Install-Recommends "false";' > /etc/apt/apt.conf.d/90lab
echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/90lab
apt-get -qq update
for user in alice bob; do useradd --create-home --shell /bin/bash "$user"; done
: > /etc/machine-id
: > /etc/resolv.conf
chmod 644 /etc/resolv.conf
rm -f /etc/hostname /etc/ssh/ssh_host_*_key*
install -d -m 0700 /root/.ssh
cat > /etc/ssh/sshd_config.d/lab.conf <<'END'
UseDNS no
GSSAPIAuthentication no
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
MaxSessions 100
HostKey /etc/ssh/ssh_host_ed25519_key
END
install -d /etc/systemd/system.conf.d /etc/systemd/journald.conf.d
printf '[Manager]\nDefaultTimeoutStopSec=15s\n' > /etc/systemd/system.conf.d/lab.conf
printf '[Journal]\nRuntimeMaxUse=16M\nSystemMaxUse=32M\n' > /etc/systemd/journald.conf.d/lab.conf
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
  getty.target console-getty.service systemd-networkd.service systemd-resolved.service systemd-timesyncd.service
do ln -sf /dev/null "/etc/systemd/system/$unit"; done
apt-get clean
"""

LAYER_SCRIPT = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
# Without a full name of its own, sendmail's set-up sleeps for a minute. Hosts get their own file on boot.
hostname image
printf '127.0.0.1 image.example image localhost\n' > /etc/hosts
ip link set lo up
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -qq -y install "$@" > /dev/null
rm -f /usr/sbin/policy-rc.d
apt-get clean
"""

#: Installs from the extra repository too; afterwards the host knows the other one alone.
EXTRA_LAYER_SCRIPT = rf"""
set -eu
echo "deb [trusted=yes] file:{EXTRA_MOUNT} ./" > /etc/apt/sources.list.d/extra.list
apt-get -qq update
{LAYER_SCRIPT}
rm -f /etc/apt/sources.list.d/extra.list
apt-get -qq update
"""


@dataclass(frozen=True)
class Images:
    """Built images: the repository directory, and the directories an overlay is made of, topmost first."""

    repository: Path
    base: Path
    layers: dict[frozenset[str], Path]

    def lower(self, layers: Iterable[str]) -> tuple[Path, ...]:
        """Return the lower directories of a host with these layers."""
        wanted = frozenset(layers)
        return (self.layers[wanted], self.base) if wanted else (self.base,)


def key(*parts: str | Iterable[str]) -> str:
    """Return a short hash of the inputs of an image."""
    flat = [part if isinstance(part, str) else "\0".join(part) for part in parts]
    return hashlib.sha256("\1".join(flat).encode()).hexdigest()[:12]


def all_packages() -> list[str]:
    """Return all packages named above, sorted."""
    layered = [package for packages in LAYER_PACKAGES.values() for package in packages]
    return sorted({*BASE_PACKAGES, *ROLE_PACKAGES, *layered})


def extra_groups() -> list[list[str]]:
    """Return the packages of the extra layers in groups that can be installed together."""
    together = {name for packages in EXTRA_LAYER_PACKAGES.values() for name in packages} - set(APART)
    return [sorted({*BASE_PACKAGES, *group}) for group in (together, APART)]


def check_machine() -> None:
    """Raise LabError if a program is missing or the user is not root; name all missing packages."""
    if os.geteuid() != 0:
        raise LabError("run the lab as root: it makes namespaces and mounts")
    # A root shell made by `su` may lack the directories of system programs.
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    missing = [package for package, program in MACHINE_PACKAGES.items() if not shutil.which(program)]
    if missing:
        raise LabError(f"programs are missing on this machine; run: apt-get install {' '.join(missing)}")
    if not any((CGROUPS / place / "cgroup.controllers").exists() for place in ("", "unified")):
        raise LabError(f"no version 2 control groups under {CGROUPS}; mount cgroup2")


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


def check_suite(suite: str) -> str:
    """Return the suite; raise LabError if hosts cannot run it."""
    if suite not in SUITES:
        raise LabError(f"the suite {suite!r} is unknown; use one of {', '.join(SUITES)}")
    return suite


def _fresh(path: Path) -> Path:
    """Create an empty build directory next to the path of the result."""
    building = path.with_name(path.name + ".building")
    if building.exists():
        shutil.rmtree(building)
    building.mkdir(parents=True)
    return building


def _build_repository(
    target: Path, cache: Path, suite: str, groups: Iterable[Sequence[str]], without: Path | None = None
) -> None:
    """Build a flat repository of groups of packages with all that they need, each group as installed alone.

    Files that are in the directory `without` are left out.
    """
    building, scratch = _fresh(target), _fresh(cache / "apt")
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


#: Prefix of a long build step: its mounts and processes end with it, and it ends with this process.
CONFINED = (
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--mount", "--propagation", "private", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
    "--mount-proc",
)  # fmt: skip


def _inside(root: Path, repositories: Mapping[str, Path], script: str, *arguments: str) -> list[str]:
    """Return a command, to be prefixed with CONFINED, that runs a script in a system directory without network."""
    outer = (
        'root=$1; shift; mount -t proc proc "$root/proc" && mount --bind /dev "$root/dev"'
        ' && while [ "$1" != -- ]; do mkdir -p "$root$1" && mount --bind "$2" "$root$1" && shift 2 || exit; done; shift'
        '; exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot "$root" sh -c "$@"'
    )
    binds = [str(part) for pair in repositories.items() for part in pair]
    return ["unshare", "--net", "sh", "-c", outer, "sh", str(root), *binds, "--", script, "sh", *arguments]


def _build_base(target: Path, repository: Path, suite: str) -> None:
    building = _fresh(target)
    building.chmod(0o755)
    root = building / "root"
    command(
        [*CONFINED, "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase",
         f"--include={','.join(BASE_PACKAGES)}", "--dpkgopt=path-exclude=/usr/share/doc/*",
         "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
         "--dpkgopt=force-unsafe-io", suite, root, f"deb [trusted=yes] copy:{repository} ./"]
    )  # fmt: skip
    command([*CONFINED, *_inside(root, {REPOSITORY_MOUNT: repository}, CUSTOMIZE)])
    root.chmod(0o755)
    root.rename(target)
    building.rmdir()


def _build_layer(
    target: Path, base: Path, repositories: Mapping[str, Path], script: str, packages: Sequence[str]
) -> None:
    building = _fresh(target)
    for name in ("up", "work", "root"):
        (building / name).mkdir()
        (building / name).chmod(0o755)
    options = f"lowerdir={base},upperdir={building / 'up'},workdir={building / 'work'}"
    inner = _inside(building / "root", repositories, script, *packages)
    command(
        [*CONFINED, "sh", "-c",
         'mount -t overlay lab -o "$1" "$2" && shift 2 && exec "$@"', "sh", options, building / "root", *inner]
    )  # fmt: skip
    (building / "up").rename(target)
    shutil.rmtree(building)


def _remove_old(cache: Path, current: Sequence[Path]) -> None:
    """Delete images that were not used for a week and that no running twin uses."""
    for image in current:
        os.utime(image)
    used = "".join(state.read_text() for state in RUN.glob("*/state.json"))
    for image in cache.iterdir():
        old = time.time() - image.stat().st_mtime > KEEP_SECONDS
        if image.name.startswith(("repository-", "base-", "layer-")) and old and str(image) not in used:
            log(f"lab: removing the old image {image}")
            shutil.rmtree(image)


def prepare(layers: Iterable[frozenset[str]] = (), suite: str = SUITE) -> Images:
    """Return the images; build those that are missing in the cache.

    Args:
        layers: sets of layers that hosts need, such as {"dns"}; each of LAYER_PACKAGES is always built.
        suite: Debian suite of the images, one of SUITES.
    """
    check_machine()
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    packages = all_packages()
    content = key(check_suite(suite), packages)
    repository = cache / f"repository-{content}"
    base = cache / f"base-{key(content, BASE_PACKAGES, CUSTOMIZE)}"
    extra = cache / f"repository-extra-{key(content, *extra_groups())}"
    wanted = {frozenset({name}) for name in LAYER_PACKAGES} | {layer for layer in layers if layer}
    unknown = {name for layer in wanted for name in layer} - {*LAYER_PACKAGES, *EXTRA_LAYER_PACKAGES}
    if unknown:
        known = ", ".join((*LAYER_PACKAGES, *EXTRA_LAYER_PACKAGES))
        raise LabError(f"the layer {', '.join(sorted(unknown))} is unknown; known are {known}")
    built = {}
    with locked(cache / "lock", "another build of the images"):
        if not repository.exists():
            with step(f"{suite}: package repository ({len(packages)} packages and what they need)"):
                _build_repository(repository, cache, suite, [packages])
        if not base.exists():
            with step(f"{suite}: base image"):
                _build_base(base, repository, suite)
        for layer in sorted(wanted, key=sorted):
            everything = LAYER_PACKAGES | EXTRA_LAYER_PACKAGES
            inside = sorted({package for name in layer for package in everything[name]})
            name = "+".join(sorted(layer))
            mounts, script = {REPOSITORY_MOUNT: repository}, LAYER_SCRIPT
            if layer & EXTRA_LAYER_PACKAGES.keys():
                mounts, script = mounts | {EXTRA_MOUNT: extra}, EXTRA_LAYER_SCRIPT
                if not extra.exists():
                    with step(f"{suite}: package repository of the extra layers"):
                        _build_repository(extra, cache, suite, extra_groups(), repository)
            built[layer] = cache / f"layer-{name}-{key(base.name, inside, script)}"
            if not built[layer].exists():
                with step(f"{suite}: image layer {name}"):
                    _build_layer(built[layer], base, mounts, script, inside)
        _remove_old(cache, [repository, base, *built.values(), *([extra] if extra.exists() else [])])
    return Images(repository, base, built)
