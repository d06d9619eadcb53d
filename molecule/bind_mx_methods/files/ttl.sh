#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The files of plain.example but for the serial, then the TTLs of four names' MX records.
set -eu
cat /etc/bind/campus/plain.zone /etc/bind/campus/plain.faculty | sed 's/hostmaster [0-9]*/hostmaster N/'
python3 - <<'.'
import dns.message
import dns.query

for name in ("plain.example", "eng.plain.example", "key.example", "mech.key.example"):
    print(dns.query.udp(dns.message.make_query(name, "MX"), "127.0.0.1").answer[0].ttl)
.
