#!/bin/bash
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Gives a DNS server a zone file as an admin writes it, and one zone that accepts updates.
set -eu
tsig-keygen update > /etc/bind/update.key
chown bind: /etc/bind/update.key
sed -i '1i include "/etc/bind/update.key";' /etc/bind/named.conf.local
zone=/etc/bind/zones/eng.univ.example.zone
sed -i -E 's/^(.*IN[ \t]+MX.*)$/\1 ; until the gateways take it/' "$zone"
cat >> "$zone" <<'.'
; old names, still in use
oldmail  600 IN MX 7 mail ; historical
.
install -o bind -g bind -m 0640 /etc/bind/zones/sci.univ.example.zone /var/lib/bind/sci.zone
sed -i -E 's|file "/etc/bind/zones/sci.univ.example.zone";|file "/var/lib/bind/sci.zone"; allow-update { key update; };|' \
  /etc/bind/named.conf.local
named-checkconf -z /etc/bind/named.conf > /dev/null
systemctl restart named
