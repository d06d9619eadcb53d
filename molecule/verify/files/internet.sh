#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Delegates the campus to ns2 too, and gives the gateways their PTR records.
set -eu
cat >> /etc/bind/zones/root.zone <<'ZONE'
univ.example. 60 IN NS ns2.univ.example.
ns2.univ.example. 60 IN A 198.18.0.54
25.0.18.198.in-addr.arpa. 60 IN PTR gw1.univ.example.
26.0.18.198.in-addr.arpa. 60 IN PTR gw2.univ.example.
5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.1.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 60 IN PTR gw1.univ.example.
ZONE
named-checkzone . /etc/bind/zones/root.zone >/dev/null
systemctl restart named
