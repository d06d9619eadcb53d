#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Changes the internal zones as an admin does, and waits for the external zones. They must not show what BIND does not
# serve yet.
set -eu
zone=/etc/bind/campus/plain.zone
outside=/var/lib/bind/outside
sed -i 's/hostmaster [0-9]*/hostmaster 100/' $zone
echo 'later IN A 198.18.1.77' >>$zone
sleep 5
if grep -q later $outside/plain.zone; then
    echo "the external zone has a record that BIND does not serve in the internal zone yet" >&2
    exit 1
fi
rndc reload plain.example IN inside
nsupdate -k /etc/bind/update.key <<'.'
server 127.0.0.1
zone key.example
update add later.key.example 60 A 198.18.1.77
send
.
# A file is written before BIND has loaded it.
for _ in $(seq 300); do
    sleep 0.1
    rndc zonestatus plain.example IN outside >/root/status
    if grep -q later $outside/plain.zone && grep -q later $outside/key.zone && grep -q '^serial: 100$' /root/status; then
        break
    fi
done
grep later $outside/plain.zone $outside/key.zone
grep '^serial: 100$' /root/status
systemctl stop mailgate-outside.timer
