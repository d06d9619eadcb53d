#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A DNS list that has the host outside, and sender domains with and without a mail server.
set -eu
cat >> /etc/bind/zones/root.zone <<'ZONE'
2.0.0.127.bl.rules.example. 60 IN A 127.0.0.2
10.255.19.198.bl.rules.example. 60 IN A 127.0.0.3
null.rules.example. 60 IN MX 0 .
good.rules.example. 60 IN A 198.19.255.10
ZONE
named-checkzone . /etc/bind/zones/root.zone >/dev/null
systemctl restart named
