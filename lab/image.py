# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of the hosts: an offline package repository, a base system, and layers with services on top.

Each is built once and cached under a name with a hash of its inputs. A build runs in a temporary directory, which is
renamed when it is complete, so an interrupted build leaves no partial image.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.packages import (
    BASE_PACKAGES,
    EXTRA_LAYER_PACKAGES,
    LAYER_PACKAGES,
    LAYERS,
    SUITE,
    check_suite,
    extra_groups,
    groups,
)
from lab.repository import CONFINED, build_repository, fresh
from lab.tools import CGROUPS, RUN, LabError, cache_directory, command, compiled_directory, locked, log, step

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
    suite: str = SUITE

    def lower(self, layers: Iterable[str]) -> tuple[Path, ...]:
        """Return the lower directories of a host with these layers."""
        wanted = frozenset(layers)
        return (self.layers[wanted], self.base) if wanted else (self.base,)


def key(*parts: str | Iterable[str]) -> str:
    """Return a short hash of the inputs of an image."""
    flat = [part if isinstance(part, str) else "\0".join(part) for part in parts]
    return hashlib.sha256("\1".join(flat).encode()).hexdigest()[:12]


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
    building = fresh(target)
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
    building = fresh(target)
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
    """Delete images and code that were not used for a week, but no image of a running twin."""
    for image in current:
        os.utime(image)
    used = "".join(state.read_text() for state in RUN.glob("*/state.json"))
    for image in cache.iterdir():
        old = time.time() - image.stat().st_mtime > KEEP_SECONDS
        if image.name.startswith(("repository-", "base-", "layer-")) and old and str(image) not in used:
            log(f"lab: removing the old image {image}")
            shutil.rmtree(image)
    for code in compiled_directory().iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - code.stat().st_atime > KEEP_SECONDS:
                code.unlink()


def prepare(layers: Iterable[frozenset[str]] = (), suite: str = SUITE) -> Images:
    """Return the images; build those that are missing in the cache.

    Args:
        layers: sets of layers that hosts need, such as {"dns"}; each of LAYER_PACKAGES is always built.
        suite: Debian suite of the images, one of SUITES.
    """
    check_machine()
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    packages = groups(check_suite(suite))
    content = key(suite, *packages)
    repository = cache / f"repository-{content}"
    base = cache / f"base-{key(content, BASE_PACKAGES, CUSTOMIZE)}"
    extra = cache / f"repository-extra-{key(content, *extra_groups())}"
    wanted = {frozenset({name}) for name in LAYER_PACKAGES} | {layer for layer in layers if layer}
    unknown = {name for layer in wanted for name in layer} - LAYERS
    if unknown:
        known = ", ".join(sorted(LAYERS))
        raise LabError(f"the layer {', '.join(sorted(unknown))} is unknown; known are {known}")
    built = {}
    with locked(cache / "lock", "another build of the images"):
        if not repository.exists():
            with step(f"{suite}: package repository ({sum(map(len, packages))} packages and what they need)"):
                build_repository(repository, cache, suite, packages)
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
                        build_repository(extra, cache, suite, extra_groups(), repository)
            built[layer] = cache / f"layer-{name}-{key(base.name, inside, script)}"
            if not built[layer].exists():
                with step(f"{suite}: image layer {name}"):
                    _build_layer(built[layer], base, mounts, script, inside)
        _remove_old(cache, [repository, base, *built.values(), *([extra] if extra.exists() else [])])
    return Images(repository, base, built, suite)
