#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the zone files hold and what BIND serves; backups aside.
set -eu
sha256sum /etc/bind/zones/*.zone
for zone in eng.univ.example univ.example; do
    rndc zonestatus $zone | grep ^serial
done
ls -A --ignore='*~' /etc/bind/zones
