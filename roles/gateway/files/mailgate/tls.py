# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encryption settings: our certificate for senders, and none asked of next hops, which are known by address alone."""

from __future__ import annotations

import ssl

from mailgate.config import Config, ConfigError


def for_senders(config: Config) -> ssl.SSLContext | None:
    """Context with our certificate, None without one; raises ConfigError for files that are no good."""
    if not config.tls.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(config.tls.certificate, config.tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            [f"tls: {config.tls.certificate} with {config.tls.key} is no certificate with its key: {error}"]
        ) from error
    return context


def for_next_hops(config: Config) -> ssl.SSLContext | None:
    """Context that takes any certificate, as better than none (RFC 7435); None when encryption is off."""
    if config.tls.outbound == "off":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
