#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Gives the DNS server two views, each with copies of all zones: one for the campus and one for everybody else.
set -e
[ ! -d /etc/bind/outside ] || exit 0
cp -r /etc/bind/zones /etc/bind/outside
zones=$(grep -v '^//' /etc/bind/named.conf.local)
cat >/etc/bind/named.conf <<END
include "/etc/bind/named.conf.options";
view "inside" {
	match-clients { localhost; 198.18.0.0/16; };
$zones
};
view "outside" {
	match-clients { any; };
$(printf '%s' "$zones" | sed 's:/etc/bind/zones/:/etc/bind/outside/:')
};
END
named-checkconf
systemctl restart named
