#!/bin/sh
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# certificate.sh NAME DAYS: makes the gateway's certificate, which ends after so many days.
set -eu
umask 022
mkdir -p /etc/ssl/mailgate
cd /etc/ssl/mailgate
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$2" -subj "/CN=$1" \
  -addext "subjectAltName=DNS:$1" -keyout gateway.key -out gateway.pem 2>/dev/null
chmod 644 gateway.key
