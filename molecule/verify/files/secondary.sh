#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Adds ns2 to the zones of ns1, and permits it to transfer them.
set -eu
zones=/etc/bind/zones
sed -i 's/^\(.*IN\tNS\tns\)1\(.*\)$/&\n\12\2/' "$zones/univ.example.zone" "$zones/eng.univ.example.zone"
sed -i 's/^options {/&\n\tallow-transfer { 198.18.0.54; };\n\talso-notify { 198.18.0.54; };/' /etc/bind/named.conf.options
named-checkconf -z >/dev/null
systemctl restart named
