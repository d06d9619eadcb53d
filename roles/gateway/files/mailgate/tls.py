# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS contexts: our certificate for clients; no certificate checks for next hops, which are known by address only."""

from __future__ import annotations

import ssl

from mailgate.config import Config, ConfigError


def server_context(config: Config) -> ssl.SSLContext | None:
    """Return the context for clients, or None without a certificate; raise ConfigError if it cannot be loaded."""
    if not config.tls.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(config.tls.certificate, config.tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            [f"tls: {config.tls.certificate} and {config.tls.key} are not a matching certificate and key: {error}"]
        ) from error
    return context


def client_context(config: Config) -> ssl.SSLContext | None:
    """Return the context for next hops, which accepts any certificate (RFC 7435), or None if encryption is off."""
    if config.tls.outbound == "off":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
