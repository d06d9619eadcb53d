#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# zone.sh ZONE SED-COMMAND: edits a zone of ns1, counts its serial up, and loads it. `zone.sh ZONE` puts the zone back.
set -eu
file=/etc/bind/zones/$1.zone
serial=$(sed -n 's/^[[:space:]]*\([0-9]*\)[[:space:]]*; serial$/\1/p' "$file")
if [ "${2:-}" ]; then
	cp "$file" "/root/$1.sound"
	sed -i "$2" "$file"
	if cmp -s "$file" "/root/$1.sound"; then
		echo "nothing to edit in $1: $2" >&2
		exit 1
	fi
else
	cp "/root/$1.sound" "$file"
fi
sed -i "s/^\([[:space:]]*\)[0-9]*\([[:space:]]*; serial\)$/\1$((serial + 1))\2/" "$file"
rndc reload "$1" >/dev/null
