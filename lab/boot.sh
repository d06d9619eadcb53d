#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs one host until it is powered off; a reboot from inside gets new interfaces and an empty netfilter, as on real
# hardware. Started by lab/host.py with LAB_HOST, LAB_NETNS, LAB_SWITCH, LAB_CGROUPS, LAB_DIRECTORY (batches, sysctl),
# LAB_DISK (up, work, root), LAB_LOWER, LAB_REPOSITORY, LAB_SITECUSTOMIZE (FILE:PLACE), LAB_COMPILED and NOTIFY_SOCKET set.
set -eu

join() { # NAME: enter this control group of the host
    for cgroup in $LAB_CGROUPS; do
        mkdir -p "$cgroup/$1"
        echo $$ >"$cgroup/$1/cgroup.procs"
    done
}

if [ "${1-}" = inside ]; then
    join system
    # This mount namespace ends with the host, and the mounts with it.
    mount -t tmpfs tmpfs /run/systemd/nspawn
    # A volatile overlay refuses files of an earlier boot unless the marker is removed; they are complete in the page cache.
    rm -rf "$LAB_DISK/work/work/incompat"
    mount -t overlay lab -o "lowerdir=$LAB_LOWER,upperdir=$LAB_DISK/up,workdir=$LAB_DISK/work,volatile" "$LAB_DISK/root"
    exec systemd-nspawn --quiet --boot --register=no --keep-unit --notify-ready=yes --machine="$LAB_HOST" \
        --console=read-only --resolv-conf=off --link-journal=no --timezone=off --capability=CAP_NET_ADMIN \
        --network-namespace-path="/run/netns/$LAB_NETNS" --bind-ro="$LAB_REPOSITORY:/srv/lab-apt" \
        --bind-ro="$LAB_SITECUSTOMIZE" --bind="$LAB_COMPILED:/run/lab-compiled" \
        --directory="$LAB_DISK/root"
fi

join launcher

while :; do
    ip -n "$LAB_SWITCH" -force -batch "$LAB_DIRECTORY/unplug" >/dev/null 2>&1 || :
    ip netns delete "$LAB_NETNS" 2>/dev/null || :
    ip netns add "$LAB_NETNS"
    ip netns exec "$LAB_NETNS" sysctl -q -p "$LAB_DIRECTORY/sysctl"
    ip -n "$LAB_SWITCH" -batch "$LAB_DIRECTORY/plug"
    ip -n "$LAB_NETNS" -batch "$LAB_DIRECTORY/wires"
    status=0
    # Slave, not private: a namespace deleted on the machine must not live on in this copy of its mounts.
    unshare --mount --propagation slave sh "$0" inside || status=$?
    [ $status = 133 ] || exit $status
    echo "lab: rebooting"
done
