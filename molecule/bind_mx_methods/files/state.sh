#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the files of plain.example hold, and what BIND serves of it and of key.example.
set -eu
sha256sum /etc/bind/campus/plain.zone /etc/bind/campus/plain.faculty
for zone in plain.example key.example; do
    rndc zonestatus $zone IN inside | grep ^serial
done
