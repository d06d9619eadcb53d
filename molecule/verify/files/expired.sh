#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# expired.sh NAME: replaces the gateway's certificate with one that ended in 2021.
set -eu
umask 022
cd /etc/ssl/mailgate
work=$(mktemp -d)
printf '[ca]\ndefault_ca=c\n[c]\ndatabase=%s/index\nserial=%s/serial\nnew_certs_dir=%s\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' \
	"$work" "$work" "$work" >"$work/conf"
: >"$work/index"
echo 01 >"$work/serial"
openssl req -new -key gateway.key -subj "/CN=$1" -out "$work/request" 2>/dev/null
openssl ca -batch -config "$work/conf" -selfsign -keyfile gateway.key -in "$work/request" -notext \
	-startdate 20200101000000Z -enddate 20210101000000Z -out gateway.pem 2>/dev/null
chmod 644 gateway.pem
rm -r "$work"
