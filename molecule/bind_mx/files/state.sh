#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Prints the zone files, without backups, and what BIND serves.
set -eu
sha256sum /etc/bind/zones/*.zone
for zone in eng.univ.example univ.example; do
    rndc zonestatus $zone | grep ^serial
done
ls -A --ignore='*~' /etc/bind/zones
